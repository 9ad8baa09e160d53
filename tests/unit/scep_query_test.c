#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scep/query.h"

static const char *const suffixes[] = { "/pkiclient.exe", "/cgi-bin/pkiclient.exe", "/certsrv/mscep/mscep.dll" };

/* --- paths ---------------------------------------------------------------- */

static int
path(const char *text, char label[SCEP_LABEL_MAX + 1])
{
	struct err e = { 0 };
	int rc = scep_path_parse(bytes_of_text(text), suffixes, 3, label, &e);

	if (rc != 0)
		assert_int_equal(e.code, ERR_UNSUPPORTED);
	return rc;
}

static void
scep_path_parse_finds_the_label_before_any_suffix(void **state)
{
	static const struct {
		const char *path, *label;
	} paths[] = {
		{ "/scep", "" },
		{ "/scep/routers", "routers" },
		{ "/scep/a.b_c~d-7", "a.b_c~d-7" },
		{ "/scep/%72outers", "routers" },
		{ "/scep/scep", "scep" },
		{ "/scep/pkiclient.exe", "" },
		{ "/scep/PKIClient.EXE", "" },
		{ "/scep/cgi-bin/pkiclient.exe", "" },
		{ "/scep/routers/pkiclient.exe", "routers" },
		{ "/scep/routers/cgi-bin/pkiclient.exe", "routers" },
		{ "/scep/routers/certsrv/mscep/mscep.dll", "routers" },
		{ "/scep/Routers/CertSrv/MSCEP/mscep.dll", "Routers" },
		{ "/pkiclient.exe", "" },
		{ "/cgi-bin/pkiclient.exe", "" },
		{ "/certsrv/mscep/mscep.dll", "" },
	};
	static const char *const reversed[] = { "/certsrv/mscep/mscep.dll", "/cgi-bin/pkiclient.exe", "/pkiclient.exe" };
	struct err e = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		char label[SCEP_LABEL_MAX + 1] = "untouched";

		assert_int_equal(path(paths[i].path, label), 0);
		assert_string_equal(label, paths[i].label);
		assert_int_equal(scep_path_parse(bytes_of_text(paths[i].path), reversed, 3, label, &e), 0);
		assert_string_equal(label, paths[i].label);
	}
}

static void
scep_path_parse_refuses_every_other_path(void **state)
{
	static const char *const paths[] = { "", "/", "scep", "/SCEP", "/scep/", "/scepx", "/scep//", "/scep/a/b",
		"/scep/a/", "/scep//pkiclient.exe", "/scep/.", "/scep/..", "/scep/%2e%2e", "/scep/a%2fb", "/scep/%",
		"/scep/%4", "/scep/%zz", "/scep/%00", "/scep/a b", "/scep/a+b", "/scep/\xc3\xa4", "/x/pkiclient.exe",
		"/routers/scep", "/pkiclient.exe/scep", "/pkiclient.exe/", "/scep/..%2fpkiclient.exe" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		char label[SCEP_LABEL_MAX + 1] = "untouched";

		if (path(paths[i], label) == 0)
			fail_msg("%s is label \"%s\"", paths[i], label);
		assert_string_equal(label, "untouched");
	}
}

static void
scep_path_parse_limits_the_label(void **state)
{
	char label[SCEP_LABEL_MAX + 1] = "", text[128];

	(void)state;
	(void)snprintf(text, sizeof text, "/scep/%064d", 7);
	assert_int_equal(path(text, label), 0);
	assert_int_equal(strlen(label), 64);
	(void)snprintf(text, sizeof text, "/scep/%065d", 7);
	assert_int_equal(path(text, label), -1);
}

static void
scep_path_parse_knows_no_suffix_that_was_not_given(void **state)
{
	char label[SCEP_LABEL_MAX + 1] = "";
	struct err e = { 0 };

	(void)state;
	assert_int_equal(scep_path_parse(bytes_of_text("/cgi-bin/pkiclient.exe"), NULL, 0, label, &e), -1);
	assert_int_equal(scep_path_parse(bytes_of_text("/scep/pkiclient.exe"), NULL, 0, label, &e), 0);
	assert_string_equal(label, "pkiclient.exe");
	assert_int_equal(scep_path_parse(bytes_of(NULL, 0), NULL, 0, label, &e), -1);
}

/* --- queries --------------------------------------------------------------------- */

static enum scep_operation
operation(const char *query)
{
	enum scep_operation out = SCEP_OP_NONE;
	struct buf message = { 0 };
	struct err e = { 0 };

	if (scep_query_parse(bytes_of_text(query), true, &out, &message, &e) != 0)
		fail_msg("%s: %s", query, e.text);
	assert_int_equal(message.len, 0);
	buf_free(&message);
	return out;
}

static void
scep_query_parse_knows_operations_in_any_place(void **state)
{
	(void)state;
	assert_int_equal(operation("operation=GetCACaps"), SCEP_OP_GET_CA_CAPS);
	assert_int_equal(operation("operation=GetCACert"), SCEP_OP_GET_CA_CERT);
	assert_int_equal(operation("operation=GetCACert&message="), SCEP_OP_GET_CA_CERT);
	assert_int_equal(operation("operation=GetCACert&message=CA-IDENT %zz"), SCEP_OP_GET_CA_CERT);
	assert_int_equal(operation("message=0&operation=GetCACert"), SCEP_OP_GET_CA_CERT);
	assert_int_equal(operation("x=1&&=&operation&operation=GetNextCACert&y"), SCEP_OP_GET_NEXT_CA_CERT);
}

static void
refuses(const char *query, bool want_message, enum err_code code)
{
	enum scep_operation out = SCEP_OP_GET_CA_CAPS;
	struct buf message = { 0 };
	struct err e = { 0 };

	buf_append_text(&message, "kept");
	if (scep_query_parse(bytes_of_text(query), want_message, &out, &message, &e) == 0)
		fail_msg("%.200s was taken", query);
	assert_int_equal(e.code, code);
	assert_int_equal(message.len, 4);
	if (code == ERR_UNSUPPORTED)
		assert_int_equal(out, SCEP_OP_NONE);
	buf_free(&message);
}

static void
scep_query_parse_refuses_no_and_unknown_operations(void **state)
{
	static const char *const queries[] = { "", "operation", "operation=", "operation=getcacaps",
		"operation=GetCACaps%20", "Operation=GetCACaps", "operation=GetCACaps;message=", "GetCACaps",
		"operation=PKIOperation\n", "operation=GetCAChain", "message=AAAA" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof queries / sizeof queries[0]; i++)
		refuses(queries[i], false, ERR_UNSUPPORTED);
}

static void
scep_query_parse_refuses_a_second_of_anything(void **state)
{
	(void)state;
	refuses("operation=GetCACaps&operation=PKIOperation", false, ERR_MALFORMED);
	refuses("operation=GetCACaps&operation=GetCACaps", false, ERR_MALFORMED);
	refuses("operation=PKIOperation&message=AAAA&message=BBBB", true, ERR_MALFORMED);
	refuses("message=&operation=GetCACert&message=", false, ERR_MALFORMED);
}

/* 0xfb 0xff 0xbe ff: base64 "+/++/w==" */
static const uint8_t octets[] = { 0xfb, 0xff, 0xbe, 0xff };

static void
scep_query_parse_reads_what_clients_make_of_base64(void **state)
{
	static const char *const messages[] = {
		"%2B%2F%2B%2B%2Fw%3D%3D", "%2b%2f%2b%2b%2fw%3d%3d", /* encoded as it should be */
		"+/++/w==", "+/++/w",                               /* raw, and without padding */
		" /  /w==", "%20/%20%20/w==",                       /* "+" read as a space on the way */
		"-_--_w==", "-_--_w", "-/+-_w%3D",                  /* base64url, and a mixture */
		"%2B%2F%2B%2B%0A%2Fw%3D%3D%0A", "%2B/%0D%0A++/w=%09=%0a", "%2B%2F%2B%2B%2Fw%3D%3D%0D%0A",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof messages / sizeof messages[0]; i++) {
		enum scep_operation out = SCEP_OP_NONE;
		struct buf query = { 0 }, message = { 0 };
		struct err e = { 0 };

		buf_printf(&query, i % 2 == 0 ? "operation=PKIOperation&message=%s" : "message=%s&operation=PKIOperation",
			messages[i]);
		if (scep_query_parse(buf_bytes(&query), true, &out, &message, &e) != 0)
			fail_msg("%s: %s", messages[i], e.text);
		assert_int_equal(out, SCEP_OP_PKI_OPERATION);
		assert_int_equal(message.len, sizeof octets);
		assert_memory_equal(message.at, octets, sizeof octets);
		buf_free(&query);
		buf_free(&message);
	}
}

static void
scep_query_parse_refuses_messages_that_are_not_base64(void **state)
{
	static const char *const messages[] = { "", "&message", "&message=", "&message===", "&message=%0A",
		"&message=A", "&message=AAAAA", "&message=AB=C", "&message=AAAA%", "&message=AAAA%2", "&message=AAAA%zz",
		"&message=AAA%00", "&message=AA.A", "&message=AA%3", "&message=AB", "&message=%C3%A4AAA" };
	char query[128];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof messages / sizeof messages[0]; i++) {
		(void)snprintf(query, sizeof query, "operation=PKIOperation%s", messages[i]);
		refuses(query, true, ERR_MALFORMED);
	}
}

static void
scep_query_parse_leaves_the_message_alone_unless_it_is_wanted(void **state)
{
	enum scep_operation out = SCEP_OP_NONE;
	struct buf message = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(scep_query_parse(bytes_of_text("operation=PKIOperation&message=%%%"), false, &out, &message, &e), 0);
	assert_int_equal(out, SCEP_OP_PKI_OPERATION);
	assert_int_equal(message.len, 0);
}

static void
scep_query_parse_limits_the_query(void **state)
{
	static const char start[] = "operation=PKIOperation&message=";
	char *query = malloc(SCEP_QUERY_MAX + 2);
	struct buf message = { 0 };
	enum scep_operation out = SCEP_OP_NONE;
	struct err e = { 0 };

	(void)state;
	assert_non_null(query);
	memset(query, 'A', SCEP_QUERY_MAX + 1);
	memcpy(query, start, sizeof start - 1);
	query[SCEP_QUERY_MAX + 1] = '\0';
	refuses(query, true, ERR_LIMIT);
	query[SCEP_QUERY_MAX] = '\0';
	if (strlen(query + sizeof start - 1) % 4 == 1)
		query[SCEP_QUERY_MAX - 1] = '\0';
	assert_int_equal(scep_query_parse(bytes_of_text(query), true, &out, &message, &e), 0);
	assert_true(message.len > 16384);
	free(query);
	buf_free(&message);
}

static void
scep_query_write_is_what_parse_reads(void **state)
{
	struct buf query = { 0 }, message = { 0 };
	enum scep_operation out = SCEP_OP_NONE;
	struct err e = { 0 };

	(void)state;
	scep_query_write(&query, SCEP_OP_PKI_OPERATION, bytes_of(octets, sizeof octets));
	assert_string_equal(buf_text(&query), "operation=PKIOperation&message=%2B%2F%2B%2B%2Fw%3D%3D");
	assert_int_equal(scep_query_parse(buf_bytes(&query), true, &out, &message, &e), 0);
	assert_int_equal(message.len, sizeof octets);
	assert_memory_equal(message.at, octets, sizeof octets);
	buf_clear(&query);
	scep_query_write(&query, SCEP_OP_GET_CA_CAPS, bytes_of(NULL, 0));
	assert_string_equal(buf_text(&query), "operation=GetCACaps");
	buf_free(&query);
	buf_free(&message);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scep_path_parse_finds_the_label_before_any_suffix),
		cmocka_unit_test(scep_path_parse_refuses_every_other_path),
		cmocka_unit_test(scep_path_parse_limits_the_label),
		cmocka_unit_test(scep_path_parse_knows_no_suffix_that_was_not_given),
		cmocka_unit_test(scep_query_parse_knows_operations_in_any_place),
		cmocka_unit_test(scep_query_parse_refuses_no_and_unknown_operations),
		cmocka_unit_test(scep_query_parse_refuses_a_second_of_anything),
		cmocka_unit_test(scep_query_parse_reads_what_clients_make_of_base64),
		cmocka_unit_test(scep_query_parse_refuses_messages_that_are_not_base64),
		cmocka_unit_test(scep_query_parse_leaves_the_message_alone_unless_it_is_wanted),
		cmocka_unit_test(scep_query_parse_limits_the_query),
		cmocka_unit_test(scep_query_write_is_what_parse_reads),
	};

	return cmocka_run_group_tests_name("scep_query", tests, NULL, NULL);
}
