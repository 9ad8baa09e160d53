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

/* --- reading, by OpenSSL alone ------------------------------------------ */

static CMS_SignerInfo *
only_signer(CMS_ContentInfo *cms)
{
	STACK_OF(CMS_SignerInfo) *signers = CMS_get0_SignerInfos(cms);

	assert_int_equal(sk_CMS_SignerInfo_num(signers), 1);
	return sk_CMS_SignerInfo_value(signers, 0);
}

/* Verifies, and puts the eContent into out. */
static void
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
static const char *
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

static void
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
static PKCS7_RECIP_INFO *
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

static STACK_OF(X509) *
recipients(X509 *first, X509 *second)
{
	STACK_OF(X509) *out = sk_X509_new_null();

	assert_true(sk_X509_push(out, first) > 0);
	if (second != NULL)
		assert_true(sk_X509_push(out, second) > 0);
	return out;
}

static struct scep_build
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

static struct scep_build
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

static void
build(const struct scep_build *what, struct buf *out)
{
	struct err e = { 0 };

	if (scep_build(what, out, &e) != 0)
		fail_msg("%s", e.text);
}

/* --- requests -------------------------------------------------------------- */

static void
scep_build_makes_a_request_that_openssl_verifies_and_decrypts(void **state)
{
	STACK_OF(X509) *to = recipients(authority.cert, NULL);
	struct scep_build what = request(to, "the request");
	uint8_t nonce[SCEP_NONCE_LEN] = { 0 };
	struct buf der = { 0 }, content = { 0 };
	CMS_ContentInfo *cms;
	CMS_SignerInfo *signer;
	char text[256];

	(void)state;
	what.made_nonce = nonce;
	build(&what, &der);
	cms = read_cms(buf_bytes(&der));
	verify(cms, &content);
	signer = only_signer(cms);
	assert_string_equal(attribute(signer, OID_TYPE, V_ASN1_PRINTABLESTRING, text), "19");
	assert_string_equal(attribute(signer, OID_TRANS, V_ASN1_PRINTABLESTRING, text), TRANSACTION);
	assert_null(attribute(signer, OID_STATUS, V_ASN1_PRINTABLESTRING, text));
	assert_null(attribute(signer, OID_RECIPIENT, V_ASN1_OCTET_STRING, text));
	assert_int_equal(CMS_signed_get_attr_count(signer), 5);
	{
		ASN1_OBJECT *oid = OBJ_txt2obj(OID_SENDER, 1);
		ASN1_OCTET_STRING *sent = CMS_signed_get0_data_by_OBJ(signer, oid, -3, V_ASN1_OCTET_STRING);

		assert_non_null(sent);
		assert_int_equal(ASN1_STRING_length(sent), SCEP_NONCE_LEN);
		assert_memory_equal(ASN1_STRING_get0_data(sent), nonce, SCEP_NONCE_LEN);
		ASN1_OBJECT_free(oid);
	}
	decrypts_to(buf_bytes(&content), &authority, "the request");
	CMS_ContentInfo_free(cms);
	buf_free(&content);
	buf_free(&der);
	sk_X509_free(to);
}

static void
scep_build_speaks_every_digest_and_cipher_with_both_paddings(void **state)
{
	static const struct {
		unsigned bit;
		int nid;
	} digests[] = { { SCEP_MD5, NID_md5 }, { SCEP_SHA1, NID_sha1 }, { SCEP_SHA256, NID_sha256 },
		{ SCEP_SHA384, NID_sha384 }, { SCEP_SHA512, NID_sha512 } };
	static const unsigned ciphers[] = { SCEP_DES, SCEP_3DES, SCEP_AES128, SCEP_AES192, SCEP_AES256 };
	STACK_OF(X509) *to = recipients(authority.cert, NULL);
	X509_ALGOR *digest = NULL;
	X509_ALGOR *signature = NULL;
	size_t i;

	(void)state;
	for (i = 0; i < 10; i++) {
		struct scep_build what = request(to, "0123456789abcdef"); /* a whole block: padding is a block more */
		struct buf der = { 0 }, content = { 0 };
		CMS_ContentInfo *cms;
		PKCS7 *p7 = NULL;

		what.digest = digests[i % 5].bit;
		what.cipher = ciphers[i % 5];
		what.oaep = i >= 5;
		build(&what, &der);
		cms = read_cms(buf_bytes(&der));
		verify(cms, &content);
		CMS_SignerInfo_get0_algs(only_signer(cms), NULL, NULL, &digest, &signature);
		assert_int_equal(OBJ_obj2nid(digest->algorithm), digests[i % 5].nid);
		assert_int_equal(OBJ_obj2nid(signature->algorithm), NID_rsaEncryption);
		decrypts_to(buf_bytes(&content), &authority, "0123456789abcdef");
		assert_int_equal(OBJ_obj2nid(transport(buf_bytes(&content), &p7)->key_enc_algor->algorithm),
			what.oaep ? NID_rsaesOaep : NID_rsaEncryption);
		PKCS7_free(p7);
		CMS_ContentInfo_free(cms);
		buf_free(&content);
		buf_free(&der);
	}
	sk_X509_free(to);
}

static void
scep_build_makes_des_keys_of_odd_parity(void **state)
{
	static const unsigned ciphers[] = { SCEP_DES, SCEP_3DES };
	STACK_OF(X509) *to = recipients(authority.cert, NULL);
	size_t i, k;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct scep_build what = request(to, "x");
		EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(authority.key, NULL);
		struct buf envelope = { 0 };
		ASN1_OCTET_STRING *encrypted;
		uint8_t key[256];
		size_t len = sizeof key;
		struct err e = { 0 };
		PKCS7 *p7 = NULL;

		what.cipher = ciphers[i];
		assert_int_equal(scep_envelop(&what, &envelope, &e), 0);
		encrypted = transport(buf_bytes(&envelope), &p7)->enc_key;
		assert_int_equal(EVP_PKEY_decrypt_init(ctx), 1);
		assert_int_equal(EVP_PKEY_decrypt(ctx, key, &len, encrypted->data, (size_t)encrypted->length), 1);
		assert_int_equal(len, ciphers[i] == SCEP_DES ? 8 : 24);
		for (k = 0; k < len; k++)
			assert_int_equal(__builtin_popcount(key[k]) % 2, 1);
		PKCS7_free(p7);
		buf_free(&envelope);
		EVP_PKEY_CTX_free(ctx);
	}
	sk_X509_free(to);
}

static void
scep_build_encrypts_to_every_recipient(void **state)
{
	STACK_OF(X509) *to = recipients(authority.cert, other.cert);
	struct scep_build what = request(to, "for both");
	struct buf der = { 0 }, content = { 0 };
	CMS_ContentInfo *cms;

	(void)state;
	build(&what, &der);
	cms = read_cms(buf_bytes(&der));
	verify(cms, &content);
	decrypts_to(buf_bytes(&content), &authority, "for both");
	decrypts_to(buf_bytes(&content), &other, "for both");
	CMS_ContentInfo_free(cms);
	buf_free(&content);
	buf_free(&der);
	sk_X509_free(to);
}

static void
scep_build_encrypts_more_than_one_chunk(void **state)
{
	STACK_OF(X509) *to = recipients(authority.cert, NULL);
	char text[10001];
	struct scep_build what;
	struct buf der = { 0 }, content = { 0 };
	CMS_ContentInfo *cms;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof text - 1; i++)
		text[i] = (char)('a' + i % 23);
	text[sizeof text - 1] = '\0';
	what = request(to, text);
	build(&what, &der);
	cms = read_cms(buf_bytes(&der));
	verify(cms, &content);
	decrypts_to(buf_bytes(&content), &authority, text);
	CMS_ContentInfo_free(cms);
	buf_free(&content);
	buf_free(&der);
	sk_X509_free(to);
}

static void
scep_build_appends_and_never_repeats_a_nonce_or_a_key(void **state)
{
	STACK_OF(X509) *to = recipients(authority.cert, NULL);
	struct scep_build what = request(to, "twice");
	uint8_t first[SCEP_NONCE_LEN] = { 0 }, second[SCEP_NONCE_LEN] = { 0 };
	struct buf der = { 0 };
	size_t middle;

	(void)state;
	what.made_nonce = first;
	build(&what, &der);
	middle = der.len;
	what.made_nonce = second;
	build(&what, &der);
	assert_memory_not_equal(first, second, sizeof first);
	assert_true(der.len > middle);
	CMS_ContentInfo_free(read_cms(bytes_of(der.at, middle)));
	CMS_ContentInfo_free(read_cms(bytes_of(der.at + middle, der.len - middle)));
	buf_free(&der);
	sk_X509_free(to);
}

static void
scep_build_sends_the_given_nonce(void **state)
{
	struct scep_build what = reply(SCEP_PENDING);
	uint8_t untouched[SCEP_NONCE_LEN] = { 7 };
	struct buf der = { 0 };
	CMS_ContentInfo *cms;
	char text[256];

	(void)state;
	what.sender_nonce = bytes_of_text("0123456789abcdef");
	what.made_nonce = untouched;
	build(&what, &der);
	cms = read_cms(buf_bytes(&der));
	assert_string_equal(attribute(only_signer(cms), OID_SENDER, V_ASN1_OCTET_STRING, text), "0123456789abcdef");
	assert_int_equal(untouched[0], 7);
	CMS_ContentInfo_free(cms);
	buf_free(&der);
}

/* --- replies ---------------------------------------------------------------- */

static void
scep_build_puts_status_and_echoed_nonce_into_a_reply(void **state)
{
	STACK_OF(X509) *to = recipients(device.cert, NULL);
	struct scep_build what = reply(SCEP_SUCCESS);
	struct buf der = { 0 }, content = { 0 };
	CMS_ContentInfo *cms;
	char text[256];

	(void)state;
	what.recipients = to;
	what.content = bytes_of_text("certificates");
	what.fail_text = "not said with SUCCESS";
	build(&what, &der);
	cms = read_cms(buf_bytes(&der));
	verify(cms, &content);
	assert_string_equal(attribute(only_signer(cms), OID_TYPE, V_ASN1_PRINTABLESTRING, text), "3");
	assert_string_equal(attribute(only_signer(cms), OID_STATUS, V_ASN1_PRINTABLESTRING, text), "0");
	assert_string_equal(attribute(only_signer(cms), OID_RECIPIENT, V_ASN1_OCTET_STRING, text), "eight oc");
	assert_null(attribute(only_signer(cms), OID_FAIL, V_ASN1_PRINTABLESTRING, text));
	assert_null(attribute(only_signer(cms), OID_FAIL_TEXT, V_ASN1_UTF8STRING, text));
	decrypts_to(buf_bytes(&content), &device, "certificates");
	CMS_ContentInfo_free(cms);
	buf_free(&content);
	buf_free(&der);
	sk_X509_free(to);
}

/* What certmonger needs: an eContent that is there and has no octets. */
static void
scep_build_leaves_an_empty_content_in_failure_and_pending(void **state)
{
	static const enum scep_status statuses[] = { SCEP_FAILURE, SCEP_PENDING };
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct scep_build what = reply(statuses[i]);
		struct buf der = { 0 }, content = { 0 };
		ASN1_OCTET_STRING **inside;
		CMS_ContentInfo *cms;

		what.fail = SCEP_BAD_REQUEST;
		build(&what, &der);
		cms = read_cms(buf_bytes(&der));
		verify(cms, &content);
		assert_int_equal(content.len, 0);
		assert_int_equal(CMS_signed_get_attr_count(only_signer(cms)), statuses[i] == SCEP_FAILURE ? 8 : 7);
		inside = CMS_get0_content(cms);
		assert_non_null(inside);
		assert_non_null(*inside);
		assert_int_equal(ASN1_STRING_length(*inside), 0);
		CMS_ContentInfo_free(cms);
		buf_free(&content);
		buf_free(&der);
	}
}

static void
scep_build_says_why_in_a_failure(void **state)
{
	struct scep_build what = reply(SCEP_FAILURE);
	struct buf der = { 0 };
	CMS_ContentInfo *cms;
	char text[256];

	(void)state;
	what.fail = SCEP_BAD_CERT_ID;
	what.fail_text = "unknown t\xc3\xb6ken";
	build(&what, &der);
	cms = read_cms(buf_bytes(&der));
	assert_string_equal(attribute(only_signer(cms), OID_STATUS, V_ASN1_PRINTABLESTRING, text), "2");
	assert_string_equal(attribute(only_signer(cms), OID_FAIL, V_ASN1_PRINTABLESTRING, text), "4");
	assert_string_equal(attribute(only_signer(cms), OID_FAIL_TEXT, V_ASN1_UTF8STRING, text),
		"unknown t\xc3\xb6ken");
	assert_int_equal(CMS_signed_get_attr_count(only_signer(cms)), 9);
	CMS_ContentInfo_free(cms);
	buf_free(&der);
}

/* RFC 5652, section 5.3: signedAttrs "MUST be DER encoded", so what was sent must be what an encoder of DER makes of it. */
static void
scep_build_writes_canonical_der(void **state)
{
	STACK_OF(X509) *to = recipients(authority.cert, NULL);
	struct scep_build whats[3] = { request(to, "canonical"), reply(SCEP_FAILURE), reply(SCEP_PENDING) };
	size_t i;

	(void)state;
	whats[1].fail_text = "x";
	for (i = 0; i < 3; i++) {
		struct buf der = { 0 };
		CMS_ContentInfo *cms;
		uint8_t *again = NULL;
		int len;

		build(&whats[i], &der);
		cms = read_cms(buf_bytes(&der));
		len = i2d_CMS_ContentInfo(cms, &again);
		assert_int_equal(len, der.len);
		assert_memory_equal(again, der.at, der.len);
		OPENSSL_free(again);
		CMS_ContentInfo_free(cms);
		buf_free(&der);
	}
	sk_X509_free(to);
}

static void
scep_build_sends_the_signer_certificate_exactly_and_no_signing_time(void **state)
{
	struct scep_build what = reply(SCEP_PENDING);
	struct buf der = { 0 };
	CMS_ContentInfo *cms;
	STACK_OF(X509) *certs;

	(void)state;
	build(&what, &der);
	cms = read_cms(buf_bytes(&der));
	certs = CMS_get1_certs(cms);
	assert_int_equal(sk_X509_num(certs), 1);
	assert_int_equal(X509_cmp(sk_X509_value(certs, 0), authority.cert), 0);
	assert_int_equal(CMS_signed_get_attr_by_NID(only_signer(cms), NID_pkcs9_signingTime, -1), -1);
	assert_int_equal(CMS_signed_get_attr_by_NID(only_signer(cms), NID_SMIMECapabilities, -1), -1);
	x509_stack_free(certs);
	CMS_ContentInfo_free(cms);
	buf_free(&der);
}

/* --- refusals ---------------------------------------------------------------- */

static void
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

static void
scep_build_refuses_keys_that_are_not_rsa(void **state)
{
	STACK_OF(X509) *to = recipients(authority.cert, curve.cert);
	struct scep_build what = request(to, "x");

	(void)state;
	refuses(&what, ERR_UNSUPPORTED);
	sk_X509_free(to);
	to = recipients(authority.cert, NULL);
	what = request(to, "x");
	what.signer = curve.cert;
	what.signer_key = curve.key;
	refuses(&what, ERR_UNSUPPORTED);
	sk_X509_free(to);
}

static void
scep_build_leaves_the_buffer_alone_when_signing_fails(void **state)
{
	struct scep_build what = reply(SCEP_PENDING);
	struct party small;

	(void)state;
	make_party(&small, EVP_RSA_gen(512), "too small for SHA-512", 5);
	what.signer = small.cert;
	what.signer_key = small.key;
	what.digest = SCEP_SHA512;
	refuses(&what, ERR_BUG);
	free_party(&small);
}

static void
scep_build_refuses_what_is_no_message(void **state)
{
	char long_transaction[SCEP_TRANSACTION_MAX + 2];
	uint8_t long_nonce[SCEP_NONCE_MAX + 1] = { 0 };
	struct scep_build what = reply(SCEP_PENDING);

	(void)state;
	what.transaction = "";
	refuses(&what, ERR_BUG);
	memset(long_transaction, 'x', sizeof long_transaction - 1);
	long_transaction[sizeof long_transaction - 1] = '\0';
	what.transaction = long_transaction;
	refuses(&what, ERR_BUG);
	what = reply(SCEP_PENDING);
	what.recipient_nonce = bytes_of(long_nonce, sizeof long_nonce);
	refuses(&what, ERR_BUG);
	what = reply(SCEP_FAILURE);
	what.fail_text = "two\nlines";
	refuses(&what, ERR_BUG);
	what = reply(SCEP_SUCCESS);
	what.content = bytes_of_text("for nobody");
	refuses(&what, ERR_BUG);
	what = reply(SCEP_PENDING);
	what.digest = SCEP_SHA256 | SCEP_SHA1;
	refuses(&what, ERR_UNSUPPORTED);
}

static int
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

static int
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scep_build_makes_a_request_that_openssl_verifies_and_decrypts),
		cmocka_unit_test(scep_build_speaks_every_digest_and_cipher_with_both_paddings),
		cmocka_unit_test(scep_build_makes_des_keys_of_odd_parity),
		cmocka_unit_test(scep_build_encrypts_to_every_recipient),
		cmocka_unit_test(scep_build_encrypts_more_than_one_chunk),
		cmocka_unit_test(scep_build_appends_and_never_repeats_a_nonce_or_a_key),
		cmocka_unit_test(scep_build_sends_the_given_nonce),
		cmocka_unit_test(scep_build_puts_status_and_echoed_nonce_into_a_reply),
		cmocka_unit_test(scep_build_leaves_an_empty_content_in_failure_and_pending),
		cmocka_unit_test(scep_build_says_why_in_a_failure),
		cmocka_unit_test(scep_build_writes_canonical_der),
		cmocka_unit_test(scep_build_sends_the_signer_certificate_exactly_and_no_signing_time),
		cmocka_unit_test(scep_build_refuses_keys_that_are_not_rsa),
		cmocka_unit_test(scep_build_leaves_the_buffer_alone_when_signing_fails),
		cmocka_unit_test(scep_build_refuses_what_is_no_message),
	};

	return cmocka_run_group_tests_name("scep_build", tests, setup, teardown);
}
