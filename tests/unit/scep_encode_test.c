#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/der.h"
#include "scep_build_fixture.h"

static struct party rsa, curve;

/* --- names and serial numbers ------------------------------------------- */

static void
scep_issuer_and_subject_is_two_names_in_order(void **state)
{
	const X509_NAME *issuer = X509_get_subject_name(rsa.cert), *subject = X509_get_subject_name(curve.cert);
	struct buf der = { 0 };
	struct err e = { 0 };
	const uint8_t *p, *end;
	X509_NAME *name = NULL;
	long len = 0;
	int tag = 0, class = 0;

	(void)state;
	assert_int_equal(scep_issuer_and_subject_encode(issuer, subject, &der, &e), 0);
	p = der.at;
	end = der.at + der.len;
	assert_int_equal(ASN1_get_object(&p, &len, &tag, &class, (long)der.len), V_ASN1_CONSTRUCTED);
	assert_int_equal(tag, V_ASN1_SEQUENCE);
	assert_non_null(d2i_X509_NAME(&name, &p, end - p));
	assert_int_equal(X509_NAME_cmp(name, issuer), 0);
	X509_NAME_free(name);
	name = NULL;
	assert_non_null(d2i_X509_NAME(&name, &p, end - p));
	assert_int_equal(X509_NAME_cmp(name, subject), 0);
	assert_ptr_equal(p, end);
	X509_NAME_free(name);
	buf_free(&der);
}

static void
scep_issuer_and_serial_is_a_name_and_an_integer(void **state)
{
	struct buf der = { 0 };
	struct err e = { 0 };
	const uint8_t *p, *end;
	X509_NAME *name = NULL;
	ASN1_INTEGER *serial = NULL;
	long len = 0;
	int tag = 0, class = 0;

	(void)state;
	assert_int_equal(scep_issuer_and_serial_encode(rsa.cert, &der, &e), 0);
	p = der.at;
	end = der.at + der.len;
	assert_int_equal(ASN1_get_object(&p, &len, &tag, &class, (long)der.len), V_ASN1_CONSTRUCTED);
	assert_non_null(d2i_X509_NAME(&name, &p, end - p));
	assert_int_equal(X509_NAME_cmp(name, X509_get_issuer_name(rsa.cert)), 0);
	assert_non_null(d2i_ASN1_INTEGER(&serial, &p, end - p));
	assert_int_equal(ASN1_INTEGER_get(serial), 0x8001);
	assert_ptr_equal(p, end);
	X509_NAME_free(name);
	ASN1_INTEGER_free(serial);
	buf_free(&der);
}

/* --- CRLs --------------------------------------------------------------------- */

static struct buf
make_crl(void)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
	struct buf out = { 0 };
	uint8_t *der = NULL;
	int len;

	assert_int_equal(X509_CRL_set_version(crl, X509_CRL_VERSION_2), 1);
	assert_int_equal(X509_CRL_set_issuer_name(crl, X509_get_subject_name(rsa.cert)), 1);
	assert_int_equal(X509_CRL_set1_lastUpdate(crl, now), 1);
	assert_int_equal(X509_CRL_set1_nextUpdate(crl, now), 1);
	assert_true(X509_CRL_sign(crl, rsa.key, EVP_sha256()) > 0);
	len = i2d_X509_CRL(crl, &der);
	assert_true(len > 0);
	buf_append(&out, der, (size_t)len);
	OPENSSL_free(der);
	ASN1_TIME_free(now);
	X509_CRL_free(crl);
	return out;
}

static void
scep_crl_goes_and_comes_back(void **state)
{
	struct buf crl = make_crl(), der = { 0 };
	STACK_OF(X509_CRL) *crls;
	X509_CRL *back = NULL;
	CMS_ContentInfo *cms;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(scep_crl_encode(buf_bytes(&crl), &der, &e), 0);
	cms = read_cms(buf_bytes(&der));
	assert_int_equal(OBJ_obj2nid(CMS_get0_eContentType(cms)), NID_pkcs7_data);
	assert_int_equal(sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(cms)), 0);
	assert_null(CMS_get1_certs(cms));
	crls = CMS_get1_crls(cms);
	assert_int_equal(sk_X509_CRL_num(crls), 1);
	assert_int_equal(X509_CRL_verify(sk_X509_CRL_value(crls, 0), rsa.key), 1);
	assert_int_equal(scep_crl_decode(buf_bytes(&der), &back, &e), 0);
	assert_int_equal(X509_CRL_match(back, sk_X509_CRL_value(crls, 0)), 0);
	X509_CRL_free(back);
	sk_X509_CRL_pop_free(crls, X509_CRL_free);
	CMS_ContentInfo_free(cms);
	buf_free(&crl);
	buf_free(&der);
}

static void
scep_crl_encode_refuses_what_is_not_one_sequence(void **state)
{
	struct buf crl = make_crl(), out = { 0 };
	struct err e = { 0 };

	(void)state;
	buf_append_text(&out, "kept");
	assert_int_equal(scep_crl_encode(bytes_of(crl.at, crl.len - 1), &out, &e), -1);
	assert_int_equal(e.code, ERR_BUG);
	buf_append_u8(&crl, 0);
	assert_int_equal(scep_crl_encode(buf_bytes(&crl), &out, &e), -1);
	assert_int_equal(scep_crl_encode(bytes_of(NULL, 0), &out, &e), -1);
	assert_int_equal(scep_crl_encode(bytes_of_text("no DER"), &out, &e), -1);
	assert_int_equal(out.len, 4);
	buf_free(&crl);
	buf_free(&out);
}

static void
refuses_crl(struct bytes der)
{
	X509_CRL *untouched = NULL;
	struct err e = { 0 };

	assert_int_equal(scep_crl_decode(der, &untouched, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_null(untouched);
}

static void
scep_crl_decode_wants_one_crl_and_nothing_else(void **state)
{
	struct buf crl = make_crl(), der = { 0 }, twice = { 0 };
	struct err e = { 0 };
	CMS_ContentInfo *cms;
	X509_CRL *second;
	uint8_t *again = NULL;
	const uint8_t *p = crl.at;
	int len;

	(void)state;
	refuses_crl(bytes_of(NULL, 0));
	refuses_crl(buf_bytes(&crl));
	assert_int_equal(scep_crl_encode(buf_bytes(&crl), &der, &e), 0);
	refuses_crl(bytes_of(der.at, der.len - 1));
	cms = read_cms(buf_bytes(&der));
	second = d2i_X509_CRL(NULL, &p, (long)crl.len);
	assert_int_equal(CMS_add0_crl(cms, second), 1);
	len = i2d_CMS_ContentInfo(cms, &again);
	assert_true(len > 0);
	refuses_crl(bytes_of(again, (size_t)len));
	OPENSSL_free(again);
	CMS_ContentInfo_free(cms);
	buf_append_u8(&der, 0);
	refuses_crl(buf_bytes(&der));
	buf_free(&crl);
	buf_free(&der);
	buf_free(&twice);
}

/* --- GetNextCACert ---------------------------------------------------------------- */

static struct buf
some_sequence(void)
{
	struct buf out = { 0 };
	size_t mark = der_begin(&out, DER_SEQUENCE);

	der_put(&out, DER_OCTET_STRING, bytes_of_text("what a CA will be"));
	der_end(&out, mark);
	return out;
}

static void
scep_next_is_signed_by_either_kind_of_ca_and_opens(void **state)
{
	const struct party *const cas[] = { &rsa, &curve };
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct buf inside = some_sequence(), der = { 0 }, back = { 0 };
		X509 *signer = NULL;
		struct err e = { 0 };
		CMS_ContentInfo *cms;
		CMS_SignerInfo *info;
		X509_ALGOR *digest = NULL;

		assert_int_equal(scep_next_encode(buf_bytes(&inside), cas[i]->cert, cas[i]->key, &der, &e), 0);
		cms = read_cms(buf_bytes(&der));
		info = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0);
		CMS_SignerInfo_get0_algs(info, NULL, NULL, &digest, NULL);
		assert_int_equal(OBJ_obj2nid(digest->algorithm), NID_sha256);
		assert_int_equal(CMS_signed_get_attr_count(info), -1);
		if (scep_next_open(buf_bytes(&der), &back, &signer, &e) != 0)
			fail_msg("%s", e.text);
		assert_true(bytes_equal(buf_bytes(&inside), buf_bytes(&back)));
		assert_int_equal(X509_cmp(signer, cas[i]->cert), 0);
		X509_free(signer);
		CMS_ContentInfo_free(cms);
		buf_free(&inside);
		buf_free(&der);
		buf_free(&back);
	}
}

static void
scep_next_open_refuses_a_changed_answer(void **state)
{
	struct buf inside = some_sequence(), der = { 0 }, back = { 0 };
	X509 *untouched = NULL;
	struct err e = { 0 };
	size_t i;

	(void)state;
	assert_int_equal(scep_next_encode(buf_bytes(&inside), rsa.cert, rsa.key, &der, &e), 0);
	for (i = 0; i + inside.len <= der.len && memcmp(der.at + i, inside.at, inside.len) != 0; i++)
		continue;
	assert_true(i + inside.len <= der.len);
	der.at[i + inside.len - 1] ^= 1;
	assert_int_equal(scep_next_open(buf_bytes(&der), &back, &untouched, &e), -1);
	assert_int_equal(e.code, ERR_UNAUTHENTIC);
	der.at[i + inside.len - 1] ^= 1;
	assert_int_equal(scep_next_open(bytes_of(der.at, der.len - 1), &back, &untouched, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	buf_append_u8(&der, 0);
	assert_int_equal(scep_next_open(buf_bytes(&der), &back, &untouched, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_int_equal(scep_next_open(bytes_of(NULL, 0), &back, &untouched, &e), -1);
	assert_int_equal(back.len, 0);
	assert_null(untouched);
	buf_free(&inside);
	buf_free(&der);
	buf_free(&back);
}

static void
scep_next_encode_refuses_what_is_not_one_sequence(void **state)
{
	struct buf out = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(scep_next_encode(bytes_of_text("no DER"), rsa.cert, rsa.key, &out, &e), -1);
	assert_int_equal(e.code, ERR_BUG);
	assert_int_equal(out.len, 0);
}

static int
setup(void **state)
{
	struct err e = { 0 };

	(void)state;
	if (ossl_init(&e) != 0 || scep_init(&e) != 0)
		fail_msg("%s", e.text);
	make_party(&rsa, EVP_RSA_gen(2048), "rsa", 0x8001);
	make_party(&curve, EVP_EC_gen("P-256"), "curve", 2);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	free_party(&rsa);
	free_party(&curve);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scep_issuer_and_subject_is_two_names_in_order),
		cmocka_unit_test(scep_issuer_and_serial_is_a_name_and_an_integer),
		cmocka_unit_test(scep_crl_goes_and_comes_back),
		cmocka_unit_test(scep_crl_encode_refuses_what_is_not_one_sequence),
		cmocka_unit_test(scep_crl_decode_wants_one_crl_and_nothing_else),
		cmocka_unit_test(scep_next_is_signed_by_either_kind_of_ca_and_opens),
		cmocka_unit_test(scep_next_open_refuses_a_changed_answer),
		cmocka_unit_test(scep_next_encode_refuses_what_is_not_one_sequence),
	};

	return cmocka_run_group_tests_name("scep_encode", tests, setup, teardown);
}
