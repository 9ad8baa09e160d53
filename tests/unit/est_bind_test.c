#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "est/bind.h"

/* "unique-value" and "exporter-value-of-thirty-two-oct" with their base64. */
static const char unique_text[] = "dW5pcXVlLXZhbHVl";
static const char exporter_text[] = "ZXhwb3J0ZXItdmFsdWUtb2YtdGhpcnR5LXR3by1vY3Q=";

static struct est_binding
tls12(void)
{
	struct est_binding binding = { .unique_len = 12 };

	memcpy(binding.unique, "unique-value", 12);
	return binding;
}

static struct est_binding
tls13(void)
{
	struct est_binding binding = { .exporter_len = 32 };

	memcpy(binding.exporter, "exporter-value-of-thirty-two-oct", 32);
	return binding;
}

static enum est_binding_verdict
check(struct est_binding binding, const char *challenge)
{
	return est_binding_check(&binding, bytes_of_text(challenge));
}

static void
est_binding_check_says_absent_without_a_challenge(void **state)
{
	struct est_binding none = { 0 };

	(void)state;
	assert_int_equal(check(tls12(), ""), EST_BINDING_ABSENT);
	assert_int_equal(est_binding_check(&none, bytes_of(NULL, 0)), EST_BINDING_ABSENT);
	assert_int_equal(est_binding_check(NULL, bytes_of(NULL, 0)), EST_BINDING_ABSENT);
}

static void
est_binding_check_matches_the_value_of_its_tls_version(void **state)
{
	(void)state;
	assert_int_equal(check(tls12(), unique_text), EST_BINDING_MATCHES);
	assert_int_equal(check(tls13(), exporter_text), EST_BINDING_MATCHES);
	assert_int_equal(check(tls12(), exporter_text), EST_BINDING_DIFFERS);
	assert_int_equal(check(tls13(), unique_text), EST_BINDING_DIFFERS);
}

/* OpenSSL's base64 ends in a newline, and libest sends it. */
static void
est_binding_check_ignores_white_space(void **state)
{
	(void)state;
	assert_int_equal(check(tls12(), "dW5pcXVl\nLXZhbHVl\r\n"), EST_BINDING_MATCHES);
}

static void
est_binding_check_compares_every_octet(void **state)
{
	struct est_binding binding = tls12();
	size_t i;

	(void)state;
	for (i = 0; i < binding.unique_len; i++) {
		binding.unique[i] ^= 1;
		assert_int_equal(check(binding, unique_text), EST_BINDING_DIFFERS);
		binding.unique[i] ^= 1;
	}
	assert_int_equal(check(binding, "dW5pcXVlLXZhbHU="), EST_BINDING_DIFFERS);
	assert_int_equal(check(binding, "dW5pcXVlLXZhbHVlIQ=="), EST_BINDING_DIFFERS);
}

static void
est_binding_check_never_matches_a_connection_without_values(void **state)
{
	struct est_binding none = { 0 };

	(void)state;
	assert_int_equal(check(none, unique_text), EST_BINDING_DIFFERS);
	assert_int_equal(check(none, " "), EST_BINDING_DIFFERS);
	assert_int_equal(check(none, "===="), EST_BINDING_DIFFERS);
	assert_int_equal(est_binding_check(NULL, bytes_of_text(unique_text)), EST_BINDING_DIFFERS);
}

static void
est_binding_check_refuses_what_is_not_base64(void **state)
{
	(void)state;
	assert_int_equal(check(tls12(), "unique-value"), EST_BINDING_DIFFERS);
	assert_int_equal(check(tls12(), "dW5pcXVlLXZhbHVl!"), EST_BINDING_DIFFERS);
}

static void
est_binding_text_prefers_tls_unique_where_it_exists(void **state)
{
	struct est_binding both = tls12(), none = { 0 }, only = tls13();
	struct buf out = { 0 };

	(void)state;
	memcpy(both.exporter, only.exporter, 32);
	both.exporter_len = 32;
	est_binding_text(&both, &out);
	assert_string_equal(buf_text(&out), unique_text);
	buf_clear(&out);
	est_binding_text(&only, &out);
	assert_string_equal(buf_text(&out), exporter_text);
	buf_clear(&out);
	est_binding_text(&none, &out);
	assert_int_equal(out.len, 0);
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(est_binding_check_says_absent_without_a_challenge),
		cmocka_unit_test(est_binding_check_matches_the_value_of_its_tls_version),
		cmocka_unit_test(est_binding_check_ignores_white_space),
		cmocka_unit_test(est_binding_check_compares_every_octet),
		cmocka_unit_test(est_binding_check_never_matches_a_connection_without_values),
		cmocka_unit_test(est_binding_check_refuses_what_is_not_base64),
		cmocka_unit_test(est_binding_text_prefers_tls_unique_where_it_exists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
