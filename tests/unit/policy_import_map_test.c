/* Another system's columns as ours. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "policy/import.h"

struct fixture {
	struct import_map *map;
	struct import_reader *reader;
	struct import_record record;
	bool have;
	struct err e;
};

static void
map_of(struct fixture *f, const char *text, const char *owner, const char *issuer)
{
	if (import_map_new(bytes_of_text(text), owner, issuer, &f->map, &f->e) != 0)
		fail_msg("%s", f->e.text);
}

static void
begin(struct fixture *f, enum import_format format, const char *map, const char *owner, const char *issuer)
{
	*f = (struct fixture){ .have = false };
	map_of(f, map, owner, issuer);
	assert_int_equal(import_reader_new(format, "test", &f->reader, &f->e), 0);
	import_reader_use(f->reader, f->map);
}

static int
feed(struct fixture *f, const char *line)
{
	return import_reader_feed(f->reader, bytes_of_text(line), &f->record, &f->have, &f->e);
}

static void
feed_good(struct fixture *f, const char *line)
{
	if (feed(f, line) != 0)
		fail_msg("%s: %s", line, f->e.text);
}

static void
end(struct fixture *f)
{
	import_reader_free(f->reader);
	import_map_free(f->map);
}

#define SMALL_MAP "Name = tag\nTenant = owner\n"

static void
columns_are_compared_by_letters_and_digits(void **state)
{
	static const char *const headers[] = { "Serial number,asset-tag,OWNER", "serialNumber,AssetTag,owner",
		"SERIAL_NUMBER,ASSET TAG,Owner", "\xef\xbb\xbf\"Serial.Number\",assettag,owner\r" };
	struct fixture f;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof headers / sizeof headers[0]; i++) {
		begin(&f, IMPORT_CSV, "Asset tag = tag\nowner = owner\nserial number = serial\n", "", "");
		feed_good(&f, headers[i]);
		feed_good(&f, "SN1,rtr-1,Ann");
		assert_true(f.have);
		assert_string_equal(f.record.asset.serial, "SN1");
		assert_string_equal(f.record.asset.tag, "rtr-1");
		assert_string_equal(f.record.owner, "Ann");
		end(&f);
	}
}

static void
the_first_statement_that_gives_a_text_counts(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, IMPORT_CSV, "Asset tag = tag\nName = tag\nTenant = owner\nowner := {$owner}\nsite := unknown\n", "Us", "");
	feed_good(&f, "Name,Asset tag,Tenant");
	feed_good(&f, "sw-1,AT-1,Them");
	assert_string_equal(f.record.asset.tag, "AT-1");
	assert_string_equal(f.record.owner, "Them");
	feed_good(&f, "sw-2,  ,");
	assert_string_equal(f.record.asset.tag, "sw-2");
	assert_string_equal(f.record.owner, "Us");
	assert_string_equal(f.record.asset.site, "unknown");
	end(&f);
}

static void
words_are_translated_whatever_their_case(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, IMPORT_CSV, SMALL_MAP "Status = state\nstate: Active = deployed\nstate: In Stock = in_stock\n"
		"state: gone =\n", "", "");
	feed_good(&f, "Name,Tenant,Status");
	feed_good(&f, "a,b,ACTIVE");
	assert_int_equal(f.record.asset.state, ASSET_DEPLOYED);
	feed_good(&f, "a,b,in stock");
	assert_int_equal(f.record.asset.state, ASSET_IN_STOCK);
	feed_good(&f, "a,b,repair"); /* ours already */
	assert_int_equal(f.record.asset.state, ASSET_REPAIR);
	feed_good(&f, "a,b,Gone");
	assert_false(f.record.has_state);
	assert_int_equal(feed(&f, "a,b,Sold"), -1);
	assert_string_equal(f.e.text + strlen("line 6, column state: "), "\"Sold\" is not a state: ordered, shipped, in_stock, "
		"staged, deployed, repair, quarantined, transfer_pending, lost, stolen, decommissioned or disposed");
	end(&f);
}

static void
a_star_is_any_other_word(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, IMPORT_CSV, SMALL_MAP "Status = state\nstate: * = in_stock\nstate: up = deployed\n", "", "");
	feed_good(&f, "Name,Tenant,Status");
	feed_good(&f, "a,b,up");
	assert_int_equal(f.record.asset.state, ASSET_DEPLOYED);
	feed_good(&f, "a,b,stolen"); /* the map's word, not ours */
	assert_int_equal(f.record.asset.state, ASSET_IN_STOCK);
	feed_good(&f, "a,b,");
	assert_false(f.record.has_state);
	end(&f);
}

static void
anchors_are_made_of_columns_and_left_out_when_one_is_empty(void **state)
{
	static const char map[] = SMALL_MAP "anchor := idevid_serial:{$issuer}:{Serial}\nanchor := imei:{$issuer}:{IMEI}\n";
	struct fixture f;

	(void)state;
	begin(&f, IMPORT_CSV, map, "", "acme");
	feed_good(&f, "Name,Tenant,Serial,IMEI");
	feed_good(&f, "a,b,SN1,490154203237518");
	assert_int_equal(f.record.anchor_count, 2);
	assert_int_equal(f.record.anchors[0].type, ANCHOR_IDEVID_SERIAL);
	assert_string_equal(f.record.anchors[0].issuer, "acme");
	assert_string_equal(f.record.anchors[0].value, "SN1");
	feed_good(&f, "a,b,SN1,");
	assert_int_equal(f.record.anchor_count, 1);
	end(&f);
	begin(&f, IMPORT_CSV, map, "", ""); /* nobody named an issuer */
	feed_good(&f, "Name,Tenant,Serial,IMEI");
	feed_good(&f, "a,b,SN1,490154203237518");
	assert_int_equal(f.record.anchor_count, 0);
	end(&f);
}

static void
columns_that_nothing_reads_are_told_in_order(void **state)
{
	const char *names[2] = { NULL };
	struct fixture f;

	(void)state;
	begin(&f, IMPORT_CSV, SMALL_MAP "site := {Hall}-{Row}\n", "", "");
	assert_int_equal(import_reader_ignored(f.reader, names, 2), 0);
	feed_good(&f, "Rack,Name,Row,Tenant,IP Address,Hall,Tags");
	feed_good(&f, "1,a,r,b,x,h,z");
	assert_string_equal(f.record.asset.site, "h-r");
	assert_int_equal(import_reader_ignored(f.reader, names, 2), 3);
	assert_string_equal(names[0], "Rack");
	assert_string_equal(names[1], "IP Address");
	end(&f);
}

static void
a_column_that_is_read_stands_there_once(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, IMPORT_CSV, SMALL_MAP, "", "");
	assert_int_equal(feed(&f, "Name,Tenant,na-me"), -1);
	assert_non_null(strstr(f.e.text, "occurs twice"));
	end(&f);
	begin(&f, IMPORT_CSV, SMALL_MAP, "", "");
	feed_good(&f, "Name,Tags,Tenant,Tags"); /* nobody reads them */
	feed_good(&f, "a,x,b,y");
	assert_string_equal(f.record.owner, "b");
	end(&f);
}

static void
json_lines_go_by_a_map_too(void **state)
{
	const char *names[4];
	struct fixture f;

	(void)state;
	begin(&f, IMPORT_JSONL, "deviceName = tag\nowner := {$owner}\ntier = tier\nid = source_key\nserialNumber = serial\n",
		"Us", "");
	feed_good(&f, "{\"deviceName\": \"pc-1\", \"id\": 4711, \"tier\": 2, \"serialNumber\": null, \"usageScore\": 1.5}");
	assert_string_equal(f.record.asset.tag, "pc-1");
	assert_string_equal(f.record.asset.source_key, "4711");
	assert_int_equal(f.record.asset.tier, 2);
	assert_string_equal(f.record.asset.serial, "");
	assert_int_equal(import_reader_ignored(f.reader, names, 4), 1);
	assert_string_equal(names[0], "usageScore");
	assert_int_equal(feed(&f, "{\"deviceName\": \"pc-1\", \"id\": {\"value\": 1}}"), -1);
	assert_non_null(strstr(f.e.text, "column id: it must be a text"));
	end(&f);
}

static void
a_line_without_an_owner_says_how_to_give_one(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, IMPORT_CSV, SMALL_MAP "owner := {$owner}\n", "", "");
	feed_good(&f, "Name,Tenant");
	assert_int_equal(feed(&f, "a,"), -1);
	assert_non_null(strstr(f.e.text, "--owner"));
	assert_int_equal(feed(&f, ",b"), -1);
	assert_non_null(strstr(f.e.text, "column tag: it is required"));
	end(&f);
}

static void
mistakes_in_a_map_name_their_line(void **state)
{
	static const struct {
		const char *text, *part;
	} cases[] = { { "Name = tagg\n", "line 1: unknown column \"tagg\" (did you mean \"tag\"?)" },
		{ "# x\n\nName tag\n", "line 3: not \"their column = our column\"" }, { "Name = tag\n", "gives no owner" },
		{ "owner := x\n", "gives no tag" }, { "tag := {}\n", "names no column" }, { "tag := {Name\n", "not closed" },
		{ "tag := {$who}\n", "{$owner}" }, { "tag :=\n", "nothing is given to tag" },
		{ "state: = deployed\n", "which word" }, { "state: x\n", "wants a \"=\"" }, { "colour: x = y\n", "colour" },
		{ "a{b = tag\n", "no braces" }, { "= tag\n", "names no column" } };
	struct import_map *map = NULL;
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(import_map_new(bytes_of_text(cases[i].text), "", "", &map, &e), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
		if (strstr(e.text, cases[i].part) == NULL)
			fail_msg("%s: %s", cases[i].text, e.text);
		assert_null(map);
	}
}

static void
a_name_with_signs_is_put_in_quotes(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, IMPORT_CSV, "\"a=b:c\" = tag\n\"d: e\" = owner\n", "", "");
	feed_good(&f, "abc,de");
	feed_good(&f, "x,y");
	assert_string_equal(f.record.asset.tag, "x");
	assert_string_equal(f.record.owner, "y");
	end(&f);
}

static void
a_map_has_its_limits(void **state)
{
	char *text = malloc(IMPORT_MAP_TEXT_MAX + 2);
	struct import_map *map = NULL;
	struct err e;
	size_t i;

	(void)state;
	assert_non_null(text);
	memset(text, '\n', IMPORT_MAP_TEXT_MAX + 1);
	text[IMPORT_MAP_TEXT_MAX + 1] = '\0';
	assert_int_equal(import_map_new(bytes_of_text(text), "", "", &map, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	for (i = 0, text[0] = '\0'; i < IMPORT_MAP_LINES_MAX + 1; i++)
		memcpy(text + i * 8, "a = tag\n", 9);
	assert_int_equal(import_map_new(bytes_of_text(text), "", "", &map, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	free(text);
}

/* Every map that comes with the gateway is well formed, and every word in it is one of ours. */
static void
the_maps_that_come_along_hold(void **state)
{
	static const char *const headers[] = { "Serial number,Ownership", "Asset tag,Status", "Asset tag,Status" };
	static const char *const names[] = { "intune", "netbox", "servicenow" };
	static const char *const words[][12] = { { "Corporate", "company", "Personal", "unknown" },
		{ "Active", "Planned", "Staged", "Inventory", "Offline", "Failed", "Decommissioning" },
		{ "Installed", "In use", "On order", "In transit", "In stock", "Pending install", "In maintenance",
			"Pending repair", "Retired", "Stolen", "Absent" } };
	struct fixture f;
	char line[64];
	size_t i, k;

	(void)state;
	for (i = 0; i < 3; i++) {
		assert_non_null(strstr(import_map_builtins(), names[i]));
		begin(&f, IMPORT_CSV, import_map_builtin(names[i]), "Us", "acme");
		feed_good(&f, headers[i]);
		for (k = 0; words[i][k] != NULL; k++) {
			(void)snprintf(line, sizeof line, "x,%s", words[i][k]);
			feed_good(&f, line);
			assert_true(f.have);
		}
		assert_int_equal(feed(&f, "x,7"), -1);
		end(&f);
	}
	assert_null(import_map_builtin("netbo"));
}

static void
bare_fields_are_read_for_other_tables(void **state)
{
	struct import_reader *reader;
	bool have;
	size_t count;
	struct err e;

	(void)state;
	assert_int_equal(import_reader_new(IMPORT_CSV, "test", &reader, &e), 0);
	assert_int_equal(import_reader_fields(reader, bytes_of_text("\xef\xbb\xbf" "a,\"b\r"), &have, &count, &e), 0);
	assert_false(have);
	assert_int_equal(import_reader_fields(reader, bytes_of_text("c\"\r"), &have, &count, &e), 0);
	assert_true(have);
	assert_int_equal(count, 2);
	assert_true(bytes_equal_text(import_reader_field(reader, 0), "a"));
	assert_int_equal(import_reader_field(reader, 2).len, 0);
	assert_int_equal(import_reader_fields(reader, bytes_of_text("a\"b"), &have, &count, &e), -1);
	assert_non_null(strstr(e.text, "line 3"));
	import_reader_free(reader);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_are_compared_by_letters_and_digits),
		cmocka_unit_test(the_first_statement_that_gives_a_text_counts),
		cmocka_unit_test(words_are_translated_whatever_their_case),
		cmocka_unit_test(a_star_is_any_other_word),
		cmocka_unit_test(anchors_are_made_of_columns_and_left_out_when_one_is_empty),
		cmocka_unit_test(columns_that_nothing_reads_are_told_in_order),
		cmocka_unit_test(a_column_that_is_read_stands_there_once),
		cmocka_unit_test(json_lines_go_by_a_map_too),
		cmocka_unit_test(a_line_without_an_owner_says_how_to_give_one),
		cmocka_unit_test(mistakes_in_a_map_name_their_line),
		cmocka_unit_test(a_name_with_signs_is_put_in_quotes),
		cmocka_unit_test(a_map_has_its_limits),
		cmocka_unit_test(the_maps_that_come_along_hold),
		cmocka_unit_test(bare_fields_are_read_for_other_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
