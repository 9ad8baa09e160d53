/*
 * The pure half of client.h: what goes on the wire, and what came back.
 */
#include <string.h>

#include <openssl/err.h>

#include "base/text.h"
#include "devsim/client.h"
#include "devsim/devsim.h"
#include "devsim/keys.h"
#include "est/body.h"

#define CHAIN_DEPTH_MAX 8

void
est_request_write(const struct est_request *request, struct buf *out)
{
	/* A nonce is asked for either way: GET when there is nothing to say. */
	bool post = request->op == EST_OP_NONCE ? request->body.len != 0 : strcmp(est_op_method(request->op), "POST") == 0;

	buf_printf(out, "%s ", post ? "POST" : "GET");
	url_path(request->url, request->label, est_op_name(request->op), out);
	buf_append_text(out, " HTTP/1.1\r\nHost: ");
	url_authority(request->url, out);
	buf_append_text(out, "\r\nUser-Agent: devsim/" DEVSIM_VERSION "\r\nAccept: */*\r\n");
	if (request->authorization != NULL)
		buf_printf(out, "Authorization: %s\r\n", request->authorization);
	if (request->close)
		buf_append_text(out, "Connection: close\r\n");
	if (post && request->type != NULL)
		buf_printf(out, "Content-Type: %s\r\nContent-Length: %zu\r\n", request->type, request->body.len);
	else if (post)
		/* RFC 8951, section 3: servers ignore the coding field; older ones want to see it. */
		buf_printf(out, "Content-Type: application/pkcs10\r\nContent-Transfer-Encoding: base64\r\n"
			"Content-Length: %zu\r\n", request->body.len);
	buf_append_text(out, "\r\n");
	if (post)
		buf_append_bytes(out, request->body);
}

int
basic_authorization(const char *user, const char *secret, struct buf *out, struct err *e)
{
	struct buf plain = { 0 };

	if (strchr(user, ':') != NULL)
		return err_set(e, ERR_MALFORMED, "a user name has no colon in it (RFC 7617, section 2)");
	buf_printf(&plain, "%s:%s", user, secret);
	buf_append_text(out, "Basic ");
	base64_encode(out, buf_bytes(&plain), 0);
	if (buf_failed(&plain))
		out->failed = true;
	buf_free_secret(&plain);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "credentials: no memory") : 0;
}

int
status_exit(int status)
{
	if (status == 200 || status == 204)
		return DEVSIM_OK;
	if (status == 202)
		return DEVSIM_PENDING;
	return status == 401 || status == 403 ? DEVSIM_REFUSED : DEVSIM_SERVER;
}

int
answer_octets(const struct http_answer *answer, const char *type, struct buf *out, struct err *e)
{
	struct bytes got = http_field(answer, "Content-Type");
	char shown[80];

	if (!http_type_is(got, type)) {
		text_escape(shown, sizeof shown, got);
		return err_set(e, ERR_MALFORMED, "the answer is \"%s\" where %s belongs", shown, type);
	}
	if (base64_decode(buf_bytes(&answer->body), out, e) != 0)
		return err_prefix(e, "answer");
	return 0;
}

int
answer_certs(const struct http_answer *answer, STACK_OF(X509) **out, struct err *e)
{
	CLEANUP(buf) struct buf der = { 0 };

	if (answer_octets(answer, "application/pkcs7-mime", &der, e) != 0)
		return -1;
	if (est_certs_decode(buf_bytes(&der), out, e) != 0)
		return err_prefix(e, "answer");
	return 0;
}

X509 *
certs_with_key(STACK_OF(X509) *certs, struct bytes spki)
{
	int i;

	for (i = 0; i < sk_X509_num(certs); i++) {
		CLEANUP(buf) struct buf have = { 0 };
		uint8_t *der = NULL;
		int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(sk_X509_value(certs, i)), &der);

		if (len > 0)
			buf_append(&have, der, (size_t)len);
		OPENSSL_free(der);
		if (len > 0 && bytes_equal(buf_bytes(&have), spki))
			return sk_X509_value(certs, i);
	}
	return NULL;
}

static int
fill_trust(STACK_OF(X509) *cas, X509_STORE *store, STACK_OF(X509) *untrusted, struct err *e)
{
	int i, roots = 0;

	for (i = 0; i < sk_X509_num(cas); i++) {
		X509 *ca = sk_X509_value(cas, i);
		bool self_issued = X509_NAME_cmp(X509_get_subject_name(ca), X509_get_issuer_name(ca)) == 0;

		if ((self_issued ? X509_STORE_add_cert(store, ca) : sk_X509_push(untrusted, ca)) <= 0)
			return err_ossl(e, ERR_NOMEM, "trust anchors");
		roots += self_issued ? 1 : 0;
	}
	if (roots > 0)
		return 0;
	for (i = 0; i < sk_X509_num(cas); i++)
		if (X509_STORE_add_cert(store, sk_X509_value(cas, i)) != 1)
			return err_ossl(e, ERR_NOMEM, "trust anchors");
	(void)X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
	return 0;
}

/* A stack that borrows its certificates. */
static inline void
borrowed_free(STACK_OF(X509) *certs)
{
	sk_X509_free(certs);
}
DEFINE_CLEANUP(borrowed, STACK_OF(X509) *, borrowed_free);

int
chain_check(X509 *cert, STACK_OF(X509) *extra, STACK_OF(X509) *cas, struct err *e)
{
	CLEANUP(X509_STORE) X509_STORE *store = X509_STORE_new();
	CLEANUP(X509_STORE_CTX) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	CLEANUP(borrowed) STACK_OF(X509) *untrusted = sk_X509_new_null();
	int i;

	if (store == NULL || ctx == NULL || untrusted == NULL)
		return err_ossl(e, ERR_NOMEM, "chain");
	for (i = 0; i < sk_X509_num(extra); i++)
		if (sk_X509_push(untrusted, sk_X509_value(extra, i)) <= 0)
			return err_ossl(e, ERR_NOMEM, "chain");
	if (fill_trust(cas, store, untrusted, e) != 0)
		return -1;
	if (X509_STORE_CTX_init(ctx, store, cert, untrusted) != 1)
		return err_ossl(e, ERR_NOMEM, "chain");
	X509_STORE_CTX_set_depth(ctx, CHAIN_DEPTH_MAX);
	if (X509_verify_cert(ctx) == 1)
		return 0;
	ERR_clear_error();
	return err_set(e, ERR_MALFORMED, "the certificate does not chain to the CA certificates: %s",
		X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
}

void
answer_reason(const struct http_answer *answer, char *out, size_t size)
{
	struct bytes body = buf_bytes(&answer->body);
	size_t len = 0;

	out[0] = '\0';
	if (!http_type_is(http_field(answer, "Content-Type"), "text/plain"))
		return;
	while (len < body.len && body.at[len] != '\n' && body.at[len] != '\r')
		len++;
	text_escape(out, size, bytes_of(body.at, len));
}
