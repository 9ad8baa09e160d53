/*
 * What decides, as text: for the record of a policy version. The same settings
 * give the same text; what is empty, zero or false is left out, and so is
 * every path, since keys and certificates do not decide.
 */
#include <inttypes.h>
#include <string.h>

#include "base/jsontext.h"
#include "gateway/core/config_table.h"

static const enum config_section_id deciding[] = { SECTION_REGISTRY, SECTION_POLICY, SECTION_TRUST, SECTION_IDENTITY,
	SECTION_ATTESTERS, SECTION_PROFILES, SECTION_LABELS, SECTION_RULES };

static bool
is_zero(const void *at, size_t size)
{
	const unsigned char *octets = at;
	size_t i;

	for (i = 0; i < size; i++)
		if (octets[i] != 0)
			return false;
	return true;
}

static void
put_key_rule(struct buf *out, const struct key_rule *rule)
{
	static const char *const names[] = { [KEY_OTHER] = "?", [KEY_RSA] = "RSA:", [KEY_EC_P256] = "EC:P-256",
		[KEY_EC_P384] = "EC:P-384", [KEY_EC_P521] = "EC:P-521", [KEY_ED25519] = "Ed25519" };

	buf_printf(out, "\"%s", names[rule->kind]);
	if (rule->kind == KEY_RSA)
		buf_printf(out, rule->bits_min == rule->bits_max ? "%d" : "%d-%d", rule->bits_min, rule->bits_max);
	buf_append_u8(out, '"');
}

static void
put_bits(struct buf *out, const struct config_row *row, unsigned bits)
{
	const char *name;
	bool first = true;
	int i;

	buf_append_text(out, "[");
	for (i = 0; i < 32; i++) {
		if ((bits & 1u << i) == 0)
			continue;
		name = row->type == TYPE_FLAGS ? config_choice(row, i) : NULL;
		buf_append_text(out, first ? " " : ", ");
		if (name != NULL)
			json_put_text(out, name);
		else
			buf_printf(out, "%d", i);
		first = false;
	}
	buf_append_text(out, " ]");
}

static void
put_number(struct buf *out, const struct config_row *row, const void *at)
{
	int64_t value;
	int small;

	if (row->type == TYPE_LONG || row->type == TYPE_DURATION)
		memcpy(&value, at, sizeof value);
	else {
		memcpy(&small, at, sizeof small);
		value = small;
	}
	buf_printf(out, "%" PRId64, value);
}

/* One value of a row that holds one, or one item of a list. */
static void
put_value(struct buf *out, const struct config_row *row, const void *at)
{
	struct key_rule rule;
	int choice;

	switch (row->type) {
	case TYPE_BOOL:
		buf_append_text(out, "true");
		return;
	case TYPE_SWITCH:
		json_put_text(out, row->choices[1]);
		return;
	case TYPE_INT:
	case TYPE_LONG:
	case TYPE_SIZE:
	case TYPE_KIB:
	case TYPE_DURATION:
	case TYPE_MODE:
		put_number(out, row, at);
		return;
	case TYPE_CHOICE:
	case TYPE_FIELD:
	case TYPE_ANCHOR:
		memcpy(&choice, at, sizeof choice);
		json_put_text(out, config_choice(row, choice));
		return;
	case TYPE_KEY_RULE:
	case TYPE_KEY_RULES:
		memcpy(&rule, at, sizeof rule);
		put_key_rule(out, &rule);
		return;
	case TYPE_TEXT:
	case TYPE_NAME:
	case TYPE_LABEL:
	case TYPE_WORD:
	case TYPE_TEXTS:
	case TYPE_NAMES:
	case TYPE_EKUS:
		json_put_text(out, at);
		return;
	case TYPE_PATH:
	case TYPE_KEY:
	case TYPE_SECRET:
	case TYPE_PATHS:
	case TYPE_KEYS:
	case TYPE_FLAGS:
	case TYPE_KEY_USAGE:
	case TYPE_ALGORITHMS:
	case TYPE_NUMBERS:
		return; /* see put_row() */
	}
}

static void
put_list(struct buf *out, const struct config_row *row, const char *base)
{
	size_t count, i;
	unsigned bits;

	if (row->count_offset == 0) {
		memcpy(&bits, base + row->offset, sizeof bits);
		put_bits(out, row, bits);
		return;
	}
	memcpy(&count, base + row->count_offset, sizeof count);
	buf_append_text(out, "[");
	for (i = 0; i < count; i++) {
		buf_append_text(out, i == 0 ? " " : ", ");
		put_value(out, row, base + row->offset + i * row->size);
	}
	buf_append_text(out, " ]");
}

/* A choice is never left out: its first one is a decision too. */
static bool
says_nothing(const struct config_row *row, const char *base)
{
	size_t count;

	if (row->type == TYPE_CHOICE || row->type == TYPE_FIELD || row->type == TYPE_ANCHOR || row->type == TYPE_LABEL)
		return false;
	if (!config_type_is_list(row->type) || row->count_offset == 0)
		return is_zero(base + row->offset, row->size);
	memcpy(&count, base + row->count_offset, sizeof count);
	return count == 0;
}

static void
put_row(struct buf *out, const struct config_row *row, const char *base, const char *indent)
{
	if (row->type == TYPE_PATH || row->type == TYPE_PATHS || row->type == TYPE_KEY || row->type == TYPE_KEYS ||
		row->type == TYPE_SECRET || says_nothing(row, base))
		return;
	buf_printf(out, "%s%s = ", indent, row->key);
	if (config_type_is_list(row->type))
		put_list(out, row, base);
	else
		put_value(out, row, base + row->offset);
	buf_append_text(out, ";\n");
}

static void
put_section(struct buf *out, const struct config *config, const struct config_section *section)
{
	const char *base = (const char *)config;
	size_t count = 1, i, n;

	if (section->entry_size != 0) {
		memcpy(&base, (const char *)config + section->array_offset, sizeof base);
		memcpy(&count, (const char *)config + section->count_offset, sizeof count);
	}
	buf_printf(out, section->entry_size == 0 ? "%s = {\n" : "%s = (\n", section->name);
	for (i = 0; i < count; i++) {
		if (section->entry_size != 0)
			buf_append_text(out, "\t{\n");
		for (n = 0; n < section->row_count; n++)
			put_row(out, &section->rows[n], base + i * section->entry_size, section->entry_size == 0 ? "\t" : "\t\t");
		if (section->entry_size != 0)
			buf_append_text(out, i + 1 == count ? "\t}\n" : "\t},\n");
	}
	buf_append_text(out, section->entry_size == 0 ? "};\n" : ");\n");
}

/* A certificate of any CA of a group proves as much as one of the label's own; nothing else of CAs decides. */
static void
put_groups(struct buf *out, const struct config *config)
{
	bool any = false;
	size_t i;

	for (i = 0; i < config->ca_count; i++) {
		if (config->cas[i].group[0] == '\0')
			continue;
		buf_append_text(out, any ? ",\n\t{\n\t\tname = " : "cas = (\n\t{\n\t\tname = ");
		json_put_text(out, config->cas[i].name);
		buf_append_text(out, ";\n\t\tgroup = ");
		json_put_text(out, config->cas[i].group);
		buf_append_text(out, ";\n\t}");
		any = true;
	}
	if (any)
		buf_append_text(out, "\n);\n");
}

void
config_policy_text(const struct config *config, struct buf *out)
{
	size_t i;

	for (i = 0; i < sizeof deciding / sizeof deciding[0]; i++)
		put_section(out, config, &config_sections[deciding[i]]);
	put_groups(out, config);
}
