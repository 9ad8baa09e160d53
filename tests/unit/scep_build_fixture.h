/*
 * scep_build_fixture.h - keys and certificates made at run time, for tests of what scep/ writes.
 */
#ifndef TESTS_UNIT_SCEP_BUILD_FIXTURE_H
#define TESTS_UNIT_SCEP_BUILD_FIXTURE_H

#include <string.h>

#include <openssl/rsa.h>

#include "scep/build.h"

struct party {
	EVP_PKEY *key;
	X509 *cert;
};

static inline void
make_party(struct party *party, EVP_PKEY *key, const char *name, long serial)
{
	X509 *cert = X509_new();
	X509_NAME *subject = X509_NAME_new();

	assert_non_null(key);
	assert_true(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0) == 1);
	assert_true(X509_set_version(cert, X509_VERSION_3) == 1);
	assert_true(ASN1_INTEGER_set(X509_get_serialNumber(cert), serial) == 1);
	assert_true(X509_set_subject_name(cert, subject) == 1 && X509_set_issuer_name(cert, subject) == 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), -3600));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), 3600));
	assert_true(X509_set_pubkey(cert, key) == 1);
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	X509_NAME_free(subject);
	party->key = key;
	party->cert = cert;
}

static inline void
free_party(struct party *party)
{
	EVP_PKEY_free(party->key);
	X509_free(party->cert);
	*party = (struct party){ 0 };
}

static inline CMS_ContentInfo *
read_cms_in(OSSL_LIB_CTX *lib, struct bytes der)
{
	CMS_ContentInfo *cms = CMS_ContentInfo_new_ex(lib, NULL);
	const uint8_t *p = der.at;

	assert_non_null(cms);
	assert_non_null(d2i_CMS_ContentInfo(&cms, &p, (long)der.len));
	assert_ptr_equal(p, der.at + der.len);
	return cms;
}

static inline CMS_ContentInfo *
read_cms(struct bytes der)
{
	return read_cms_in(NULL, der);
}

#endif
