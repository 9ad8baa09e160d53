/* CertRep, as clients read it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "scep/message.h"
#include "tests/unit/scep_make.h"

static EVP_PKEY *key;
static X509 *cert;

static int
setup(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(ossl_init(&e), 0);
	assert_int_equal(scep_init(&e), 0);
	key = EVP_RSA_gen(2048);
	cert = make_cert(key, "RA", key, "RA", 8, 2);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	EVP_PKEY_free(key);
	X509_free(cert);
	return 0;
}

/* A reply with these; NULL: without. */
static void
start(struct make *m, const char *status, const char *nonce, const char *fail)
{
	make_start(m, key, cert, "3");
	if (status != NULL)
		make_text(&m->attributes, OID_STATUS, status);
	if (nonce != NULL)
		make_nonce(&m->attributes, OID_RECIPIENT_NONCE, nonce);
	if (fail != NULL)
		make_text(&m->attributes, OID_FAIL, fail);
}

static struct scep_message *
parse(struct make *m)
{
	CLEANUP(buf) struct buf der = { 0 };
	struct scep_message *message = NULL;
	struct err e;

	make_message(m, &der);
	make_free(m);
	if (scep_message_parse(buf_bytes(&der), &message, &e) != 0)
		fail_msg("%s", e.text);
	return message;
}

static void
refuse(struct make *m, const char *text)
{
	CLEANUP(buf) struct buf der = { 0 };
	struct scep_message *message = NULL;
	struct err e = { 0 };

	make_message(m, &der);
	make_free(m);
	assert_int_equal(scep_message_parse(buf_bytes(&der), &message, &e), -1);
	if (e.code != ERR_MALFORMED || strstr(e.text, text) == NULL)
		fail_msg("%d %s", (int)e.code, e.text);
}

static void
scep_reply_has_status_and_the_nonce_that_was_sent(void **state)
{
	static const struct {
		const char *text;
		enum scep_status status;
	} statuses[] = { { "0", SCEP_SUCCESS }, { "3", SCEP_PENDING } };
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		CLEANUP(scep_message) struct scep_message *message = NULL;
		struct make m;

		start(&m, statuses[i].text, "12345678", NULL);
		message = parse(&m);
		assert_int_equal(message->type, SCEP_CERT_REP);
		assert_int_equal(message->status, statuses[i].status);
		assert_string_equal(message->fail_text, "");
		assert_true(scep_nonce_matches(message, bytes_of_text("12345678")));
		assert_false(scep_nonce_matches(message, bytes_of_text("12345679")));
		assert_false(scep_nonce_matches(message, bytes_of_text("1234567")));
		assert_false(scep_nonce_matches(message, bytes_of(NULL, 0)));
	}
}

static void
scep_nonce_matches_nothing_in_a_message_without_one(void **state)
{
	CLEANUP(scep_message) struct scep_message *message = NULL;
	struct make m;

	(void)state;
	make_start(&m, key, cert, "19");
	message = parse(&m);
	assert_false(scep_nonce_matches(message, bytes_of(NULL, 0)));
}

static void
scep_reply_tells_why_it_failed(void **state)
{
	static const enum scep_fail fails[] = { SCEP_BAD_ALG, SCEP_BAD_MESSAGE_CHECK, SCEP_BAD_REQUEST, SCEP_BAD_TIME,
		SCEP_BAD_CERT_ID };
	char text[2] = "0";
	size_t i;

	(void)state;
	for (i = 0; i < sizeof fails / sizeof fails[0]; i++) {
		CLEANUP(scep_message) struct scep_message *message = NULL;
		struct make m;

		text[0] = (char)('0' + i);
		start(&m, "2", MAKE_NONCE, text);
		message = parse(&m);
		assert_int_equal(message->status, SCEP_FAILURE);
		assert_int_equal(message->fail, fails[i]);
		assert_string_equal(message->fail_text, "");
	}
}

static void
scep_reply_escapes_and_cuts_the_text_of_a_failure(void **state)
{
	CLEANUP(scep_message) struct scep_message *message = NULL;
	CLEANUP(scep_message) struct scep_message *other = NULL;
	char longest[1000];
	struct make m;

	(void)state;
	start(&m, "2", MAKE_NONCE, "2");
	make_value(&m.attributes, OID_FAIL_TEXT, DER_UTF8_STRING, bytes_of_text("no\nsuch \x1b[2J"));
	message = parse(&m);
	assert_string_equal(message->fail_text, "no\\x0asuch \\x1b[2J");
	memset(longest, 'x', sizeof longest);
	start(&m, "2", MAKE_NONCE, "2");
	make_value(&m.attributes, OID_FAIL_TEXT, DER_UTF8_STRING, bytes_of(longest, sizeof longest));
	other = parse(&m);
	assert_int_equal(strlen(other->fail_text), SCEP_FAIL_TEXT_MAX - 1);
}

static void
scep_reply_without_what_it_must_have_is_refused(void **state)
{
	struct make m;

	(void)state;
	start(&m, NULL, MAKE_NONCE, NULL);
	refuse(&m, "there is no pkiStatus");
	start(&m, "0", NULL, NULL);
	refuse(&m, "there is no recipientNonce");
	start(&m, "2", MAKE_NONCE, NULL);
	refuse(&m, "there is no failInfo");
}

static void
scep_reply_with_values_of_no_rfc_is_refused(void **state)
{
	static const char *const statuses[] = { "", "1", "4", "00", "-1", "2 " };
	static const char *const fails[] = { "", "5", "00", "badAlg" };
	struct make m;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
		start(&m, statuses[i], MAKE_NONCE, "2");
		refuse(&m, "pkiStatus is none");
	}
	for (i = 0; i < sizeof fails / sizeof fails[0]; i++) {
		start(&m, "2", MAKE_NONCE, fails[i]);
		refuse(&m, "failInfo is none");
	}
	start(&m, "0", "1234567", NULL);
	refuse(&m, "recipientNonce of 7 octets");
}

static void
scep_reply_with_doubled_or_ill_typed_attributes_is_refused(void **state)
{
	struct make m;

	(void)state;
	start(&m, "0", MAKE_NONCE, NULL);
	make_text(&m.attributes, OID_STATUS, "0");
	refuse(&m, "pkiStatus stands there twice");
	start(&m, "0", MAKE_NONCE, NULL);
	make_nonce(&m.attributes, OID_RECIPIENT_NONCE, MAKE_NONCE);
	refuse(&m, "recipientNonce stands there twice");
	start(&m, "2", MAKE_NONCE, "2");
	make_text(&m.attributes, OID_FAIL, "2");
	refuse(&m, "failInfo stands there twice");
	start(&m, "2", MAKE_NONCE, "2");
	make_text(&m.attributes, OID_FAIL_TEXT, "printable");
	refuse(&m, "failInfoText is of ASN.1 type");
	start(&m, NULL, MAKE_NONCE, NULL);
	make_value(&m.attributes, OID_STATUS, DER_INTEGER, bytes_of("", 1));
	refuse(&m, "pkiStatus is of ASN.1 type");
	start(&m, "0", NULL, NULL);
	make_text(&m.attributes, OID_RECIPIENT_NONCE, MAKE_NONCE);
	refuse(&m, "recipientNonce is of ASN.1 type");
}

/* Old clients send what replies have; nobody reads it there. */
static void
scep_request_may_have_what_only_replies_need(void **state)
{
	CLEANUP(scep_message) struct scep_message *message = NULL;
	struct make m;

	(void)state;
	make_start(&m, key, cert, "19");
	make_text(&m.attributes, OID_STATUS, "9");
	make_nonce(&m.attributes, OID_RECIPIENT_NONCE, "");
	make_text(&m.attributes, OID_FAIL, "x");
	message = parse(&m);
	assert_int_equal(message->recipient_nonce_len, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scep_reply_has_status_and_the_nonce_that_was_sent),
		cmocka_unit_test(scep_nonce_matches_nothing_in_a_message_without_one),
		cmocka_unit_test(scep_reply_tells_why_it_failed),
		cmocka_unit_test(scep_reply_escapes_and_cuts_the_text_of_a_failure),
		cmocka_unit_test(scep_reply_without_what_it_must_have_is_refused),
		cmocka_unit_test(scep_reply_with_values_of_no_rfc_is_refused),
		cmocka_unit_test(scep_reply_with_doubled_or_ill_typed_attributes_is_refused),
		cmocka_unit_test(scep_request_may_have_what_only_replies_need),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
