/*
 * trust_crl.h - certificate revocation lists from files, for trust.c and the configuration's check.
 */
#ifndef GATEWAY_CORE_TRUST_CRL_H
#define GATEWAY_CORE_TRUST_CRL_H

#include "base/ossl.h"

#define TRUST_CRL_FILE_MAX (64 << 20) /* octets */

void x509_crl_stack_free(STACK_OF(X509_CRL) *crls); /* NULL is allowed */
DEFINE_CLEANUP(x509_crl_stack, STACK_OF(X509_CRL) *, x509_crl_stack_free);

/*
 * Every CRL of a PEM file, or the one of a DER file. *out is the caller's.
 *
 * ERR_UPSTREAM  the file cannot be read
 * ERR_MALFORMED it holds no CRL, or one that does not decode
 */
MUST_USE int trust_crls_load(const char *path, STACK_OF(X509_CRL) **out, struct err *e);

/* When its issuer promises the next one; INT64_MAX when it does not. ERR_MALFORMED: not a time. */
MUST_USE int trust_crl_until(const X509_CRL *crl, int64_t *out, struct err *e);

#endif
