#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "coap/blockwise.h"

static void
coap_block_options_are_those_of_rfc_9148_appendix_b1(void **state)
{
	static const struct {
		uint8_t value;
		struct coaps_block block;
	} cases[] = {
		{ 0x0a, { .num = 0, .more = true, .szx = 2 } },
		{ 0x1a, { .num = 1, .more = true, .szx = 2 } },
		{ 0x92, { .num = 9, .more = false, .szx = 2 } },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct coaps_block block;
		uint8_t out[3];
		struct err e;

		assert_int_equal(coaps_block_encode(&cases[i].block, out), 1);
		assert_int_equal(out[0], cases[i].value);
		assert_int_equal(coaps_block_decode(bytes_of(&cases[i].value, 1), &block, &e), 0);
		assert_int_equal(block.num, cases[i].block.num);
		assert_int_equal(block.more, cases[i].block.more);
		assert_int_equal(block.szx, cases[i].block.szx);
	}
}

static void
coap_block_options_take_none_to_three_octets(void **state)
{
	static const uint8_t largest[] = { 0xff, 0xff, 0xfe }, longer[] = { 0, 0, 0, 0x06 };
	const struct coaps_block first = { .num = 0, .more = false, .szx = 0 };
	const struct coaps_block two = { .num = 16, .more = false, .szx = 0 };
	struct coaps_block block;
	uint8_t out[3];
	struct err e;

	(void)state;
	assert_int_equal(coaps_block_encode(&first, out), 0);
	assert_int_equal(coaps_block_decode(bytes_of(NULL, 0), &block, &e), 0);
	assert_true(block.num == 0 && !block.more && block.szx == 0);
	assert_int_equal(coaps_block_encode(&two, out), 2);
	assert_true(out[0] == 0x01 && out[1] == 0x00);
	assert_int_equal(coaps_block_decode(bytes_of(largest, 3), &block, &e), 0);
	assert_true(block.num == 0xfffff && block.more && block.szx == 6);
	assert_int_equal(coaps_block_encode(&block, out), 3);
	assert_memory_equal(out, largest, 3);
	assert_int_equal(coaps_block_decode(bytes_of(longer, 4), &block, &e), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
}

static void
coap_block_of_the_reserved_size_is_refused(void **state)
{
	static const uint8_t reserved[] = { 0x07, 0x0f, 0x17 };
	struct coaps_block block;
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof reserved; i++)
		assert_int_equal(coaps_block_decode(bytes_of(&reserved[i], 1), &block, &e), -1);
}

static void
coap_block_fits_the_room(void **state)
{
	(void)state;
	assert_int_equal(coaps_block_fit(0), 0);
	assert_int_equal(coaps_block_fit(31), 0);
	assert_int_equal(coaps_block_fit(32), 1);
	assert_int_equal(coaps_block_fit(183), 3);
	assert_int_equal(coaps_block_fit(1023), 5);
	assert_int_equal(coaps_block_fit(1024), 6);
	assert_int_equal(coaps_block_fit(100000), 6);
}

/* A body whose octets tell where they belong. */
static struct bytes
pattern(size_t len)
{
	static uint8_t octets[COAPS_BODY_MAX + 2048];
	size_t i;

	for (i = 0; i < sizeof octets; i++)
		octets[i] = (uint8_t)(i * 7 + i / 251);
	return bytes_of(octets, len);
}

static enum coaps_upload_verdict
put_within(struct coaps_upload *upload, struct bytes body, uint32_t num, uint8_t szx, size_t body_max)
{
	struct coaps_block block = { .num = num, .szx = szx };
	struct bytes slice = { 0 };

	assert_true(coaps_body_slice(body, num, szx, &slice, &block.more));
	return coaps_upload_put(upload, &block, slice, body_max);
}

static enum coaps_upload_verdict
put(struct coaps_upload *upload, struct bytes body, uint32_t num, uint8_t szx)
{
	return put_within(upload, body, num, szx, COAPS_BODY_MAX);
}

static void
expect_body(struct coaps_upload *upload, struct bytes body)
{
	struct buf taken = coaps_upload_take(upload);

	assert_int_equal(taken.len, body.len);
	assert_true(bytes_equal(buf_bytes(&taken), body));
	buf_free(&taken);
	coaps_upload_free(upload);
}

static void
coap_upload_puts_bodies_of_every_block_size_together(void **state)
{
	static const size_t lengths[] = { 0, 1, 15, 16, 17, 63, 64, 399, 1024, 1025, 4096, 65535, 65536 };
	size_t i;
	uint8_t szx;

	(void)state;
	for (szx = 0; szx <= COAPS_SZX_MAX; szx++) {
		for (i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
			struct bytes body = pattern(lengths[i]);
			size_t blocks = lengths[i] == 0 ? 1 : (lengths[i] - 1) / coaps_block_size(szx) + 1;
			struct coaps_upload *upload = coaps_upload_new();
			size_t n;

			for (n = 0; n + 1 < blocks; n++)
				assert_int_equal(put(upload, body, (uint32_t)n, szx), COAPS_UPLOAD_CONTINUE);
			assert_int_equal(put(upload, body, (uint32_t)n, szx), COAPS_UPLOAD_COMPLETE);
			expect_body(upload, body);
		}
	}
}

static void
coap_upload_takes_duplicated_and_reordered_blocks(void **state)
{
	static const uint32_t order[] = { 0, 2, 2, 1, 0, 5, 4, 3, 1 };
	struct bytes body = pattern(64 * 6 + 15);
	struct coaps_upload *upload = coaps_upload_new();
	size_t i;

	(void)state;
	for (i = 0; i < sizeof order / sizeof order[0]; i++)
		assert_int_equal(put(upload, body, order[i], 2), COAPS_UPLOAD_CONTINUE);
	assert_true(coaps_upload_has_first(upload));
	assert_int_equal(put(upload, body, 6, 2), COAPS_UPLOAD_COMPLETE);
	expect_body(upload, body);
}

static void
coap_upload_with_holes_keeps_its_blocks_until_the_last_one_comes_again(void **state)
{
	struct bytes body = pattern(64 * 3 + 1);
	struct coaps_upload *upload = coaps_upload_new();

	(void)state;
	assert_int_equal(put(upload, body, 0, 2), COAPS_UPLOAD_CONTINUE);
	assert_int_equal(put(upload, body, 3, 2), COAPS_UPLOAD_INCOMPLETE);
	assert_false(coaps_upload_broken(upload));
	assert_int_equal(put(upload, body, 2, 2), COAPS_UPLOAD_CONTINUE);
	assert_int_equal(put(upload, body, 3, 2), COAPS_UPLOAD_INCOMPLETE);
	assert_int_equal(put(upload, body, 1, 2), COAPS_UPLOAD_CONTINUE);
	assert_int_equal(put(upload, body, 3, 2), COAPS_UPLOAD_COMPLETE);
	expect_body(upload, body);
}

static void
coap_upload_takes_smaller_blocks_on_the_way(void **state)
{
	struct bytes body = pattern(1024 + 300);
	struct coaps_upload *upload = coaps_upload_new();

	(void)state;
	/* RFC 7959, section 2.5: "the second request starts with a block number larger than one". */
	assert_int_equal(put(upload, body, 0, 6), COAPS_UPLOAD_CONTINUE);
	assert_int_equal(put(upload, body, 8, 3), COAPS_UPLOAD_CONTINUE);
	assert_int_equal(put(upload, body, 9, 3), COAPS_UPLOAD_CONTINUE);
	assert_int_equal(put(upload, body, 10, 3), COAPS_UPLOAD_COMPLETE);
	expect_body(upload, body);
}

static void
coap_upload_of_blocks_that_contradict_each_other_is_broken(void **state)
{
	struct coaps_block block = { .num = 1, .more = true, .szx = 2 };
	struct bytes body = pattern(64 * 4);
	struct coaps_upload *upload = coaps_upload_new();

	(void)state;
	assert_int_equal(put(upload, body, 0, 2), COAPS_UPLOAD_CONTINUE);
	assert_int_equal(put(upload, body, 1, 2), COAPS_UPLOAD_CONTINUE);
	assert_int_equal(coaps_upload_put(upload, &block, bytes_of(body.at, 64), COAPS_BODY_MAX),
		COAPS_UPLOAD_INCOMPLETE);
	assert_true(coaps_upload_broken(upload));
	coaps_upload_free(upload);
}

static void
coap_upload_that_goes_on_after_its_end_is_broken(void **state)
{
	static const struct coaps_block ends[] = {
		{ .num = 4, .more = true, .szx = 2 },  /* a block after the last */
		{ .num = 3, .more = false, .szx = 2 }, /* another last one, longer */
		{ .num = 1, .more = false, .szx = 2 }, /* and shorter */
	};
	struct bytes body = pattern(64 * 3 + 10);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		struct coaps_upload *upload = coaps_upload_new();

		assert_int_equal(put(upload, body, 0, 2), COAPS_UPLOAD_CONTINUE);
		assert_int_equal(put(upload, body, 3, 2), COAPS_UPLOAD_INCOMPLETE);
		assert_int_equal(coaps_upload_put(upload, &ends[i], pattern(64), COAPS_BODY_MAX), COAPS_UPLOAD_INCOMPLETE);
		assert_true(coaps_upload_broken(upload));
		coaps_upload_free(upload);
	}
}

static void
coap_upload_whose_end_lies_before_what_came_is_broken(void **state)
{
	struct coaps_block last = { .num = 1, .more = false, .szx = 2 };
	struct bytes body = pattern(64 * 4);
	struct coaps_upload *upload = coaps_upload_new();

	(void)state;
	assert_int_equal(put(upload, body, 0, 2), COAPS_UPLOAD_CONTINUE);
	assert_int_equal(put(upload, body, 2, 2), COAPS_UPLOAD_CONTINUE);
	assert_int_equal(coaps_upload_put(upload, &last, bytes_of(body.at + 64, 64), COAPS_BODY_MAX),
		COAPS_UPLOAD_INCOMPLETE);
	assert_true(coaps_upload_broken(upload));
	coaps_upload_free(upload);
}

static void
coap_upload_refuses_a_block_whose_length_is_not_its_size(void **state)
{
	static const struct {
		struct coaps_block block;
		size_t len;
	} cases[] = {
		{ { .num = 0, .more = true, .szx = 2 }, 63 },
		{ { .num = 0, .more = true, .szx = 2 }, 65 },
		{ { .num = 0, .more = true, .szx = 2 }, 0 },
		{ { .num = 0, .more = false, .szx = 2 }, 65 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct coaps_upload *upload = coaps_upload_new();

		assert_int_equal(coaps_upload_put(upload, &cases[i].block, pattern(cases[i].len), COAPS_BODY_MAX),
			COAPS_UPLOAD_BAD);
		coaps_upload_free(upload);
	}
}

static void
coap_upload_is_limited_before_memory_is_taken(void **state)
{
	struct coaps_block far_away = { .num = 0xfffff, .more = true, .szx = 6 };
	struct coaps_upload *upload = coaps_upload_new();
	size_t empty = coaps_upload_held(upload);

	(void)state;
	assert_int_equal(coaps_upload_put(upload, &far_away, pattern(1024), COAPS_BODY_MAX), COAPS_UPLOAD_TOO_LARGE);
	assert_int_equal(coaps_upload_held(upload), empty);
	assert_int_equal(put_within(upload, pattern(1001), 15, 2, 1000), COAPS_UPLOAD_TOO_LARGE);
	assert_int_equal(put_within(upload, pattern(1000), 15, 2, 1000), COAPS_UPLOAD_INCOMPLETE);
	assert_int_equal(put(upload, pattern(65537), 64, 6), COAPS_UPLOAD_TOO_LARGE);
	coaps_upload_free(upload);
}

static void
coap_slices_of_639_octets_are_those_of_rfc_9148_appendix_b1(void **state)
{
	struct bytes body = pattern(639), slice;
	uint32_t num;
	bool more;

	(void)state;
	for (num = 0; num < 10; num++) {
		assert_true(coaps_body_slice(body, num, 2, &slice, &more));
		assert_int_equal(slice.len, num == 9 ? 63 : 64);
		assert_int_equal(more, num != 9);
		assert_ptr_equal(slice.at, body.at + 64 * (size_t)num);
	}
	assert_false(coaps_body_slice(body, 10, 2, &slice, &more));
	assert_false(coaps_body_slice(body, 0xfffff, 6, &slice, &more));
}

static void
coap_slice_of_nothing_is_one_empty_block(void **state)
{
	struct bytes slice;
	bool more;

	(void)state;
	assert_true(coaps_body_slice(bytes_of(NULL, 0), 0, 2, &slice, &more));
	assert_true(slice.len == 0 && !more);
	assert_false(coaps_body_slice(bytes_of(NULL, 0), 1, 2, &slice, &more));
	assert_true(coaps_body_slice(pattern(64), 0, 2, &slice, &more));
	assert_true(slice.len == 64 && !more);
	assert_false(coaps_body_slice(pattern(64), 1, 2, &slice, &more));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(coap_block_options_are_those_of_rfc_9148_appendix_b1),
		cmocka_unit_test(coap_block_options_take_none_to_three_octets),
		cmocka_unit_test(coap_block_of_the_reserved_size_is_refused),
		cmocka_unit_test(coap_block_fits_the_room),
		cmocka_unit_test(coap_upload_puts_bodies_of_every_block_size_together),
		cmocka_unit_test(coap_upload_takes_duplicated_and_reordered_blocks),
		cmocka_unit_test(coap_upload_with_holes_keeps_its_blocks_until_the_last_one_comes_again),
		cmocka_unit_test(coap_upload_takes_smaller_blocks_on_the_way),
		cmocka_unit_test(coap_upload_of_blocks_that_contradict_each_other_is_broken),
		cmocka_unit_test(coap_upload_that_goes_on_after_its_end_is_broken),
		cmocka_unit_test(coap_upload_whose_end_lies_before_what_came_is_broken),
		cmocka_unit_test(coap_upload_refuses_a_block_whose_length_is_not_its_size),
		cmocka_unit_test(coap_upload_is_limited_before_memory_is_taken),
		cmocka_unit_test(coap_slices_of_639_octets_are_those_of_rfc_9148_appendix_b1),
		cmocka_unit_test(coap_slice_of_nothing_is_one_empty_block),
	};

	return cmocka_run_group_tests_name("coap blockwise", tests, NULL, NULL);
}
