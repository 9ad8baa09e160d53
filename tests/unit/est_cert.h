/*
 * est_cert.h - throw-away certificates for tests.
 */
#ifndef TESTS_UNIT_EST_CERT_H
#define TESTS_UNIT_EST_CERT_H

#include "base/ossl.h"

/* Self-signed; usage: keyUsage as in openssl.cnf, NULL for none. The caller frees it. */
static inline X509 *
make_cert(const char *name, EVP_PKEY *key, const char *usage)
{
	X509 *cert = X509_new();
	X509_EXTENSION *extension;

	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 7);
	X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const uint8_t *)name, -1,
		-1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	X509_set_pubkey(cert, key);
	if (usage != NULL) {
		extension = X509V3_EXT_conf_nid(NULL, NULL, NID_key_usage, usage);
		X509_add_ext(cert, extension, -1);
		X509_EXTENSION_free(extension);
	}
	X509_sign(cert, key, EVP_sha256());
	return cert;
}

#endif
