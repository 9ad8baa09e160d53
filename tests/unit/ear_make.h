/* ear_make.h - a verifier's keys and tokens, made at run time. For tests of EAR and of the verifier. */
#ifndef TESTS_UNIT_EAR_MAKE_H
#define TESTS_UNIT_EAR_MAKE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/rsa.h>

#include "policy/attest/ear.h"

#define EAR_NOW 1800000000

/* Making a token cannot fail; the fuzz target has no cmocka. */
#define EAR_MUST(holds)                                                                                     \
	do {                                                                                                \
		if (!(holds))                                                                               \
			abort();                                                                            \
	} while (0)

/* The signature as JWS wants it: raw r and s for ECDSA, else as OpenSSL gives it. */
static inline void
ear_sign(EVP_PKEY *key, const char *algorithm, struct bytes data, struct buf *out)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	const EVP_MD *digest = strcmp(algorithm, "EdDSA") == 0 ? NULL :
		strstr(algorithm, "384") != NULL             ? EVP_sha384() :
							       EVP_sha256();
	EVP_PKEY_CTX *parameters = NULL;
	uint8_t raw[1024];
	size_t len = sizeof raw;

	EAR_MUST(EVP_DigestSignInit(ctx, &parameters, digest, NULL, key) == 1);
	if (algorithm[0] == 'P') {
		EAR_MUST(EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1);
		EAR_MUST(EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) == 1);
	}
	EAR_MUST(EVP_DigestSign(ctx, raw, &len, data.at, data.len) == 1);
	EVP_MD_CTX_free(ctx);
	if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC) {
		const unsigned char *at = raw;
		ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)len);
		int half = (EVP_PKEY_get_bits(key) + 7) / 8;
		uint8_t rs[132];

		EAR_MUST(sig != NULL);
		EAR_MUST(BN_bn2binpad(ECDSA_SIG_get0_r(sig), rs, half) == half);
		EAR_MUST(BN_bn2binpad(ECDSA_SIG_get0_s(sig), rs + half, half) == half);
		ECDSA_SIG_free(sig);
		base64url_encode(out, bytes_of(rs, 2 * (size_t)half));
		return;
	}
	base64url_encode(out, bytes_of(raw, len));
}

/* header and payload are JSON texts. */
static inline void
ear_token(EVP_PKEY *key, const char *algorithm, const char *header, const char *payload, struct buf *out)
{
	buf_clear(out);
	base64url_encode(out, bytes_of_text(header));
	buf_append_u8(out, '.');
	base64url_encode(out, bytes_of_text(payload));
	{
		struct buf signature = { 0 };

		ear_sign(key, algorithm, buf_bytes(out), &signature);
		buf_append_u8(out, '.');
		buf_append_bytes(out, buf_bytes(&signature));
		buf_free(&signature);
	}
	EAR_MUST(!buf_failed(out));
}

/* What a verifier says of a healthy device; the nonce fits nonce and spki. */
static inline void
ear_payload(struct bytes nonce, struct bytes spki, int64_t iat, const char *status, char *out, size_t size)
{
	uint8_t session[EAR_SESSION_NONCE_LEN];
	struct buf text = { 0 };
	struct err e;

	EAR_MUST(ear_session_nonce(nonce, spki, session, &e) == 0);
	base64url_encode(&text, bytes_of(session, sizeof session));
	(void)snprintf(out, size,
		"{\"eat_profile\":\"tag:github.com,2023:veraison/ear\",\"iss\":\"verifier\",\"iat\":%lld,\"exp\":%lld,"
		"\"eat_nonce\":\"%s\",\"submods\":{\"board\":{\"ear.status\":%s,"
		"\"ear.veraison.annotated-evidence\":{\"instance-id\":\"SN-7\"}}}}",
		(long long)iat, (long long)iat + 600, buf_text(&text), status);
	buf_free(&text);
}

static inline const struct attest_check *
check_of(const struct attestation *got, const char *name)
{
	size_t i;

	for (i = 0; i < got->check_count; i++)
		if (strcmp(got->checks[i].name, name) == 0)
			return &got->checks[i];
	return NULL;
}

#endif
