#include <openssl/err.h>
#include <string.h>

#include "policy/attest/attest.h"
#include "policy/attest/credential.h"

#define CHAIN_AUTH_LEVEL 1 /* 80 bits: no SHA-1 signatures, no RSA keys under 1024 bits */
#define EKU_EK "2.23.133.8.1" /* tcg-kp-EKCertificate (TCG EK Credential Profile, section 3.2.16) */

/* The names of checks are static; a verifier with a prefix that is not here gets the prefix alone. */
static const struct steps {
	const char *prefix, *certificate, *chain;
} known_steps[] = {
	{ "tpm.ak", "tpm.ak.certificate", "tpm.ak.chain" },
	{ "android", "android.certificate", "android.chain" },
	{ "yubikey", "yubikey.certificate", "yubikey.chain" },
};

static struct steps
steps_of(const char *prefix)
{
	size_t i;

	for (i = 0; i < sizeof known_steps / sizeof known_steps[0]; i++)
		if (strcmp(known_steps[i].prefix, prefix) == 0)
			return known_steps[i];
	return (struct steps){ prefix, prefix, prefix };
}

/* All of them, the leaf first. NULL: the check has failed. */
static STACK_OF(X509) *
decode(const struct bytes *certs, size_t count, const char *name, struct attestation *out)
{
	CLEANUP(x509_stack) STACK_OF(X509) *stack = sk_X509_new_null();
	STACK_OF(X509) *decoded = NULL;
	X509 *cert = NULL;
	struct err e;
	size_t i;

	if (count == 0 || count > EVIDENCE_CERTS_MAX) {
		attest_check(out, name, false, "%zu certificates", count);
		return NULL;
	}
	for (i = 0; i < count; i++) {
		if (x509_from_der(certs[i], &cert, &e) != 0) {
			attest_check(out, name, false, "certificate %zu: %s", i + 1, e.text);
			return NULL;
		}
		if (stack == NULL || sk_X509_push(stack, cert) <= 0) {
			X509_free(cert);
			attest_check(out, name, false, "no memory");
			return NULL;
		}
	}
	decoded = stack;
	stack = NULL;
	return decoded;
}

/* Where OpenSSL stopped, and why. */
static bool
verify(const struct attest_settings *settings, X509 *leaf, STACK_OF(X509) *others, int64_t now_s, const char *name,
	struct attestation *out)
{
	CLEANUP(X509_STORE_CTX) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	STACK_OF(X509) *chain = NULL;
	X509_VERIFY_PARAM *param;
	char root[64];
	int result;

	if (settings->roots == NULL || sk_X509_num(settings->roots) == 0)
		return attest_check(out, name, false, "no roots are configured");
	if (ctx == NULL || X509_STORE_CTX_init(ctx, NULL, leaf, others) != 1)
		return attest_check(out, name, false, "no memory");
	X509_STORE_CTX_set0_trusted_stack(ctx, settings->roots);
	param = X509_STORE_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
	X509_VERIFY_PARAM_set_depth(param, EVIDENCE_CERTS_MAX);
	X509_VERIFY_PARAM_set_auth_level(param, CHAIN_AUTH_LEVEL);
	/* An intermediate may be the anchor. X509_V_FLAG_X509_STRICT is left out on purpose: see attest.h. */
	if (X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN) != 1 ||
	    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_ANY) != 1)
		return attest_check(out, name, false, "no memory");
	result = X509_verify_cert(ctx);
	ERR_clear_error();
	if (result != 1)
		return attest_check(out, name, false, "certificate %d: %s", X509_STORE_CTX_get_error_depth(ctx) + 1,
			X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	chain = X509_STORE_CTX_get0_chain(ctx);
	x509_name_text(X509_get_subject_name(sk_X509_value(chain, sk_X509_num(chain) - 1)), root, sizeof root);
	return attest_check(out, name, true, "%d to %s", sk_X509_num(chain), root);
}

int
attest_chain(const struct attest_settings *settings, const char *prefix, const struct bytes *certs, size_t count,
	int64_t now_s, X509 **leaf, struct attestation *out)
{
	CLEANUP(x509_stack) STACK_OF(X509) *stack = NULL;
	CLEANUP(X509) X509 *first = NULL;
	struct steps steps = steps_of(prefix);
	bool has_key;

	stack = decode(certs, count, steps.certificate, out);
	if (stack == NULL)
		return -1;
	first = sk_X509_shift(stack);
	/* A certificate whose key is nonsense is decoded all the same. */
	has_key = X509_get0_pubkey(first) != NULL;
	ERR_clear_error();
	if (!attest_check(out, steps.certificate, has_key, "%zu%s", count,
		    has_key ? "" : "; the first one's key does not decode") ||
	    !verify(settings, first, stack, now_s, steps.chain, out))
		return -1;
	*leaf = first;
	first = NULL;
	return 0;
}

/*
 * Another key below the maker's roots, whose private half somebody has outside a TPM, must not count as an EK. Not every
 * maker writes the extended usage; who writes one has to mean EKs.
 */
static bool
is_for_ek(X509 *cert)
{
	uint32_t usage = X509_get_key_usage(cert); /* every bit without the extension */

	if (X509_get_ext_by_NID(cert, NID_ext_key_usage, -1) >= 0)
		return x509_has_usage(cert, EKU_EK);
	return (usage & (KU_KEY_ENCIPHERMENT | KU_KEY_AGREEMENT)) != 0 &&
		(usage & (KU_DIGITAL_SIGNATURE | KU_KEY_CERT_SIGN)) == 0;
}

int
attest_ek_chain(const struct attest_settings *settings, const struct bytes *certs, size_t count, int64_t now_s,
	EVP_PKEY **ek, char ek_sha256[65], struct attestation *out)
{
	CLEANUP(x509_stack) STACK_OF(X509) *stack = decode(certs, count, "tpm.ek.certificate", out);
	CLEANUP(X509) X509 *first = NULL;
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	char digest[65];
	struct err e;

	if (stack == NULL)
		return -1;
	first = sk_X509_shift(stack);
	if (tpm_ek_key(first, &key, digest, &e) != 0) {
		attest_check(out, "tpm.ek.certificate", false, "%s", e.text);
		return -1;
	}
	/*
	 * OpenSSL builds no chain for a certificate without a key it knows. The key may be replaced by itself in its
	 * common form: the signature is checked over the octets that were decoded.
	 */
	if (X509_get0_pubkey(first) == NULL && X509_set_pubkey(first, key) != 1) {
		attest_check(out, "tpm.ek.certificate", false, "no memory");
		return -1;
	}
	ERR_clear_error();
	if (!attest_check(out, "tpm.ek.certificate", true, "EK %s", digest) ||
	    !verify(settings, first, stack, now_s, "tpm.ek.chain", out) ||
	    !attest_check(out, "tpm.ek.usage", is_for_ek(first), "extended or plain key usage of an EK"))
		return -1;
	memcpy(ek_sha256, digest, sizeof digest);
	*ek = key;
	key = NULL;
	return 0;
}
