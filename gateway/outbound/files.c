/* The PEM files that a client names, looked at once, so that mistakes show at the start and not in a night. */
#include "gateway/outbound/files.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "gateway/outbound/secret.h"

/* As they were when they were checked: the file may be another's by the time of a call. */
static int
put_certs(const STACK_OF(X509) *certs, struct buf *out, struct err *e)
{
	CLEANUP(BIO) BIO *text = BIO_new(BIO_s_mem());
	char *at = NULL;
	long len;
	int i;

	for (i = 0; i < sk_X509_num(certs); i++)
		if (text == NULL || PEM_write_bio_X509(text, sk_X509_value(certs, i)) != 1)
			return err_ossl(e, ERR_NOMEM, "certificates");
	len = BIO_get_mem_data(text, &at);
	buf_append(out, at, len < 0 ? 0 : (size_t)len);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for certificates") : 0;
}

int
outbound_load_ca(const char *path, struct buf *out, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;

	return x509_load_file(path, &certs, e) != 0 ? -1 : put_certs(certs, out, e);
}

int
outbound_load_pair(const char *cert_path, const char *key_source, struct buf *cert, struct buf *key, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	CLEANUP(EVP_PKEY) EVP_PKEY *decoded = NULL;

	if (x509_load_file(cert_path, &certs, e) != 0 || secret_key_read(key_source, key, &decoded, e) != 0)
		return -1;
	if (X509_check_private_key(sk_X509_value(certs, 0), decoded) != 1) {
		ERR_clear_error();
		return err_set(e, ERR_UPSTREAM, "%s is not the key of the first certificate in %s", key_source, cert_path);
	}
	return put_certs(certs, cert, e);
}
