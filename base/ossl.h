/*
 * ossl.h - OpenSSL with the house's error and cleanup conventions.
 *
 * Call ossl_init() once, before any thread exists; everything else may be
 * called from any thread.
 */
#ifndef BASE_OSSL_H
#define BASE_OSSL_H

#include <openssl/bio.h>
#include <openssl/cms.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/bytes.h"

DEFINE_CLEANUP(X509, X509 *, X509_free);
DEFINE_CLEANUP(X509_REQ, X509_REQ *, X509_REQ_free);
DEFINE_CLEANUP(X509_NAME, X509_NAME *, X509_NAME_free);
DEFINE_CLEANUP(X509_STORE, X509_STORE *, X509_STORE_free);
DEFINE_CLEANUP(X509_STORE_CTX, X509_STORE_CTX *, X509_STORE_CTX_free);
DEFINE_CLEANUP(EVP_PKEY, EVP_PKEY *, EVP_PKEY_free);
DEFINE_CLEANUP(EVP_PKEY_CTX, EVP_PKEY_CTX *, EVP_PKEY_CTX_free);
DEFINE_CLEANUP(EVP_MD_CTX, EVP_MD_CTX *, EVP_MD_CTX_free);
DEFINE_CLEANUP(BIO, BIO *, BIO_free_all);
DEFINE_CLEANUP(CMS_ContentInfo, CMS_ContentInfo *, CMS_ContentInfo_free);
DEFINE_CLEANUP(GENERAL_NAMES, GENERAL_NAMES *, GENERAL_NAMES_free);

static inline void
x509_stack_free(STACK_OF(X509) *certs)
{
	sk_X509_pop_free(certs, X509_free);
}

static inline void
extension_stack_free(STACK_OF(X509_EXTENSION) *extensions)
{
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
}

DEFINE_CLEANUP(x509_stack, STACK_OF(X509) *, x509_stack_free);
DEFINE_CLEANUP(extension_stack, STACK_OF(X509_EXTENSION) *, extension_stack_free);

/* Fetch the algorithms every request needs, once. 0, or -1 with *e set. */
MUST_USE int ossl_init(struct err *e);

/* The fetched digests; never NULL after ossl_init(). */
const EVP_MD *ossl_sha256(void);
const EVP_MD *ossl_sha384(void);
const EVP_MD *ossl_sha512(void);

/* Fills *e with what and OpenSSL's oldest queued reason, clears its queue, returns -1. */
int err_ossl(struct err *e, enum err_code code, const char *what);

MUST_USE int sha256(struct bytes in, uint8_t out[32], struct err *e);
MUST_USE int random_octets(uint8_t *out, size_t len, struct err *e);

/* One DER certificate and nothing after it. The result is the caller's. */
MUST_USE int x509_from_der(struct bytes der, X509 **out, struct err *e);
/* Appends the certificate's DER. */
MUST_USE int x509_to_der(const X509 *cert, struct buf *out, struct err *e);
/* For the readers of PEM: OpenSSL would ask for the password of an encrypted one at the terminal, and wait. */
int pem_no_password(char *out, int size, int writing, void *arg);
/* All PEM certificates of a file, at least one, in order; the stack is the caller's. */
MUST_USE int x509_load_file(const char *path, STACK_OF(X509) **out, struct err *e);
MUST_USE int x509_sha256(const X509 *cert, uint8_t out[32], struct err *e);
/* The serial number as lower-case hexadecimal without leading zero octets; at most 20 octets, else ERR_MALFORMED. */
#define SERIAL_HEX_MAX 41
MUST_USE int x509_serial_hex(const X509 *cert, char out[SERIAL_HEX_MAX], struct err *e);
/* As it stands in what somebody sent: negative ones with a "-", up to 64 octets. Longer: ERR_MALFORMED, the text has the first octets. */
#define SERIAL_ANY_MAX 130
MUST_USE int asn1_serial_hex(const ASN1_INTEGER *serial, char out[SERIAL_ANY_MAX], struct err *e);
/* The certificate's extendedKeyUsage names this OID; anyExtendedKeyUsage does not count for others, nor does its absence. */
#define OID_CMC_RA "1.3.6.1.5.5.7.3.28" /* a registration authority: RFC 6402, section 2.10 */
bool x509_has_usage(const X509 *cert, const char *dotted);
/* notBefore and notAfter in seconds since 1970; "99991231235959Z" is 253402300799. */
MUST_USE int x509_validity(const X509 *cert, int64_t *not_before_s, int64_t *not_after_s, struct err *e);
/* One such time. -1: it is none. */
MUST_USE int asn1_time_s(const ASN1_TIME *t, int64_t *out);
/* RFC 2253 text for people and logs, UTF-8, control characters escaped, cut to fit. */
void x509_name_text(const X509_NAME *name, char *out, size_t size);

#endif
