#include "devsim/scep_client.h"

#include <string.h>

#include "base/text.h"
#include "devsim/devsim.h"

int
scep_choose(int digest_choice, int cipher_choice, const struct scep_caps *caps, unsigned *digest, unsigned *cipher,
	struct err *e)
{
	static const unsigned digests[] = { 0, SCEP_MD5, SCEP_SHA1, SCEP_SHA256, SCEP_SHA384, SCEP_SHA512 };
	static const unsigned ciphers[] = { 0, SCEP_DES, SCEP_3DES, SCEP_AES128, SCEP_AES192, SCEP_AES256 };
	static const unsigned by_preference[] = { SCEP_SHA256, SCEP_SHA512, SCEP_SHA384, SCEP_SHA1, SCEP_AES128,
		SCEP_3DES };
	unsigned found[2] = { digests[digest_choice], ciphers[cipher_choice] };
	size_t i;

	for (i = 0; i < sizeof by_preference / sizeof by_preference[0]; i++) {
		unsigned *slot = &found[(by_preference[i] & SCEP_CIPHERS) != 0];

		if (*slot == 0 && (caps->algorithms & by_preference[i]) != 0)
			*slot = by_preference[i];
	}
	if (found[0] == 0 || found[1] == 0)
		return err_set(e, ERR_UNSUPPORTED, "GetCACaps names no %s: say --%s", found[0] == 0 ? "digest" : "cipher",
			found[0] == 0 ? "digest" : "cipher");
	*digest = found[0];
	*cipher = found[1];
	return 0;
}

void
scep_http_write(const struct scep_http *request, struct buf *out)
{
	bool post = request->operation == SCEP_OP_PKI_OPERATION && !request->get;

	buf_printf(out, "%s %s%s%s?", post ? "POST" : "GET", request->url->base, request->label[0] == '\0' ? "" : "/",
		request->label);
	scep_query_write(out, request->operation, post ? bytes_of(NULL, 0) : request->message);
	buf_append_text(out, " HTTP/1.1\r\nHost: ");
	url_authority(request->url, out);
	buf_append_text(out, "\r\nUser-Agent: devsim/" DEVSIM_VERSION "\r\nAccept: */*\r\n");
	if (request->close)
		buf_append_text(out, "Connection: close\r\n");
	if (post)
		buf_printf(out, "Content-Type: application/x-pki-message\r\nContent-Length: %zu\r\n", request->message.len);
	buf_append_text(out, "\r\n");
	if (post)
		buf_append_bytes(out, request->message);
}

int
scep_exchange(struct client *client, struct scep_http *request, struct err *e)
{
	char reason[ERR_TEXT_MAX];
	int status, code;

	request->url = &client->target.url;
	request->label = client->options->label;
	if (!client_connected(client) && client_connect(client, NULL, e) != 0)
		return DEVSIM_SERVER;
	buf_clear(&client->conn.out);
	scep_http_write(request, &client->conn.out);
	if (client_transact(client, e) != 0)
		return e->code == ERR_MALFORMED || e->code == ERR_LIMIT ? DEVSIM_MALFORMED : DEVSIM_SERVER;
	status = client->conn.answer.status;
	if (status == 200)
		return DEVSIM_OK;
	code = status_exit(status);
	answer_reason(&client->conn.answer, reason, sizeof reason);
	(void)err_set(e, ERR_UPSTREAM, "%s: HTTP %d%s%.160s", scep_operation_name(request->operation), status,
		reason[0] == '\0' ? "" : ": ", reason);
	/* SCEP says what it decided in a CertRep; 202 and 204 are no words of its. */
	return code == DEVSIM_REFUSED ? code : DEVSIM_SERVER;
}

/* --- the server ------------------------------------------------------------ */

int
scep_fetch(struct client *client, struct scep_server *out, struct err *e)
{
	struct scep_http caps = { .operation = SCEP_OP_GET_CA_CAPS }, cert = { .operation = SCEP_OP_GET_CA_CERT };
	struct err ignored;
	int code;

	code = scep_exchange(client, &caps, e);
	if (code == DEVSIM_OK) {
		buf_append_bytes(&out->caps_text, buf_bytes(&client->conn.answer.body));
		scep_caps_parse(buf_bytes(&out->caps_text), &out->caps);
	} else if (client->conn.answer.status == 0)
		return code;
	code = scep_exchange(client, &cert, &ignored);
	if (code != DEVSIM_OK) {
		*e = ignored;
		return code;
	}
	return scep_server_take(out, &client->conn.answer, e) == 0 ? DEVSIM_OK : DEVSIM_MALFORMED;
}

/* --- answers ----------------------------------------------------------------- */

static bool
is_known(const struct scep_server *server, const X509 *signer)
{
	int i;

	for (i = 0; i < sk_X509_num(server->certs); i++)
		if (X509_cmp(sk_X509_value(server->certs, i), signer) == 0)
			return true;
	return false;
}

/* "The original sender MUST verify that the recipientNonce of the reply matches the senderNonce it sent" (3.2.1.5). */
static int
check_reply(struct scep_message *message, const struct scep_expected *expected, struct err *e)
{
	enum scep_fail fail;

	if (message->type != SCEP_CERT_REP)
		return err_set(e, ERR_MALFORMED, "the answer is a %s where a CertRep belongs", scep_type_name(message->type));
	if (strcmp(message->transaction, expected->transaction) != 0)
		return err_set(e, ERR_MALFORMED, "the answer is of another transaction");
	if (!scep_nonce_matches(message, expected->nonce))
		return err_set(e, ERR_UNAUTHENTIC, "the answer's recipientNonce is not the one that was sent");
	if (!is_known(expected->server, message->signer))
		return err_set(e, ERR_UNAUTHENTIC, "the answer is signed by nobody that GetCACert named");
	return scep_message_verify(message, expected->allowed, &fail, e);
}

static int
read_message(const struct http_answer *answer, struct scep_message **out, struct err *e)
{
	struct bytes type = http_field(answer, "Content-Type");
	char shown[80];

	if (!http_type_is(type, "application/x-pki-message")) {
		text_escape(shown, sizeof shown, type);
		(void)err_set(e, ERR_MALFORMED, "the answer is \"%s\" where application/x-pki-message belongs", shown);
		return -1;
	}
	return scep_message_parse(buf_bytes(&answer->body), out, e);
}

int
scep_reply_read(const struct http_answer *answer, const struct scep_expected *expected, struct scep_reply *out,
	struct err *e)
{
	CLEANUP(scep_message) struct scep_message *message = NULL;
	struct scep_recipient recipient = { .cert = expected->recipient, .key = expected->recipient_key };

	if (read_message(answer, &message, e) != 0 || check_reply(message, expected, e) != 0)
		return err_prefix(e, "answer");
	out->status = message->status;
	out->fail = message->fail;
	(void)snprintf(out->fail_text, sizeof out->fail_text, "%s", message->fail_text);
	if (message->status != SCEP_SUCCESS || expected->recipient_key == NULL)
		return 0;
	buf_clear(&out->content);
	if (scep_message_open(message, &recipient, 1, &out->content, e) != 0)
		return err_prefix(e, "answer");
	return 0;
}

int
scep_reply_exit(const struct scep_reply *reply, struct err *e)
{
	switch (reply->status) {
	case SCEP_SUCCESS:
		return DEVSIM_OK;
	case SCEP_PENDING:
		(void)err_set(e, ERR_PENDING, "PENDING");
		return DEVSIM_PENDING;
	case SCEP_FAILURE:
		break;
	}
	(void)err_set(e, ERR_DENIED, "FAILURE, %s%s%s", scep_fail_name(reply->fail),
		reply->fail_text[0] == '\0' ? "" : ": ", reply->fail_text);
	return DEVSIM_REFUSED;
}
