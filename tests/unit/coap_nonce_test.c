#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "coap/formats.h"
#include "coap/item.h"

static void
coap_nonce_is_a_map_of_octets_and_seconds(void **state)
{
	static const uint8_t nonce[] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	/* By hand: map(2), text(5), bytes(8), text(6), 300. */
	static const uint8_t expected[] = { 0xa2, 0x65, 'n', 'o', 'n', 'c', 'e', 0x48, 1, 2, 3, 4, 5, 6, 7, 8,
		0x66, 'e', 'x', 'p', 'i', 'r', 'y', 0x19, 0x01, 0x2c };
	struct buf out = { 0 };

	(void)state;
	coaps_nonce_write(&out, bytes_of(nonce, sizeof nonce), 300);
	assert_false(buf_failed(&out));
	assert_int_equal(out.len, sizeof expected);
	assert_memory_equal(out.at, expected, sizeof expected);
	buf_free(&out);
}

static void
coap_nonce_writes_lengths_and_numbers_in_their_shortest_form(void **state)
{
	static const uint8_t nonce[COAPS_NONCE_MAX] = { 0 };
	struct buf out = { 0 };

	(void)state;
	coaps_nonce_write(&out, bytes_of(nonce, 32), 5);
	assert_memory_equal(out.at + 7, "\x58\x20", 2);
	assert_int_equal(out.len, 1 + 6 + 2 + 32 + 7 + 1);
	assert_int_equal(out.at[out.len - 1], 5);
	buf_clear(&out);
	coaps_nonce_write(&out, bytes_of(nonce, 64), 86400);
	assert_memory_equal(out.at + out.len - 5, "\x1a\x00\x01\x51\x80", 5);
	buf_free(&out);
}

/* Octets in hexadecimal; blanks are for reading, and 'text' stands for itself. */
static size_t
octets_of(const char *text, uint8_t *out, size_t size)
{
	size_t n = 0;
	struct err e = { 0 };

	while (*text != '\0') {
		assert_true(n < size);
		if (*text == '\'') {
			for (text++; *text != '\''; text++) {
				assert_true(*text != '\0' && n < size);
				out[n++] = (uint8_t)*text;
			}
			text++;
		} else if (*text == ' ') {
			text++;
		} else {
			assert_int_equal(hex_decode(bytes_of(text, 2), out + n, 1, &e), 0);
			n++;
			text += 2;
		}
	}
	return n;
}

#define REFUSED SIZE_MAX

static void
expect_request(const char *text, size_t len)
{
	uint8_t octets[256];
	size_t n = octets_of(text, octets, sizeof octets), found = 7777;
	struct err e = { 0 };
	int result = coaps_nonce_request_parse(bytes_of(octets, n), &found, &e);

	if (result != (len == REFUSED ? -1 : 0))
		fail_msg("%s: %s", text, result == 0 ? "accepted" : e.text);
	assert_int_equal(found, len == REFUSED ? 7777 : len);
	if (len == REFUSED)
		assert_true(e.code == ERR_MALFORMED && e.text[0] != '\0');
}

static void
coap_nonce_request_says_how_long(void **state)
{
	(void)state;
	expect_request("a0", 0);
	expect_request("a1 63'len' 08", 8);
	expect_request("a1 63'len' 18 20", 32);
	expect_request("a1 63'len' 1840", 64);
	expect_request("bf ff", 0);
	expect_request("bf 63'len' 1820 ff", 32);
	/* A number or a count written longer than it has to be is the same. */
	expect_request("b801 7803'len' 1a00000020", 32);

	expect_request("a1 63'len' 07", REFUSED);
	expect_request("a1 63'len' 1841", REFUSED);
	expect_request("a1 63'len' 1bffffffffffffffff", REFUSED);
	expect_request("a1 63'len' 27", REFUSED);         /* -8 */
	expect_request("a1 63'len' 62'32'", REFUSED);
	expect_request("a1 63'len' 4108", REFUSED);
	expect_request("a1 63'len' f6", REFUSED);
	expect_request("a1 63'len' 8108", REFUSED);
	expect_request("a1 63'len' c108", REFUSED);       /* tagged */
	expect_request("a1 63'len' d820", REFUSED);       /* a tag of that number */
	expect_request("bf 63'len' 89 ff", REFUSED);
	expect_request("a2 63'len' 08 63'len' 08", REFUSED);
}

static void
coap_nonce_request_names_a_type_for_what_it_adds(void **state)
{
	(void)state;
	expect_request("a1 64'type' 69'1.2.3.4.5'", 0);
	expect_request("a3 63'len' 1820 64'type' 69'1.2.3.4.5' 67'reqInfo' a0", 32);
	expect_request("a2 67'reqInfo' 01 64'type' 61'1'", 0);

	expect_request("a1 67'reqInfo' a0", REFUSED);
	expect_request("a1 64'type' 60", REFUSED);
	expect_request("a1 64'type' 64'1.2.'", REFUSED);
	expect_request("a1 64'type' 64'.1.2'", REFUSED);
	expect_request("a1 64'type' 64'1..2'", REFUSED);
	expect_request("a1 64'type' 63'1.x'", REFUSED);
	expect_request("a1 64'type' 43'1.2'", REFUSED);
	expect_request("a1 64'type' 7f 63'1.2' ff", REFUSED);
	expect_request("a2 64'type' 61'1' 64'type' 61'1'", REFUSED);
}

static void
coap_nonce_request_may_hold_what_is_not_for_us(void **state)
{
	(void)state;
	/* The draft's example: { "pcr-index": [0,1,2,3], "certificate-name": ["aik-1"] }. */
	expect_request("a3 63'len' 1820 64'type' 69'1.2.3.4.5' 67'reqInfo' a2 69'pcr-index' 84 00010203"
		"70'certificate-name' 81 65'aik-1'", 32);
	/* Every kind of item, of definite length and not. */
	expect_request("a2 64'type' 61'1' 67'reqInfo' 8a 00 20 f5 f6 f93c00 fb3ff0000000000000 42aabb 61'x' c101 a1 01 02", 0);
	expect_request("a2 64'type' 61'1' 67'reqInfo' 9f 5f 41aa 41bb ff 7f 61'a' ff bf 01 02 ff 9f ff ff 63'len' 08", REFUSED);
	expect_request("a3 64'type' 61'1' 67'reqInfo' 9f 5f 41aa 41bb ff 7f 61'a' ff bf 01 02 ff 9f ff ff 63'len' 08", 8);
	expect_request("a2 65'other' 8201 a0 63'len' 09", 9);
	expect_request("a2 65'other' 01 65'other' 02", 0);
}

static void
coap_nonce_request_is_one_map_of_texts(void **state)
{
	(void)state;
	expect_request("", REFUSED);
	expect_request("80", REFUSED);
	expect_request("00", REFUSED);
	expect_request("f6", REFUSED);
	expect_request("ff", REFUSED);
	expect_request("60", REFUSED);
	expect_request("c1 a0", REFUSED);
	expect_request("a0 00", REFUSED);              /* left over */
	expect_request("bf ff ff", REFUSED);
	expect_request("a1 01 02", REFUSED);           /* a key that is a number */
	expect_request("a1 43'len' 08", REFUSED);
	expect_request("a1 7f 63'len' ff 08", REFUSED); /* a key in pieces */
	expect_request("bf 7f 61'x' ff", REFUSED);
	expect_request("a1", REFUSED);
	expect_request("a1 63'len'", REFUSED);
	expect_request("a1 63'le'", REFUSED);
	expect_request("a1 63'len' 18", REFUSED);
	expect_request("a1 ff", REFUSED);
	expect_request("a1 63'len' ff", REFUSED);
	expect_request("bf 63'len' 08", REFUSED);
	expect_request("bf 63'len' ff", REFUSED);
	expect_request("bbffffffffffffffff 63'len' 08", REFUSED);
}

static void
expect_skip(const char *text, bool whole)
{
	uint8_t octets[64];
	struct bytes body = bytes_of(octets, octets_of(text, octets, sizeof octets));
	struct err e = { 0 };

	if (coaps_item_skip(&body, &e) != (whole ? 0 : -1))
		fail_msg("%s: %s", text, whole ? e.text : "accepted");
	if (whole)
		assert_int_equal(body.len, 0);
}

static void
coap_item_skips_what_is_well_formed_and_nothing_else(void **state)
{
	(void)state;
	expect_skip("83 01 82 02 03 04", true);
	expect_skip("a1 01 a1 02 03", true);
	expect_skip("c1 c1 01", true);
	expect_skip("9f a1 01 02 ff", true);

	expect_skip("ff", false);
	expect_skip("82 01", false);
	expect_skip("82 01 ff", false);
	expect_skip("a1 01", false);
	expect_skip("a1 01 ff", false);
	expect_skip("bf 01 ff", false);           /* a key without a value */
	expect_skip("5f 41aa", false);
	expect_skip("5f 61'a' ff", false);        /* RFC 8949, section 3.2.3 */
	expect_skip("5f 5f ff ff", false);
	expect_skip("7f 41aa ff", false);
	expect_skip("5f 01 ff", false);
	expect_skip("c1", false);
	expect_skip("c1 ff", false);
	expect_skip("9bffffffffffffffff 01", false);
	expect_skip("bb8000000000000000", false); /* twice that is nothing */
	expect_skip("5bffffffffffffffff 01", false);
	expect_skip("1c", false);                 /* RFC 8949, section 3: reserved */
}

static void
coap_item_skips_only_so_deep(void **state)
{
	char text[4 * (COAPS_ITEM_DEPTH_MAX + 2)] = "";
	int i;

	(void)state;
	for (i = 0; i < COAPS_ITEM_DEPTH_MAX; i++)
		memcpy(text + 2 * i, "81", 3);
	memcpy(text + 2 * COAPS_ITEM_DEPTH_MAX, "01", 3);
	expect_skip(text, true);
	memcpy(text + 2 * COAPS_ITEM_DEPTH_MAX, "8101", 5);
	expect_skip(text, false);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(coap_nonce_is_a_map_of_octets_and_seconds),
		cmocka_unit_test(coap_nonce_writes_lengths_and_numbers_in_their_shortest_form),
		cmocka_unit_test(coap_nonce_request_says_how_long),
		cmocka_unit_test(coap_nonce_request_names_a_type_for_what_it_adds),
		cmocka_unit_test(coap_nonce_request_may_hold_what_is_not_for_us),
		cmocka_unit_test(coap_nonce_request_is_one_map_of_texts),
		cmocka_unit_test(coap_item_skips_what_is_well_formed_and_nothing_else),
		cmocka_unit_test(coap_item_skips_only_so_deep),
	};

	return cmocka_run_group_tests_name("coap nonce", tests, NULL, NULL);
}
