/*
 * Certificates of messages, quickly.
 *
 * For each key OpenSSL 3.0 asks every decoder in the certificate's library context whether it can
 * help: 100 microseconds, where the rest of the certificate takes 6. So there is a context whose
 * provider is the default one without its decoders but the one for RSA, which is all that a SCEP signer
 * can need. Keys decoded there work everywhere: OpenSSL exports them where they are used.
 *
 * Certificates that go on to the pipeline are verified with keys of other kinds, and are decoded as usual.
 */
#include <string.h>

#include <openssl/core_dispatch.h>
#include <openssl/err.h>
#include <openssl/provider.h>

#include "scep/read.h"

#define KEPT_MAX 4

/* Written by scep_certs_init() before there are threads, only read afterwards. */
static OSSL_PROVIDER *whole; /* the default provider, in a context of its own */
static OSSL_LIB_CTX *few;
static OSSL_ALGORITHM decoders[KEPT_MAX + 1], managements[KEPT_MAX + 1];

/* An algorithm's names are separated by colons. */
static bool
is_rsa(const OSSL_ALGORITHM *algorithm)
{
	return strcmp(algorithm->algorithm_names, "RSA") == 0 || strncmp(algorithm->algorithm_names, "RSA:", 4) == 0;
}

static void
keep_rsa(int operation, const char *property, OSSL_ALGORITHM kept[KEPT_MAX + 1])
{
	int no_cache = 0;
	const OSSL_ALGORITHM *at = OSSL_PROVIDER_query_operation(whole, operation, &no_cache);
	size_t count = 0;

	for (; at != NULL && at->algorithm_names != NULL && count < KEPT_MAX; at++)
		if (is_rsa(at) && strstr(at->property_definition, property) != NULL)
			kept[count++] = *at;
}

static const OSSL_ALGORITHM *
query(void *context, int operation, int *no_cache)
{
	(void)context;
	*no_cache = 0;
	if (operation == OSSL_OP_DECODER)
		return decoders;
	if (operation == OSSL_OP_KEYMGMT)
		return managements;
	if (operation == OSSL_OP_DIGEST || operation == OSSL_OP_SIGNATURE)
		return OSSL_PROVIDER_query_operation(whole, operation, no_cache);
	return NULL;
}

static int
provide(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *core, const OSSL_DISPATCH **out, void **context)
{
	static const OSSL_DISPATCH functions[] = {
		{ OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query },
		{ 0, NULL },
	};

	(void)handle;
	(void)core;
	*out = functions;
	*context = OSSL_PROVIDER_get0_provider_ctx(whole); /* its algorithms are called with it */
	return 1;
}

void
scep_certs_init(void)
{
	OSSL_LIB_CTX *all = OSSL_LIB_CTX_new(), *context = OSSL_LIB_CTX_new();

	whole = all == NULL ? NULL : OSSL_PROVIDER_load(all, "default");
	if (whole != NULL) {
		keep_rsa(OSSL_OP_DECODER, "structure=SubjectPublicKeyInfo", decoders);
		keep_rsa(OSSL_OP_KEYMGMT, "", managements);
	}
	if (whole != NULL && context != NULL && OSSL_PROVIDER_add_builtin(context, "few", provide) == 1 &&
	    OSSL_PROVIDER_load(context, "few") != NULL)
		few = context;
	else {
		OSSL_LIB_CTX_free(context);
		OSSL_LIB_CTX_free(all);
		whole = NULL;
	}
	ERR_clear_error();
}

/* NULL: it is for the usual way to say what these octets are. */
static X509 *
decode_quickly(struct bytes der)
{
	CLEANUP(X509) X509 *cert = few == NULL ? NULL : X509_new_ex(few, NULL);
	const uint8_t *p = der.at;
	X509 *out = NULL;

	if (cert != NULL && d2i_X509(&cert, &p, (long)der.len) != NULL && p == der.at + der.len &&
	    X509_get0_pubkey(cert) != NULL &&
	    X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert)) == 0) {
		out = cert;
		cert = NULL;
	}
	ERR_clear_error();
	return out;
}

int
scep_cert_decode(struct bytes der, X509 **out, struct err *e)
{
	X509 *cert = decode_quickly(der);

	if (cert == NULL)
		return x509_from_der(der, out, e);
	*out = cert;
	return 0;
}
