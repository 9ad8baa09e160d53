/* Decrypting envelopes: every way in that clients use, and one answer for every way that fails. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>

#include <openssl/err.h>

#include "scep/read.h"
#include "tests/unit/scep_make.h"

#define EVERYTHING (SCEP_ALGORITHMS_DEFAULT | SCEP_ALGORITHMS_LEGACY | SCEP_ALGORITHMS_CISCO)
#define PLAIN "a PKCS#10 request, or so the envelope says"

static EVP_PKEY *key, *old_key, *other_key;
static X509 *signer, *ra, *old_ra, *other;
static struct scep_recipient recipients[2];

static int
setup(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(ossl_init(&e), 0);
	assert_int_equal(scep_init(&e), 0);
	key = EVP_RSA_gen(2048);
	old_key = EVP_RSA_gen(2048);
	other_key = EVP_RSA_gen(2048);
	signer = make_cert(other_key, "device-1", other_key, "device-1", 8, 2);
	ra = make_cert(key, "RA", other_key, "CA", 8, 2);
	old_ra = make_cert(old_key, "RA", other_key, "CA", 9, 2);
	other = make_cert(other_key, "another RA", other_key, "CA", 10, 2);
	recipients[0] = (struct scep_recipient){ ra, key };
	recipients[1] = (struct scep_recipient){ old_ra, old_key };
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	EVP_PKEY_free(key);
	EVP_PKEY_free(old_key);
	EVP_PKEY_free(other_key);
	X509_free(signer);
	X509_free(ra);
	X509_free(old_ra);
	X509_free(other);
	return 0;
}

static int
open_envelope(const struct make_envelope *m, struct buf *out, struct err *e)
{
	CLEANUP(scep_envelope) struct scep_envelope *envelope = NULL;
	CLEANUP(buf) struct buf der = { 0 };

	make_enveloped(m, bytes_of_text(PLAIN), &der);
	if (scep_envelope_parse(buf_bytes(&der), &envelope, e) != 0)
		fail_msg("%s", e->text);
	return scep_envelope_open(envelope, recipients, 2, out, e);
}

static void
opens(const struct make_envelope *m)
{
	CLEANUP(buf) struct buf out = { 0 };
	struct err e;

	buf_append_text(&out, "before:");
	if (open_envelope(m, &out, &e) != 0)
		fail_msg("%s", e.text);
	assert_string_equal(buf_text(&out), "before:" PLAIN);
}

/* With a key that stands in for the right one, once in 256 times the padding looks good. */
static void
check_failure(const char *how, const struct make_envelope *m, bool may_be_garbage)
{
	CLEANUP(buf) struct buf out = { 0 };
	struct err e = { 0 };

	if (open_envelope(m, &out, &e) == 0) {
		assert_true(may_be_garbage && out.len != 0);
		assert_false(bytes_equal_text(buf_bytes(&out), PLAIN));
	} else {
		if (e.code != ERR_UNAUTHENTIC || strcmp(e.text, "the envelope cannot be decrypted") != 0)
			fail_msg("%s: %d %s", how, (int)e.code, e.text);
		assert_int_equal(out.len, 0);
	}
	assert_int_equal(ERR_peek_error(), 0);
}

static void
scep_open_takes_every_cipher(void **state)
{
	const struct {
		unsigned bit;
		const char *oid;
	} ciphers[] = { { SCEP_AES128, OID_AES128 }, { SCEP_AES192, OID_AES192 }, { SCEP_AES256, OID_AES256 },
		{ SCEP_3DES, OID_3DES }, { SCEP_DES, OID_DES } };
	size_t i;
	int ber;

	(void)state;
	for (i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++)
		for (ber = 0; ber < 2; ber++) {
			struct make_envelope m = { .cert = ra, .cipher = scep_cipher(ciphers[i].bit),
				.cipher_oid = ciphers[i].oid, .ber = ber };

			assert_non_null(m.cipher);
			opens(&m);
		}
}

/* RSAES-OAEP-params (RFC 8017, appendix A.2.1); NULL leaves a field out; label NULL: none. */
static void
put_oaep(struct buf *out, const char *digest, const char *mask_digest, const char *label)
{
	size_t sequence = der_begin(out, DER_SEQUENCE), mark, inner;

	if (digest != NULL) {
		mark = der_begin(out, DER_CONTEXT_CONS(0));
		make_algorithm(out, digest, bytes_of("\x05\x00", 2));
		der_end(out, mark);
	}
	if (mask_digest != NULL) {
		mark = der_begin(out, DER_CONTEXT_CONS(1));
		inner = der_begin(out, DER_SEQUENCE);
		der_put_oid(out, OID_MGF1);
		make_algorithm(out, mask_digest, bytes_of("\x05\x00", 2));
		der_end(out, inner);
		der_end(out, mark);
	}
	if (label != NULL) {
		mark = der_begin(out, DER_CONTEXT_CONS(2));
		inner = der_begin(out, DER_SEQUENCE);
		der_put_oid(out, OID_PSPECIFIED);
		der_put(out, DER_OCTET_STRING, bytes_of_text(label));
		der_end(out, inner);
		der_end(out, mark);
	}
	der_end(out, sequence);
}

static void
scep_open_takes_oaep_with_every_digest(void **state)
{
	static const struct {
		const char *digest, *mask;            /* how it is encrypted */
		const char *digest_oid, *mask_oid, *label; /* what it says */
	} ways[] = {
		{ "SHA1", "SHA1", NULL, NULL, NULL },
		{ "SHA1", "SHA1", OID_SHA1, OID_SHA1, "" },
		{ "SHA256", "SHA256", OID_SHA256, OID_SHA256, NULL },
		{ "SHA256", "SHA1", OID_SHA256, NULL, NULL },
		{ "SHA384", "SHA384", OID_SHA384, OID_SHA384, NULL },
		{ "SHA512", "SHA512", OID_SHA512, OID_SHA512, NULL },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		struct make_envelope m = { .cert = ra, .oaep = ways[i].digest, .mgf1 = ways[i].mask,
			.transport_oid = OID_OAEP };

		put_oaep(&m.transport, ways[i].digest_oid, ways[i].mask_oid, ways[i].label);
		opens(&m);
		buf_free(&m.transport);
	}
}

static void
scep_open_takes_oaep_without_parameters_for_the_defaults(void **state)
{
	struct make_envelope m = { .cert = ra, .oaep = "SHA1", .mgf1 = "SHA1", .transport_oid = OID_OAEP };

	(void)state;
	opens(&m);
	buf_append(&m.transport, "\x05\x00", 2);
	opens(&m);
	buf_free(&m.transport);
}

static void
scep_open_finds_its_own_recipient_among_others(void **state)
{
	struct make_envelope m = { .cert = ra, .others = { other, other, other } };
	uint8_t tag;

	(void)state;
	opens(&m);
	m.cert = old_ra; /* the one before the last rollover */
	opens(&m);
	m.key_id = true;
	opens(&m);
	m.others[1] = ra; /* both of ours */
	opens(&m);
	/* Key agreement, key encryption keys, passwords and others stand before ours. */
	for (tag = 1; tag <= 4; tag++)
		der_put(&m.strange, DER_CONTEXT_CONS(tag), bytes_of("\x02\x01\x00\x05\x00", 5));
	opens(&m);
	buf_free(&m.strange);
}

static void
scep_open_passes_over_what_it_cannot_use_of_its_own(void **state)
{
	struct make_envelope unusable = { .cert = ra, .transport_oid = "1.2.3.4" };
	struct make_envelope m = { .cert = ra };
	struct buf whole = { 0 };

	(void)state;
	/* Ours twice: once with a key transport that nobody knows, then as it should be. */
	make_recipient(&unusable, ra, bytes_of_text("0123456789abcdef"), &whole);
	buf_append_bytes(&m.strange, buf_bytes(&whole));
	opens(&m);
	buf_free(&m.strange);
	buf_free(&whole);
}

static void
scep_envelope_counts_recipients(void **state)
{
	struct make_envelope m = { .cert = ra };
	struct scep_envelope *envelope = NULL;
	struct buf der = { 0 };
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < SCEP_RECIPIENTS_MAX - 1; i++)
		m.others[i] = other;
	opens(&m);
	m.others[SCEP_RECIPIENTS_MAX - 1] = other;
	make_enveloped(&m, bytes_of_text(PLAIN), &der);
	assert_int_equal(scep_envelope_parse(buf_bytes(&der), &envelope, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_null(envelope);
	buf_free(&der);
}

static void
scep_open_gives_one_answer_when_there_is_no_key(void **state)
{
	uint8_t garbage[3000], big[256];
	const struct {
		const char *how;
		struct make_envelope m;
	} bad[] = {
		{ "nobody's", { .cert = NULL } },
		{ "another's", { .cert = other } },
		{ "no PKCS#1 padding", { .cert = ra, .encrypted_key = { garbage, 256 } } },
		{ "short encrypted key", { .cert = ra, .encrypted_key = { garbage, 255 } } },
		{ "encrypted key of one octet", { .cert = ra, .encrypted_key = { garbage, 1 } } },
		{ "long encrypted key", { .cert = ra, .encrypted_key = { garbage, 257 } } },
		{ "very long encrypted key", { .cert = ra, .encrypted_key = { garbage, 3000 } } },
		{ "larger than the modulus", { .cert = ra, .encrypted_key = { big, 256 } } },
		{ "content key too short", { .cert = ra, .key_len = 8 } },
		{ "content key too long", { .cert = ra, .key_len = 32 } },
		{ "transport unknown", { .cert = ra, .transport_oid = "1.2.3.4" } },
		{ "PKCS#1 called OAEP", { .cert = ra, .transport_oid = OID_OAEP } },
		{ "OAEP called PKCS#1", { .cert = ra, .oaep = "SHA1", .mgf1 = "SHA1" } },
	};
	size_t i;

	(void)state;
	memset(garbage, 0x33, sizeof garbage);
	memset(big, 0xff, sizeof big);
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		check_failure(bad[i].how, &bad[i].m, true);
}

static void
scep_open_gives_the_same_answer_when_the_content_is_wrong(void **state)
{
	const struct make_envelope padding = { .cert = ra, .wrong_padding = true };
	const struct make_envelope cut = { .cert = ra, .cut_block = true };
	const struct make_envelope empty = { .cert = ra, .empty = true };
	const struct make_envelope none = { .cert = ra, .no_octets = true };

	(void)state;
	check_failure("content padding", &padding, false);
	check_failure("content cut", &cut, false);
	check_failure("content empty", &empty, false);
	check_failure("no content", &none, false);
}

static void
scep_open_gives_the_same_answer_for_oaep_it_does_not_take(void **state)
{
	static const struct {
		const char *with, *digest, *mask, *label;
	} bad[] = { { "MD5", OID_MD5, OID_MD5, NULL }, { "SHA224", OID_SHA224, OID_SHA224, NULL },
		{ "SHA1", NULL, OID_MD5, NULL }, { "SHA1", NULL, NULL, "a label" }, { "SHA1", "1.2.3.4", NULL, NULL } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct make_envelope m = { .cert = ra, .oaep = bad[i].with, .mgf1 = bad[i].with,
			.transport_oid = OID_OAEP };

		put_oaep(&m.transport, bad[i].digest, bad[i].mask, bad[i].label);
		check_failure("OAEP parameters", &m, true);
		buf_free(&m.transport);
	}
}

/*
 * 256 IVs that differ in the last octet: for one of them at least the padding
 * of one block is right, whatever key stands in for the one that is not there. Asked
 * again, it must be the same key: another would be told from a real one.
 */
static void
scep_open_uses_the_same_wrong_key_for_the_same_octets(void **state)
{
	uint8_t garbage[256], iv[16] = { 0 };
	struct make_envelope m = { .cert = ra, .encrypted_key = { garbage, 256 }, .iv = { iv, 16 }, .empty = true };
	size_t opened = 0, i, again;

	(void)state;
	memset(garbage, 0x33, sizeof garbage);
	for (i = 0; i < 256; i++) {
		CLEANUP(buf) struct buf first = { 0 };
		struct err e;

		iv[15] = (uint8_t)i;
		if (open_envelope(&m, &first, &e) != 0)
			continue;
		opened++;
		for (again = 0; again < 3; again++) {
			CLEANUP(buf) struct buf out = { 0 };

			assert_int_equal(open_envelope(&m, &out, &e), 0);
			assert_true(bytes_equal(buf_bytes(&out), buf_bytes(&first)));
		}
	}
	assert_true(opened >= 1);
}

static void
start(struct make *m, bool content)
{
	struct make_envelope inside = { .cert = ra };

	make_start(m, other_key, signer, "19");
	if (content)
		make_enveloped(&inside, bytes_of_text(PLAIN), &m->content);
}

static void
scep_open_opens_a_message_only_when_it_is_verified(void **state)
{
	CLEANUP(scep_message) struct scep_message *message = NULL;
	CLEANUP(buf) struct buf der = { 0 };
	CLEANUP(buf) struct buf out = { 0 };
	enum scep_fail fail;
	struct make m;
	struct err e;

	(void)state;
	start(&m, true);
	make_message(&m, &der);
	make_free(&m);
	assert_int_equal(scep_message_parse(buf_bytes(&der), &message, &e), 0);
	assert_int_equal(scep_message_open(message, recipients, 2, &out, &e), -1);
	assert_int_equal(e.code, ERR_BUG);
	assert_int_equal(scep_message_verify(message, SCEP_SHA1, &fail, &e), -1);
	assert_int_equal(scep_message_open(message, recipients, 2, &out, &e), -1);
	assert_int_equal(e.code, ERR_BUG);
	assert_int_equal(scep_message_verify(message, EVERYTHING, &fail, &e), 0);
	assert_int_equal(scep_message_open(message, recipients, 2, &out, &e), 0);
	assert_string_equal(buf_text(&out), PLAIN);
}

static void
scep_open_fails_without_content(void **state)
{
	CLEANUP(scep_message) struct scep_message *message = NULL;
	CLEANUP(buf) struct buf der = { 0 };
	CLEANUP(buf) struct buf out = { 0 };
	enum scep_fail fail;
	struct make m;
	struct err e;

	(void)state;
	start(&m, false);
	make_message(&m, &der);
	make_free(&m);
	assert_int_equal(scep_message_parse(buf_bytes(&der), &message, &e), 0);
	assert_int_equal(scep_message_verify(message, EVERYTHING, &fail, &e), 0);
	assert_int_equal(scep_message_open(message, recipients, 2, &out, &e), -1);
	assert_int_equal(e.code, ERR_UNAUTHENTIC);
	assert_string_equal(e.text, "the envelope cannot be decrypted");
}

static void
scep_open_needs_rsa_keys_of_its_own(void **state)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *ec = EVP_EC_gen("P-256");
	CLEANUP(scep_envelope) struct scep_envelope *envelope = NULL;
	CLEANUP(buf) struct buf der = { 0 };
	CLEANUP(buf) struct buf out = { 0 };
	struct make_envelope m = { .cert = ra };
	struct scep_recipient bad = { ra, ec };
	struct err e;

	(void)state;
	make_enveloped(&m, bytes_of_text(PLAIN), &der);
	assert_int_equal(scep_envelope_parse(buf_bytes(&der), &envelope, &e), 0);
	assert_int_equal(scep_envelope_open(envelope, &bad, 1, &out, &e), -1);
	assert_int_equal(e.code, ERR_BUG);
	assert_int_equal(scep_envelope_open(envelope, &bad, 0, &out, &e), -1);
	assert_int_equal(e.code, ERR_BUG);
}

/* OpenSSL's own writer, streamed: everything of indefinite length, the encrypted content in pieces. */
static void
scep_open_takes_what_openssl_writes(void **state)
{
	CLEANUP(scep_envelope) struct scep_envelope *envelope = NULL;
	CLEANUP(BIO) BIO *in = BIO_new_mem_buf(PLAIN, -1);
	CLEANUP(BIO) BIO *out = BIO_new(BIO_s_mem());
	CLEANUP(buf) struct buf plain = { 0 };
	STACK_OF(X509) *certs = sk_X509_new_null();
	CLEANUP(CMS_ContentInfo) CMS_ContentInfo *cms = NULL;
	char *octets = NULL;
	struct err e;
	long len;

	(void)state;
	(void)sk_X509_push(certs, other);
	(void)sk_X509_push(certs, ra);
	cms = CMS_encrypt(certs, NULL, EVP_des_ede3_cbc(), CMS_BINARY | CMS_STREAM);
	assert_int_equal(i2d_CMS_bio_stream(out, cms, in, CMS_BINARY | CMS_STREAM), 1);
	len = BIO_get_mem_data(out, &octets);
	assert_int_equal(scep_envelope_parse(bytes_of(octets, (size_t)len), &envelope, &e), 0);
	assert_int_equal(envelope->cipher, SCEP_3DES);
	assert_int_equal(scep_envelope_open(envelope, recipients, 2, &plain, &e), 0);
	assert_string_equal(buf_text(&plain), PLAIN);
	sk_X509_free(certs);
}

static void *
open_often(void *envelope)
{
	struct err e;
	int i;

	for (i = 0; i < 20; i++) {
		CLEANUP(buf) struct buf out = { 0 };

		if (scep_envelope_open(envelope, recipients, 2, &out, &e) != 0 || strcmp(buf_text(&out), PLAIN) != 0)
			return envelope;
	}
	return NULL;
}

static void
scep_open_may_be_called_from_any_thread(void **state)
{
	CLEANUP(scep_envelope) struct scep_envelope *envelope = NULL;
	CLEANUP(buf) struct buf der = { 0 };
	struct make_envelope m = { .cert = ra };
	pthread_t threads[4];
	struct err e;
	size_t i;

	(void)state;
	make_enveloped(&m, bytes_of_text(PLAIN), &der);
	assert_int_equal(scep_envelope_parse(buf_bytes(&der), &envelope, &e), 0);
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, open_often, envelope), 0);
	for (i = 0; i < 4; i++) {
		void *failed = NULL;

		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scep_open_takes_every_cipher),
		cmocka_unit_test(scep_open_takes_oaep_with_every_digest),
		cmocka_unit_test(scep_open_takes_oaep_without_parameters_for_the_defaults),
		cmocka_unit_test(scep_open_finds_its_own_recipient_among_others),
		cmocka_unit_test(scep_open_passes_over_what_it_cannot_use_of_its_own),
		cmocka_unit_test(scep_envelope_counts_recipients),
		cmocka_unit_test(scep_open_gives_one_answer_when_there_is_no_key),
		cmocka_unit_test(scep_open_gives_the_same_answer_when_the_content_is_wrong),
		cmocka_unit_test(scep_open_gives_the_same_answer_for_oaep_it_does_not_take),
		cmocka_unit_test(scep_open_uses_the_same_wrong_key_for_the_same_octets),
		cmocka_unit_test(scep_open_opens_a_message_only_when_it_is_verified),
		cmocka_unit_test(scep_open_fails_without_content),
		cmocka_unit_test(scep_open_needs_rsa_keys_of_its_own),
		cmocka_unit_test(scep_open_takes_what_openssl_writes),
		cmocka_unit_test(scep_open_may_be_called_from_any_thread),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
