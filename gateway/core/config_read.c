#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/core/config_reader.h"

#define KEY_MAX 64       /* longer ones are nobody's misspelling */
#define NEAR_MAX 2       /* edits between a misspelling and what was meant */
#define ENTRIES_MAX RULES_MAX /* of one list section */

static size_t
line_of(const config_setting_t *at)
{
	for (; at != NULL; at = config_setting_parent(at))
		if (config_setting_source_line(at) != 0)
			return config_setting_source_line(at);
	return 0;
}

void
config_report(struct config_reader *r, const config_setting_t *at, const char *fmt, ...)
{
	char text[768];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	config_source_report(r->source, line_of(at), "%s", text);
}

static size_t
least(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Edits (insert, drop, change one character) from a to b. */
static size_t
distance(const char *a, const char *b)
{
	size_t row[KEY_MAX + 1], a_len = strlen(a), b_len = strlen(b), i, j;

	if (a_len > KEY_MAX || b_len > KEY_MAX)
		return KEY_MAX;
	for (j = 0; j <= b_len; j++)
		row[j] = j;
	for (i = 1; i <= a_len; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (j = 1; j <= b_len; j++) {
			size_t above = row[j];

			row[j] = least(above + 1, row[j - 1] + 1, corner + (a[i - 1] == b[j - 1] ? 0 : 1));
			corner = above;
		}
	}
	return row[b_len];
}

static const char *
nearer(const char *name, const char *candidate, const char *best, size_t *best_distance)
{
	size_t d = distance(name, candidate);

	if (d >= *best_distance || d >= strlen(candidate))
		return best;
	*best_distance = d;
	return candidate;
}

static const struct config_row *
row_of(const struct config_section *section, const char *key)
{
	size_t i;

	for (i = 0; i < section->row_count; i++)
		if (strcmp(section->rows[i].key, key) == 0)
			return &section->rows[i];
	return NULL;
}

/* Another section has it under this very name: NULL, or that section. */
static const struct config_section *
home_of(const char *key)
{
	size_t i;

	for (i = 0; i < SECTION_COUNT; i++)
		if (row_of(&config_sections[i], key) != NULL)
			return &config_sections[i];
	return NULL;
}

/* section is NULL for the file's own level. */
static void
unknown(struct config_reader *r, const struct config_section *section, const config_setting_t *s)
{
	const char *name = config_setting_name(s), *best = NULL;
	const struct config_section *home = home_of(name);
	size_t near = NEAR_MAX + 1, i;

	for (i = 0; section != NULL && i < section->row_count; i++)
		best = nearer(name, section->rows[i].key, best, &near);
	for (i = 0; section == NULL && i < SECTION_COUNT; i++)
		best = nearer(name, config_sections[i].name, best, &near);
	if (best != NULL)
		config_report(r, s, "unknown setting \"%.64s\" (did you mean \"%s\"?)", name, best);
	else if (home != NULL)
		config_report(r, s, "unknown setting \"%.64s\" here: it belongs in \"%s\"", name, home->name);
	else
		config_report(r, s, "unknown setting \"%.64s\"", name);
}

/* "limits.body", or `labels "factory": auth`. */
static void
where_text(const struct config_section *section, const config_setting_t *group, const char *key,
	char out[CONFIG_WHERE_MAX])
{
	const config_setting_t *name = section->entry_size == 0 || group == NULL ? NULL :
		config_setting_get_member(group, section->rows[0].key);

	if (section->entry_size == 0)
		(void)snprintf(out, CONFIG_WHERE_MAX, "%s.%s", section->name, key);
	else if (name != NULL && config_setting_type(name) == CONFIG_TYPE_STRING)
		(void)snprintf(out, CONFIG_WHERE_MAX, "%s \"%.64s\": %s", section->name,
			config_setting_get_string(name), key);
	else
		(void)snprintf(out, CONFIG_WHERE_MAX, "%s: %s", section->name, key);
}

/* The defaults of a section's rows, parsed as if they stood in the file. */
static bool
parse_defaults(const struct config_section *section, config_t *out)
{
	CLEANUP(buf) struct buf text = { 0 };
	size_t i;

	for (i = 0; i < section->row_count; i++)
		if (section->rows[i].fallback != NULL)
			buf_printf(&text, "%s = %s;\n", section->rows[i].key, section->rows[i].fallback);
	return !buf_failed(&text) && config_read_string(out, buf_text(&text)) == CONFIG_TRUE;
}

static void
fill_row(struct config_reader *r, const struct config_section *section, const struct config_row *row,
	const config_setting_t *group, const config_setting_t *defaults, void *base)
{
	const config_setting_t *fallback = config_setting_get_member(defaults, row->key);
	const config_setting_t *s = group == NULL ? NULL : config_setting_get_member(group, row->key);
	char where[CONFIG_WHERE_MAX];

	where_text(section, group, row->key, where);
	/* The default first: a value that cannot be read is one mistake, not two. */
	if (fallback != NULL)
		config_value_put(r, row, where, fallback, base);
	if (s != NULL)
		config_value_put(r, row, where, s, base);
	else if (fallback == NULL)
		config_report(r, group, "%s is missing: it has no default", where);
}

/* group is NULL when the file has none: all defaults. */
static void
fill_group(struct config_reader *r, const struct config_section *section, const config_setting_t *group,
	const config_setting_t *defaults, void *base)
{
	size_t i;
	int n, length = group == NULL ? 0 : config_setting_length(group);

	for (i = 0; i < section->row_count; i++)
		fill_row(r, section, &section->rows[i], group, defaults, base);
	for (n = 0; n < length; n++) {
		const config_setting_t *s = config_setting_get_elem(group, (unsigned)n);

		if (row_of(section, config_setting_name(s)) == NULL)
			unknown(r, section, s);
	}
}

/* Entries that are no groups are reported and left out. */
static void
fill_list(struct config_reader *r, enum config_section_id id, const config_setting_t *list,
	const config_setting_t *defaults)
{
	const struct config_section *section = &config_sections[id];
	size_t length = list == NULL ? 0 : (size_t)config_setting_length(list), count = 0, i;
	char *array;

	if (length > ENTRIES_MAX) {
		config_report(r, list, "%s holds %zu; at most %d are allowed", section->name, length, ENTRIES_MAX);
		length = ENTRIES_MAX;
	}
	array = calloc(length + 1, section->entry_size);
	r->entries[id] = calloc(length + 1, sizeof *r->entries[id]);
	memcpy((char *)r->config + section->array_offset, &array, sizeof array);
	for (i = 0; array != NULL && r->entries[id] != NULL && i < length; i++) {
		const config_setting_t *s = config_setting_get_elem(list, (unsigned)i);

		if (config_setting_type(s) != CONFIG_TYPE_GROUP) {
			config_report(r, list, "%s wants groups in braces, one for each", section->name);
			continue;
		}
		r->entries[id][count] = s;
		fill_group(r, section, s, defaults, array + count * section->entry_size);
		count++;
	}
	if (array == NULL || r->entries[id] == NULL)
		config_report(r, NULL, "no memory");
	memcpy((char *)r->config + section->count_offset, &count, sizeof count);
}

static void
fill_section(struct config_reader *r, enum config_section_id id)
{
	const struct config_section *section = &config_sections[id];
	const config_setting_t *s =
		config_setting_get_member(config_root_setting(&r->tree), section->name);
	config_t defaults;

	if (s != NULL && section->entry_size == 0 && config_setting_type(s) != CONFIG_TYPE_GROUP) {
		config_report(r, s, "%s wants a group: %s = { ... };", section->name, section->name);
		s = NULL;
	} else if (s != NULL && section->entry_size != 0 && config_setting_type(s) != CONFIG_TYPE_LIST) {
		config_report(r, s, "%s wants a list of groups: %s = ( { ... }, { ... } );", section->name,
			section->name);
		s = NULL;
	}
	r->groups[id] = s;
	config_init(&defaults);
	if (!parse_defaults(section, &defaults))
		config_report(r, NULL, "the defaults of %s cannot be read", section->name);
	else if (section->entry_size == 0)
		fill_group(r, section, s, config_root_setting(&defaults), r->config);
	else
		fill_list(r, id, s, config_root_setting(&defaults));
	config_destroy(&defaults);
}

void
config_fill(struct config_reader *r)
{
	const config_setting_t *root = config_root_setting(&r->tree);
	int n, length = config_setting_length(root);
	size_t id, known;

	for (id = 0; id < SECTION_COUNT; id++)
		fill_section(r, (enum config_section_id)id);
	for (n = 0; n < length; n++) {
		const config_setting_t *s = config_setting_get_elem(root, (unsigned)n);

		for (known = 0; known < SECTION_COUNT; known++)
			if (strcmp(config_sections[known].name, config_setting_name(s)) == 0)
				break;
		if (known == SECTION_COUNT)
			unknown(r, NULL, s);
	}
}

void
config_complain(struct config_reader *r, enum config_section_id section, size_t index, const char *key,
	const char *fmt, ...)
{
	const config_setting_t *group =
		config_sections[section].entry_size == 0 ? r->groups[section] : r->entries[section][index];
	const config_setting_t *at = group == NULL ? NULL : config_setting_get_member(group, key);
	char where[CONFIG_WHERE_MAX], text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	where_text(&config_sections[section], group, key, where);
	config_report(r, at == NULL ? group : at, "%s: %s", where, text);
}
