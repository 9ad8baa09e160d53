#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <openssl/ec.h>
#include <openssl/pkcs7.h>

#include "base/der.h"
#include "est/body.h"
#include "tests/unit/est_cert.h"

static EVP_PKEY *key;
static X509 *first, *second;
static struct buf first_der, second_der;

static int
setup(void **state)
{
	struct err e;

	(void)state;
	if (ossl_init(&e) != 0)
		return -1;
	key = EVP_EC_gen("P-256");
	first = make_cert("first", key, NULL);
	second = make_cert("second", key, NULL);
	return x509_to_der(first, &first_der, &e) != 0 || x509_to_der(second, &second_der, &e) != 0;
}

static int
teardown(void **state)
{
	(void)state;
	X509_free(first);
	X509_free(second);
	EVP_PKEY_free(key);
	buf_free(&first_der);
	buf_free(&second_der);
	return 0;
}

static void
encode_both(struct buf *out)
{
	struct bytes certs[2] = { buf_bytes(&second_der), buf_bytes(&first_der) };
	struct err e;

	assert_int_equal(est_certs_encode(certs, 2, out, &e), 0);
}

/* d2i_PKCS7() shares no code with the encoder. */
static void
est_certs_encode_writes_what_pkcs7_readers_read(void **state)
{
	struct buf der = { 0 };
	const uint8_t *p;
	PKCS7 *p7;

	(void)state;
	encode_both(&der);
	p = der.at;
	p7 = d2i_PKCS7(NULL, &p, (long)der.len);
	assert_non_null(p7);
	assert_ptr_equal(p, der.at + der.len);
	assert_true(PKCS7_type_is_signed(p7));
	assert_int_equal(ASN1_INTEGER_get(p7->d.sign->version), 1);
	assert_int_equal(sk_X509_num(p7->d.sign->cert), 2);
	assert_int_equal(X509_cmp(sk_X509_value(p7->d.sign->cert, 0), second), 0);
	assert_int_equal(X509_cmp(sk_X509_value(p7->d.sign->cert, 1), first), 0);
	assert_int_equal(sk_PKCS7_SIGNER_INFO_num(p7->d.sign->signer_info), 0);
	assert_true(PKCS7_type_is_data(p7->d.sign->contents));
	PKCS7_free(p7);
	buf_free(&der);
}

/* A template that re-encodes to the same octets: nothing in it is BER. */
static void
est_certs_encode_writes_der(void **state)
{
	struct buf der = { 0 };
	uint8_t *again = NULL;
	const uint8_t *p;
	CMS_ContentInfo *cms;
	int len;

	(void)state;
	encode_both(&der);
	p = der.at;
	cms = d2i_CMS_ContentInfo(NULL, &p, (long)der.len);
	assert_non_null(cms);
	len = i2d_CMS_ContentInfo(cms, &again);
	assert_int_equal(len, der.len);
	OPENSSL_free(again);
	CMS_ContentInfo_free(cms);
	buf_free(&der);
}

static void
est_certs_encode_appends(void **state)
{
	struct bytes one = buf_bytes(&first_der);
	struct buf out = { 0 };
	struct err e;

	(void)state;
	buf_append_text(&out, "before");
	assert_int_equal(est_certs_encode(&one, 1, &out, &e), 0);
	assert_memory_equal(out.at, "before0", 7);
	buf_free(&out);
}

static void
est_certs_encode_refuses_none_too_many_and_what_is_no_certificate(void **state)
{
	struct bytes many[EST_CERTS_MAX + 1];
	struct bytes bad[2] = { buf_bytes(&first_der), bytes_of(first_der.at, first_der.len - 1) };
	struct buf out = { 0 };
	struct err e = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i <= EST_CERTS_MAX; i++)
		many[i] = buf_bytes(&first_der);
	assert_int_equal(est_certs_encode(many, 0, &out, &e), -1);
	assert_int_equal(est_certs_encode(many, EST_CERTS_MAX + 1, &out, &e), -1);
	assert_int_equal(est_certs_encode(bad, 2, &out, &e), -1);
	assert_int_equal(e.code, ERR_BUG);
	assert_int_equal(out.len, 0);
	assert_int_equal(est_certs_encode(many, EST_CERTS_MAX, &out, &e), 0);
	buf_free(&out);
}

static void
est_certs_decode_returns_the_certificates_in_order(void **state)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	struct buf der = { 0 };
	struct err e;

	(void)state;
	encode_both(&der);
	assert_int_equal(est_certs_decode(buf_bytes(&der), &certs, &e), 0);
	assert_int_equal(sk_X509_num(certs), 2);
	assert_int_equal(X509_cmp(sk_X509_value(certs, 0), second), 0);
	assert_int_equal(X509_cmp(sk_X509_value(certs, 1), first), 0);
	buf_free(&der);
}

/* The message that est_certs_encode() refuses to write: count times the same certificate, in a SignedData of this version. */
static void
put_certs_message(struct buf *out, size_t count, uint8_t version)
{
	size_t content = der_begin(out, DER_SEQUENCE), explicit, data, set;

	der_put_oid(out, "1.2.840.113549.1.7.2");
	explicit = der_begin(out, DER_CONTEXT_CONS(0));
	data = der_begin(out, DER_SEQUENCE);
	der_put(out, DER_INTEGER, bytes_of(&version, 1));
	der_put(out, DER_SET, bytes_of(NULL, 0));
	der_put(out, DER_SEQUENCE, bytes_of("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01", 11));
	set = der_begin(out, DER_CONTEXT_CONS(0));
	while (count-- > 0)
		buf_append_bytes(out, buf_bytes(&first_der));
	der_end(out, set);
	der_put(out, DER_SET, bytes_of(NULL, 0));
	der_end(out, data);
	der_end(out, explicit);
	der_end(out, content);
}

static void
est_certs_find_points_at_the_certificates_in_order(void **state)
{
	struct bytes found[EST_CERTS_MAX];
	struct buf der = { 0 }, full = { 0 };
	size_t count = 0;

	(void)state;
	encode_both(&der);
	assert_true(est_certs_find(buf_bytes(&der), found, &count));
	assert_int_equal(count, 2);
	assert_true(bytes_equal(found[0], buf_bytes(&second_der)) && bytes_equal(found[1], buf_bytes(&first_der)));
	assert_true(found[0].at > der.at && found[1].at + found[1].len < der.at + der.len);
	put_certs_message(&full, EST_CERTS_MAX, 3); /* with attribute certificates, or other kinds of content */
	assert_true(est_certs_find(buf_bytes(&full), found, &count));
	assert_int_equal(count, EST_CERTS_MAX);
	buf_free(&der);
	buf_free(&full);
}

/* OpenSSL takes a length that is longer than it has to be; whoever points at octets does not. */
static void
est_certs_find_leaves_ber_to_the_decoder(void **state)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	struct bytes found[EST_CERTS_MAX];
	struct buf der = { 0 }, ber = { 0 };
	size_t count = 0;
	struct err e;

	(void)state;
	encode_both(&der);
	assert_int_equal(der.at[1], 0x82);
	buf_append(&ber, "\x30\x83", 3); /* and the NUL */
	buf_append(&ber, der.at + 2, der.len - 2);
	assert_false(est_certs_find(buf_bytes(&ber), found, &count));
	assert_int_equal(est_certs_decode(buf_bytes(&ber), &certs, &e), 0);
	assert_int_equal(sk_X509_num(certs), 2);
	buf_free(&der);
	buf_free(&ber);
}

/* RFC 5652, section 10.2.2: an attribute certificate is [2], for one. The decoder skips what is no X.509 certificate. */
static void
est_certs_find_takes_certificates_of_no_other_form(void **state)
{
	struct bytes found[EST_CERTS_MAX];
	struct buf der = { 0 };
	size_t count = 0;

	(void)state;
	put_certs_message(&der, 1, 1);
	assert_true(est_certs_find(buf_bytes(&der), found, &count));
	der.at[found[0].at - der.at] = DER_CONTEXT_CONS(2);
	assert_false(est_certs_find(buf_bytes(&der), found, &count));
	buf_free(&der);
}

static void
assert_not_certs(struct bytes der, enum err_code code)
{
	struct bytes found[EST_CERTS_MAX];
	STACK_OF(X509) *certs = NULL;
	struct err e = { 0 };
	size_t count = 0;

	assert_false(est_certs_find(der, found, &count));
	assert_int_equal(est_certs_decode(der, &certs, &e), -1);
	assert_int_equal(e.code, code);
	assert_null(certs);
}

static void
est_certs_decode_refuses_other_messages(void **state)
{
	static const uint8_t cms_data[] = { 0x30, 0x11, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07,
		0x01, 0xa0, 0x04, 0x04, 0x02, 'h', 'i' };
	struct buf der = { 0 };
	size_t n;

	(void)state;
	assert_not_certs(bytes_of(NULL, 0), ERR_MALFORMED);
	assert_not_certs(bytes_of(cms_data, sizeof cms_data), ERR_MALFORMED);
	assert_not_certs(buf_bytes(&first_der), ERR_MALFORMED);
	put_certs_message(&der, 0, 1);
	assert_not_certs(buf_bytes(&der), ERR_MALFORMED);
	buf_clear(&der);
	encode_both(&der);
	for (n = 0; n < der.len; n += 7)
		assert_not_certs(bytes_of(der.at, n), ERR_MALFORMED);
	buf_append_u8(&der, 0);
	assert_not_certs(buf_bytes(&der), ERR_MALFORMED);
	buf_free(&der);
}

/* EnvelopedData with certificates in its originatorInfo (RFC 5652, section 6.1). */
static void
put_enveloped_message(struct buf *out)
{
	size_t content = der_begin(out, DER_SEQUENCE), explicit, data, part, inner;

	der_put_oid(out, "1.2.840.113549.1.7.3");
	explicit = der_begin(out, DER_CONTEXT_CONS(0));
	data = der_begin(out, DER_SEQUENCE);
	der_put(out, DER_INTEGER, bytes_of("\x02", 1));
	part = der_begin(out, DER_CONTEXT_CONS(0));
	der_put(out, DER_CONTEXT_CONS(0), buf_bytes(&first_der));
	der_end(out, part);
	der_put(out, DER_SET, bytes_of(NULL, 0));
	part = der_begin(out, DER_SEQUENCE);
	der_put_oid(out, "1.2.840.113549.1.7.1");
	inner = der_begin(out, DER_SEQUENCE);
	der_put_oid(out, "2.16.840.1.101.3.4.1.2");
	der_end(out, inner);
	der_end(out, part);
	der_end(out, data);
	der_end(out, explicit);
	der_end(out, content);
}

static void
est_certs_decode_takes_certificates_from_signed_data_only(void **state)
{
	CLEANUP(CMS_ContentInfo) CMS_ContentInfo *cms = NULL;
	struct buf der = { 0 };
	const uint8_t *p;

	(void)state;
	put_enveloped_message(&der);
	p = der.at;
	cms = d2i_CMS_ContentInfo(NULL, &p, (long)der.len);
	assert_non_null(cms); /* well formed, with a certificate, and still refused */
	assert_not_certs(buf_bytes(&der), ERR_MALFORMED);
	buf_free(&der);
}

static void
est_certs_decode_refuses_more_certificates_than_the_limit(void **state)
{
	struct buf der = { 0 };

	(void)state;
	put_certs_message(&der, EST_CERTS_MAX + 1, 1);
	assert_not_certs(buf_bytes(&der), ERR_LIMIT);
	buf_free(&der);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(est_certs_encode_writes_what_pkcs7_readers_read),
		cmocka_unit_test(est_certs_encode_writes_der),
		cmocka_unit_test(est_certs_encode_appends),
		cmocka_unit_test(est_certs_encode_refuses_none_too_many_and_what_is_no_certificate),
		cmocka_unit_test(est_certs_decode_returns_the_certificates_in_order),
		cmocka_unit_test(est_certs_find_points_at_the_certificates_in_order),
		cmocka_unit_test(est_certs_find_leaves_ber_to_the_decoder),
		cmocka_unit_test(est_certs_find_takes_certificates_of_no_other_form),
		cmocka_unit_test(est_certs_decode_refuses_other_messages),
		cmocka_unit_test(est_certs_decode_takes_certificates_from_signed_data_only),
		cmocka_unit_test(est_certs_decode_refuses_more_certificates_than_the_limit),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
