/* The signed attributes of requests: each once, of its type, and of a size. */
#include "tests/unit/scep_message_fixture.h"

/* CVE-2026-30836: 18 is UpdateReq. */
static void
scep_message_refuses_types_outside_the_list(void **state)
{
	static const char *const types[] = { "18", "0", "1", "2", "4", "23", "019", "19 ", " 19", "+19", "-19", "1 9",
		"PKCSReq", "190", "4294967315", "x" };
	struct make m;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof types / sizeof types[0]; i++) {
		make_start(&m, key, cert, types[i]);
		refuse(&m, ERR_UNSUPPORTED, "messageType \"");
	}
	make_start(&m, key, cert, "");
	refuse(&m, ERR_MALFORMED, "messageType is empty");
}

/* One attribute set anew: all others are as they should be. */
static void
start_without(struct make *m, const char *without)
{
	make_start(m, key, cert, NULL);
	if (strcmp(without, OID_MESSAGE_TYPE) != 0)
		make_text(&m->attributes, OID_MESSAGE_TYPE, "19");
	if (strcmp(without, OID_TRANSACTION) != 0)
		make_text(&m->attributes, OID_TRANSACTION, "t");
	if (strcmp(without, OID_SENDER_NONCE) != 0)
		make_nonce(&m->attributes, OID_SENDER_NONCE, MAKE_NONCE);
}

static void
scep_message_refuses_missing_doubled_and_ill_typed_attributes(void **state)
{
	static const struct {
		const char *oid, *name;
		uint8_t right, wrong[3];
		const char *value;
	} kinds[] = {
		{ OID_MESSAGE_TYPE, "messageType", DER_PRINTABLE_STRING, { DER_UTF8_STRING, DER_OCTET_STRING, DER_INTEGER },
			"19" },
		{ OID_TRANSACTION, "transactionID", DER_PRINTABLE_STRING, { DER_UTF8_STRING, DER_OCTET_STRING, 0x16 },
			"abc" },
		{ OID_SENDER_NONCE, "senderNonce", DER_OCTET_STRING, { DER_PRINTABLE_STRING, DER_UTF8_STRING, 0x16 },
			MAKE_NONCE },
	};
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		struct buf two = { 0 };
		struct make m;

		start_without(&m, kinds[i].oid);
		refuse(&m, ERR_MALFORMED, "there is no ");
		/* twice the attribute */
		start_without(&m, "");
		make_value(&m.attributes, kinds[i].oid, kinds[i].right, bytes_of_text(kinds[i].value));
		refuse(&m, ERR_MALFORMED, " stands there twice");
		/* one attribute with two values, and with none */
		der_put(&two, kinds[i].right, bytes_of_text(kinds[i].value));
		der_put(&two, kinds[i].right, bytes_of_text(kinds[i].value));
		start_without(&m, kinds[i].oid);
		make_attribute(&m.attributes, kinds[i].oid, buf_bytes(&two));
		refuse(&m, ERR_MALFORMED, " has 2 values");
		start_without(&m, kinds[i].oid);
		make_attribute(&m.attributes, kinds[i].oid, bytes_of(NULL, 0));
		refuse(&m, ERR_MALFORMED, " has 0 values");
		for (k = 0; k < 3; k++) {
			start_without(&m, kinds[i].oid);
			make_value(&m.attributes, kinds[i].oid, kinds[i].wrong[k], bytes_of_text(kinds[i].value));
			refuse(&m, ERR_MALFORMED, kinds[i].name);
		}
		buf_free(&two);
	}
}

static void
scep_message_refuses_a_message_without_signed_attributes(void **state)
{
	struct make m;

	(void)state;
	make_start(&m, key, cert, "19");
	m.no_attributes = true;
	refuse(&m, ERR_MALFORMED, "there is no messageType");
}

static void
scep_message_takes_nonces_of_8_to_64_octets(void **state)
{
	static const size_t lengths[] = { 8, 16, 64 };
	static const size_t bad[] = { 0, 1, 7, 65, 10000 };
	static uint8_t octets[10000];
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		CLEANUP(scep_message) struct scep_message *message = NULL;
		struct make m;

		start_without(&m, OID_SENDER_NONCE);
		make_value(&m.attributes, OID_SENDER_NONCE, DER_OCTET_STRING, bytes_of(octets, lengths[i]));
		message = parse(&m);
		assert_int_equal(message->sender_nonce_len, lengths[i]);
		make_free(&m);
	}
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct make m;

		start_without(&m, OID_SENDER_NONCE);
		make_value(&m.attributes, OID_SENDER_NONCE, DER_OCTET_STRING, bytes_of(octets, bad[i]));
		refuse(&m, ERR_MALFORMED, "senderNonce of ");
	}
}

static void
scep_message_takes_transactions_that_clients_send(void **state)
{
	char longest[SCEP_TRANSACTION_MAX + 1];
	const char *const good[] = { "a", "0123456789abcdef0123456789abcdef01234567", "qL/+Vt0tz+0uWnkVqJc6KQ0bUmY=",
		"77777777777777777777777777777777777777777777777777777777777777777777777777777",
		"6F9619FF-8B86-D011-B42D-00C04FC964FF", "with space", "'quotes\" and ; -- <b>", longest };
	size_t i;

	(void)state;
	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	for (i = 0; i < sizeof good / sizeof good[0]; i++) {
		CLEANUP(scep_message) struct scep_message *message = NULL;
		struct make m;

		start_without(&m, OID_TRANSACTION);
		make_text(&m.attributes, OID_TRANSACTION, good[i]);
		message = parse(&m);
		assert_string_equal(message->transaction, good[i]);
		make_free(&m);
	}
}

static void
scep_message_refuses_transactions_that_break_lines_or_are_too_long(void **state)
{
	static char big[10240];
	const struct bytes bad[] = { bytes_of("", 0), bytes_of("a\nb", 3), bytes_of("a\rb", 3), bytes_of("a\0b", 3),
		bytes_of("\x1b[2J", 4), bytes_of("\x7f", 1), bytes_of("caf\xe9", 4), bytes_of("caf\xc3\xa9", 5),
		bytes_of(big, SCEP_TRANSACTION_MAX + 1), bytes_of(big, sizeof big) };
	size_t i;

	(void)state;
	memset(big, 'y', sizeof big);
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct make m;

		start_without(&m, OID_TRANSACTION);
		make_value(&m.attributes, OID_TRANSACTION, DER_PRINTABLE_STRING, bad[i]);
		refuse(&m, ERR_MALFORMED, "transactionID");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scep_message_refuses_types_outside_the_list),
		cmocka_unit_test(scep_message_refuses_missing_doubled_and_ill_typed_attributes),
		cmocka_unit_test(scep_message_refuses_a_message_without_signed_attributes),
		cmocka_unit_test(scep_message_takes_nonces_of_8_to_64_octets),
		cmocka_unit_test(scep_message_takes_transactions_that_clients_send),
		cmocka_unit_test(scep_message_refuses_transactions_that_break_lines_or_are_too_long),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
