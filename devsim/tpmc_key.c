/*
 * Keys that sign in the TPM, and what its attestation key says of them.
 *
 * OpenSSL asks an EC_KEY_METHOD for signatures. That interface is deprecated in
 * favour of providers, but a provider of one key and one operation would be many
 * times this file; hence the definition on the next line, before any header.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "devsim/tpmc.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_tctildr.h>

#include "devsim/tpmc_internal.h"

#define EX_DATA 0 /* of an EC_KEY: the one that is the application's */

/* The hash is told from the digest's length; TPM2_ALG_NULL: no such digest is signed. */
static TPMT_SIG_SCHEME
ecdsa_of(size_t digest_len)
{
	TPM2_ALG_ID hash = digest_len == 32 ? TPM2_ALG_SHA256 : digest_len == 48 ? TPM2_ALG_SHA384 : digest_len == 64 ?
		TPM2_ALG_SHA512 : TPM2_ALG_NULL;

	return (TPMT_SIG_SCHEME){ .scheme = TPM2_ALG_ECDSA, .details.ecdsa.hashAlg = hash };
}

static int
key_load(const struct tpmc_key *key, ESYS_TR *out, TPM2B_PUBLIC **area, struct err *e)
{
	return tpmc_primary(key->tpmc, ESYS_TR_RH_OWNER, &key->template, out, area, e);
}

static int
tpm_sign(const struct tpmc_key *key, struct bytes digest, TPMT_SIGNATURE **out, struct err *e)
{
	static const TPMT_TK_HASHCHECK from_outside = { .tag = TPM2_ST_HASHCHECK, .hierarchy = TPM2_RH_NULL };
	const TPMT_SIG_SCHEME scheme = ecdsa_of(digest.len);
	TPM2B_DIGEST message = { .size = (UINT16)digest.len };
	ESYS_TR handle = ESYS_TR_NONE;
	TSS2_RC rc;

	if (scheme.details.ecdsa.hashAlg == TPM2_ALG_NULL)
		return err_set(e, ERR_UNSUPPORTED, "TPM: a digest of %zu octets", digest.len);
	memcpy(message.buffer, digest.at, digest.len);
	if (key_load(key, &handle, NULL, e) != 0)
		return -1;
	rc = Esys_Sign(key->tpmc->esys, handle, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &message, &scheme,
		&from_outside, out);
	tpmc_flush(key->tpmc, handle);
	return rc == TSS2_RC_SUCCESS ? 0 : tpmc_error(e, "TPM2_Sign", rc);
}

/* ECDSA-Sig-Value from the TPM's two numbers; the length, 0 on failure. */
static unsigned
put_signature(const TPMT_SIGNATURE *signature, uint8_t *out)
{
	const TPMS_SIGNATURE_ECDSA *ecdsa = &signature->signature.ecdsa;
	ECDSA_SIG *value = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(ecdsa->signatureR.buffer, ecdsa->signatureR.size, NULL);
	BIGNUM *s = BN_bin2bn(ecdsa->signatureS.buffer, ecdsa->signatureS.size, NULL);
	int len = 0;

	if (value != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(value, r, s) == 1)
		len = i2d_ECDSA_SIG(value, &out);
	else {
		BN_free(r);
		BN_free(s);
	}
	ECDSA_SIG_free(value);
	return len > 0 ? (unsigned)len : 0;
}

/* The signature's type is OpenSSL's; out has ECDSA_size() octets. */
static int
sign(int type, const unsigned char *digest, int digest_len, unsigned char *out, unsigned *out_len, const BIGNUM *inverse,
	const BIGNUM *r, EC_KEY *ec)
{
	const struct tpmc_key *key = EC_KEY_get_ex_data(ec, EX_DATA);
	TPMT_SIGNATURE *signature = NULL;
	struct err e;

	(void)type;
	(void)inverse;
	(void)r;
	if (key == NULL || tpm_sign(key, bytes_of(digest, (size_t)digest_len), &signature, &e) != 0) {
		ERR_raise_data(ERR_LIB_USER, ERR_R_OPERATION_FAIL, "%s", key == NULL ? "no key of a TPM" : e.text);
		return 0;
	}
	*out_len = put_signature(signature, out);
	Esys_Free(signature);
	return *out_len != 0;
}

static EC_KEY_METHOD *
method_new(void)
{
	int (*unused)(int, const unsigned char *, int, unsigned char *, unsigned *, const BIGNUM *, const BIGNUM *, EC_KEY *);
	int (*setup)(EC_KEY *, BN_CTX *, BIGNUM **, BIGNUM **);
	ECDSA_SIG *(*sign_sig)(const unsigned char *, int, const BIGNUM *, const BIGNUM *, EC_KEY *);
	EC_KEY_METHOD *method = EC_KEY_METHOD_new(EC_KEY_OpenSSL());

	if (method == NULL)
		return NULL;
	EC_KEY_METHOD_get_sign(method, &unused, &setup, &sign_sig);
	EC_KEY_METHOD_set_sign(method, sign, setup, sign_sig);
	return method;
}

static EC_KEY *
ec_of(const TPMS_ECC_POINT *point, const EC_KEY_METHOD *method)
{
	EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
	uint8_t octets[1 + 64] = { POINT_CONVERSION_UNCOMPRESSED };

	if (point->x.size > 32 || point->y.size > 32)
		return NULL;
	memcpy(octets + 33 - point->x.size, point->x.buffer, point->x.size);
	memcpy(octets + 65 - point->y.size, point->y.buffer, point->y.size);
	if (ec != NULL && EC_KEY_set_method(ec, method) == 1 && EC_KEY_oct2key(ec, octets, sizeof octets, NULL) == 1)
		return ec;
	EC_KEY_free(ec);
	return NULL;
}

static int
wrap(struct tpmc *tpmc, struct tpmc_key *key, const TPMS_ECC_POINT *point, EVP_PKEY **out, struct err *e)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *wrapped = EVP_PKEY_new();
	EC_KEY *ec;

	if (tpmc->method == NULL)
		tpmc->method = method_new();
	if (wrapped == NULL || tpmc->method == NULL)
		return err_ossl(e, ERR_NOMEM, "key of a TPM");
	ec = ec_of(point, tpmc->method);
	if (ec == NULL || EC_KEY_set_ex_data(ec, EX_DATA, key) != 1 || EVP_PKEY_assign_EC_KEY(wrapped, ec) != 1) {
		EC_KEY_free(ec);
		return err_ossl(e, ERR_BUG, "key of a TPM");
	}
	*out = wrapped;
	wrapped = NULL;
	return 0;
}

int
tpmc_key_open(struct tpmc *tpmc, struct bytes template, EVP_PKEY **out, struct err *e)
{
	struct tpmc_key *key = &tpmc->keys[tpmc->key_count];
	ESYS_TR handle = ESYS_TR_NONE;
	TPM2B_PUBLIC *area = NULL;
	int result;

	if (tpmc->key_count == TPMC_KEYS_MAX)
		return err_set(e, ERR_LIMIT, "more than %d keys of one TPM", TPMC_KEYS_MAX);
	key->tpmc = tpmc;
	if (tpmc_template_read(template, &key->template, e) != 0 || key_load(key, &handle, &area, e) != 0)
		return -1;
	tpmc_flush(tpmc, handle);
	result = wrap(tpmc, key, &area->publicArea.unique.ecc, out, e);
	Esys_Free(area);
	if (result == 0)
		tpmc->key_count++;
	return result;
}

static int
put_statement(const TPM2B_ATTEST *statement, const TPMT_SIGNATURE *signed_by, struct buf *attest, struct buf *signature,
	struct err *e)
{
	uint8_t octets[sizeof *signed_by];
	size_t len = 0;

	if (Tss2_MU_TPMT_SIGNATURE_Marshal(signed_by, octets, sizeof octets, &len) != TSS2_RC_SUCCESS)
		return err_set(e, ERR_BUG, "signature of a TPM");
	buf_append(attest, statement->attestationData, statement->size);
	buf_append(signature, octets, len);
	return buf_failed(attest) || buf_failed(signature) ? err_set(e, ERR_NOMEM, "no memory for evidence") : 0;
}

int
tpmc_certify(struct tpmc *tpmc, struct bytes template, struct bytes nonce, struct buf *attest, struct buf *signature,
	struct buf *area, struct err *e)
{
	static const TPMT_SIG_SCHEME own = { .scheme = TPM2_ALG_NULL };
	struct tpmc_key key = { .tpmc = tpmc };
	ESYS_TR handle = ESYS_TR_NONE, ak = ESYS_TR_NONE;
	TPM2B_PUBLIC ak_template = tpmc_template_ak(), *public_area = NULL;
	TPM2B_DATA qualifying = { .size = (UINT16)nonce.len };
	TPM2B_ATTEST *statement = NULL;
	TPMT_SIGNATURE *by_ak = NULL;
	TSS2_RC rc = TSS2_RC_SUCCESS;
	int result;

	if (nonce.len > sizeof qualifying.buffer)
		return err_set(e, ERR_LIMIT, "a nonce of %zu octets", nonce.len);
	if (nonce.len != 0)
		memcpy(qualifying.buffer, nonce.at, nonce.len);
	result = tpmc_template_read(template, &key.template, e);
	if (result == 0)
		result = key_load(&key, &handle, &public_area, e);
	if (result == 0)
		result = tpmc_primary(tpmc, ESYS_TR_RH_ENDORSEMENT, &ak_template, &ak, NULL, e);
	if (result == 0)
		rc = Esys_Certify(tpmc->esys, handle, ak, ESYS_TR_PASSWORD, ESYS_TR_PASSWORD, ESYS_TR_NONE, &qualifying, &own,
			&statement, &by_ak);
	tpmc_flush(tpmc, handle);
	tpmc_flush(tpmc, ak);
	if (result == 0 && rc != TSS2_RC_SUCCESS)
		result = tpmc_error(e, "TPM2_Certify", rc);
	if (result == 0 && (put_statement(statement, by_ak, attest, signature, e) != 0 ||
		tpmc_put_area(public_area, area, e) != 0))
		result = -1;
	Esys_Free(statement);
	Esys_Free(by_ak);
	Esys_Free(public_area);
	return result;
}

void
tpmc_close(struct tpmc *tpmc)
{
	if (tpmc == NULL)
		return;
	if (tpmc->esys != NULL)
		Esys_Finalize(&tpmc->esys);
	if (tpmc->tcti != NULL)
		Tss2_TctiLdr_Finalize(&tpmc->tcti);
	if (tpmc->method != NULL)
		EC_KEY_METHOD_free(tpmc->method);
	free(tpmc);
}
