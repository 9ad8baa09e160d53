#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "coap/message.h"

static const char *const roots[] = { "/est" };

#define OPTION(n, text) { n, { (const uint8_t *)(text), sizeof(text) - 1 } }
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static int
parse(int method, const struct coaps_option *options, size_t count, struct coaps_message *m)
{
	struct err e = { 0 };
	int code = 0;

	memset(m, 0, sizeof *m);
	if (coaps_message_parse(method, options, count, roots, 1, m, &code, &e) == 0)
		return 0;
	assert_true(e.text[0] != '\0');
	return code;
}

static void
coap_message_reads_the_header_of_rfc_9148_appendix_a1(void **state)
{
	/* Uri-Host, Uri-Port 9085, Uri-Path twice, Accept 281. */
	static const struct coaps_option options[] = { OPTION(3, "example.com"), OPTION(7, "\x23\x7d"), OPTION(11, "est"),
		OPTION(11, "crts"), OPTION(17, "\x01\x19") };
	struct coaps_message m;

	(void)state;
	assert_int_equal(parse(COAPS_GET, options, COUNT(options), &m), 0);
	assert_int_equal(m.target.op, COAPS_OP_CRTS);
	assert_int_equal(m.target.method, COAPS_GET);
	assert_string_equal(m.target.label, "");
	assert_int_equal(m.accept, COAPS_FORMAT_CERTS);
	assert_int_equal(m.content_format, COAPS_FORMAT_NONE);
	assert_false(m.has_block1 || m.has_block2);
}

static void
coap_message_reads_formats_blocks_and_labels(void **state)
{
	static const struct coaps_option options[] = { OPTION(11, ".well-known"), OPTION(11, "est"), OPTION(11, "iot"),
		OPTION(11, "sen"), OPTION(12, "\x01\x1e"), OPTION(17, "\x01\x1f"), OPTION(23, "\x02"), OPTION(27, "\x1a") };
	struct coaps_message m;

	(void)state;
	assert_int_equal(parse(COAPS_POST, options, COUNT(options), &m), 0);
	assert_int_equal(m.target.op, COAPS_OP_SEN);
	assert_string_equal(m.target.label, "iot");
	assert_int_equal(m.content_format, COAPS_FORMAT_CSR);
	assert_int_equal(m.accept, COAPS_FORMAT_CERT);
	assert_true(m.has_block2 && m.block2.num == 0 && m.block2.szx == 2);
	assert_true(m.has_block1 && m.block1.num == 1 && m.block1.more && m.block1.szx == 2);
}

static void
coap_message_reads_a_discovery_and_joins_its_queries(void **state)
{
	static const struct coaps_option options[] = { OPTION(11, ".well-known"), OPTION(11, "core"),
		OPTION(15, "rt=ace.est*"), OPTION(15, "href=/est/*") };
	struct coaps_message m;

	(void)state;
	assert_int_equal(parse(COAPS_GET, options, COUNT(options), &m), 0);
	assert_int_equal(m.target.op, COAPS_OP_NONE);
	assert_string_equal(m.query, "rt=ace.est*&href=/est/*");
	assert_int_equal(parse(COAPS_POST, options, COUNT(options), &m), 405);
}

static void
coap_message_wants_the_method_of_the_operation(void **state)
{
	static const struct {
		const char *op;
		int method;
	} cases[] = { { "crts", COAPS_GET }, { "att", COAPS_GET }, { "sen", COAPS_POST }, { "sren", COAPS_POST },
		{ "skg", COAPS_POST }, { "skc", COAPS_POST } };
	size_t i;
	int method;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		const struct coaps_option options[] = { OPTION(11, "est"), { 11, bytes_of_text(cases[i].op) } };
		struct coaps_message m;

		for (method = 1; method <= 7; method++)
			assert_int_equal(parse(method, options, 2, &m), method == cases[i].method ? 0 : 405);
	}
}

/* draft-ietf-lamps-attestation-freshness: GET where there is nothing to say, POST where there is. */
static void
coap_message_takes_both_methods_for_a_nonce(void **state)
{
	static const struct coaps_option options[] = { OPTION(11, "est"), OPTION(11, "iot"), OPTION(11, "nonce") };
	struct coaps_message m;
	int method;

	(void)state;
	for (method = 1; method <= 7; method++) {
		bool taken = method == COAPS_GET || method == COAPS_POST;

		assert_int_equal(parse(method, options, COUNT(options), &m), taken ? 0 : 405);
		if (taken)
			assert_true(m.target.op == COAPS_OP_NONCE && m.target.method == method);
	}
}

static void
coap_message_refuses_critical_options_it_does_not_know(void **state)
{
	static const uint16_t critical[] = { 1 /* If-Match */, 5 /* If-None-Match */, 9 /* OSCORE */, 19, 21, 35, 39, 65535 };
	static const uint16_t elective[] = { 4 /* ETag */, 6 /* Observe */, 14, 28, 60 /* Size1 */, 252, 258, 292, 65000 };
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(critical); i++) {
		const struct coaps_option options[] = { { critical[i], bytes_of_text("") }, OPTION(11, "est"),
			OPTION(11, "crts") };
		struct coaps_message m;

		assert_int_equal(parse(COAPS_GET, options, COUNT(options), &m), 402);
	}
	for (i = 0; i < COUNT(elective); i++) {
		const struct coaps_option options[] = { OPTION(11, "est"), OPTION(11, "crts"),
			{ elective[i], bytes_of_text("\xff\xff\xff\xff") } };
		struct coaps_message m;

		assert_int_equal(parse(COAPS_GET, options, COUNT(options), &m), 0);
	}
}

static void
coap_message_refuses_a_critical_option_twice_and_ignores_an_elective_one(void **state)
{
	static const struct coaps_option accept_twice[] = { OPTION(11, "est"), OPTION(11, "crts"), OPTION(17, "\x01\x19"),
		OPTION(17, "\x01\x1f") };
	static const struct coaps_option block_twice[] = { OPTION(11, "est"), OPTION(11, "sen"), OPTION(27, "\x0a"),
		OPTION(27, "\x1a") };
	static const struct coaps_option format_twice[] = { OPTION(11, "est"), OPTION(11, "sen"), OPTION(12, "\x01\x1e"),
		OPTION(12, "\x01\x19") };
	struct coaps_message m;

	(void)state;
	assert_int_equal(parse(COAPS_GET, accept_twice, COUNT(accept_twice), &m), 402);
	assert_int_equal(parse(COAPS_POST, block_twice, COUNT(block_twice), &m), 402);
	assert_int_equal(parse(COAPS_POST, format_twice, COUNT(format_twice), &m), 0);
	assert_int_equal(m.content_format, COAPS_FORMAT_CSR);
}

static void
coap_message_refuses_values_that_cannot_be(void **state)
{
	static const struct coaps_option long_accept[] = { OPTION(11, "est"), OPTION(11, "crts"), OPTION(17, "\x01\x01\x19") };
	static const struct coaps_option reserved[] = { OPTION(11, "est"), OPTION(11, "sen"), OPTION(27, "\x0f") };
	static const struct coaps_option long_block[] = { OPTION(11, "est"), OPTION(11, "sen"),
		OPTION(23, "\x01\x01\x01\x02") };
	static const struct coaps_option get_block1[] = { OPTION(11, "est"), OPTION(11, "crts"), OPTION(27, "\x0a") };
	static const struct coaps_option both[] = { OPTION(11, "est"), OPTION(11, "sen"), OPTION(23, "\x12"),
		OPTION(27, "\x0a") };
	struct coaps_message m;

	(void)state;
	assert_int_equal(parse(COAPS_GET, long_accept, COUNT(long_accept), &m), 402);
	assert_int_equal(parse(COAPS_POST, reserved, COUNT(reserved), &m), 400);
	assert_int_equal(parse(COAPS_POST, long_block, COUNT(long_block), &m), 400);
	assert_int_equal(parse(COAPS_GET, get_block1, COUNT(get_block1), &m), 400);
	assert_int_equal(parse(COAPS_POST, both, COUNT(both), &m), 400);
}

static void
coap_message_has_limits(void **state)
{
	struct coaps_option options[COAPS_OPTIONS_MAX + 1];
	uint8_t octets[200];
	struct coaps_message m;
	size_t i;

	(void)state;
	memset(octets, 'q', sizeof octets);
	for (i = 0; i < COUNT(options); i++)
		options[i] = (struct coaps_option)OPTION(11, "a");
	assert_int_equal(parse(COAPS_GET, options, COUNT(options), &m), 402);
	assert_int_equal(parse(COAPS_GET, options, COAPS_OPTIONS_MAX, &m), 404);
	assert_int_equal(parse(COAPS_GET, options, 0, &m), 404);

	options[0] = (struct coaps_option)OPTION(11, ".well-known");
	options[1] = (struct coaps_option)OPTION(11, "core");
	options[2] = options[3] = (struct coaps_option){ 15, bytes_of(octets, sizeof octets) };
	assert_int_equal(parse(COAPS_GET, options, 3, &m), 0);
	assert_int_equal(strlen(m.query), sizeof octets);
	assert_int_equal(parse(COAPS_GET, options, 4, &m), 400);
	/* Elsewhere a query means nothing. */
	options[0] = (struct coaps_option)OPTION(11, "est");
	options[1] = (struct coaps_option)OPTION(11, "crts");
	assert_int_equal(parse(COAPS_GET, options, 4, &m), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(coap_message_reads_the_header_of_rfc_9148_appendix_a1),
		cmocka_unit_test(coap_message_reads_formats_blocks_and_labels),
		cmocka_unit_test(coap_message_reads_a_discovery_and_joins_its_queries),
		cmocka_unit_test(coap_message_wants_the_method_of_the_operation),
		cmocka_unit_test(coap_message_takes_both_methods_for_a_nonce),
		cmocka_unit_test(coap_message_refuses_critical_options_it_does_not_know),
		cmocka_unit_test(coap_message_refuses_a_critical_option_twice_and_ignores_an_elective_one),
		cmocka_unit_test(coap_message_refuses_values_that_cannot_be),
		cmocka_unit_test(coap_message_has_limits),
	};

	return cmocka_run_group_tests_name("coap message", tests, NULL, NULL);
}
