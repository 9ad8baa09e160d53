#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "scep/query.h"

static void
writes(unsigned allowed, bool renewal, bool next, const char *wanted)
{
	struct buf out = { 0 };

	scep_caps_write(&out, allowed, renewal, next);
	assert_string_equal(buf_text(&out), wanted);
	buf_free(&out);
}

static void
scep_caps_write_names_what_is_allowed_by_default(void **state)
{
	(void)state;
	writes(SCEP_ALGORITHMS_DEFAULT, true, false,
		"AES\nPOSTPKIOperation\nRenewal\nSCEPStandard\nSHA-256\nSHA-384\nSHA-512\n");
}

static void
scep_caps_write_names_legacy_algorithms_only_when_they_are_allowed(void **state)
{
	(void)state;
	writes(SCEP_ALGORITHMS_DEFAULT | SCEP_ALGORITHMS_LEGACY, true, true,
		"AES\nDES3\nGetNextCACert\nPOSTPKIOperation\nRenewal\nSCEPStandard\nSHA-1\nSHA-256\nSHA-384\nSHA-512\n");
	writes(SCEP_ALGORITHMS_CISCO, false, false, "POSTPKIOperation\n");
}

/* "implies "AES", "POSTPKIOperation", and "SHA-256"" (RFC 8894, section 3.5.2) */
static void
scep_caps_write_claims_the_standard_only_with_all_it_implies(void **state)
{
	(void)state;
	writes(SCEP_AES128 | SCEP_SHA512, false, false, "AES\nPOSTPKIOperation\nSHA-512\n");
	writes(SCEP_AES256 | SCEP_SHA256, false, false, "POSTPKIOperation\nSHA-256\n");
	writes(SCEP_AES128 | SCEP_SHA256, false, false, "AES\nPOSTPKIOperation\nSCEPStandard\nSHA-256\n");
	writes(0, false, false, "POSTPKIOperation\n");
}

/* Apple's client compares whole lines split at LF. */
static void
scep_caps_write_never_writes_cr(void **state)
{
	struct buf out = { 0 };

	(void)state;
	scep_caps_write(&out, ~0u, true, true);
	assert_null(strchr(buf_text(&out), '\r'));
	assert_int_equal(out.at[out.len - 1], '\n');
	buf_free(&out);
}

static struct scep_caps
parse(const char *text)
{
	struct scep_caps caps;

	memset(&caps, 0xff, sizeof caps);
	scep_caps_parse(bytes_of_text(text), &caps);
	return caps;
}

static void
scep_caps_parse_reads_lf_and_crlf_of_any_case_with_unknown_lines(void **state)
{
	static const char *const texts[] = {
		"AES\nRenewal\nSHA-512\nGetNextCACert\nDES3",
		"aes\r\nrenewal\r\nsha-512\r\nX-other\r\n\r\ngetnextcacert\r\ndes3\r\n",
		"Example.com-AES\n AES \nRENEWAL\t\nSHA-512\nSHA-5120\nGetNextCACert\nDES3\n",
	};
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct scep_caps caps = parse(texts[i]);

		assert_int_equal(caps.algorithms, SCEP_AES128 | SCEP_3DES | SCEP_SHA512);
		assert_true(caps.renewal);
		assert_true(caps.next);
		assert_false(caps.post);
	}
}

static void
scep_caps_parse_knows_what_the_standard_implies(void **state)
{
	struct scep_caps caps = parse("SCEPStandard\n");

	(void)state;
	assert_int_equal(caps.algorithms, SCEP_AES128 | SCEP_SHA256);
	assert_true(caps.post);
	assert_false(caps.renewal);
}

/* "A client that receives an empty message ... SHOULD interpret the response as if none of the capabilities" */
static void
scep_caps_parse_takes_nothing_from_nothing(void **state)
{
	static const char *const texts[] = { "", "\n\n\r\n", "<html>AES</html>", "AES SHA-256" };
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++) {
		struct scep_caps caps = parse(texts[i]);

		assert_int_equal(caps.algorithms, 0);
		assert_false(caps.post || caps.renewal || caps.next);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scep_caps_write_names_what_is_allowed_by_default),
		cmocka_unit_test(scep_caps_write_names_legacy_algorithms_only_when_they_are_allowed),
		cmocka_unit_test(scep_caps_write_claims_the_standard_only_with_all_it_implies),
		cmocka_unit_test(scep_caps_write_never_writes_cr),
		cmocka_unit_test(scep_caps_parse_reads_lf_and_crlf_of_any_case_with_unknown_lines),
		cmocka_unit_test(scep_caps_parse_knows_what_the_standard_implies),
		cmocka_unit_test(scep_caps_parse_takes_nothing_from_nothing),
	};

	return cmocka_run_group_tests_name("scep_caps", tests, NULL, NULL);
}
