/* Sealed octets: closed and opened, and not opened by anything else. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ossl.h"
#include "gateway/core/seal.h"

#define TEXT "a request with a challenge in it"

static char dir[64], path[96];

static int
setup(void **state)
{
	struct seal *seal = NULL;
	struct err e = { 0 };

	(void)snprintf(dir, sizeof dir, "/tmp/seal-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof path, "%s/key", dir);
	if (seal_load(path, &seal, &e) != 0)
		fail_msg("%s", e.text);
	*state = seal;
	return 0;
}

static int
teardown(void **state)
{
	seal_free(*state);
	(void)unlink(path);
	return rmdir(dir);
}

static void
closed(void **state, struct buf *out)
{
	struct err e;

	assert_int_equal(seal_close(*state, bytes_of_text("context"), bytes_of_text(TEXT), out, &e), 0);
}

static void
what_was_sealed_opens_after_a_restart(void **state)
{
	CLEANUP(seal) struct seal *again = NULL;
	CLEANUP(buf) struct buf sealed = { 0 };
	CLEANUP(buf) struct buf plain = { 0 };
	struct err e;

	closed(state, &sealed);
	assert_true(seal_is(buf_bytes(&sealed)));
	assert_int_equal(seal_load(path, &again, &e), 0);
	assert_int_equal(seal_open(again, bytes_of_text("context"), buf_bytes(&sealed), &plain, &e), 0);
	assert_true(bytes_equal_text(buf_bytes(&plain), TEXT));
}

static void
no_octet_of_it_can_be_changed(void **state)
{
	CLEANUP(buf) struct buf sealed = { 0 };
	CLEANUP(buf) struct buf plain = { 0 };
	struct err e;
	size_t i;

	closed(state, &sealed);
	for (i = 0; i < sealed.len; i++) {
		sealed.at[i] ^= 1;
		assert_int_equal(seal_open(*state, bytes_of_text("context"), buf_bytes(&sealed), &plain, &e), -1);
		assert_int_equal(e.code, ERR_UPSTREAM);
		sealed.at[i] ^= 1;
	}
	for (i = 0; i < sealed.len; i++)
		assert_int_equal(seal_open(*state, bytes_of_text("context"), bytes_of(sealed.at, i), &plain, &e), -1);
	assert_int_equal(plain.len, 0);
}

static void
another_context_or_key_does_not_open_it(void **state)
{
	CLEANUP(seal) struct seal *other = NULL;
	CLEANUP(buf) struct buf sealed = { 0 };
	CLEANUP(buf) struct buf plain = { 0 };
	struct err e;

	closed(state, &sealed);
	assert_int_equal(seal_open(*state, bytes_of_text("contexts"), buf_bytes(&sealed), &plain, &e), -1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(seal_load(path, &other, &e), 0);
	assert_int_equal(seal_open(other, bytes_of_text("context"), buf_bytes(&sealed), &plain, &e), -1);
}

static void
the_same_text_never_looks_the_same(void **state)
{
	CLEANUP(buf) struct buf one = { 0 };
	CLEANUP(buf) struct buf two = { 0 };

	closed(state, &one);
	closed(state, &two);
	assert_false(bytes_equal(buf_bytes(&one), buf_bytes(&two)));
}

static void
a_key_that_others_may_read_or_that_is_cut_short_is_refused(void **state)
{
	struct seal *other = NULL;
	struct stat st;
	struct err e;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(seal_load(path, &other, &e), -1);
	assert_non_null(strstr(e.text, "chmod 600"));
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(truncate(path, 31), 0);
	assert_int_equal(seal_load(path, &other, &e), -1);
	assert_null(other);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_was_sealed_opens_after_a_restart),
		TEST(no_octet_of_it_can_be_changed),
		TEST(another_context_or_key_does_not_open_it),
		TEST(the_same_text_never_looks_the_same),
		TEST(a_key_that_others_may_read_or_that_is_cut_short_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
