#include <string.h>

#include "est/keygen.h"
#include "gateway/core/enroll_internal.h"

static int
make_key(struct attempt *a, struct err *e)
{
	uint8_t *der = NULL;
	int len;

	EVP_PKEY_free(a->made_key);
	a->made_key = NULL;
	buf_clear(&a->made_spki);
	if (est_keygen_make(a->profile->keygen.kind, a->profile->keygen.bits_min, &a->made_key, e) != 0)
		return -1;
	len = i2d_PUBKEY(a->made_key, &der);
	if (len <= 0)
		return err_ossl(e, ERR_BUG, "generated key");
	buf_append(&a->made_spki, der, (size_t)len);
	OPENSSL_free(der);
	return 0;
}

int
attempt_issue(struct attempt *a, struct err *e)
{
	const struct world_ca *ca = world_ca_of(a->world, a->request->label->ca);
	struct ca_request request = { .spec = &a->decision.spec, .now_s = a->request->now_s };

	ca_answer_free(&a->answer);
	if (a->op == ENROLL_KEYGEN) {
		request.spki = buf_bytes(&a->made_spki);
		request.key_kind = a->profile->keygen.kind;
	} else {
		request.spki = a->csr->spki;
		request.key_kind = a->csr->facts.kind;
		request.csr = a->csr->der;
	}
	if (ca->ops->issue(ca->ca, &request, &a->answer, e) != 0)
		return -1;
	/* What comes from elsewhere is believed when it is what was approved. */
	if (a->answer.state == CA_ISSUED && !ca->ops->verified &&
	    ca_verify_issued(buf_bytes(&a->answer.cert), &request, sk_X509_value(ca->ops->chain(ca->ca), 0), e) != 0) {
		/* The policy said yes: it is not the device that is refused here, and operators must hear of it. */
		e->code = e->code == ERR_NOMEM ? ERR_NOMEM : ERR_BUG;
		return err_prefix(e, "CA %s gave another certificate than was approved", a->request->label->ca);
	}
	return 0;
}

static bool
has_key_id(X509 *cert, struct bytes id)
{
	const ASN1_OCTET_STRING *ski = cert == NULL ? NULL : X509_get0_subject_key_id(cert);

	return ski != NULL && bytes_equal(bytes_of(ASN1_STRING_get0_data(ski), (size_t)ASN1_STRING_length(ski)), id);
}

/*
 * RFC 7030, section 4.4.1.2: the identifier names a certificate of the client.
 * It is the one presented in TLS, or none: "If the server does not have the
 * key ... the server MUST terminate the request and return an error".
 */
static int
envelop(struct attempt *a, struct bytes pkcs8, struct err *e)
{
	struct est_keygen_recipient recipient = { 0 };
	uint8_t kek[KEYWRAP_KEY_LEN];
	int result;

	if (a->csr->asym_decrypt_key_id.len != 0) {
		if (!has_key_id(a->request->client_cert, a->csr->asym_decrypt_key_id))
			return err_set(e, ERR_MALFORMED,
				"AsymmetricDecryptKeyIdentifier is not the key identifier of the client certificate");
		recipient.cert = a->request->client_cert;
	} else {
		if (keywrap_derive(&a->world->master, a->asset.id, a->csr->decrypt_key_id, kek, e) != 0)
			return -1;
		recipient.kek = bytes_of(kek, sizeof kek);
		recipient.kek_id = a->csr->decrypt_key_id;
	}
	result = est_keygen_envelop(pkcs8, &recipient, a->world->signer, a->world->signer_key, &a->result->key, e);
	OPENSSL_cleanse(kek, sizeof kek);
	return result;
}

int
attempt_make_key(struct attempt *a, struct err *e)
{
	struct buf pkcs8 = { 0 };
	int result;

	if (a->op != ENROLL_KEYGEN)
		return 0;
	buf_free_secret(&a->result->key);
	if (make_key(a, e) != 0)
		return -1;
	if (est_keygen_pkcs8(a->made_key, &pkcs8, e) != 0) {
		buf_free_secret(&pkcs8);
		return -1;
	}
	a->result->key_encrypted = a->csr->asym_decrypt_key_id.len != 0 || a->csr->decrypt_key_id.len != 0;
	if (a->result->key_encrypted) {
		result = envelop(a, buf_bytes(&pkcs8), e);
		buf_free_secret(&pkcs8);
		return result;
	}
	a->result->key = pkcs8;
	return 0;
}
