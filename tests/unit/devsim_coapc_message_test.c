#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "devsim/coapc_message.h"

/* Header and options of the request in RFC 9148, appendix A.1; the message id is ours. */
static const uint8_t crts_request[] = { 0x41, 0x01, 0x12, 0x34, 0x9a, 0x3b, 'e', 'x', 'a', 'm', 'p', 'l', 'e', '.', 'c', 'o',
	'm', 0x42, 0x23, 0x7d, 0x43, 'e', 's', 't', 0x04, 'c', 'r', 't', 's', 0x62, 0x01, 0x19 };

static void
message_writes_the_request_of_rfc_9148_appendix_a_1(void **state)
{
	CLEANUP(buf) struct buf out = { 0 };
	const uint8_t token = 0x9a;
	unsigned last = 0;

	(void)state;
	coapc_write_head(&out, COAPC_CON, COAPC_GET, 0x1234, bytes_of(&token, 1));
	coapc_write_option(&out, &last, COAPC_URI_HOST, bytes_of_text("example.com"));
	coapc_write_uint(&out, &last, COAPC_URI_PORT, 9085);
	coapc_write_option(&out, &last, COAPC_URI_PATH, bytes_of_text("est"));
	coapc_write_option(&out, &last, COAPC_URI_PATH, bytes_of_text("crts"));
	coapc_write_uint(&out, &last, COAPC_ACCEPT, 281);
	coapc_write_payload(&out, bytes_of(NULL, 0));
	assert_true(bytes_equal(buf_bytes(&out), bytes_of(crts_request, sizeof crts_request)));
}

static void
message_reads_the_blocks_of_rfc_9148_appendix_b_1(void **state)
{
	static const struct {
		uint8_t value;
		uint32_t num;
		bool more;
	} blocks[] = { { 0x0a, 0, true }, { 0x1a, 1, true }, { 0x92, 9, false } };
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		const uint8_t in[] = { 0x61, 0x45, 0, 7, 0x9a, 0xc2, 0x01, 0x19, 0xb1, blocks[i].value, 0xff, 0x30 };
		struct coapc_message m;
		struct err e;

		assert_int_equal(coapc_message_decode(bytes_of(in, sizeof in), &m, &e), 0);
		assert_int_equal(m.type, COAPC_ACK);
		assert_int_equal(m.code, COAPC_CONTENT);
		assert_int_equal(m.id, 7);
		assert_int_equal(m.token_len, 1);
		assert_int_equal(m.token[0], 0x9a);
		assert_int_equal(m.content_format, 281);
		assert_true(m.has_block2);
		assert_false(m.has_block1);
		assert_int_equal(m.block2.num, blocks[i].num);
		assert_int_equal(m.block2.more, blocks[i].more);
		assert_int_equal(coapc_block_size(m.block2.szx), 64);
		assert_int_equal(m.payload.len, 1);
		assert_int_equal(m.critical, 0);
	}
}

static void
message_writes_long_options_so_that_it_reads_them_again(void **state)
{
	static const size_t lengths[] = { 0, 12, 13, 268, 269, 1000 };
	static const unsigned numbers[] = { 12, 13, 268, 269, 60000 };
	uint8_t value[1000];
	size_t i, k;

	(void)state;
	memset(value, 0xaa, sizeof value);
	for (i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
		for (k = 0; k < sizeof numbers / sizeof numbers[0]; k++) {
			CLEANUP(buf) struct buf out = { 0 };
			unsigned last = 0, number = 0;
			struct bytes read = { 0 };
			struct cursor c;

			coapc_write_option(&out, &last, numbers[k], bytes_of(value, lengths[i]));
			c = cursor_of(buf_bytes(&out));
			assert_true(coapc_option_next(&c, &number, &read));
			assert_int_equal(number, numbers[k]);
			assert_true(bytes_equal(read, bytes_of(value, lengths[i])));
			assert_true(cursor_done(&c));
			assert_false(coapc_option_next(&c, &number, &read));
		}
}

static void
message_writes_numbers_in_as_few_octets_as_they_need(void **state)
{
	static const struct {
		uint32_t value;
		size_t len;
	} numbers[] = { { 0, 0 }, { 1, 1 }, { 255, 1 }, { 256, 2 }, { 65536, 3 }, { 0xffffffff, 4 } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		CLEANUP(buf) struct buf out = { 0 };
		unsigned last = 0;

		coapc_write_uint(&out, &last, COAPC_SIZE1 % 13, numbers[i].value);
		assert_int_equal(out.len, 1 + numbers[i].len);
	}
}

static void
message_notes_a_critical_option_that_responses_do_not_have(void **state)
{
	const uint8_t critical[] = { 0x60, 0x45, 0, 1, 0x91, 0 }, elective[] = { 0x60, 0x45, 0, 1, 0xa1, 0 };
	struct coapc_message m;
	struct err e;

	(void)state;
	assert_int_equal(coapc_message_decode(bytes_of(critical, sizeof critical), &m, &e), 0);
	assert_int_equal(m.critical, 9);
	assert_int_equal(coapc_message_decode(bytes_of(elective, sizeof elective), &m, &e), 0);
	assert_int_equal(m.critical, 0);
}

static void
message_refuses_what_is_not_coap(void **state)
{
	static const struct {
		const char *octets;
		size_t len;
	} bad[] = {
		{ "", 0 },
		{ "\x40\x01\x00", 3 },
		{ "\x00\x01\x00\x01", 4 },                 /* version 0 */
		{ "\x80\x01\x00\x01", 4 },                 /* version 2 */
		{ "\x49\x01\x00\x01" "123456789", 13 },    /* token of nine octets */
		{ "\x44\x01\x00\x01" "123", 7 },           /* ends within the token */
		{ "\x40\x01\x00\x01\xff", 5 },             /* marker without payload */
		{ "\x40\x01\x00\x01\xf0", 5 },             /* delta 15 that is no marker */
		{ "\x40\x01\x00\x01\x0f", 5 },             /* length 15 */
		{ "\x40\x01\x00\x01\xd0", 5 },             /* ends within a delta */
		{ "\x40\x01\x00\x01\xb3" "es", 7 },        /* ends within a value */
		{ "\x40\x01\x00\x01\xe0\xff\xff\xe0\xff\xff", 10 }, /* a number above 65535 */
		{ "\x60\x45\x00\x01\xd1\x0a\x07", 7 },     /* Block2 with the reserved size */
		{ "\x60\x45\x00\x01\xd4\x0a\x00\x00\x00\x00", 10 }, /* Block2 of four octets */
		{ "\x60\x45\x00\x01\xd1\x0a\x00\x01\x10", 9 }, /* Block2 twice */
		{ "\x60\x45\x00\x01\xc3\x00\x01\x19", 8 }, /* Content-Format of three octets */
		{ "\x61\x00\x00\x01\x01", 5 },             /* an Empty message with a token */
		{ "\x60\x00\x00\x01\xff\x01", 6 },         /* an Empty message with a payload */
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct coapc_message m;
		struct err e;

		if (coapc_message_decode(bytes_of(bad[i].octets, bad[i].len), &m, &e) == 0)
			fail_msg("message %zu was read", i);
		assert_int_equal(e.code, ERR_MALFORMED);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(message_writes_the_request_of_rfc_9148_appendix_a_1),
		cmocka_unit_test(message_reads_the_blocks_of_rfc_9148_appendix_b_1),
		cmocka_unit_test(message_writes_long_options_so_that_it_reads_them_again),
		cmocka_unit_test(message_writes_numbers_in_as_few_octets_as_they_need),
		cmocka_unit_test(message_notes_a_critical_option_that_responses_do_not_have),
		cmocka_unit_test(message_refuses_what_is_not_coap),
	};

	return cmocka_run_group_tests_name("devsim/coapc_message", tests, NULL, NULL);
}
