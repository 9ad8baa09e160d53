/* The PEM files that a client names, looked at once, so that mistakes show at the start and not in a night. */
#include "gateway/outbound/files.h"

#include <stdio.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/ossl.h"
#include "gateway/outbound/secret.h"

static inline void
file_auto(FILE **file)
{
	if (*file != NULL)
		(void)fclose(*file);
}

/* OpenSSL would ask the terminal; a service has none. */
static int
no_passphrase(char *out, int size, int writing, void *arg)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

int
outbound_check_ca(const char *path, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;

	return x509_load_file(path, &certs, e);
}

int
outbound_check_pair(const char *cert_path, const char *key_path, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	CLEANUP(file) FILE *file = NULL;

	if (x509_load_file(cert_path, &certs, e) != 0 || secret_file_check(key_path, e) != 0)
		return -1;
	file = fopen(key_path, "re");
	if (file != NULL)
		key = PEM_read_PrivateKey(file, NULL, no_passphrase, NULL);
	ERR_clear_error();
	if (key == NULL)
		return err_set(e, ERR_UPSTREAM, "%s is no private key in PEM without passphrase", key_path);
	if (X509_check_private_key(sk_X509_value(certs, 0), key) != 1) {
		ERR_clear_error();
		return err_set(e, ERR_UPSTREAM, "%s is not the key of the first certificate in %s", key_path, cert_path);
	}
	return 0;
}
