#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/text.h"
#include "policy/import_mapped.h"

DEFINE_CLEANUP(json, json_t *, json_decref);

static int
wrong_type(enum import_column column, const char *wanted, struct err *e)
{
	return err_set(e, ERR_MALFORMED, "column %s: it must be %s", import_column_name(column), wanted);
}

static int
set_string(struct import_record *record, enum import_column column, const json_t *value, const char *wanted,
	struct err *e)
{
	if (!json_is_string(value))
		return wrong_type(column, wanted, e);
	return import_set(record, column, bytes_of(json_string_value(value), json_string_length(value)), e);
}

static int
set_tier(struct import_record *record, const json_t *value, struct err *e)
{
	json_int_t tier = json_integer_value(value);
	uint8_t digit;

	if (!json_is_integer(value))
		return wrong_type(COLUMN_TIER, "a whole number", e);
	if (tier < 0 || tier > 9)
		return err_set(e, ERR_MALFORMED, "column tier: \"%lld\" is not 0-3", (long long)tier);
	digit = (uint8_t)('0' + tier);
	return import_set(record, COLUMN_TIER, bytes_of(&digit, 1), e);
}

static int
set_anchors(struct import_record *record, const json_t *value, struct err *e)
{
	size_t i;

	if (!json_is_array(value))
		return set_string(record, COLUMN_ANCHOR, value, "a text or an array of texts", e);
	for (i = 0; i < json_array_size(value); i++)
		if (set_string(record, COLUMN_ANCHOR, json_array_get(value, i), "an array of texts", e) != 0)
			return -1;
	return 0;
}

static int
set_member(struct import_record *record, const char *key, const json_t *value, struct err *e)
{
	enum import_column column;

	if (import_column_of(bytes_of_text(key), &column, e) != 0)
		return -1;
	if (json_is_null(value))
		return 0;
	if (column == COLUMN_TIER)
		return set_tier(record, value, e);
	if (column == COLUMN_ANCHOR)
		return set_anchors(record, value, e);
	return set_string(record, column, value, "a text", e);
}

static int
parse(struct bytes line, json_t **out, struct err *e)
{
	char why[80];
	json_error_t error;
	json_t *object = json_loadb((const char *)line.at, line.len, JSON_REJECT_DUPLICATES, &error);

	if (object == NULL) {
		text_escape(why, sizeof why, bytes_of_text(error.text));
		return err_set(e, ERR_MALFORMED, "not JSON at character %d: %s", error.position, why);
	}
	if (!json_is_object(object)) {
		json_decref(object);
		return err_set(e, ERR_MALFORMED, "not a JSON object");
	}
	*out = object;
	return 0;
}

#define NUMBER_MAX 24
#define NUMBERS_MAX 64

/* An object as fields; numbers and truth values as text, which lives here. */
struct members {
	json_t *object;
	char numbers[NUMBERS_MAX][NUMBER_MAX];
	size_t number_count;
	const char *nested; /* the first column that the map reads and that holds no single value; NULL: none */
};

static struct bytes
member_text(void *arg, const char *folded)
{
	struct members *m = arg;
	char name[MAP_NAME_MAX];
	void *at;

	for (at = json_object_iter(m->object); at != NULL; at = json_object_iter_next(m->object, at)) {
		const json_t *value = json_object_iter_value(at);

		import_map_fold(bytes_of_text(json_object_iter_key(at)), name);
		if (strcmp(name, folded) != 0 || json_is_null(value))
			continue;
		if (json_is_string(value))
			return bytes_of(json_string_value(value), json_string_length(value));
		if (json_is_boolean(value))
			return bytes_of_text(json_is_true(value) ? "true" : "false");
		if (!json_is_integer(value) || m->number_count == NUMBERS_MAX) {
			m->nested = json_object_iter_key(at);
			continue;
		}
		(void)snprintf(m->numbers[m->number_count], NUMBER_MAX, "%" JSON_INTEGER_FORMAT,
			json_integer_value(value));
		return bytes_of_text(m->numbers[m->number_count++]);
	}
	return bytes_of(NULL, 0);
}

static int
set_mapped(struct import_reader *reader, json_t *object, struct import_record *record, struct err *e)
{
	struct members members = { .object = object };
	struct map_fields fields = { member_text, &members };
	void *at;

	for (at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at))
		if (import_seen_column(reader, bytes_of_text(json_object_iter_key(at)), e) < 0)
			return -1;
	if (import_map_apply(reader->map, &fields, record, e) != 0)
		return -1;
	if (members.nested == NULL)
		return 0;
	return err_set(e, ERR_MALFORMED, "column %.60s: it must be a text, a whole number, or true or false", members.nested);
}

static int
set_ours(json_t *object, struct import_record *record, struct err *e)
{
	void *at;

	for (at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at))
		if (set_member(record, json_object_iter_key(at), json_object_iter_value(at), e) != 0)
			return -1;
	return 0;
}

int
import_json_feed(struct import_reader *reader, struct bytes line, struct import_record *out, bool *have,
	struct err *e)
{
	struct import_record record = { .line = reader->line, .absent = IMPORT_OPTIONAL };
	CLEANUP(json) json_t *object = NULL;

	*have = false;
	reader->record_line = reader->line;
	while (line.len > 0 && (line.at[line.len - 1] == ' ' || line.at[line.len - 1] == '\t'))
		line.len--;
	if (line.len == 0)
		return 0;
	if (parse(line, &object, e) != 0)
		return -1;
	if ((reader->map != NULL ? set_mapped(reader, object, &record, e) : set_ours(object, &record, e)) != 0)
		return -1;
	if (import_finish(reader, &record, e) != 0)
		return -1;
	*out = record;
	*have = true;
	return 0;
}
