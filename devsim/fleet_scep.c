/*
 * A fleet that speaks SCEP (RFC 8894).
 *
 * Requests are signed and encrypted before the clock starts. An answer is
 * verified, and decrypted unless --unopened: one operation with a private key, where
 * the server needs two.
 */
#include <stdlib.h>

#include "devsim/csr.h"
#include "devsim/devsim.h"
#include "devsim/fleet_protocol.h"
#include "devsim/scep_client.h"

struct fleet_scep_state {
	struct scep_server server;
	unsigned digest, cipher;
	bool get;
};

static int
check(const struct fleet_options *o, struct err *e)
{
	struct key_spec spec;

	if (o->bind)
		return err_set(e, ERR_MALFORMED, "--binding belongs to --protocol est");
	if (o->challenges != NULL && (o->devices != NULL || o->op != FLEET_ENROLL))
		return err_set(e, ERR_MALFORMED, "--challenges belongs to --op enroll, without --devices");
	if (o->unopened && o->out != NULL)
		return err_set(e, ERR_MALFORMED, "--out keeps certificates, which --unopened does not look at");
	if (o->key != NULL && (key_spec_parse(o->key, &spec, e) != 0 || spec.algorithm != KEY_ALGORITHM_RSA))
		return err_set(e, ERR_MALFORMED, "--key: SCEP needs RSA keys");
	return 0;
}

/* A current certificate signs, and answers are encrypted to it. */
static int
check_devices(const struct fleet *fleet, struct err *e)
{
	size_t i;

	for (i = 0; i < fleet->device_count; i++)
		if (fleet->devices[i].key != NULL && !EVP_PKEY_is_a(fleet->devices[i].key, "RSA"))
			return err_set(e, ERR_MALFORMED, "%s: SCEP needs a certificate with an RSA key",
				fleet->devices[i].name);
	return 0;
}

static int
check_server(const struct fleet *fleet, const struct fleet_scep_state *scep, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *anchors = NULL;
	const char *path = fleet->options.client.tls.cacert;

	if (path == NULL)
		return 0;
	if (x509_load_file(path, &anchors, e) != 0)
		return -1;
	return chain_check(sk_X509_value(scep->server.recipients, 0), scep->server.certs, anchors, e);
}

static int
ask_server(struct fleet *fleet, struct fleet_scep_state *scep, struct err *e)
{
	struct client client = { 0 };
	int rc = client_open(&client, &fleet->options.client, e);

	if (rc == 0 && scep_fetch(&client, &scep->server, e) != DEVSIM_OK)
		rc = -1;
	client_close(&client);
	return rc;
}

static int
open_scep(struct fleet *fleet, struct err *e)
{
	const struct fleet_options *o = &fleet->options;
	struct fleet_scep_state *scep;

	fleet->keep_keys = !o->unopened;
	if (o->op == FLEET_CACERTS)
		return 0;
	scep = fleet->protocol_state = calloc(1, sizeof *scep);
	if (scep == NULL)
		return err_set(e, ERR_NOMEM, "SCEP: no memory");
	if (check_devices(fleet, e) != 0 || ask_server(fleet, scep, e) != 0 || check_server(fleet, scep, e) != 0)
		return -1;
	scep->get = o->get || !scep->server.caps.post;
	return scep_choose(o->digest, o->cipher, &scep->server.caps, &scep->digest, &scep->cipher, e);
}

static void
close_scep(struct fleet *fleet)
{
	struct fleet_scep_state *scep = fleet->protocol_state;

	if (scep != NULL)
		scep_server_free(&scep->server);
	free(scep);
	fleet->protocol_state = NULL;
}

static int
build_message(const struct fleet *fleet, const struct device *device, struct bytes csr, struct prepared *out,
	struct err *e)
{
	const struct fleet_scep_state *scep = fleet->protocol_state;
	char transaction[SCEP_TRANSACTION_TEXT];
	struct scep_build build = {
		.type = fleet->options.op == FLEET_REENROLL ? SCEP_RENEWAL_REQ : SCEP_PKCS_REQ,
		.transaction = transaction,
		.digest = scep->digest,
		.cipher = scep->cipher,
		.oaep = fleet->options.oaep,
		.signer = out->signer != NULL ? out->signer : device->cert,
		.signer_key = out->signer != NULL ? out->key : device->key,
		.recipients = scep->server.recipients,
		.content = csr,
		.made_nonce = out->nonce,
	};

	if (scep_transaction_of(buf_bytes(&out->spki), transaction, e) != 0)
		return -1;
	buf_clear(&out->body);
	return scep_build(&build, &out->body, e);
}

static int
make(const struct fleet *fleet, size_t index, const char *binding, struct prepared *out, struct err *e)
{
	const struct device *device = &fleet->devices[index];
	CLEANUP(buf) struct buf subject = { 0 };
	CLEANUP(buf) struct buf names = { 0 };
	CLEANUP(buf) struct buf csr = { 0 };
	struct csr_spec spec = { 0 };

	(void)binding;
	if (fleet_make_names(fleet, device, &subject, &names, e) != 0 || fleet_make_key(fleet, out, e) != 0)
		return -1;
	if (index < fleet->challenges.count)
		spec.challenge = (const char *)fleet->challenges.at[index].text.at;
	spec.subject = buf_bytes(&subject);
	spec.alt_names = buf_bytes(&names);
	if (csr_build(&spec, out->key, &csr, e) != 0)
		return -1;
	if (device->cert == NULL && scep_self_sign(out->key, buf_bytes(&subject), &out->signer, e) != 0)
		return -1;
	return build_message(fleet, device, buf_bytes(&csr), out, e);
}

static void
write_request(const struct fleet *fleet, const struct prepared *prepared, bool close, struct conn *conn)
{
	const struct fleet_scep_state *scep = fleet->protocol_state;
	struct scep_http request = { .url = &fleet->target.url, .label = fleet->options.client.label,
		.operation = SCEP_OP_GET_CA_CERT, .close = close };

	if (prepared != NULL) {
		request.operation = SCEP_OP_PKI_OPERATION;
		request.message = buf_bytes(&prepared->body);
		request.get = scep->get;
	}
	buf_clear(&conn->out);
	scep_http_write(&request, &conn->out);
}

static enum fleet_outcome
judge_ca_cert(const struct http_answer *answer, struct err *e)
{
	struct bytes type = http_field(answer, "Content-Type");

	if (answer->body.len != 0 && (http_type_is(type, "application/x-x509-ca-cert") ||
		http_type_is(type, "application/x-x509-ca-ra-cert")))
		return FLEET_OK;
	(void)err_set(e, ERR_MALFORMED, "GetCACert: the answer is no kind of CA certificate");
	return FLEET_FAILED;
}

static int
read_reply(const struct fleet *fleet, const struct device *device, const struct prepared *prepared,
	const struct http_answer *answer, struct scep_reply *reply, struct err *e)
{
	const struct fleet_scep_state *scep = fleet->protocol_state;
	char transaction[SCEP_TRANSACTION_TEXT];
	struct scep_expected expected = {
		.server = &scep->server,
		.allowed = SCEP_ALGORITHMS_DEFAULT | scep->digest | scep->cipher,
		.transaction = transaction,
		.nonce = bytes_of(prepared->nonce, sizeof prepared->nonce),
		.recipient = prepared->signer != NULL ? prepared->signer : device->cert,
	};

	if (!fleet->options.unopened)
		expected.recipient_key = prepared->signer != NULL ? prepared->key : device->key;
	if (scep_transaction_of(buf_bytes(&prepared->spki), transaction, e) != 0)
		return -1;
	return scep_reply_read(answer, &expected, reply, e);
}

static enum fleet_outcome
judge(const struct fleet *fleet, size_t device, const struct prepared *prepared, const struct conn *conn,
	struct buf *issued, struct err *e)
{
	const struct http_answer *answer = &conn->answer;
	struct scep_reply reply = { 0 };
	enum fleet_outcome outcome = FLEET_FAILED;

	if (answer->status != 200)
		return fleet_judge_status(answer, e);
	if (fleet->options.op == FLEET_CACERTS)
		return judge_ca_cert(answer, e);
	if (read_reply(fleet, &fleet->devices[device], prepared, answer, &reply, e) == 0)
		switch (scep_reply_exit(&reply, e)) {
		case DEVSIM_OK:
			outcome = FLEET_OK;
			break;
		case DEVSIM_PENDING:
			outcome = FLEET_PENDING;
			break;
		default:
			outcome = FLEET_REFUSED;
		}
	if (outcome == FLEET_OK && !fleet->options.unopened && !fleet_holds_key(prepared, buf_bytes(&reply.content))) {
		(void)err_set(e, ERR_MALFORMED, "the answer has no certificate for the key of the request");
		outcome = FLEET_FAILED;
	}
	buf_free(issued);
	*issued = reply.content;
	return outcome;
}

const struct fleet_protocol fleet_scep = {
	.name = "scep",
	.url = URL_SCEP,
	.check = check,
	.open = open_scep,
	.close = close_scep,
	.make = make,
	.write = write_request,
	.judge = judge,
};
