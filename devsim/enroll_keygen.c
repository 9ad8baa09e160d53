/*
 * devsim enroll --op keygen: the key that the server made (RFC 7030, section 4.4.2).
 */
#include "devsim/enroll.h"
#include "est/body.h"
#include "est/keygen.h"

#define BOUNDARY_MAX 71 /* RFC 2046, section 5.1.1: 70 characters */

static void
secret_auto(struct buf *b)
{
	buf_free_secret(b);
}

/* A signature on the key: its signer has to chain to the CA certificates when those are at hand. */
static int
open_encrypted(struct enroll_run *run, struct bytes envelope, struct err *e)
{
	struct est_keygen_recipient recipient = { .kek = bytes_of(run->kek, run->kek_len),
		.kek_id = bytes_of(run->kek_id, run->kek_id_len) };
	CLEANUP(secret) struct buf pkcs8 = { 0 };
	CLEANUP(X509) X509 *signer = NULL;

	if (run->kek_len == 0)
		recipient.cert = run->device.cert;
	if (est_keygen_open(envelope, &recipient, run->device.key, &pkcs8, &signer, e) != 0)
		return err_prefix(e, "encrypted key");
	if (signer != NULL && run->cas != NULL && chain_check(signer, run->certs, run->cas, e) != 0)
		return err_prefix(e, "signer of the key");
	return key_from_pkcs8(buf_bytes(&pkcs8), &run->made_key, e);
}

int
enroll_open_keygen(struct enroll_run *run, struct err *e)
{
	const struct http_answer *answer = &run->client.conn.answer;
	struct bytes type = http_field(answer, "Content-Type");
	CLEANUP(secret) struct buf key = { 0 };
	CLEANUP(buf) struct buf certs = { 0 };
	char boundary[BOUNDARY_MAX];

	if (!http_type_is(type, "multipart/mixed") || !http_parameter(type, "boundary", boundary, sizeof boundary))
		return err_set(e, ERR_MALFORMED, "the answer is no multipart/mixed with a boundary");
	if (est_keygen_split(buf_bytes(&answer->body), boundary, &key, &run->key_was_encrypted, &certs, e) != 0 ||
	    est_certs_decode(buf_bytes(&certs), &run->certs, e) != 0)
		return err_prefix(e, "answer");
	return enroll_take_key(run, buf_bytes(&key), e);
}

int
enroll_take_key(struct enroll_run *run, struct bytes key, struct err *e)
{
	bool asked = run->options.decrypt || run->kek_len != 0;

	if (asked != run->key_was_encrypted)
		return err_set(e, ERR_MALFORMED, asked ? "the key came in the clear, although encryption was asked for" :
			"the key came encrypted, although nobody asked for that");
	return asked ? open_encrypted(run, key, e) : key_from_pkcs8(key, &run->made_key, e);
}
