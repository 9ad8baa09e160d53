#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include <openssl/ec.h>
#include <openssl/rsa.h>

#include "base/der.h"
#include "est/keygen.h"
#include "tests/unit/est_cert.h"

static EVP_PKEY *rsa, *ec;
static X509 *rsa_cert, *ec_cert;
static struct buf pkcs8;

static const uint8_t kek[32] = { 1, 2, 3 };
static const uint8_t wrong_kek[32] = { 1, 2, 4 };

static int
setup(void **state)
{
	EVP_PKEY *made = NULL;
	struct err e;

	(void)state;
	if (ossl_init(&e) != 0 || key_init(&e) != 0)
		return -1;
	rsa = EVP_RSA_gen(2048);
	ec = EVP_EC_gen("P-256");
	rsa_cert = make_cert("rsa", rsa, "keyEncipherment");
	ec_cert = make_cert("ec", ec, NULL);
	if (est_keygen_make(KEY_EC_P256, 0, &made, &e) != 0 || est_keygen_pkcs8(made, &pkcs8, &e) != 0)
		return -1;
	EVP_PKEY_free(made);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	X509_free(rsa_cert);
	X509_free(ec_cert);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ec);
	buf_free_secret(&pkcs8);
	return 0;
}

static void
est_keygen_make_makes_the_kinds_it_promises(void **state)
{
	static const struct {
		enum key_kind kind;
		int bits, facts_bits;
	} kinds[] = { { KEY_EC_P256, 0, 256 }, { KEY_EC_P384, 0, 384 }, { KEY_RSA, 2048, 2048 } };
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
		struct key_facts facts;
		struct err e;

		assert_int_equal(est_keygen_make(kinds[i].kind, kinds[i].bits, &key, &e), 0);
		key_facts_of(key, &facts);
		assert_int_equal(facts.kind, kinds[i].kind);
		assert_int_equal(facts.bits, kinds[i].facts_bits);
		assert_null(facts.weak);
	}
}

static void
est_keygen_make_refuses_other_kinds_and_sizes(void **state)
{
	EVP_PKEY *key = NULL;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(est_keygen_make(KEY_RSA, 1024, &key, &e), -1);
	assert_int_equal(e.code, ERR_UNSUPPORTED);
	assert_int_equal(est_keygen_make(KEY_RSA, 8192, &key, &e), -1);
	assert_int_equal(est_keygen_make(KEY_RSA, -1, &key, &e), -1);
	assert_int_equal(est_keygen_make(KEY_ED25519, 0, &key, &e), -1);
	assert_int_equal(est_keygen_make(KEY_OTHER, 0, &key, &e), -1);
	assert_null(key);
}

static void
est_keygen_pkcs8_is_read_back_as_the_same_key(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *again = NULL;
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	struct buf der = { 0 };
	PKCS8_PRIV_KEY_INFO *info;
	const uint8_t *p;
	struct err e;

	(void)state;
	assert_int_equal(est_keygen_make(KEY_EC_P384, 0, &key, &e), 0);
	assert_int_equal(est_keygen_pkcs8(key, &der, &e), 0);
	p = der.at;
	info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &p, (long)der.len);
	assert_ptr_equal(p, der.at + der.len);
	again = EVP_PKCS82PKEY(info);
	assert_int_equal(EVP_PKEY_eq(again, key), 1);
	PKCS8_PRIV_KEY_INFO_free(info);
	buf_free_secret(&der);
}

static bool
occurs(const struct buf *in, struct bytes what)
{
	size_t i;

	for (i = 0; i + what.len <= in->len; i++)
		if (memcmp(in->at + i, what.at, what.len) == 0)
			return true;
	return false;
}

/* The private scalar's octets must not be anywhere in the message. */
static void
assert_hidden(const struct buf *message)
{
	assert_true(pkcs8.len > 80);
	assert_true(occurs(&pkcs8, bytes_of(pkcs8.at + 40, 16)));
	assert_false(occurs(message, bytes_of(pkcs8.at + 40, 16)));
}

/* Envelop and open again, signed and not. */
static void
assert_round_trip(const struct est_keygen_recipient *recipient, EVP_PKEY *key)
{
	int with_signer;

	for (with_signer = 0; with_signer < 2; with_signer++) {
		CLEANUP(X509) X509 *signer = NULL;
		struct buf message = { 0 }, out = { 0 };
		struct err e = { 0 };

		if (est_keygen_envelop(buf_bytes(&pkcs8), recipient, with_signer ? ec_cert : NULL,
			    with_signer ? ec : NULL, &message, &e) != 0)
			fail_msg("%s", e.text);
		assert_hidden(&message);
		if (est_keygen_open(buf_bytes(&message), recipient, key, &out, &signer, &e) != 0)
			fail_msg("%s", e.text);
		assert_true(bytes_equal(buf_bytes(&out), buf_bytes(&pkcs8)));
		assert_int_equal(signer != NULL, with_signer);
		if (with_signer)
			assert_int_equal(X509_cmp(signer, ec_cert), 0);
		buf_free(&message);
		buf_free_secret(&out);
	}
}

static void
est_keygen_envelop_reaches_each_kind_of_recipient(void **state)
{
	const struct est_keygen_recipient transport = { .cert = rsa_cert };
	const struct est_keygen_recipient agreement = { .cert = ec_cert };
	struct est_keygen_recipient shared = { .kek_id = bytes_of_text("key-1") };
	size_t len;

	(void)state;
	assert_round_trip(&transport, rsa);
	assert_round_trip(&agreement, ec);
	for (len = 16; len <= 32; len += 8) {
		shared.kek = bytes_of(kek, len);
		assert_round_trip(&shared, NULL);
	}
}

static CMS_ContentInfo *
enveloped(const struct est_keygen_recipient *recipient, X509 *signer, EVP_PKEY *signer_key)
{
	struct buf message = { 0 };
	CMS_ContentInfo *cms;
	const uint8_t *p;
	struct err e;

	assert_int_equal(est_keygen_envelop(buf_bytes(&pkcs8), recipient, signer, signer_key, &message, &e), 0);
	p = message.at;
	cms = d2i_CMS_ContentInfo(NULL, &p, (long)message.len);
	assert_non_null(cms);
	assert_ptr_equal(p, message.at + message.len);
	assert_int_equal(OBJ_obj2nid(CMS_get0_type(cms)), NID_pkcs7_enveloped);
	buf_free(&message);
	return cms;
}

static void
est_keygen_envelop_uses_oaep_and_exactly_one_recipient(void **state)
{
	const struct est_keygen_recipient recipient = { .cert = rsa_cert };
	CLEANUP(CMS_ContentInfo) CMS_ContentInfo *cms = NULL;
	STACK_OF(CMS_RecipientInfo) *infos;
	X509_ALGOR *algorithm = NULL;
	CMS_RecipientInfo *info;

	(void)state;
	cms = enveloped(&recipient, NULL, NULL);
	infos = CMS_get0_RecipientInfos(cms);
	assert_int_equal(sk_CMS_RecipientInfo_num(infos), 1);
	info = sk_CMS_RecipientInfo_value(infos, 0);
	assert_int_equal(CMS_RecipientInfo_type(info), CMS_RECIPINFO_TRANS);
	assert_int_equal(CMS_RecipientInfo_ktri_get0_algs(info, NULL, NULL, &algorithm), 1);
	assert_int_equal(OBJ_obj2nid(algorithm->algorithm), NID_rsaesOaep);
}

/* RFC 7030, section 4.4.2: "key-encryption key identifier (kekid) is set to the value of the DecryptKeyIdentifier". */
static void
est_keygen_envelop_names_the_shared_key(void **state)
{
	const struct est_keygen_recipient recipient = { .kek = { kek, 32 }, .kek_id = bytes_of_text("key-1") };
	CLEANUP(CMS_ContentInfo) CMS_ContentInfo *cms = NULL;
	ASN1_OCTET_STRING *id = NULL;
	X509_ALGOR *algorithm = NULL;
	CMS_RecipientInfo *info;

	(void)state;
	cms = enveloped(&recipient, NULL, NULL);
	info = sk_CMS_RecipientInfo_value(CMS_get0_RecipientInfos(cms), 0);
	assert_int_equal(CMS_RecipientInfo_type(info), CMS_RECIPINFO_KEK);
	assert_int_equal(CMS_RecipientInfo_kekri_get0_id(info, &algorithm, &id, NULL, NULL, NULL), 1);
	assert_int_equal(OBJ_obj2nid(algorithm->algorithm), NID_id_aes256_wrap);
	assert_int_equal(id->length, 5);
	assert_memory_equal(id->data, "key-1", 5);
}

/* RFC 5958, section 4: SignedData around the AsymmetricKeyPackage, EnvelopedData around that. */
static void
est_keygen_envelop_encrypts_signed_data_with_a_key_package(void **state)
{
	const struct est_keygen_recipient recipient = { .cert = ec_cert };
	CLEANUP(CMS_ContentInfo) CMS_ContentInfo *cms = NULL;
	CLEANUP(BIO) BIO *content = BIO_new(BIO_s_mem());
	struct buf package = { 0 }, found = { 0 };
	char *at = NULL;
	long len;

	(void)state;
	cms = enveloped(&recipient, ec_cert, ec);
	assert_int_equal(OBJ_obj2nid(CMS_get0_eContentType(cms)), NID_pkcs7_signed);
	assert_int_equal(CMS_decrypt(cms, ec, ec_cert, NULL, content, CMS_BINARY), 1);
	len = BIO_get_mem_data(content, &at);
	buf_append(&found, at, (size_t)len);
	/* SignedData: SEQUENCE { INTEGER 3 (its content is not id-data), ... */
	assert_int_equal(found.at[0], 0x30);
	assert_true(occurs(&found, bytes_of("\x02\x01\x03\x31", 4)));
	der_put_oid(&package, EST_KEY_PACKAGE_OID);
	assert_true(occurs(&found, buf_bytes(&package)));
	buf_clear(&package);
	der_put(&package, DER_SEQUENCE, buf_bytes(&pkcs8));
	assert_true(occurs(&found, buf_bytes(&package)));
	buf_free_secret(&package);
	buf_free_secret(&found);
}

static void
assert_no_envelope(const struct est_keygen_recipient *recipient, X509 *signer, EVP_PKEY *signer_key,
	enum err_code code)
{
	struct buf out = { 0 };
	struct err e = { 0 };

	assert_int_equal(est_keygen_envelop(buf_bytes(&pkcs8), recipient, signer, signer_key, &out, &e), -1);
	assert_int_equal(e.code, code);
	assert_int_equal(out.len, 0);
	buf_free(&out);
}

static void
est_keygen_envelop_writes_nothing_without_exactly_one_usable_recipient(void **state)
{
	const struct est_keygen_recipient none = { 0 };
	const struct est_keygen_recipient two = { .cert = ec_cert, .kek = { kek, 32 }, .kek_id = bytes_of_text("k") };
	const struct est_keygen_recipient odd = { .kek = { kek, 20 }, .kek_id = bytes_of_text("k") };
	const struct est_keygen_recipient unnamed = { .kek = { kek, 32 } };

	(void)state;
	assert_no_envelope(&none, NULL, NULL, ERR_BUG);
	assert_no_envelope(&two, NULL, NULL, ERR_BUG);
	assert_no_envelope(&odd, NULL, NULL, ERR_BUG);
	assert_no_envelope(&unnamed, NULL, NULL, ERR_BUG);
}

static void
est_keygen_envelop_refuses_certificates_that_cannot_receive(void **state)
{
	EVP_PKEY *ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), *small = EVP_RSA_gen(1024);
	X509 *signing_rsa = make_cert("r", rsa, "digitalSignature");
	X509 *signing_ec = make_cert("e", ec, "digitalSignature");
	X509 *weak = make_cert("w", small, NULL);
	X509 *edwards = X509_new();
	const struct est_keygen_recipient recipients[] = { { .cert = signing_rsa }, { .cert = signing_ec },
		{ .cert = weak }, { .cert = edwards } };
	size_t i;

	(void)state;
	assert_int_equal(X509_set_pubkey(edwards, ed25519), 1);
	for (i = 0; i < 4; i++)
		assert_no_envelope(&recipients[i], NULL, NULL, ERR_UNSUPPORTED);
	X509_free(signing_rsa);
	X509_free(signing_ec);
	X509_free(weak);
	X509_free(edwards);
	EVP_PKEY_free(ed25519);
	EVP_PKEY_free(small);
}

static void
est_keygen_envelop_refuses_a_signer_with_another_key(void **state)
{
	const struct est_keygen_recipient recipient = { .cert = ec_cert };

	(void)state;
	assert_no_envelope(&recipient, rsa_cert, ec, ERR_BUG);
}

static void
assert_not_opened(const struct buf *message, const struct est_keygen_recipient *recipient, EVP_PKEY *key,
	enum err_code code)
{
	X509 *signer = NULL;
	struct buf out = { 0 };
	struct err e = { 0 };

	assert_int_equal(est_keygen_open(buf_bytes(message), recipient, key, &out, &signer, &e), -1);
	assert_int_equal(e.code, code);
	assert_int_equal(out.len, 0);
	assert_null(signer);
	buf_free(&out);
}

static void
est_keygen_open_refuses_the_wrong_key_and_other_messages(void **state)
{
	const struct est_keygen_recipient shared = { .kek = { kek, 32 }, .kek_id = bytes_of_text("key-1") };
	const struct est_keygen_recipient wrong = { .kek = { wrong_kek, 32 }, .kek_id = bytes_of_text("key-1") };
	const struct est_keygen_recipient other = { .kek = { kek, 32 }, .kek_id = bytes_of_text("key-2") };
	struct buf message = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(est_keygen_envelop(buf_bytes(&pkcs8), &shared, ec_cert, ec, &message, &e), 0);
	assert_not_opened(&message, &wrong, NULL, ERR_UNAUTHENTIC);
	assert_not_opened(&message, &other, NULL, ERR_UNAUTHENTIC);
	buf_append_u8(&message, 0);
	assert_not_opened(&message, &shared, NULL, ERR_MALFORMED);
	assert_not_opened(&pkcs8, &shared, NULL, ERR_MALFORMED);
	buf_free(&message);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(est_keygen_make_makes_the_kinds_it_promises),
		cmocka_unit_test(est_keygen_make_refuses_other_kinds_and_sizes),
		cmocka_unit_test(est_keygen_pkcs8_is_read_back_as_the_same_key),
		cmocka_unit_test(est_keygen_envelop_reaches_each_kind_of_recipient),
		cmocka_unit_test(est_keygen_envelop_uses_oaep_and_exactly_one_recipient),
		cmocka_unit_test(est_keygen_envelop_names_the_shared_key),
		cmocka_unit_test(est_keygen_envelop_encrypts_signed_data_with_a_key_package),
		cmocka_unit_test(est_keygen_envelop_writes_nothing_without_exactly_one_usable_recipient),
		cmocka_unit_test(est_keygen_envelop_refuses_certificates_that_cannot_receive),
		cmocka_unit_test(est_keygen_envelop_refuses_a_signer_with_another_key),
		cmocka_unit_test(est_keygen_open_refuses_the_wrong_key_and_other_messages),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
