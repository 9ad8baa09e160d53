#include "policy/import_record.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "policy/identity.h"

#define TIER_MAX    3
#define SUGGEST_MAX 2 /* a name this many edits away is worth suggesting */
#define SHORT_MAX   32 /* longer than any name of a column, state, ... */

/* Fields an operator writes prose in: a newline from a spreadsheet cell becomes a space there. */
static const struct column {
	const char *name;
	bool prose;
} columns[IMPORT_COLUMN_KINDS] = {
	[COLUMN_TAG] = { "tag", false },
	[COLUMN_OWNER] = { "owner", false },
	[COLUMN_MANUFACTURER] = { "manufacturer", true },
	[COLUMN_MODEL] = { "model", true },
	[COLUMN_SERIAL] = { "serial", false },
	[COLUMN_CLASS] = { "class", true },
	[COLUMN_STATE] = { "state", false },
	[COLUMN_HOLDING] = { "holding", false },
	[COLUMN_TIER] = { "tier", false },
	[COLUMN_SITE] = { "site", true },
	[COLUMN_HOSTNAME] = { "hostname", false },
	[COLUMN_SOURCE] = { "source", false },
	[COLUMN_SOURCE_KEY] = { "source_key", false },
	[COLUMN_ANCHOR] = { "anchor", false },
};

const char *
import_column_name(enum import_column column)
{
	return columns[column].name;
}

static size_t
min3(size_t a, size_t b, size_t c)
{
	if (b < a)
		a = b;
	return c < a ? c : a;
}

/* Levenshtein's distance of two short names. */
static size_t
distance(struct bytes a, struct bytes b)
{
	size_t row[SHORT_MAX + 1], i, k;

	for (k = 0; k <= b.len; k++)
		row[k] = k;
	for (i = 0; i < a.len; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (k = 0; k < b.len; k++) {
			size_t replaced = diagonal + ((a.at[i] | 0x20) != (b.at[k] | 0x20));

			diagonal = row[k + 1];
			row[k + 1] = min3(replaced, row[k] + 1, diagonal + 1);
		}
	}
	return row[b.len];
}

static const char *
nearest(struct bytes name)
{
	const char *best = NULL;
	size_t best_distance = SUGGEST_MAX + 1, i;

	if (name.len > SHORT_MAX)
		return NULL;
	for (i = 0; i < IMPORT_COLUMN_KINDS; i++) {
		size_t d = distance(name, bytes_of_text(columns[i].name));

		if (d < best_distance) {
			best = columns[i].name;
			best_distance = d;
		}
	}
	return best;
}

int
import_column_of(struct bytes name, enum import_column *out, struct err *e)
{
	char shown[IMPORT_SHOWN_MAX];
	const char *suggestion;
	size_t i;

	for (i = 0; i < IMPORT_COLUMN_KINDS; i++)
		if (bytes_equal_text(name, columns[i].name)) {
			*out = (enum import_column)i;
			return 0;
		}
	text_escape(shown, sizeof shown, name);
	suggestion = nearest(name);
	if (suggestion == NULL)
		return err_set(e, ERR_MALFORMED, "unknown column \"%s\"", shown);
	return err_set(e, ERR_MALFORMED, "unknown column \"%s\" (did you mean \"%s\"?)", shown, suggestion);
}

static bool
is_space(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static struct bytes
trim(struct bytes value)
{
	while (value.len > 0 && is_space(value.at[0])) {
		value.at++;
		value.len--;
	}
	while (value.len > 0 && is_space(value.at[value.len - 1]))
		value.len--;
	return value;
}

static int
set_text(char *out, enum import_column column, struct bytes value, struct err *e)
{
	char prose[REG_TEXT_MAX];
	size_t i;

	value = trim(value);
	if (value.len < sizeof prose && columns[column].prose) {
		for (i = 0; i < value.len; i++)
			prose[i] = value.at[i] == '\n' || value.at[i] == '\r' ? ' ' : (char)value.at[i];
		value = trim(bytes_of(prose, value.len));
	}
	return text_copy(out, REG_TEXT_MAX, value, "the text", e);
}

static int
set_tag(struct asset *asset, struct bytes value, struct err *e)
{
	if (is_space(value.at[0]) || is_space(value.at[value.len - 1]))
		return err_set(e, ERR_MALFORMED, "there is white space at its ends");
	if (memchr(value.at, '/', value.len) != NULL)
		return err_set(e, ERR_MALFORMED, "a tag has no \"/\"");
	return text_copy(asset->tag, sizeof asset->tag, value, "the text", e);
}

/* A name out of a fixed list; -1 when it is none of them. */
static int
name_of(int (*of)(const char *name), struct bytes value)
{
	char name[SHORT_MAX];

	value = trim(value);
	if (value.len >= sizeof name)
		return -1;
	memcpy(name, value.at, value.len);
	name[value.len] = '\0';
	return memchr(name, '\0', value.len) == NULL ? of(name) : -1;
}

static int
unknown_name(struct bytes value, const char *what, struct err *e)
{
	char shown[IMPORT_SHOWN_MAX];

	text_escape(shown, sizeof shown, value);
	return err_set(e, ERR_MALFORMED, "\"%s\" is not %s", shown, what);
}

static int
set_state(struct import_record *record, struct bytes value, struct err *e)
{
	int state = name_of(asset_state_of, value);

	if (state < 0)
		return unknown_name(value,
			"a state: ordered, shipped, in_stock, staged, deployed, repair, quarantined, "
			"transfer_pending, lost, stolen, decommissioned or disposed", e);
	record->asset.state = (enum asset_state)state;
	record->has_state = true;
	return 0;
}

static int
set_holding(struct import_record *record, struct bytes value, struct err *e)
{
	int holding = name_of(asset_holding_of, value);

	if (holding < 0)
		return unknown_name(value, "corporate, personal or leased", e);
	record->asset.holding = (enum asset_holding)holding;
	return 0;
}

static int
set_tier(struct import_record *record, struct bytes value, struct err *e)
{
	value = trim(value);
	if (value.len != 1 || value.at[0] < '0' || value.at[0] > '0' + TIER_MAX)
		return unknown_name(value, "0-3", e);
	record->asset.tier = value.at[0] - '0';
	return 0;
}

static int
add_anchor(struct import_record *record, const struct anchor *anchor, struct err *e)
{
	size_t i;

	for (i = 0; i < record->anchor_count; i++)
		if (record->anchors[i].type == anchor->type &&
		    strcmp(record->anchors[i].issuer, anchor->issuer) == 0 &&
		    strcmp(record->anchors[i].value, anchor->value) == 0)
			return 0;
	if (record->anchor_count == IMPORT_ANCHORS_MAX)
		return err_set(e, ERR_LIMIT, "more than %d anchors", IMPORT_ANCHORS_MAX);
	record->anchors[record->anchor_count++] = *anchor;
	return 0;
}

/* "type:issuer:value"; the value may hold colons. */
static int
set_anchor(struct import_record *record, struct bytes value, struct err *e)
{
	struct cursor c = cursor_of(trim(value));
	struct bytes type = cursor_until(&c, ':');
	struct bytes issuer = trim(cursor_until(&c, ':'));
	struct bytes rest = trim(cursor_take(&c, cursor_left(&c)));
	struct anchor anchor = { .type = ANCHOR_IDEVID_SERIAL };
	int kind;

	if (c.failed)
		return unknown_name(value, "an anchor like idevid_serial:acme:FDO27361XTF", e);
	kind = name_of(anchor_type_of, type);
	if (kind < 0)
		return unknown_name(type,
			"an anchor type: idevid_serial, hw_module, ek_pub_sha256, spki_sha256, imei or mdm_id", e);
	if (issuer.len == 0)
		return err_set(e, ERR_MALFORMED, "the anchor names no issuer");
	anchor.type = (enum anchor_type)kind;
	if (text_copy(anchor.issuer, sizeof anchor.issuer, issuer, "the issuer", e) != 0 ||
	    text_copy(anchor.value, sizeof anchor.value, rest, "the value", e) != 0 ||
	    anchor_normalise(&anchor, e) != 0)
		return -1;
	return add_anchor(record, &anchor, e);
}

static int
set_column(struct import_record *record, enum import_column column, struct bytes value, struct err *e)
{
	struct asset *asset = &record->asset;

	switch (column) {
	case COLUMN_TAG:
		return set_tag(asset, value, e);
	case COLUMN_OWNER:
		return set_text(record->owner, column, value, e);
	case COLUMN_MANUFACTURER:
		return set_text(asset->manufacturer, column, value, e);
	case COLUMN_MODEL:
		return set_text(asset->model, column, value, e);
	case COLUMN_SERIAL:
		return set_text(asset->serial, column, value, e);
	case COLUMN_CLASS:
		return set_text(asset->class_name, column, value, e);
	case COLUMN_STATE:
		return set_state(record, value, e);
	case COLUMN_HOLDING:
		return set_holding(record, value, e);
	case COLUMN_TIER:
		return set_tier(record, value, e);
	case COLUMN_SITE:
		return set_text(asset->site, column, value, e);
	case COLUMN_HOSTNAME:
		return set_text(asset->hostname, column, value, e);
	case COLUMN_SOURCE:
		return set_text(asset->source, column, value, e);
	case COLUMN_SOURCE_KEY:
		return set_text(asset->source_key, column, value, e);
	case COLUMN_ANCHOR:
		return set_anchor(record, value, e);
	}
	return err_set(e, ERR_BUG, "unknown column");
}

/*
 * Marks that turn the direction of what follows (Unicode, UAX #9) and line
 * separators: on an operator's terminal one asset would look like another. In
 * prose they may be rightful.
 */
static bool
turns_text(struct bytes value)
{
	size_t i;

	for (i = 0; i + 1 < value.len; i++) {
		const uint8_t *c = value.at + i;

		if (c[0] == 0xd8 && c[1] == 0x9c) /* U+061C */
			return true;
		if (i + 2 >= value.len || c[0] != 0xe2)
			continue;
		if (c[1] == 0x80 && (c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xa8 && c[2] <= 0xae)))
			return true; /* U+200E, U+200F, U+2028 to U+202E */
		if (c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9)
			return true; /* U+2066 to U+2069 */
	}
	return false;
}

/* What it clears of "absent". No state, holding or tier is written as an empty text. */
static unsigned
presence(enum import_column column, bool empty)
{
	static const unsigned bits[IMPORT_COLUMN_KINDS] = {
		[COLUMN_MANUFACTURER] = IMPORT_MANUFACTURER,
		[COLUMN_MODEL] = IMPORT_MODEL,
		[COLUMN_SERIAL] = IMPORT_SERIAL,
		[COLUMN_CLASS] = IMPORT_CLASS,
		[COLUMN_SITE] = IMPORT_SITE,
		[COLUMN_HOSTNAME] = IMPORT_HOSTNAME,
		[COLUMN_HOLDING] = IMPORT_HOLDING,
		[COLUMN_TIER] = IMPORT_TIER,
		[COLUMN_SOURCE] = IMPORT_SOURCE,
		[COLUMN_SOURCE_KEY] = IMPORT_SOURCE_KEY,
	};

	return empty && (column == COLUMN_HOLDING || column == COLUMN_TIER) ? 0 : bits[column];
}

int
import_set(struct import_record *record, enum import_column column, struct bytes value, struct err *e)
{
	int result;

	record->absent &= ~presence(column, value.len == 0);
	if (value.len == 0)
		return 0;
	if (!columns[column].prose && turns_text(value))
		result = err_set(e, ERR_MALFORMED, "a mark that changes the direction of text is not allowed");
	else
		result = set_column(record, column, value, e);
	return result == 0 ? 0 : err_prefix(e, "column %s", import_column_name(column));
}

int
import_finish(const struct import_reader *reader, struct import_record *record, struct err *e)
{
	if (record->asset.tag[0] == '\0')
		return err_set(e, ERR_MALFORMED, "column tag: it is required");
	if (record->owner[0] == '\0')
		return err_set(e, ERR_MALFORMED, "column owner: it is required");
	if (!record->has_state)
		record->asset.state = ASSET_STAGED;
	if (record->asset.source[0] == '\0')
		memcpy(record->asset.source, reader->source, sizeof record->asset.source);
	return 0;
}
