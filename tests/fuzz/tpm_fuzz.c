/*
 * TPM structures and the verifier behind them, which may pass nothing for a request without a key. The
 * first octet says what the rest is.
 */
#include <stdlib.h>
#include <string.h>

#include "base/key.h"
#include "policy/attest/attest.h"
#include "policy/attest/credential.h"
#include "policy/attest/tpm_wire.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct err e;

	(void)argc;
	(void)argv;
	return ossl_init(&e) != 0 || key_init(&e) != 0;
}

static void
demand(bool condition)
{
	if (!condition)
		abort();
}

static void
public_area(struct bytes in)
{
	struct tpm_public out;
	struct err e = { 0 };

	if (tpm_public_parse(in, &out, &e) != 0) {
		demand(e.code == ERR_MALFORMED || e.code == ERR_UNSUPPORTED || e.code == ERR_LIMIT);
		return;
	}
	demand(out.key != NULL && out.name_len >= 34 && out.name_len <= TPM_NAME_MAX);
	demand(tpm_public_is_ak(&out, &e) == 0 || e.code == ERR_DENIED);
	tpm_public_clear(&out);
}

static void
wire(struct bytes in)
{
	struct tpm_attest attest;
	struct tpm_signature signature;
	struct err e;

	if (tpm_attest_parse(in, &attest, &e) == 0)
		demand(attest.nonce.len <= TPM_DATA_MAX && attest.name.len <= TPM_DATA_MAX);
	if (tpm_signature_parse(in, &signature, &e) == 0)
		demand(signature.rsa.len <= TPM_RSA_MAX && signature.r.len <= TPM_ECC_MAX && signature.s.len <= TPM_ECC_MAX);
}

static void
ek(struct bytes in)
{
	CLEANUP(X509) X509 *cert = NULL;
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	struct err e;
	char hex[65];

	if (x509_from_der(in, &cert, &e) == 0 && tpm_ek_key(cert, &key, hex, &e) == 0)
		demand(key != NULL && strlen(hex) == 64);
}

static bool
any_nonce(void *arg, struct bytes nonce)
{
	(void)arg;
	(void)nonce;
	return true;
}

/* Everybody is bound and every nonce ours, but the request has no key, so that nothing may pass. */
static int
any_ak(void *arg, const uint8_t spki_sha256[32], struct attest_ak *out)
{
	(void)arg;
	(void)spki_sha256;
	*out = (struct attest_ak){ .ek_sha256 = "ee" };
	return 1;
}

static void
verify(struct bytes in)
{
	static const uint8_t spki[] = { 0x30, 0x00 };
	const struct attest_settings settings = { .name = "t", .tpm_ak_by_certificate = true, .tpm_ak_by_binding = true };
	struct attest_input input = { .spki = { spki, sizeof spki }, .is_nonce = any_nonce, .find_ak = any_ak };
	struct attestation out;
	struct evidence evidence;
	struct err e;

	if (evidence_parse(in, &evidence, &e) != 0)
		return;
	input.evidence = &evidence;
	for (input.statement = 0; input.statement <= evidence.statement_count; input.statement++) {
		demand(attest_tpm.verify(&settings, &input, &out, &e) == 0);
		demand(!out.valid && out.check_count > 0 && out.anchor_count == 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in;

	if (size == 0)
		return 0;
	in = bytes_of(data + 1, size - 1);
	switch (data[0]) {
	case 0:
		public_area(in);
		break;
	case 1:
		wire(in);
		break;
	case 2:
		ek(in);
		break;
	default:
		verify(in);
	}
	return 0;
}
