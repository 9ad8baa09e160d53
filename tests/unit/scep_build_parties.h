/*
 * scep_build_parties.h - who builds and reads in the scep_build_*test programs; reading is by OpenSSL alone.
 */
#ifndef TESTS_UNIT_SCEP_BUILD_PARTIES_H
#define TESTS_UNIT_SCEP_BUILD_PARTIES_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include <openssl/pkcs7.h>
#include <openssl/provider.h>

#include "scep/internal.h"
#include "scep_build_fixture.h"

#define TRANSACTION "9F+/ 01="

static struct party device, authority, other, curve;
static OSSL_PROVIDER *providers[2];
static OSSL_LIB_CTX *legacy; /* a reader of DES that has nothing to do with scep_init() */

static inline CMS_SignerInfo *
only_signer(CMS_ContentInfo *cms)
{
	STACK_OF(CMS_SignerInfo) *signers = CMS_get0_SignerInfos(cms);

	assert_int_equal(sk_CMS_SignerInfo_num(signers), 1);
	return sk_CMS_SignerInfo_value(signers, 0);
}

/* Verifies, and puts the eContent into out. */
static inline void
verify(CMS_ContentInfo *cms, struct buf *out)
{
	BIO *content = BIO_new(BIO_s_mem());
	char *at = NULL;
	long len;

	assert_int_equal(CMS_verify(cms, NULL, NULL, NULL, content, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY), 1);
	len = BIO_get_mem_data(content, &at);
	buf_append(out, at, (size_t)len);
	BIO_free(content);
}

/* The only value of a signed attribute as text; NULL when it is not there. Fails the test when its type is another. */
static inline const char *
attribute(CMS_SignerInfo *signer, const char *oid, int type, char out[256])
{
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	int at = CMS_signed_get_attr_by_OBJ(signer, object, -1);
	ASN1_STRING *value;

	if (at >= 0)
		assert_int_equal(CMS_signed_get_attr_by_OBJ(signer, object, at), -1);
	ASN1_OBJECT_free(object);
	if (at < 0)
		return NULL;
	value = X509_ATTRIBUTE_get0_data(CMS_signed_get_attr(signer, at), 0, type, NULL);
	assert_non_null(value);
	assert_int_equal(X509_ATTRIBUTE_count(CMS_signed_get_attr(signer, at)), 1);
	assert_true(ASN1_STRING_length(value) < 256);
	(void)snprintf(out, 256, "%.*s", ASN1_STRING_length(value), (const char *)ASN1_STRING_get0_data(value));
	return out;
}

#define OID_TYPE      "2.16.840.1.113733.1.9.2"
#define OID_STATUS    "2.16.840.1.113733.1.9.3"
#define OID_FAIL      "2.16.840.1.113733.1.9.4"
#define OID_SENDER    "2.16.840.1.113733.1.9.5"
#define OID_RECIPIENT "2.16.840.1.113733.1.9.6"
#define OID_TRANS     "2.16.840.1.113733.1.9.7"
#define OID_FAIL_TEXT "1.3.6.1.5.5.7.24.1"

static inline void
decrypts_to(struct bytes envelope, const struct party *reader, const char *wanted)
{
	CMS_ContentInfo *cms = read_cms_in(legacy, envelope);
	BIO *content = BIO_new(BIO_s_mem());
	char *at = NULL;
	long len;

	assert_int_equal(OBJ_obj2nid(CMS_get0_type(cms)), NID_pkcs7_enveloped);
	assert_int_equal(OBJ_obj2nid(CMS_get0_eContentType(cms)), NID_pkcs7_data);
	assert_int_equal(CMS_decrypt(cms, reader->key, reader->cert, NULL, content, CMS_BINARY), 1);
	len = BIO_get_mem_data(content, &at);
	assert_int_equal(len, strlen(wanted));
	assert_memory_equal(at, wanted, strlen(wanted));
	BIO_free(content);
	CMS_ContentInfo_free(cms);
}

/* How the only recipient's key is encrypted, by a reader of PKCS #7, which is what routers have. */
static inline PKCS7_RECIP_INFO *
transport(struct bytes envelope, PKCS7 **keep)
{
	const uint8_t *p = envelope.at;
	PKCS7 *p7 = d2i_PKCS7(NULL, &p, (long)envelope.len);

	assert_non_null(p7);
	assert_true(PKCS7_type_is_enveloped(p7));
	assert_int_equal(sk_PKCS7_RECIP_INFO_num(p7->d.enveloped->recipientinfo), 1);
	*keep = p7;
	return sk_PKCS7_RECIP_INFO_value(p7->d.enveloped->recipientinfo, 0);
}

static inline STACK_OF(X509) *
recipients(X509 *first, X509 *second)
{
	STACK_OF(X509) *out = sk_X509_new_null();

	assert_true(sk_X509_push(out, first) > 0);
	if (second != NULL)
		assert_true(sk_X509_push(out, second) > 0);
	return out;
}

static inline struct scep_build
request(STACK_OF(X509) *to, const char *content)
{
	return (struct scep_build){
		.type = SCEP_PKCS_REQ,
		.transaction = TRANSACTION,
		.digest = SCEP_SHA256,
		.cipher = SCEP_AES128,
		.signer = device.cert,
		.signer_key = device.key,
		.recipients = to,
		.content = bytes_of_text(content),
	};
}

static inline struct scep_build
reply(enum scep_status status)
{
	return (struct scep_build){
		.type = SCEP_CERT_REP,
		.transaction = TRANSACTION,
		.recipient_nonce = bytes_of_text("eight oc"),
		.status = status,
		.digest = SCEP_SHA256,
		.cipher = SCEP_AES128,
		.signer = authority.cert,
		.signer_key = authority.key,
	};
}

static inline void
build(const struct scep_build *what, struct buf *out)
{
	struct err e = { 0 };

	if (scep_build(what, out, &e) != 0)
		fail_msg("%s", e.text);
}

static inline void
refuses(const struct scep_build *what, enum err_code code)
{
	struct buf out = { 0 };
	struct err e = { 0 };

	buf_append_text(&out, "kept");
	assert_int_equal(scep_build(what, &out, &e), -1);
	assert_int_equal(e.code, code);
	assert_int_equal(out.len, 4);
	buf_free(&out);
}

static inline int
setup(void **state)
{
	struct err e = { 0 };

	(void)state;
	if (ossl_init(&e) != 0 || scep_init(&e) != 0)
		fail_msg("%s", e.text);
	legacy = OSSL_LIB_CTX_new();
	providers[0] = OSSL_PROVIDER_load(legacy, "default");
	providers[1] = OSSL_PROVIDER_load(legacy, "legacy");
	assert_true(providers[0] != NULL && providers[1] != NULL);
	make_party(&device, EVP_RSA_gen(2048), "device", 1);
	make_party(&authority, EVP_RSA_gen(2048), "authority", 0x80);
	make_party(&other, EVP_RSA_gen(3072), "other", 3);
	make_party(&curve, EVP_EC_gen("P-256"), "curve", 4);
	return 0;
}

static inline int
teardown(void **state)
{
	(void)state;
	free_party(&device);
	free_party(&authority);
	free_party(&other);
	free_party(&curve);
	OSSL_PROVIDER_unload(providers[0]);
	OSSL_PROVIDER_unload(providers[1]);
	OSSL_LIB_CTX_free(legacy);
	return 0;
}

#endif
