/* Who signed, with which algorithms, and whether nothing was changed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/key.h"
#include "scep/message.h"
#include "tests/unit/scep_make.h"

#define EVERYTHING (SCEP_ALGORITHMS_DEFAULT | SCEP_ALGORITHMS_LEGACY | SCEP_ALGORITHMS_CISCO)

static EVP_PKEY *key, *other;
static X509 *cert, *ra;

static int
setup(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(ossl_init(&e), 0);
	assert_int_equal(key_init(&e), 0);
	assert_int_equal(scep_init(&e), 0);
	key = EVP_RSA_gen(2048);
	other = EVP_RSA_gen(2048);
	cert = make_cert(key, "device-1", key, "device-1", 8, 2);
	ra = make_cert(other, "RA", other, "CA", 8, 2);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	X509_free(cert);
	X509_free(ra);
	return 0;
}

static struct scep_message *
parse(struct bytes der)
{
	struct scep_message *message = NULL;
	struct err e;

	if (scep_message_parse(der, &message, &e) != 0)
		fail_msg("%s", e.text);
	return message;
}

/* Verifies der, then m; both free m. */
static void
accept_octets(struct bytes der, unsigned allowed, bool self_signed)
{
	CLEANUP(scep_message) struct scep_message *message = parse(der);
	enum scep_fail fail;
	struct err e;

	if (scep_message_verify(message, allowed, &fail, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(message->self_signed, self_signed);
	assert_true(self_signed || message->signer != NULL);
}

static void
refuse_octets(struct bytes der, unsigned allowed, enum err_code code, enum scep_fail expected, const char *text)
{
	CLEANUP(scep_message) struct scep_message *message = parse(der);
	enum scep_fail fail = SCEP_BAD_TIME;
	struct err e = { 0 };

	assert_int_equal(scep_message_verify(message, allowed, &fail, &e), -1);
	if (e.code != code || strstr(e.text, text) == NULL)
		fail_msg("%d %s", (int)e.code, e.text);
	assert_int_equal(fail, expected);
	assert_false(message->self_signed);
}

static void
accept(struct make *m, unsigned allowed, bool self_signed)
{
	CLEANUP(buf) struct buf der = { 0 };

	make_message(m, &der);
	make_free(m);
	accept_octets(buf_bytes(&der), allowed, self_signed);
}

static void
refuse_algorithm(struct make *m, unsigned allowed, const char *text)
{
	CLEANUP(buf) struct buf der = { 0 };

	make_message(m, &der);
	make_free(m);
	refuse_octets(buf_bytes(&der), allowed, ERR_UNSUPPORTED, SCEP_BAD_ALG, text);
}

static void
refuse_message(struct make *m, const char *text)
{
	CLEANUP(buf) struct buf der = { 0 };

	make_message(m, &der);
	make_free(m);
	refuse_octets(buf_bytes(&der), EVERYTHING, ERR_UNAUTHENTIC, SCEP_BAD_MESSAGE_CHECK, text);
}

static const struct digest {
	unsigned bit;
	const char *name, *oid, *signature_oid;
} digests[] = {
	{ SCEP_MD5, "MD5", OID_MD5, OID_MD5_RSA },
	{ SCEP_SHA1, "SHA1", OID_SHA1, OID_SHA1_RSA },
	{ SCEP_SHA256, "SHA256", OID_SHA256, OID_SHA256_RSA },
	{ SCEP_SHA384, "SHA384", OID_SHA384, OID_SHA384_RSA },
	{ SCEP_SHA512, "SHA512", OID_SHA512, OID_SHA512_RSA },
};

static void
start(struct make *m, const struct digest *digest, bool long_oid)
{
	struct make_envelope inside = { .cert = ra };

	make_start(m, key, cert, "19");
	m->digest = digest->name;
	m->digest_oid = digest->oid;
	m->signature_oid = long_oid ? digest->signature_oid : OID_RSA;
	make_enveloped(&inside, bytes_of_text("contents"), &m->content);
}

static void
scep_verify_takes_each_digest_where_allowed_under_either_oid(void **state)
{
	size_t i;
	int long_oid;

	(void)state;
	for (i = 0; i < sizeof digests / sizeof digests[0]; i++)
		for (long_oid = 0; long_oid < 2; long_oid++) {
			struct make m;

			start(&m, &digests[i], long_oid);
			accept(&m, digests[i].bit | SCEP_AES128, true);
			start(&m, &digests[i], long_oid);
			m.ber = true;
			accept(&m, digests[i].bit | SCEP_AES128, true);
			start(&m, &digests[i], long_oid);
			refuse_algorithm(&m, EVERYTHING & ~digests[i].bit, "digest ");
		}
}

static void
scep_verify_refuses_sha1_and_md5_by_default(void **state)
{
	struct make m;

	(void)state;
	start(&m, &digests[0], false);
	refuse_algorithm(&m, SCEP_ALGORITHMS_DEFAULT | SCEP_ALGORITHMS_LEGACY, "digest md5");
	start(&m, &digests[1], false);
	refuse_algorithm(&m, SCEP_ALGORITHMS_DEFAULT, "digest sha1");
	start(&m, &digests[2], false);
	accept(&m, SCEP_ALGORITHMS_DEFAULT, true);
}

static void
scep_verify_refuses_digests_and_signature_algorithms_it_does_not_know(void **state)
{
	static const struct digest sha224 = { 0, "SHA224", OID_SHA224, "1.2.840.113549.1.1.14" };
	struct make m;

	(void)state;
	start(&m, &sha224, true);
	refuse_algorithm(&m, EVERYTHING, "digest sha224");
	/* not of this digest, though allowed */
	start(&m, &digests[2], true);
	m.signature_oid = OID_SHA1_RSA;
	refuse_algorithm(&m, EVERYTHING, "signature algorithm sha1WithRSAEncryption");
	start(&m, &digests[2], true);
	m.signature_oid = OID_PSS;
	refuse_algorithm(&m, EVERYTHING, "signature algorithm rsassaPss");
	start(&m, &digests[2], true);
	m.signature_oid = "1.2.3.4";
	refuse_algorithm(&m, EVERYTHING, "signature algorithm 1.2.3.4");
}

static void
scep_verify_refuses_ciphers_that_are_not_allowed(void **state)
{
	static const struct {
		const char *oid, *text;
		unsigned without;
		struct bytes iv;
	} ciphers[] = {
		{ OID_DES, "cipher des-cbc", SCEP_DES, { (const uint8_t *)"12345678", 8 } },
		{ OID_3DES, "cipher des-ede3-cbc", SCEP_3DES, { (const uint8_t *)"12345678", 8 } },
		{ OID_AES128, "cipher aes-128-cbc", SCEP_AES128, { NULL, 0 } },
		{ OID_AES192, "cipher aes-192-cbc", SCEP_AES192, { NULL, 0 } },
		{ OID_AES256, "cipher aes-256-cbc", SCEP_AES256, { NULL, 0 } },
		{ OID_AES128_GCM, "cipher aes-128-gcm", 0, { NULL, 0 } },
		{ OID_RC2, "cipher rc2-cbc", 0, { NULL, 0 } },
		{ "1.2.3.4", "cipher 1.2.3.4", 0, { NULL, 0 } },
		{ OID_AES128, "cipher aes-128-cbc", 0, { (const uint8_t *)"12345678", 8 } }, /* IV of another length */
		{ OID_3DES, "cipher des-ede3-cbc", 0, { (const uint8_t *)"0123456789abcdef", 16 } },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++) {
		struct make_envelope inside = { .cert = ra, .cipher_oid = ciphers[i].oid, .iv = ciphers[i].iv };
		struct make m;

		make_start(&m, key, cert, "19");
		make_enveloped(&inside, bytes_of_text("contents"), &m.content);
		if (ciphers[i].without != 0)
			accept(&m, EVERYTHING, true);
		else
			refuse_algorithm(&m, EVERYTHING, ciphers[i].text);
		make_start(&m, key, cert, "19");
		make_enveloped(&inside, bytes_of_text("contents"), &m.content);
		refuse_algorithm(&m, EVERYTHING & ~ciphers[i].without, ciphers[i].text);
	}
}

static void
scep_verify_needs_no_cipher_without_content(void **state)
{
	struct make m;

	(void)state;
	make_start(&m, key, cert, "20");
	accept(&m, SCEP_SHA256, true);
	make_start(&m, key, cert, "20");
	m.no_content = true;
	accept(&m, SCEP_SHA256, true);
}

static EVP_PKEY *
rsa_key(size_t bits, BN_ULONG exponent)
{
	CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	EVP_PKEY *made = NULL;
	BIGNUM *e = BN_new();

	(void)BN_set_word(e, exponent);
	assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, (int)bits), 1);
	assert_int_equal(EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e), 1);
	assert_int_equal(EVP_PKEY_keygen(ctx, &made), 1);
	BN_free(e);
	return made;
}

/* RFC 8894, section 2.3. */
static void
scep_verify_refuses_signers_without_a_good_rsa_key(void **state)
{
	const struct {
		EVP_PKEY *key;
		const char *text;
	} bad[] = {
		{ EVP_EC_gen("P-256"), "EC P-256; SCEP needs RSA" },
		{ rsa_key(512, 65537), "RSA-512" },
		{ rsa_key(1024, 65537), "weak" },
		{ rsa_key(2048, 3), "weak" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		X509 *weak = make_cert(bad[i].key, "weak", bad[i].key, "weak", 8, 2);
		struct make m;

		make_start(&m, bad[i].key, weak, "19");
		refuse_algorithm(&m, EVERYTHING, bad[i].text);
		X509_free(weak);
		EVP_PKEY_free(bad[i].key);
	}
}

static void
scep_verify_refuses_contents_that_were_changed(void **state)
{
	struct make m;

	(void)state;
	start(&m, &digests[2], false);
	m.wrong_message_digest = true; /* and signed so */
	refuse_message(&m, "messageDigest is not");
}

/* Every octet from the digest's name on, one bit each; what still parses must not verify. */
static void
scep_verify_refuses_attributes_and_signatures_that_were_changed(void **state)
{
	CLEANUP(buf) struct buf der = { 0 };
	CLEANUP(buf) struct buf signer = { 0 };
	CLEANUP(buf) struct buf id = { 0 };
	struct make m;
	size_t i, verified = 0;

	(void)state;
	make_start(&m, key, cert, "19");
	m.no_content = true;
	make_message(&m, &der);
	make_signer(&m, &signer);
	make_id(&id, cert, false);
	for (i = der.len - signer.len + 4 + 3 + id.len; i < der.len; i++) {
		CLEANUP(scep_message) struct scep_message *message = NULL;
		enum scep_fail fail;
		struct err e;

		der.at[i] ^= 0x01;
		if (scep_message_parse(buf_bytes(&der), &message, &e) == 0)
			verified += scep_message_verify(message, EVERYTHING, &fail, &e) == 0;
		der.at[i] ^= 0x01;
	}
	assert_int_equal(verified, 0);
	accept(&m, EVERYTHING, true);
}

static void
scep_verify_refuses_missing_doubled_and_wrong_cms_attributes(void **state)
{
	struct buf oid = { 0 };
	struct make m;

	(void)state;
	der_put_oid(&oid, OID_DATA);
	start(&m, &digests[2], false);
	m.content_type = NULL;
	refuse_message(&m, "there is no contentType");
	start(&m, &digests[2], false);
	m.content_type = OID_ENVELOPED;
	refuse_message(&m, "contentType is not data");
	start(&m, &digests[2], false);
	make_attribute(&m.attributes, OID_CONTENT_TYPE, buf_bytes(&oid));
	refuse_message(&m, "contentType stands there twice");
	start(&m, &digests[2], false);
	m.content_type = NULL;
	make_text(&m.attributes, OID_CONTENT_TYPE, OID_DATA);
	refuse_message(&m, "contentType is of ASN.1 type");
	start(&m, &digests[2], false);
	m.no_message_digest = true;
	refuse_message(&m, "there is no messageDigest");
	start(&m, &digests[2], false);
	make_nonce(&m.attributes, OID_MESSAGE_DIGEST, "01234567890123456789012345678901");
	refuse_message(&m, "messageDigest stands there twice");
	start(&m, &digests[2], false);
	m.no_message_digest = true;
	make_nonce(&m.attributes, OID_MESSAGE_DIGEST, "");
	refuse_message(&m, "messageDigest is not");
	start(&m, &digests[2], false);
	m.no_message_digest = true;
	make_text(&m.attributes, OID_MESSAGE_DIGEST, "01234567890123456789012345678901");
	refuse_message(&m, "messageDigest is of ASN.1 type");
	buf_free(&oid);
}

static void
scep_verify_refuses_a_signature_by_another_key(void **state)
{
	struct make m;

	(void)state;
	start(&m, &digests[2], false);
	m.key = other;
	refuse_message(&m, "the signature is not the signer's");
}

static void
scep_verify_tells_self_signed_from_issued(void **state)
{
	CLEANUP(X509) X509 *issued = make_cert(key, "device-1", other, "CA", 8, 2);
	CLEANUP(X509) X509 *own_name = make_cert(key, "device-1", other, "device-1", 8, 2);
	CLEANUP(X509) X509 *own_key = make_cert(key, "device-1", key, "CA", 8, 2);
	CLEANUP(X509) X509 *old = make_cert(key, "device-1", key, "device-1", 32, 0);
	struct make m;

	(void)state;
	make_start(&m, key, issued, "17");
	accept(&m, EVERYTHING, false);
	make_start(&m, key, own_name, "17");
	accept(&m, EVERYTHING, false);
	make_start(&m, key, own_key, "17");
	accept(&m, EVERYTHING, false);
	make_start(&m, key, old, "19");
	accept(&m, EVERYTHING, true);
}

/* As OpenSSL's own writer makes it, streamed: indefinite lengths, signingTime and SMIMECapabilities among the attributes. */
static void
scep_verify_takes_what_openssl_writes(void **state)
{
	struct make_envelope inside = { .cert = ra };
	CLEANUP(buf) struct buf envelope = { 0 };
	CLEANUP(CMS_ContentInfo) CMS_ContentInfo *cms = NULL;
	CLEANUP(BIO) BIO *in = NULL;
	CLEANUP(BIO) BIO *out = BIO_new(BIO_s_mem());
	CLEANUP(X509) X509 *v3 = X509_dup(cert);
	static const struct {
		const char *oid, *value;
		int type;
	} attributes[] = { { OID_MESSAGE_TYPE, "19", V_ASN1_PRINTABLESTRING },
		{ OID_TRANSACTION, "t", V_ASN1_PRINTABLESTRING }, { OID_SENDER_NONCE, MAKE_NONCE, V_ASN1_OCTET_STRING } };
	const unsigned flags = CMS_BINARY | CMS_PARTIAL | CMS_STREAM;
	CMS_SignerInfo *signer;
	char *octets = NULL;
	long len;
	size_t i;

	(void)state;
	make_enveloped(&inside, bytes_of_text("contents"), &envelope);
	in = BIO_new_mem_buf(envelope.at, (int)envelope.len);
	cms = CMS_sign(NULL, NULL, NULL, NULL, flags);
	signer = CMS_add1_signer(cms, v3, key, EVP_sha512(), flags);
	assert_non_null(signer);
	for (i = 0; i < 3; i++) {
		ASN1_OBJECT *oid = OBJ_txt2obj(attributes[i].oid, 1);

		assert_int_equal(CMS_signed_add1_attr_by_OBJ(signer, oid, attributes[i].type, attributes[i].value,
			(int)strlen(attributes[i].value)), 1);
		ASN1_OBJECT_free(oid);
	}
	assert_int_equal(i2d_CMS_bio_stream(out, cms, in, (int)flags), 1);
	len = BIO_get_mem_data(out, &octets);
	assert_int_equal(octets[1] & 0xff, 0x80);
	accept_octets(bytes_of(octets, (size_t)len), SCEP_ALGORITHMS_DEFAULT, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scep_verify_takes_each_digest_where_allowed_under_either_oid),
		cmocka_unit_test(scep_verify_refuses_sha1_and_md5_by_default),
		cmocka_unit_test(scep_verify_refuses_digests_and_signature_algorithms_it_does_not_know),
		cmocka_unit_test(scep_verify_refuses_ciphers_that_are_not_allowed),
		cmocka_unit_test(scep_verify_needs_no_cipher_without_content),
		cmocka_unit_test(scep_verify_refuses_signers_without_a_good_rsa_key),
		cmocka_unit_test(scep_verify_refuses_contents_that_were_changed),
		cmocka_unit_test(scep_verify_refuses_attributes_and_signatures_that_were_changed),
		cmocka_unit_test(scep_verify_refuses_missing_doubled_and_wrong_cms_attributes),
		cmocka_unit_test(scep_verify_refuses_a_signature_by_another_key),
		cmocka_unit_test(scep_verify_tells_self_signed_from_issued),
		cmocka_unit_test(scep_verify_takes_what_openssl_writes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
