#include "scep_build_parties.h"

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
		cmocka_unit_test(scep_build_writes_canonical_der),
		cmocka_unit_test(scep_build_sends_the_signer_certificate_exactly_and_no_signing_time),
	};

	return cmocka_run_group_tests_name("scep_build", tests, setup, teardown);
}
