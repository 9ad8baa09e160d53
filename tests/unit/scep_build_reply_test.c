#include "scep_build_parties.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scep_build_puts_status_and_echoed_nonce_into_a_reply),
		cmocka_unit_test(scep_build_leaves_an_empty_content_in_failure_and_pending),
		cmocka_unit_test(scep_build_says_why_in_a_failure),
		cmocka_unit_test(scep_build_refuses_keys_that_are_not_rsa),
		cmocka_unit_test(scep_build_leaves_the_buffer_alone_when_signing_fails),
		cmocka_unit_test(scep_build_refuses_what_is_no_message),
	};

	return cmocka_run_group_tests_name("scep_build_reply", tests, setup, teardown);
}
