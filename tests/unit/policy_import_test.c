#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/import.h"

#define RECORDS_MAX 8

static struct import_record records[RECORDS_MAX];
static size_t record_count;
static struct err e;

/* Feed every line of a text; -1 at the first error. */
static int
run(enum import_format format, const char *text)
{
	struct import_reader *reader = NULL;
	int rc = 0;

	record_count = 0;
	e = (struct err){ .code = ERR_NONE };
	assert_int_equal(import_reader_new(format, "test", &reader, &e), 0);
	while (rc == 0 && *text != '\0') {
		size_t len = strcspn(text, "\n");
		bool have = false;

		assert_true(record_count < RECORDS_MAX);
		rc = import_reader_feed(reader, bytes_of(text, len), &records[record_count], &have, &e);
		if (have)
			record_count++;
		text += len + (text[len] == '\n');
	}
	if (rc == 0)
		rc = import_reader_end(reader, &e);
	import_reader_free(reader);
	return rc;
}

static void
policy_import_reads_every_csv_column(void **state)
{
	const struct import_record *r = &records[0];

	(void)state;
	assert_int_equal(run(IMPORT_CSV,
		"tag,owner,manufacturer,model,serial,class,state,holding,tier,site,hostname,source,source_key,anchor,anchor\n"
		"rtr-7,Fleet,Acme,M1,SN1,router,deployed,leased,3,Bonn,rtr-7.example,cmdb,4711,"
		"idevid_serial:acme:FDO27361XTF,hw_module:acme:1.2.3:AB\n"), 0);
	assert_int_equal(record_count, 1);
	assert_int_equal(r->line, 2);
	assert_string_equal(r->asset.tag, "rtr-7");
	assert_string_equal(r->owner, "Fleet");
	assert_string_equal(r->asset.manufacturer, "Acme");
	assert_string_equal(r->asset.model, "M1");
	assert_string_equal(r->asset.serial, "SN1");
	assert_string_equal(r->asset.class_name, "router");
	assert_int_equal(r->asset.state, ASSET_DEPLOYED);
	assert_true(r->has_state);
	assert_int_equal(r->asset.holding, HOLDING_LEASED);
	assert_int_equal(r->asset.tier, 3);
	assert_string_equal(r->asset.site, "Bonn");
	assert_string_equal(r->asset.hostname, "rtr-7.example");
	assert_string_equal(r->asset.source, "cmdb");
	assert_string_equal(r->asset.source_key, "4711");
	assert_int_equal(r->anchor_count, 2);
	assert_int_equal(r->anchors[0].type, ANCHOR_IDEVID_SERIAL);
	assert_string_equal(r->anchors[0].issuer, "acme");
	assert_string_equal(r->anchors[0].value, "FDO27361XTF");
	assert_string_equal(r->anchors[1].value, "1.2.3:ab");
}

static void
policy_import_defaults_stand_in_for_missing_columns(void **state)
{
	(void)state;
	assert_int_equal(run(IMPORT_CSV, "owner,tag,tier\nFleet,a,\n"), 0);
	assert_int_equal(records[0].asset.state, ASSET_STAGED);
	assert_false(records[0].has_state);
	assert_int_equal(records[0].asset.holding, HOLDING_CORPORATE);
	assert_int_equal(records[0].asset.tier, 0);
	assert_string_equal(records[0].asset.source, "test");
	assert_int_equal(records[0].anchor_count, 0);
	assert_int_equal(run(IMPORT_JSONL, "{\"tag\":\"a\",\"owner\":\"Fleet\",\"state\":null}\n"), 0);
	assert_int_equal(records[0].asset.state, ASSET_STAGED);
	assert_string_equal(records[0].asset.source, "test");
}

static void
policy_import_tells_what_a_line_says_nothing_of(void **state)
{
	(void)state;
	assert_int_equal(run(IMPORT_CSV, "owner,tag\nFleet,a\n"), 0);
	assert_int_equal(records[0].absent, IMPORT_OPTIONAL);
	/* An empty text is a value, an empty tier none. */
	assert_int_equal(run(IMPORT_CSV, "owner,tag,site,tier,holding\nFleet,a,,,\nFleet,b,x,1,leased\n"), 0);
	assert_int_equal(records[0].absent, IMPORT_OPTIONAL & ~IMPORT_SITE);
	assert_int_equal(records[1].absent, IMPORT_OPTIONAL & ~(IMPORT_SITE | IMPORT_TIER | IMPORT_HOLDING));
	assert_int_equal(run(IMPORT_CSV, "owner,tag,manufacturer,model,serial,class,state,holding,tier,site,hostname,"
		"source,source_key\nFleet,a,m,m,s,c,staged,leased,1,s,h,s,k\n"), 0);
	assert_int_equal(records[0].absent, 0);
	assert_int_equal(run(IMPORT_JSONL, "{\"tag\":\"a\",\"owner\":\"F\",\"class\":null,\"site\":\"\",\"tier\":0}\n"), 0);
	assert_int_equal(records[0].absent, IMPORT_OPTIONAL & ~(IMPORT_SITE | IMPORT_TIER));
}

static void
policy_import_reads_quotes_crlf_bom_and_blank_lines(void **state)
{
	(void)state;
	assert_int_equal(run(IMPORT_CSV, "\xef\xbb\xbf\"tag\",owner,site\r\n\r\n"
		"a,\"Fleet, \"\"North\"\"\",\"Hall 1\r\n\r\nGate 2\"\r\n"
		"\n\"b\",Fleet,\"\"\n"), 0);
	assert_int_equal(record_count, 2);
	assert_string_equal(records[0].owner, "Fleet, \"North\"");
	assert_string_equal(records[0].asset.site, "Hall 1  Gate 2");
	assert_int_equal(records[0].line, 3);
	assert_string_equal(records[1].asset.tag, "b");
	assert_string_equal(records[1].asset.site, "");
	assert_int_equal(records[1].line, 7);
}

static void
policy_import_reads_json_lines(void **state)
{
	(void)state;
	assert_int_equal(run(IMPORT_JSONL,
		"{\"tag\":\"a\",\"owner\":\"Fl\\u00e9et\",\"tier\":2,\"anchor\":[\"imei:mno:35-209900-176148-1\","
		"\"mdm_id:intune:X:y\"]}\r\n\n"
		"{\"owner\":\"F\",\"tag\":\"b\",\"anchor\":\"mdm_id:intune:z\",\"site\":\"x\\ny\"}"), 0);
	assert_int_equal(record_count, 2);
	assert_string_equal(records[0].owner, "Fl\xc3\xa9" "et");
	assert_int_equal(records[0].asset.tier, 2);
	assert_int_equal(records[0].anchor_count, 2);
	assert_string_equal(records[0].anchors[0].value, "352099001761481");
	assert_string_equal(records[0].anchors[1].value, "X:y");
	assert_int_equal(records[1].line, 3);
	assert_string_equal(records[1].asset.site, "x y");
	assert_int_equal(records[1].anchor_count, 1);
}

static void
policy_import_errors_name_line_and_column(void **state)
{
	(void)state;
	assert_int_equal(run(IMPORT_CSV, "tag,owner,tier\na,F,1\nb,F,9\n"), -1);
	assert_int_equal(e.code, ERR_MALFORMED);
	assert_string_equal(e.text, "line 3, column tier: \"9\" is not 0-3");
	assert_int_equal(run(IMPORT_JSONL, "\n{\"tag\":\"b\",\"owner\":\"F\",\"tier\":9}\n"), -1);
	assert_string_equal(e.text, "line 2, column tier: \"9\" is not 0-3");
	assert_int_equal(run(IMPORT_CSV, "tag,owner,hostnme\n"), -1);
	assert_string_equal(e.text, "line 1: unknown column \"hostnme\" (did you mean \"hostname\"?)");
	assert_int_equal(run(IMPORT_CSV, "tag,owner,colour\n"), -1);
	assert_string_equal(e.text, "line 1: unknown column \"colour\"");
}

static void
policy_import_refuses_bad_csv(void **state)
{
	static const struct {
		const char *text, *named;
	} cases[] = {
		{ "", "no header" },
		{ "\n\n", "no header" },
		{ "tag\n", "no column owner" },
		{ "owner\n", "no column tag" },
		{ "tag,owner,tag\n", "twice" },
		{ ",\n", "unknown column \"\"" },
		{ "tag,owner,\n", "unknown column \"\"" },
		{ "Tag,owner\n", "did you mean \"tag\"" },
		{ "tag,owner\na\n", "1 fields, but the header has 2" },
		{ "tag,owner\na,b,c\n", "3 fields" },
		{ "tag,owner\n,b\n", "column tag" },
		{ "tag,owner\na,\n", "column owner" },
		{ "tag,owner\na/b,F\n", "\"/\"" },
		{ "tag,owner\n a,F\n", "white space" },
		{ "tag,owner\na ,F\n", "white space" },
		{ "tag,owner\na\tb,F\n", "control" },
		{ "tag,owner\n\"a\nb\",F\n", "line 2, column tag" },
		{ "tag,owner\n\xff,F\n", "UTF-8" },
		{ "tag,owner\na\"b,F\n", "quote" },
		{ "tag,owner\n\"a\"b,F\n", "closing quote" },
		{ "tag,owner\na,\"F\n", "line 2: a quote is not closed" },
		{ "tag,owner,state\na,F,broken\n", "\"broken\" is not a state" },
		{ "tag,owner,holding\na,F,mine\n", "column holding" },
		{ "tag,owner,tier\na,F,-1\n", "column tier" },
		{ "tag,owner,tier\na,F,01\n", "column tier" },
		{ "tag,owner,anchor\na,F,secret:acme:x\n", "anchor type" },
		{ "tag,owner,anchor\na,F,mdm_id:x\n", "column anchor" },
		{ "tag,owner,anchor\na,F,mdm_id::x\n", "no issuer" },
		{ "tag,owner,anchor\na,F,mdm_id:acme:\n", "empty" },
		{ "tag,owner,anchor\na,F,spki_sha256:acme:00\n", "64 hexadecimal" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(run(IMPORT_CSV, cases[i].text), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
		if (strstr(e.text, cases[i].named) == NULL)
			fail_msg("%zu: \"%s\" is not in \"%s\"", i, cases[i].named, e.text);
	}
}

static void
policy_import_refuses_bad_json(void **state)
{
	static const struct {
		const char *text, *named;
	} cases[] = {
		{ "nonsense\n", "line 1: not JSON" },
		{ "[]\n", "not a JSON object" },
		{ "{\"tag\":\"a\",\"owner\":\"F\"} x\n", "not JSON" },
		{ "{\"tag\":\"a\",\"tag\":\"b\",\"owner\":\"F\"}\n", "duplicate" },
		{ "{\"tag\":\"a\\u0000b\",\"owner\":\"F\"}\n", "not JSON" },
		{ "{\"tag\":\"a\",\"owner\":\"F\",\"ownr\":\"F\"}\n", "did you mean \"owner\"" },
		{ "{\"tag\":1,\"owner\":\"F\"}\n", "column tag: it must be a text" },
		{ "{\"tag\":\"a\",\"owner\":\"F\",\"tier\":\"2\"}\n", "whole number" },
		{ "{\"tag\":\"a\",\"owner\":\"F\",\"tier\":2.0}\n", "whole number" },
		{ "{\"tag\":\"a\",\"owner\":\"F\",\"tier\":-1}\n", "\"-1\" is not 0-3" },
		{ "{\"tag\":\"a\",\"owner\":\"F\",\"anchor\":{}}\n", "column anchor" },
		{ "{\"tag\":\"a\",\"owner\":\"F\",\"anchor\":[1]}\n", "column anchor" },
		{ "{\"owner\":\"F\"}\n", "column tag" },
		{ "{}\n", "column tag" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(run(IMPORT_JSONL, cases[i].text), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
		if (strstr(e.text, cases[i].named) == NULL)
			fail_msg("%zu: \"%s\" is not in \"%s\"", i, cases[i].named, e.text);
	}
}

static void
policy_import_limits_lines_records_fields_and_anchors(void **state)
{
	static char text[4 * IMPORT_LINE_MAX];
	size_t i;

	(void)state;
	strcpy(text, "tag,owner\n");
	memset(text + 10, 'a', IMPORT_LINE_MAX + 1);
	assert_int_equal(run(IMPORT_CSV, text), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_int_equal(run(IMPORT_JSONL, text + 10), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	memset(text, 0, sizeof text);
	strcpy(text, "tag,owner\n\"");
	for (i = 0; i < 3; i++) {
		memset(text + strlen(text), 'a', IMPORT_LINE_MAX / 2);
		strcat(text, "\n");
	}
	assert_int_equal(run(IMPORT_CSV, text), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_non_null(strstr(e.text, "closing quote"));
	memset(text, ',', IMPORT_COLUMNS_MAX);
	text[IMPORT_COLUMNS_MAX] = '\0';
	assert_int_equal(run(IMPORT_CSV, text), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	strcpy(text, "tag,owner\n");
	memset(text + 10, 'a', REG_TEXT_MAX);
	strcpy(text + 10 + REG_TEXT_MAX, ",F\n");
	assert_int_equal(run(IMPORT_CSV, text), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	strcpy(text, "{\"tag\":\"a\",\"owner\":\"F\",\"anchor\":[\"mdm_id:i:0\"");
	for (i = 1; i <= IMPORT_ANCHORS_MAX; i++) {
		char more[] = ",\"mdm_id:i:x\"";

		more[11] = (char)('0' + i);
		strcat(text, more);
	}
	strcat(text, "]}");
	assert_int_equal(run(IMPORT_JSONL, text), -1);
	assert_int_equal(e.code, ERR_LIMIT);
}

static void
policy_import_goes_on_after_a_quote_that_never_ends(void **state)
{
	static char half[IMPORT_LINE_MAX];
	struct import_reader *reader = NULL;
	struct import_record record;
	bool have = false;

	(void)state;
	memset(half, 'a', sizeof half);
	half[0] = '"';
	assert_int_equal(import_reader_new(IMPORT_CSV, "test", &reader, &e), 0);
	assert_int_equal(import_reader_feed(reader, bytes_of_text("tag,owner"), &record, &have, &e), 0);
	assert_int_equal(import_reader_feed(reader, bytes_of(half, sizeof half), &record, &have, &e), 0);
	assert_int_equal(import_reader_feed(reader, bytes_of_text("aaaaaaaa"), &record, &have, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_int_equal(import_reader_feed(reader, bytes_of_text("c, F "), &record, &have, &e), 0);
	assert_true(have);
	assert_string_equal(record.owner, "F");
	import_reader_free(reader);
}

static void
policy_import_goes_on_after_a_bad_line(void **state)
{
	static const char *const lines[] = { "tag,owner,tier", "a,F,9", "\"b\"x,F,1", "c,F,1" };
	struct import_reader *reader = NULL;
	struct import_record record;
	int errors = 0;
	bool have = false;
	size_t i;

	(void)state;
	assert_int_equal(import_reader_new(IMPORT_CSV, "test", &reader, &e), 0);
	for (i = 0; i < 4; i++)
		if (import_reader_feed(reader, bytes_of_text(lines[i]), &record, &have, &e) != 0)
			errors++;
	assert_int_equal(errors, 2);
	assert_true(have);
	assert_string_equal(record.asset.tag, "c");
	assert_int_equal(record.line, 4);
	import_reader_free(reader);
}

/* U+202E before "gnp.exe" reads as "exe.png"; an asset list must not be drawn by what it lists. */
static void
policy_import_refuses_marks_that_turn_text(void **state)
{
	static const char *const marks[] = { "\u061c", "\u200e", "\u200f", "\u2028", "\u202e", "\u2066", "\u2069" };
	static const char *const letters[] = { "\u0644", "\u2010", "\u200d", "\u2030", "\u2070", "\u00fc" };
	char text[80];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof marks / sizeof marks[0]; i++) {
		(void)snprintf(text, sizeof text, "tag,owner,serial\na,b,x%sy\n", marks[i]);
		assert_int_equal(run(IMPORT_CSV, text), -1);
		assert_string_equal(e.text, "line 2, column serial: a mark that changes the direction of text is not allowed");
		(void)snprintf(text, sizeof text, "{\"tag\":\"a%s\",\"owner\":\"b\"}\n", marks[i]);
		assert_int_equal(run(IMPORT_JSONL, text), -1);
	}
	assert_int_equal(run(IMPORT_CSV, "tag,owner,site\na,b,\u05d7\u200e7\n"), 0);
	for (i = 0; i < sizeof letters / sizeof letters[0]; i++) {
		(void)snprintf(text, sizeof text, "tag,owner,serial\na,b,x%s\n", letters[i]);
		assert_int_equal(run(IMPORT_CSV, text), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_import_refuses_marks_that_turn_text),
		cmocka_unit_test(policy_import_reads_every_csv_column),
		cmocka_unit_test(policy_import_defaults_stand_in_for_missing_columns),
		cmocka_unit_test(policy_import_tells_what_a_line_says_nothing_of),
		cmocka_unit_test(policy_import_reads_quotes_crlf_bom_and_blank_lines),
		cmocka_unit_test(policy_import_reads_json_lines),
		cmocka_unit_test(policy_import_errors_name_line_and_column),
		cmocka_unit_test(policy_import_refuses_bad_csv),
		cmocka_unit_test(policy_import_refuses_bad_json),
		cmocka_unit_test(policy_import_limits_lines_records_fields_and_anchors),
		cmocka_unit_test(policy_import_goes_on_after_a_quote_that_never_ends),
		cmocka_unit_test(policy_import_goes_on_after_a_bad_line),
	};

	return cmocka_run_group_tests_name("policy/import", tests, NULL, NULL);
}
