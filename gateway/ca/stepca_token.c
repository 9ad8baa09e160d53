#include "gateway/ca/stepca_token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/ecdsa.h>
#include <openssl/hmac.h>

#define COORDINATE 32 /* octets, of a point and of a signature's parts: RFC 7518, section 3.4 */

DEFINE_CLEANUP(ECDSA_SIG, ECDSA_SIG *, ECDSA_SIG_free);

/* The uncompressed point: a key that was decoded the quick way (gateway/http/quickkeys.h) knows no parameters by name. */
static int
point_of(EVP_PKEY *key, uint8_t out[1 + 2 * COORDINATE], struct err *e)
{
	uint8_t *point = NULL;
	size_t len = EVP_PKEY_get1_encoded_public_key(key, &point);
	bool good = len == 1 + 2 * COORDINATE && point[0] == 4;

	if (good)
		memcpy(out, point, len);
	OPENSSL_free(point);
	return good ? 0 : err_ossl(e, ERR_MALFORMED, "the provisioner's key");
}

/* RFC 7638, section 3.2: the required members in the order of their names. */
static int
thumbprint(EVP_PKEY *key, char out[STEPCA_KID_MAX], struct err *e)
{
	CLEANUP(buf) struct buf jwk = { 0 }, text = { 0 };
	uint8_t digest[32], point[1 + 2 * COORDINATE];

	if (point_of(key, point, e) != 0)
		return -1;
	buf_append_text(&jwk, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"");
	base64url_encode(&jwk, bytes_of(point + 1, COORDINATE));
	buf_append_text(&jwk, "\",\"y\":\"");
	base64url_encode(&jwk, bytes_of(point + 1 + COORDINATE, COORDINATE));
	buf_append_text(&jwk, "\"}");
	if (buf_failed(&jwk))
		return err_set(e, ERR_NOMEM, "no memory for a key's name");
	if (sha256(buf_bytes(&jwk), digest, e) != 0)
		return -1;
	base64url_encode(&text, bytes_of(digest, sizeof digest));
	(void)snprintf(out, STEPCA_KID_MAX, "%s", buf_text(&text));
	return 0;
}

int
stepca_signer_init(struct stepca_signer *signer, EVP_PKEY *key, const char *kid, struct err *e)
{
	struct key_facts facts;
	uint8_t *der = NULL;
	int len, rc;

	key_facts_of(key, &facts);
	if (facts.kind != KEY_EC_P256)
		return err_set(e, ERR_MALFORMED, "the provisioner's key must be EC P-256 (tokens are signed with ES256)");
	if (kid != NULL && strlen(kid) >= STEPCA_KID_MAX)
		return err_set(e, ERR_MALFORMED, "user, the provisioner's key id, is longer than %d characters",
			STEPCA_KID_MAX - 1);
	len = i2d_PrivateKey(key, &der);
	if (len <= 0)
		return err_ossl(e, ERR_MALFORMED, "the provisioner's key");
	rc = sha256(bytes_of(der, (size_t)len), signer->secret, e);
	OPENSSL_clear_free(der, (size_t)len);
	signer->key = key;
	if (rc == 0 && kid == NULL)
		return thumbprint(key, signer->kid, e);
	(void)snprintf(signer->kid, sizeof signer->kid, "%s", kid == NULL ? "" : kid);
	return rc;
}

int
stepca_token_id(const struct stepca_signer *signer, const char *request_id, const char *generation,
	char out[STEPCA_ID_MAX], struct err *e)
{
	CLEANUP(buf) struct buf text = { 0 };
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	buf_printf(&text, "step-ca token\n%s\n%s", request_id, generation);
	if (buf_failed(&text))
		return err_set(e, ERR_NOMEM, "no memory for a token");
	if (HMAC(ossl_sha256(), signer->secret, (int)sizeof signer->secret, text.at, text.len, mac, &len) == NULL ||
	    2 * len + 1 > STEPCA_ID_MAX)
		return err_ossl(e, ERR_BUG, "HMAC");
	hex_encode(bytes_of(mac, len), out);
	return 0;
}

/* "r" and "s" side by side instead of DER (RFC 7518, section 3.4). */
static int
sign_es256(EVP_PKEY *key, struct bytes text, uint8_t out[2 * COORDINATE], struct err *e)
{
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	CLEANUP(ECDSA_SIG) ECDSA_SIG *parts = NULL;
	uint8_t der[80];
	const uint8_t *at = der;
	size_t len = sizeof der;

	if (ctx == NULL || EVP_DigestSignInit(ctx, NULL, ossl_sha256(), NULL, key) != 1 ||
	    EVP_DigestSign(ctx, der, &len, text.at, text.len) != 1)
		return err_ossl(e, ERR_BUG, "signing a token");
	parts = d2i_ECDSA_SIG(NULL, &at, (long)len);
	if (parts == NULL || BN_bn2binpad(ECDSA_SIG_get0_r(parts), out, COORDINATE) != COORDINATE ||
	    BN_bn2binpad(ECDSA_SIG_get0_s(parts), out + COORDINATE, COORDINATE) != COORDINATE)
		return err_ossl(e, ERR_BUG, "signing a token");
	return 0;
}

static int
part_put(struct buf *out, const json_t *document, struct err *e)
{
	char *text = document == NULL ? NULL : json_dumps(document, JSON_COMPACT);

	if (text == NULL)
		return err_set(e, ERR_NOMEM, "no memory for a token");
	base64url_encode(out, bytes_of_text(text));
	free(text);
	return 0;
}

int
stepca_token_sign(const struct stepca_signer *signer, const json_t *claims, struct buf *out, struct err *e)
{
	json_t *header = json_pack("{s:s, s:s, s:s}", "alg", "ES256", "kid", signer->kid, "typ", "JWT");
	uint8_t signature[2 * COORDINATE];
	size_t begin = out->len;
	int rc = part_put(out, header, e);

	json_decref(header);
	if (rc != 0)
		return -1;
	buf_append_u8(out, '.');
	if (part_put(out, claims, e) != 0)
		return -1;
	if (buf_failed(out))
		return err_set(e, ERR_NOMEM, "no memory for a token");
	if (sign_es256(signer->key, bytes_of(out->at + begin, out->len - begin), signature, e) != 0)
		return -1;
	buf_append_u8(out, '.');
	base64url_encode(out, bytes_of(signature, sizeof signature));
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for a token") : 0;
}
