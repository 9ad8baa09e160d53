#include <openssl/err.h>
#include <openssl/provider.h>

#include "scep/read.h"

/* Written by scep_init() before there are threads, only read afterwards. */
static struct digest {
	unsigned bit;
	int nid, signature_nid;
	const char *name;
	EVP_MD *md;
} digests[] = {
	{ SCEP_SHA256, NID_sha256, NID_sha256WithRSAEncryption, "SHA2-256", NULL },
	{ SCEP_SHA1, NID_sha1, NID_sha1WithRSAEncryption, "SHA1", NULL },
	{ SCEP_SHA512, NID_sha512, NID_sha512WithRSAEncryption, "SHA2-512", NULL },
	{ SCEP_SHA384, NID_sha384, NID_sha384WithRSAEncryption, "SHA2-384", NULL },
	{ SCEP_MD5, NID_md5, NID_md5WithRSAEncryption, "MD5", NULL },
};

static struct cipher {
	unsigned bit;
	int nid;
	const char *name;
	EVP_CIPHER *cipher;
} ciphers[] = {
	{ SCEP_AES128, NID_aes_128_cbc, "AES-128-CBC", NULL },
	{ SCEP_AES256, NID_aes_256_cbc, "AES-256-CBC", NULL },
	{ SCEP_AES192, NID_aes_192_cbc, "AES-192-CBC", NULL },
	{ SCEP_3DES, NID_des_ede3_cbc, "DES-EDE3-CBC", NULL },
	{ SCEP_DES, NID_des_cbc, "DES-CBC", NULL },
};

#define DIGESTS (sizeof digests / sizeof digests[0])
#define CIPHERS (sizeof ciphers / sizeof ciphers[0])

static uint8_t secret[SCEP_SECRET_LEN];
static bool ready;

/* A library context with the legacy provider alone; the default one never hears of it. */
static EVP_CIPHER *
fetch_legacy(const char *name)
{
	OSSL_LIB_CTX *legacy = OSSL_LIB_CTX_new();
	EVP_CIPHER *cipher = NULL;

	if (legacy != NULL && OSSL_PROVIDER_load(legacy, "legacy") != NULL)
		cipher = EVP_CIPHER_fetch(legacy, name, NULL);
	/* The cipher lives as long as its context, which is as long as the process. */
	if (cipher == NULL)
		OSSL_LIB_CTX_free(legacy);
	ERR_clear_error();
	return cipher;
}

static int
fetch_all(struct err *e)
{
	size_t i;

	for (i = 0; i < DIGESTS; i++) {
		digests[i].md = EVP_MD_fetch(NULL, digests[i].name, NULL);
		if (digests[i].md == NULL)
			return err_ossl(e, ERR_BUG, digests[i].name);
	}
	for (i = 0; i < CIPHERS; i++) {
		if (ciphers[i].bit == SCEP_DES)
			continue;
		ciphers[i].cipher = EVP_CIPHER_fetch(NULL, ciphers[i].name, NULL);
		if (ciphers[i].cipher == NULL)
			return err_ossl(e, ERR_BUG, ciphers[i].name);
	}
	return random_octets(secret, sizeof secret, e);
}

int
scep_init(struct err *e)
{
	size_t i;

	if (!ready && fetch_all(e) != 0)
		return -1;
	for (i = 0; i < CIPHERS && !ready; i++)
		if (ciphers[i].bit == SCEP_DES)
			ciphers[i].cipher = fetch_legacy(ciphers[i].name);
	ready = true;
	if (scep_cipher(SCEP_DES) == NULL)
		return err_set(e, ERR_UNSUPPORTED, "single DES: OpenSSL's legacy provider cannot be loaded");
	return 0;
}

const EVP_MD *
scep_digest(unsigned digest)
{
	size_t i;

	for (i = 0; i < DIGESTS; i++)
		if (digests[i].bit == digest)
			return digests[i].md;
	return NULL;
}

const EVP_CIPHER *
scep_cipher(unsigned cipher)
{
	size_t i;

	for (i = 0; i < CIPHERS; i++)
		if (ciphers[i].bit == cipher)
			return ciphers[i].cipher;
	return NULL;
}

unsigned
scep_digest_of(const ASN1_OBJECT *oid)
{
	int nid = OBJ_obj2nid(oid);
	size_t i;

	for (i = 0; i < DIGESTS; i++)
		if (digests[i].nid == nid)
			return digests[i].bit;
	return 0;
}

unsigned
scep_cipher_of(const ASN1_OBJECT *oid)
{
	int nid = OBJ_obj2nid(oid);
	size_t i;

	for (i = 0; i < CIPHERS; i++)
		if (ciphers[i].nid == nid)
			return ciphers[i].bit;
	return 0;
}

bool
scep_signature_fits(const ASN1_OBJECT *oid, unsigned digest)
{
	int nid = OBJ_obj2nid(oid);
	size_t i;

	for (i = 0; i < DIGESTS; i++)
		if (digests[i].bit == digest)
			return nid == NID_rsaEncryption || nid == digests[i].signature_nid;
	return false;
}

const EVP_MD *
scep_signature_digest(struct bytes oid)
{
	const ASN1_OBJECT *is;
	size_t i;

	for (i = 0; i < DIGESTS; i++) {
		is = OBJ_nid2obj(digests[i].signature_nid);
		if (bytes_equal(oid, bytes_of(OBJ_get0_data(is), OBJ_length(is))))
			return digests[i].md;
	}
	return NULL;
}

struct bytes
scep_secret(void)
{
	return bytes_of(secret, sizeof secret);
}
