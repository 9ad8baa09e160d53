#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/bytes.h"
#include "base/err.h"

static void
bytes_equal_compares_length_and_contents(void **state)
{
	(void)state;
	assert_true(bytes_equal(bytes_of(NULL, 0), bytes_of_text("")));
	assert_true(bytes_equal(bytes_of_text("abc"), bytes_of("abcd", 3)));
	assert_false(bytes_equal(bytes_of_text("abc"), bytes_of_text("abd")));
	assert_false(bytes_equal(bytes_of_text("abc"), bytes_of_text("ab")));
	assert_true(bytes_equal_secret(bytes_of(NULL, 0), bytes_of(NULL, 0)));
	assert_true(bytes_equal_secret(bytes_of_text("abc"), bytes_of_text("abc")));
	assert_false(bytes_equal_secret(bytes_of_text("abc"), bytes_of_text("xbc")));
	assert_false(bytes_equal_secret(bytes_of_text("abc"), bytes_of_text("abcd")));
	assert_true(bytes_equal_text(bytes_of_text("x"), "x"));
	assert_false(bytes_equal_text(bytes_of("x\0", 2), "x"));
}

static void
buf_grows_and_keeps_its_contents(void **state)
{
	struct buf b = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < 5000; i++)
		buf_append_u8(&b, (uint8_t)i);
	assert_int_equal(b.len, 5000);
	for (i = 0; i < 5000; i++)
		assert_int_equal(b.at[i], (uint8_t)i);
	buf_printf(&b, "%s-%d", "x", 7);
	assert_memory_equal(b.at + 5000, "x-7", 3);
	assert_string_equal(buf_text(&b) + 5000, "x-7");
	buf_free(&b);
	assert_null(b.at);
	assert_int_equal(b.len, 0);
}

static void
buf_text_of_an_empty_buffer_is_an_empty_string(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_string_equal(buf_text(&b), "");
	buf_append(&b, NULL, 0);
	assert_string_equal(buf_text(&b), "");
	buf_free(&b);
}

static void
buf_past_its_limit_fails_and_stays_failed_until_cleared(void **state)
{
	static const uint8_t chunk[1024];
	struct buf b = { 0 };
	size_t i;

	(void)state;
	buf_append(&b, chunk, BUF_MAX + 1);
	assert_true(buf_failed(&b));
	assert_int_equal(b.len, 0);
	buf_append_u8(&b, 1);
	assert_int_equal(buf_bytes(&b).len, 0);
	assert_string_equal(buf_text(&b), "");
	buf_clear(&b);
	assert_false(buf_failed(&b));
	for (i = 0; i < BUF_MAX / sizeof chunk; i++)
		buf_append(&b, chunk, sizeof chunk);
	assert_true(buf_failed(&b));
	buf_free(&b);
}

static void
cursor_fails_once_and_stays_failed(void **state)
{
	struct cursor c = cursor_of(bytes_of("ab:cd", 5));
	struct bytes part;

	(void)state;
	assert_int_equal(cursor_u8(&c), 'a');
	part = cursor_until(&c, ':');
	assert_true(bytes_equal_text(part, "b"));
	assert_int_equal(cursor_left(&c), 2);
	assert_false(cursor_done(&c));
	part = cursor_take(&c, 3);
	assert_int_equal(part.len, 0);
	assert_true(c.failed);
	assert_int_equal(cursor_u8(&c), 0);
	assert_int_equal(cursor_left(&c), 0);
	assert_false(cursor_done(&c));
}

static void
cursor_until_fails_without_the_stop_octet(void **state)
{
	struct cursor c = cursor_of(bytes_of_text("abc")), empty = cursor_of(bytes_of(NULL, 0));

	(void)state;
	(void)cursor_until(&c, ':');
	assert_true(c.failed);
	assert_true(cursor_done(&empty));
	(void)cursor_take(&empty, 0);
	assert_true(cursor_done(&empty));
	(void)cursor_until(&empty, ':');
	assert_true(empty.failed);
}

static void
cursor_is_done_when_all_is_taken(void **state)
{
	struct cursor c = cursor_of(bytes_of_text("ab"));

	(void)state;
	(void)cursor_take(&c, 2);
	assert_true(cursor_done(&c));
	(void)cursor_take(&c, SIZE_MAX);
	assert_false(cursor_done(&c));
}

static void
hex_goes_both_ways(void **state)
{
	static const uint8_t octets[] = { 0x00, 0x9f, 0xa0, 0xff };
	uint8_t back[4];
	char text[9];
	struct err e = { 0 };

	(void)state;
	hex_encode(bytes_of(octets, 4), text);
	assert_string_equal(text, "009fa0ff");
	assert_int_equal(hex_decode(bytes_of_text("009FA0ff"), back, 4, &e), 0);
	assert_memory_equal(back, octets, 4);
}

static void
hex_decode_refuses_other_lengths_and_digits(void **state)
{
	uint8_t back[2] = { 7, 7 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(hex_decode(bytes_of_text("00f"), back, 2, &e), -1);
	assert_int_equal(hex_decode(bytes_of_text("00ff0"), back, 2, &e), -1);
	assert_int_equal(hex_decode(bytes_of_text("00fg"), back, 2, &e), -1);
	assert_int_equal(hex_decode(bytes_of_text(" 0ff"), back, 2, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_int_equal(back[0], 7);
}

/* RFC 4648, section 10. */
static void
base64_gives_the_vectors_of_the_rfc(void **state)
{
	static const char *const vectors[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
		struct buf text = { 0 }, back = { 0 };
		struct err e;

		base64_encode(&text, bytes_of_text(vectors[i][0]), 0);
		assert_string_equal(buf_text(&text), vectors[i][1]);
		assert_int_equal(base64_decode(buf_bytes(&text), &back, &e), 0);
		assert_true(bytes_equal_text(buf_bytes(&back), vectors[i][0]));
		buf_free(&text);
		buf_free(&back);
	}
}

static void
base64_wraps_lines_of_any_length(void **state)
{
	static uint8_t in[3000];
	static const size_t wraps[] = { 0, 1, 3, 64, 76, 5000 };
	size_t w;

	(void)state;
	for (w = 0; w < sizeof wraps / sizeof wraps[0]; w++) {
		struct buf text = { 0 }, back = { 0 };
		struct err e;

		base64_encode(&text, bytes_of(in, sizeof in), wraps[w]);
		assert_int_equal(text.len, 4000 + (wraps[w] == 0 ? 0 : (4000 + wraps[w] - 1) / wraps[w]));
		if (wraps[w] != 0)
			assert_int_equal(text.at[text.len - 1], '\n');
		assert_int_equal(base64_decode(buf_bytes(&text), &back, &e), 0);
		assert_true(bytes_equal(buf_bytes(&back), bytes_of(in, sizeof in)));
		buf_free(&text);
		buf_free(&back);
	}
}

static void
base64_decode_refuses_what_is_not_canonical(void **state)
{
	static const char *const bad[] = { "Z", "Zg", "Zg=", "Zm8", "Zg===", "=", "Z===", "Zg==Zg==", "Zm8=Zg==", "Zh==",
		"Zm9=", "Zm9v!", "Zm-v", "Zm9v=", "Z=g=" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct buf out = { 0 };
		struct err e = { 0 };

		if (base64_decode(bytes_of_text(bad[i]), &out, &e) == 0)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(e.code, ERR_MALFORMED);
		buf_free(&out);
	}
}

static void
base64url_goes_both_ways_without_padding(void **state)
{
	static const struct { const char *octets, *text; } vectors[] = {
		{ "", "" }, { "f", "Zg" }, { "fo", "Zm8" }, { "foo", "Zm9v" }, { "\xfb\xff\xfe", "-__-" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
		struct buf text = { 0 }, back = { 0 };
		struct err e = { 0 };

		base64url_encode(&text, bytes_of_text(vectors[i].octets));
		assert_string_equal(buf_text(&text), vectors[i].text);
		assert_int_equal(base64url_decode(bytes_of_text(vectors[i].text), &back, &e), 0);
		assert_true(bytes_equal_text(buf_bytes(&back), vectors[i].octets));
		buf_free(&text);
		buf_free(&back);
	}
}

static void
base64url_decode_refuses_padding_space_and_the_other_alphabet(void **state)
{
	static const char *const bad[] = { "Z", "Zg==", "Zm8=", "Zm9v\n", "Zm 9v", "+//+", "Zh", "Zm9", "Zm9vZ" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct buf out = { 0 };
		struct err e = { 0 };

		if (base64url_decode(bytes_of_text(bad[i]), &out, &e) == 0)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(e.code, ERR_MALFORMED);
		buf_free(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64url_goes_both_ways_without_padding),
		cmocka_unit_test(base64url_decode_refuses_padding_space_and_the_other_alphabet),
		cmocka_unit_test(bytes_equal_compares_length_and_contents),
		cmocka_unit_test(buf_grows_and_keeps_its_contents),
		cmocka_unit_test(buf_text_of_an_empty_buffer_is_an_empty_string),
		cmocka_unit_test(buf_past_its_limit_fails_and_stays_failed_until_cleared),
		cmocka_unit_test(cursor_fails_once_and_stays_failed),
		cmocka_unit_test(cursor_until_fails_without_the_stop_octet),
		cmocka_unit_test(cursor_is_done_when_all_is_taken),
		cmocka_unit_test(hex_goes_both_ways),
		cmocka_unit_test(hex_decode_refuses_other_lengths_and_digits),
		cmocka_unit_test(base64_gives_the_vectors_of_the_rfc),
		cmocka_unit_test(base64_wraps_lines_of_any_length),
		cmocka_unit_test(base64_decode_refuses_what_is_not_canonical),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
