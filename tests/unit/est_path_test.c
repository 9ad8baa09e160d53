#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "est/path.h"

static int
parse(const char *path, struct est_route *out)
{
	struct err e = { 0 };
	int rc = est_path_parse(bytes_of_text(path), out, &e);

	if (rc != 0)
		assert_int_equal(e.code, ERR_UNSUPPORTED);
	return rc;
}

static void
est_path_parse_finds_the_operation_and_the_label(void **state)
{
	static const struct {
		const char *path, *label;
		enum est_op op;
	} paths[] = {
		{ "/.well-known/est/cacerts", "", EST_OP_CACERTS },
		{ "/.well-known/est/simpleenroll", "", EST_OP_SIMPLEENROLL },
		{ "/.well-known/est/simplereenroll", "", EST_OP_SIMPLEREENROLL },
		{ "/.well-known/est/serverkeygen", "", EST_OP_SERVERKEYGEN },
		{ "/.well-known/est/csrattrs", "", EST_OP_CSRATTRS },
		{ "/.well-known/est/nonce", "", EST_OP_NONCE },
		{ "/.well-known/est/tpm-bind", "", EST_OP_TPM_BIND },
		{ "/.well-known/est/factory-7/nonce", "factory-7", EST_OP_NONCE },
		{ "/.well-known/est/factory-7/tpm-bind", "factory-7", EST_OP_TPM_BIND },
		{ "/.well-known/est/factory-7/cacerts", "factory-7", EST_OP_CACERTS },
		{ "/.well-known/est/a.b_c~d/csrattrs", "a.b_c~d", EST_OP_CSRATTRS },
		{ "/.well-known/est/%66actory%2D7/simpleenroll", "factory-7", EST_OP_SIMPLEENROLL },
		{ "/.well-known/est/CACERTS/cacerts", "CACERTS", EST_OP_CACERTS },
		{ "/.well-known/est/est/cacerts", "est", EST_OP_CACERTS },
		{ "/.well-known/est/.../cacerts", "...", EST_OP_CACERTS },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		struct est_route route = { 0 };

		assert_int_equal(parse(paths[i].path, &route), 0);
		assert_int_equal(route.op, paths[i].op);
		assert_string_equal(route.label, paths[i].label);
	}
}

static void
est_path_parse_refuses_every_other_path(void **state)
{
	static const char *const paths[] = {
		"",
		"/",
		"/.well-known/est",
		"/.well-known/est/",
		"/.well-known/est//cacerts",
		"/.well-known/est/cacerts/",
		"/.well-known/est/x/",
		"/.well-known/est/x",
		"/.well-known/est/x/cacerts/",
		"/.well-known/est/x/y/cacerts",
		"/.well-known/est/x//cacerts",
		"/.well-known/est/fullcmc",
		"/.well-known/est/CACERTS",
		"/.well-known/est/tpm_bind",
		"/.well-known/est/nonces",
		"/.well-known/est/%63acerts",
		"/.Well-Known/est/cacerts",
		"//.well-known/est/cacerts",
		".well-known/est/cacerts",
		"/.well-known/../.well-known/est/cacerts",
		"/.well-known/est/./cacerts",
		"/.well-known/est/../cacerts",
		"/.well-known/est/%2e%2e/cacerts",
		"/.well-known/est/%2E/cacerts",
		"/.well-known/est/a%2fb/cacerts",
		"/.well-known/est/a%00b/cacerts",
		"/.well-known/est/a%20b/cacerts",
		"/.well-known/est/a%c3%a4/cacerts",
		"/.well-known/est/a%/cacerts",
		"/.well-known/est/a%4/cacerts",
		"/.well-known/est/a%zz/cacerts",
		"/.well-known/est/a b/cacerts",
		"/.well-known/est/a?b/cacerts",
		"/.well-known/est/a;b/cacerts",
		"/.well-known/est/cacerts?x=1",
		"/.well-known/est/a\\b/cacerts",
	};
	struct est_route route = { .op = EST_OP_CSRATTRS, .label = "kept" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof paths / sizeof paths[0]; i++)
		if (parse(paths[i], &route) == 0)
			fail_msg("accepted: %s", paths[i]);
	assert_int_equal(route.op, EST_OP_CSRATTRS);
	assert_string_equal(route.label, "kept");
}

/* RFC 7030, section 3.2.2: "the CA label MUST NOT be the same as any defined operation path segment". */
static void
est_path_parse_refuses_operation_names_as_labels(void **state)
{
	static const char *const names[] = { "cacerts", "simpleenroll", "simplereenroll", "fullcmc",
		"serverkeygen", "csrattrs", "nonce", "tpm-bind", "tpm%2Dbind", "%63acerts", "csrattr%73" };
	struct est_route route;
	char path[128];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof names / sizeof names[0]; i++) {
		(void)snprintf(path, sizeof path, "/.well-known/est/%s/cacerts", names[i]);
		assert_int_equal(parse(path, &route), -1);
	}
}

static void
est_path_parse_takes_labels_of_64_octets_and_no_longer(void **state)
{
	struct est_route route;
	char label[EST_LABEL_MAX + 2];
	char path[128];

	(void)state;
	memset(label, 'a', sizeof label);
	label[EST_LABEL_MAX] = '\0';
	(void)snprintf(path, sizeof path, "/.well-known/est/%s/cacerts", label);
	assert_int_equal(parse(path, &route), 0);
	assert_string_equal(route.label, label);
	(void)snprintf(path, sizeof path, "/.well-known/est/%sb/cacerts", label);
	assert_int_equal(parse(path, &route), -1);
}

static void
est_path_parse_refuses_a_nul_octet(void **state)
{
	static const char path[] = "/.well-known/est/a\0b/cacerts";
	struct est_route route;
	struct err e;

	(void)state;
	assert_int_equal(est_path_parse(bytes_of(path, sizeof path - 1), &route, &e), -1);
	assert_int_equal(est_path_parse(bytes_of(NULL, 0), &route, &e), -1);
}

static void
est_op_names_and_methods_match_the_rfc(void **state)
{
	(void)state;
	assert_string_equal(est_op_name(EST_OP_SIMPLEENROLL), "simpleenroll");
	assert_string_equal(est_op_name(EST_OP_NONE), "");
	assert_int_equal(est_op_of(bytes_of_text("serverkeygen")), EST_OP_SERVERKEYGEN);
	assert_int_equal(est_op_of(bytes_of_text("fullcmc")), EST_OP_NONE);
	assert_int_equal(est_op_of(bytes_of(NULL, 0)), EST_OP_NONE);
	assert_string_equal(est_op_method(EST_OP_CACERTS), "GET");
	assert_string_equal(est_op_method(EST_OP_CSRATTRS), "GET");
	assert_string_equal(est_op_method(EST_OP_SIMPLEENROLL), "POST");
	assert_string_equal(est_op_method(EST_OP_SIMPLEREENROLL), "POST");
	assert_string_equal(est_op_method(EST_OP_SERVERKEYGEN), "POST");
	assert_string_equal(est_op_method(EST_OP_NONCE), "POST");
	assert_string_equal(est_op_method(EST_OP_TPM_BIND), "POST");
	assert_string_equal(est_op_method(EST_OP_NONE), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(est_path_parse_finds_the_operation_and_the_label),
		cmocka_unit_test(est_path_parse_refuses_every_other_path),
		cmocka_unit_test(est_path_parse_refuses_operation_names_as_labels),
		cmocka_unit_test(est_path_parse_takes_labels_of_64_octets_and_no_longer),
		cmocka_unit_test(est_path_parse_refuses_a_nul_octet),
		cmocka_unit_test(est_op_names_and_methods_match_the_rfc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
