/*
 * tool: our side of what tests do with a TPM.
 *
 *   tool make EK NAME SECRET OUT      a credential for the AK of this name, as the file of tpm2_makecredential;
 *                                     EK is a certificate (DER) or a public key (PEM); prints the EK's digest
 *   tool name AREA                    the name and the SHA-256 of the SubjectPublicKeyInfo of a TPMT_PUBLIC
 *   tool ek CERT ROOTS NOW            judges an EK's certificate (DER) and prints the EK's digest. 0: valid
 *   tool verify BUNDLE SPKI NONCE NOW ROOTS BOUND
 *                                     judges the bundle's first statement; ROOTS: PEM file; BOUND: the SHA-256
 *                                     of an AK's key that is bound; "-" for none. 0: valid
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/pem.h>

#include "base/key.h"
#include "policy/attest/attest.h"
#include "policy/attest/credential.h"

#define FILE_MAX 65536
#define CREDENTIAL_MAGIC "\xba\xdc\xc0\xde\0\0\0\1" /* of tpm2-tools */

static int
fail(const char *what, const struct err *e)
{
	(void)fprintf(stderr, "tool: %s: %s\n", what, e->text);
	return 1;
}

static int
read_file(const char *path, struct buf *out, struct err *e)
{
	FILE *in = fopen(path, "rb");
	uint8_t octets[FILE_MAX];
	size_t len;

	if (in == NULL)
		return err_set(e, ERR_BUG, "%s cannot be read", path);
	len = fread(octets, 1, sizeof octets, in);
	(void)fclose(in);
	buf_append(out, octets, len);
	return 0;
}

static int
write_file(const char *path, const struct buf *b, struct err *e)
{
	FILE *out = fopen(path, "wb");
	bool written = out != NULL && fwrite(b->at, 1, b->len, out) == b->len;

	if (out != NULL && fclose(out) != 0)
		written = false;
	return written ? 0 : err_set(e, ERR_BUG, "%s cannot be written", path);
}

static int
hex_of(const char *text, uint8_t *out, size_t max, size_t *len, struct err *e)
{
	*len = strlen(text) / 2;
	if (*len > max)
		return err_set(e, ERR_BUG, "%s is too long", text);
	return hex_decode(bytes_of_text(text), out, *len, e);
}

/* A certificate or a public key. */
static int
read_ek(const char *path, EVP_PKEY **out, char hex[65], struct err *e)
{
	CLEANUP(buf) struct buf file = { 0 };
	CLEANUP(X509) X509 *cert = NULL;
	BIO *pem;

	if (read_file(path, &file, e) != 0)
		return -1;
	if (file.len != 0 && file.at[0] == 0x30)
		return x509_from_der(buf_bytes(&file), &cert, e) != 0 ? -1 : tpm_ek_key(cert, out, hex, e);
	pem = BIO_new_mem_buf(file.at, (int)file.len);
	*out = PEM_read_bio_PUBKEY(pem, NULL, NULL, NULL);
	BIO_free(pem);
	if (*out == NULL)
		return err_ossl(e, ERR_MALFORMED, path);
	return tpm_ek_digest(*out, hex, e);
}

static int
make(char **argv)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *ek = NULL;
	CLEANUP(buf) struct buf out = { 0 };
	CLEANUP(buf) struct buf sealed = { 0 };
	uint8_t name[TPM_NAME_MAX], secret[CREDENTIAL_SECRET_LEN];
	size_t name_len, secret_len;
	struct err e = { 0 };
	char hex[65];

	if (read_ek(argv[0], &ek, hex, &e) != 0 || hex_of(argv[1], name, sizeof name, &name_len, &e) != 0 ||
	    hex_of(argv[2], secret, sizeof secret, &secret_len, &e) != 0)
		return fail("make", &e);
	buf_append(&out, CREDENTIAL_MAGIC, 8);
	if (tpm_make_credential(ek, bytes_of(name, name_len), secret, &out, &sealed, &e) != 0)
		return fail("make", &e);
	buf_append_bytes(&out, buf_bytes(&sealed));
	if (write_file(argv[3], &out, &e) != 0)
		return fail("make", &e);
	(void)printf("%s\n", hex);
	return 0;
}

static int
name(char **argv)
{
	CLEANUP(buf) struct buf area = { 0 };
	struct tpm_public public_area = { 0 };
	char hex[2 * TPM_NAME_MAX + 1], digest[65];
	struct err e = { 0 };

	if (read_file(argv[0], &area, &e) != 0 || tpm_public_parse(buf_bytes(&area), &public_area, &e) != 0)
		return fail("name", &e);
	hex_encode(bytes_of(public_area.name, public_area.name_len), hex);
	hex_encode(bytes_of(public_area.spki_sha256, 32), digest);
	(void)printf("%s %s\n", hex, digest);
	tpm_public_clear(&public_area);
	return 0;
}

static void print(const struct attestation *out);

static int
ek(char **argv)
{
	CLEANUP(buf) struct buf cert = { 0 };
	CLEANUP(x509_stack) STACK_OF(X509) *roots = NULL;
	struct attest_settings settings = { .name = "tpms" };
	struct attestation out = { .check_count = 0 };
	EVP_PKEY *key = NULL;
	struct err e = { 0 };
	struct bytes der;
	char hex[65];
	int rc;

	if (read_file(argv[0], &cert, &e) != 0 || x509_load_file(argv[1], &roots, &e) != 0)
		return fail("ek", &e);
	settings.roots = roots;
	der = buf_bytes(&cert);
	rc = attest_ek_chain(&settings, &der, 1, strtoll(argv[2], NULL, 10), &key, hex, &out);
	print(&out);
	if (rc == 0)
		(void)printf("ek %s\n", hex);
	EVP_PKEY_free(key);
	return rc == 0 ? 0 : 1;
}

struct known {
	uint8_t nonce[ATTEST_NONCE_MAX];
	size_t nonce_len;
	uint8_t ak[32];
	bool has_ak;
};

static bool
is_nonce(void *arg, struct bytes nonce)
{
	const struct known *known = arg;

	return bytes_equal(nonce, bytes_of(known->nonce, known->nonce_len));
}

static int
find_ak(void *arg, const uint8_t spki_sha256[32], struct attest_ak *out)
{
	const struct known *known = arg;

	if (!known->has_ak || memcmp(known->ak, spki_sha256, 32) != 0)
		return 0;
	*out = (struct attest_ak){ .ek_sha256 = "" };
	memset(out->ek_sha256, 'e', 64);
	return 1;
}

static void
print(const struct attestation *out)
{
	size_t i;

	for (i = 0; i < out->check_count; i++)
		(void)printf("%s %s %s\n", out->checks[i].passed ? "pass" : "fail", out->checks[i].name,
			out->checks[i].saw);
	for (i = 0; i < out->claim_count; i++)
		(void)printf("claim %s %s\n", out->claims[i].name, out->claims[i].value);
	for (i = 0; i < out->anchor_count; i++)
		(void)printf("anchor %s %s\n", anchor_type_name(out->anchors[i].type), out->anchors[i].value);
}

static int
verify(char **argv)
{
	CLEANUP(buf) struct buf bundle = { 0 };
	CLEANUP(buf) struct buf spki = { 0 };
	CLEANUP(x509_stack) STACK_OF(X509) *roots = NULL;
	struct attest_settings settings = { .name = "tpms", .tpm_ak_by_certificate = true, .tpm_ak_by_binding = true };
	struct attest_input in = { .is_nonce = is_nonce, .find_ak = find_ak };
	struct known known = { .nonce_len = 0 };
	struct evidence evidence;
	struct attestation out;
	struct err e = { 0 };
	size_t len;

	if (read_file(argv[0], &bundle, &e) != 0 || read_file(argv[1], &spki, &e) != 0 ||
	    hex_of(argv[2], known.nonce, sizeof known.nonce, &known.nonce_len, &e) != 0 ||
	    (strcmp(argv[4], "-") != 0 && x509_load_file(argv[4], &roots, &e) != 0) ||
	    (strcmp(argv[5], "-") != 0 && hex_of(argv[5], known.ak, sizeof known.ak, &len, &e) != 0) ||
	    evidence_parse(buf_bytes(&bundle), &evidence, &e) != 0)
		return fail("verify", &e);
	known.has_ak = strcmp(argv[5], "-") != 0;
	settings.roots = roots;
	in.evidence = &evidence;
	in.spki = buf_bytes(&spki);
	in.nonce_arg = &known;
	in.ak_arg = &known;
	in.now_s = strtoll(argv[3], NULL, 10);
	if (attest_tpm.verify(&settings, &in, &out, &e) != 0)
		return fail("verify", &e);
	print(&out);
	return out.valid ? 0 : 1;
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int arguments;
		int (*run)(char **argv);
	} commands[] = { { "make", 4, make }, { "name", 1, name }, { "ek", 3, ek }, { "verify", 6, verify } };
	struct err e = { 0 };
	size_t i;

	if (ossl_init(&e) != 0 || key_init(&e) != 0)
		return fail("init", &e);
	for (i = 0; argc > 1 && i < sizeof commands / sizeof commands[0]; i++)
		if (strcmp(argv[1], commands[i].name) == 0 && argc == commands[i].arguments + 2)
			return commands[i].run(argv + 2);
	(void)fprintf(stderr, "usage: tool make|name|ek|verify ...\n");
	return 2;
}
