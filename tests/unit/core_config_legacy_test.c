/* A machine without OpenSSL's legacy provider: only the labels that need single DES are told so. */
#define _GNU_SOURCE
#include "tests/unit/core_scep_fixture.h"

/* Before anything asks OpenSSL for a provider. */
static int
make_files_without_legacy(void **state)
{
	struct err e;

	if (setenv("OPENSSL_MODULES", "/nonexistent", 1) != 0 || make_files(state) != 0)
		return -1;
	assert_int_equal(scep_init(&e), -1);
	assert_int_equal(e.code, ERR_UNSUPPORTED);
	return make_ra_files();
}

static void
config_reports_a_label_that_needs_des_where_there_is_none(void **state)
{
	size_t line;
	char *without = changed(scep_good, "	scep_legacy = \"insecure-cisco\";", "	scep_allow = [ \"sha1\", \"3des\" ];", &line);

	(void)state;
	config_free(load_good(without));
	expect_scep_start("scep_legacy = \"insecure-cisco\"", "labels \"cisco\": scep_legacy: \"insecure-cisco\" needs MD5 and "
		"single DES: ");
	free(without);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_reports_a_label_that_needs_des_where_there_is_none),
	};

	return cmocka_run_group_tests(tests, make_files_without_legacy, remove_files);
}
