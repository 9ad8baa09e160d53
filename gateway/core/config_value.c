#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "gateway/core/config_reader.h"
#include "gateway/outbound/secret.h"

/* Reads one text into its field, or into one item of a list. */
typedef int (*text_reader)(const struct config_reader *r, const struct config_row *row, void *to, const char *text,
	struct err *e);

static int
read_text(const struct config_reader *r, const struct config_row *row, void *to, const char *text, struct err *e)
{
	(void)r;
	return text_copy(to, row->size, bytes_of_text(text), "the text", e);
}

static int
read_name(const struct config_reader *r, const struct config_row *row, void *to, const char *text, struct err *e)
{
	if (text[0] == '\0' && row->type == TYPE_LABEL)
		return read_text(r, row, to, text, e);
	if (!text_is_name(text))
		return err_set(e, ERR_MALFORMED,
			"\"%.60s\" is not a name: 1 to 64 of letters, digits, \".\", \"_\" and \"-\"", text);
	return read_text(r, row, to, text, e);
}

/* path: where it begins in the text. */
static int
put_path(const struct config_reader *r, const struct config_row *row, char *to, const char *text, const char *path,
	struct err *e)
{
	bool relative = path[0] != '/' && path[0] != '\0';
	/* A folder like "site:1" must not look like a scheme to whoever reads the result. */
	bool odd = relative && r->folder[0] != '/' && strchr(r->folder, ':') != NULL;
	int n = snprintf(to, row->size, "%.*s%s%s%s%s", (int)(path - text), text, odd ? "./" : "", relative ? r->folder : "",
		relative ? "/" : "", path);

	if (!text_is_clean(bytes_of_text(text))) {
		to[0] = '\0';
		return err_set(e, ERR_MALFORMED, "the path is not UTF-8 or holds control characters");
	}
	if (n >= 0 && (size_t)n < row->size)
		return 0;
	to[0] = '\0';
	return err_set(e, ERR_LIMIT, "the path is too long: at most %zu octets", row->size - 1);
}

static int
read_path(const struct config_reader *r, const struct config_row *row, void *to, const char *text, struct err *e)
{
	return put_path(r, row, to, text, text, e);
}

/* What names no file by its path stays as it is. */
static int
read_secret(const struct config_reader *r, const struct config_row *row, void *to, const char *text, struct err *e)
{
	const char *path = secret_path_of(text);

	return path == NULL ? read_text(r, row, to, text, e) : put_path(r, row, to, text, path, e);
}

static int
read_key(const struct config_reader *r, const struct config_row *row, void *to, const char *text, struct err *e)
{
	return strncasecmp(text, "pkcs11:", 7) == 0 ? read_text(r, row, to, text, e) : read_secret(r, row, to, text, e);
}

static int
read_mode(const struct config_reader *r, const struct config_row *row, void *to, const char *text, struct err *e)
{
	size_t digits = strspn(text, "01234567");
	long mode = digits >= 3 && digits <= 4 && text[digits] == '\0' ? strtol(text, NULL, 8) : -1;
	int value = (int)mode;

	(void)r;
	if (mode < 0)
		return err_set(e, ERR_MALFORMED, "\"%.20s\" is not octal permissions like \"0660\"", text);
	if ((mode & ~row->max) != 0)
		return err_set(e, ERR_DENIED, "\"%s\" lets everybody in; at most \"0%o\"", text, (unsigned)row->max);
	memcpy(to, &value, sizeof value);
	return 0;
}

/* What the choices of TYPE_ALGORITHMS stand for, in the order of config_table.c's scep_allow_choices. */
static const unsigned algorithms[] = { SCEP_SHA1, SCEP_3DES };

static int
choice_of(const struct config_row *row, const char *text)
{
	const char *name;
	int i;

	for (i = 0; (name = config_choice(row, i)) != NULL; i++)
		if (strcmp(name, text) == 0)
			return i;
	return -1;
}

static int
read_choice(const struct config_reader *r, const struct config_row *row, void *to, const char *text, struct err *e)
{
	int choice = choice_of(row, text);
	char list[ERR_TEXT_MAX] = "";
	const char *name;
	unsigned bits;
	bool second;
	int i;

	if (choice < 0) {
		for (i = 0; (name = config_choice(row, i)) != NULL; i++)
			(void)snprintf(list + strlen(list), sizeof list - strlen(list), "%s\"%s\"",
				i == 0 ? "" : ", ", name);
		return err_set(e, ERR_MALFORMED, "\"%.40s\" is none of %s", text, list);
	}
	if (row->type == TYPE_WORD)
		return read_text(r, row, to, text, e);
	if (row->type == TYPE_SWITCH) {
		second = choice == 1;
		memcpy(to, &second, sizeof second);
	} else if (row->type == TYPE_FLAGS || row->type == TYPE_ALGORITHMS) {
		memcpy(&bits, to, sizeof bits);
		bits |= row->type == TYPE_FLAGS ? 1u << choice : algorithms[choice];
		memcpy(to, &bits, sizeof bits);
	} else
		memcpy(to, &choice, sizeof choice);
	return 0;
}

static int
read_key_rule(const struct config_reader *r, const struct config_row *row, void *to, const char *text, struct err *e)
{
	struct key_rule rule = { 0 };

	(void)r;
	(void)row;
	if (key_rule_parse(text, &rule, e) != 0)
		return -1;
	memcpy(to, &rule, sizeof rule);
	return 0;
}

static int
read_key_usage(const struct config_reader *r, const struct config_row *row, void *to, const char *text, struct err *e)
{
	unsigned usage = key_usage_of(text), bits;

	(void)r;
	(void)row;
	if (usage == 0)
		return err_set(e, ERR_MALFORMED, "\"%.40s\" is not a key usage a device may have", text);
	memcpy(&bits, to, sizeof bits);
	bits |= usage;
	memcpy(to, &bits, sizeof bits);
	return 0;
}

static int
read_eku(const struct config_reader *r, const struct config_row *row, void *to, const char *text, struct err *e)
{
	const char *oid = extended_key_usage_oid(text);

	if (strcmp(text, "anyExtendedKeyUsage") == 0 || strcmp(text, "2.5.29.37.0") == 0)
		return err_set(e, ERR_DENIED,
			"anyExtendedKeyUsage is never issued: it turns a device into anything; name the usages");
	if (oid == NULL)
		return err_set(e, ERR_MALFORMED,
			"\"%.60s\" is not an extended key usage; write its object identifier", text);
	return read_text(r, row, to, oid, e);
}

#define TAKES_TEXT 1u
#define TAKES_NUMBER 2u
#define TAKES_BOOL 4u

static const struct kind {
	const char *wants; /* NULL: one of the row's choices */
	unsigned takes;
	text_reader read;  /* NULL for numbers and booleans */
} kinds[] = {
	[TYPE_TEXT] = { "a text", TAKES_TEXT, read_text },
	[TYPE_NAME] = { "a name", TAKES_TEXT, read_name },
	[TYPE_LABEL] = { "a name", TAKES_TEXT, read_name },
	[TYPE_PATH] = { "a path", TAKES_TEXT, read_path },
	[TYPE_KEY] = { "a private key's path or URI", TAKES_TEXT, read_key },
	[TYPE_SECRET] = { "a secret's path or URI", TAKES_TEXT, read_secret },
	[TYPE_MODE] = { "permissions as a text like \"0660\"", TAKES_TEXT, read_mode },
	[TYPE_BOOL] = { "true or false", TAKES_BOOL, NULL },
	[TYPE_INT] = { "an integer", TAKES_NUMBER, NULL },
	[TYPE_LONG] = { "an integer", TAKES_NUMBER, NULL },
	[TYPE_SIZE] = { "an integer or a size like \"64k\"", TAKES_NUMBER | TAKES_TEXT, NULL },
	[TYPE_KIB] = { "an integer or a size like \"8M\"", TAKES_NUMBER | TAKES_TEXT, NULL },
	[TYPE_DURATION] = { "a duration like \"90d\", \"12h\" or \"30s\"", TAKES_NUMBER | TAKES_TEXT, NULL },
	[TYPE_WORD] = { NULL, TAKES_TEXT, read_choice },
	[TYPE_CHOICE] = { NULL, TAKES_TEXT, read_choice },
	[TYPE_SWITCH] = { NULL, TAKES_TEXT, read_choice },
	[TYPE_KEY_RULE] = { "a key like \"EC:P-256\"", TAKES_TEXT, read_key_rule },
	[TYPE_FIELD] = { NULL, TAKES_TEXT, read_choice },
	[TYPE_ANCHOR] = { NULL, TAKES_TEXT, read_choice },
	[TYPE_FLAGS] = { "a list of texts", TAKES_TEXT, read_choice },
	[TYPE_TEXTS] = { "a list of texts", TAKES_TEXT, read_text },
	[TYPE_NAMES] = { "a list of names", TAKES_TEXT, read_name },
	[TYPE_PATHS] = { "a list of paths", TAKES_TEXT, read_path },
	[TYPE_KEYS] = { "a list of private keys' paths or URIs", TAKES_TEXT, read_key },
	[TYPE_KEY_RULES] = { "a list of keys like \"EC:P-256\"", TAKES_TEXT, read_key_rule },
	[TYPE_KEY_USAGE] = { "a list of key usages", TAKES_TEXT, read_key_usage },
	[TYPE_EKUS] = { "a list of extended key usages", TAKES_TEXT, read_eku },
	[TYPE_ALGORITHMS] = { "a list of texts", TAKES_TEXT, read_choice },
	[TYPE_NUMBERS] = { "a list of integers", TAKES_NUMBER, NULL },
};

int64_t
config_size_parse(const char *text)
{
	char *end = NULL;
	long long n = text[0] >= '0' && text[0] <= '9' && strlen(text) < 16 ? strtoll(text, &end, 10) : -1;
	unsigned shift = 0;

	if (n < 0)
		return -1;
	if (*end == 'k' || *end == 'K')
		shift = 10;
	else if (*end == 'm' || *end == 'M')
		shift = 20;
	else if (*end == 'g' || *end == 'G')
		shift = 30;
	if (end[shift == 0 ? 0 : 1] != '\0' || n > (LLONG_MAX >> shift))
		return -1;
	return n << shift;
}

void
config_number_text(enum config_type type, int64_t value, char out[TIME_TEXT_MAX])
{
	if (type == TYPE_DURATION)
		duration_text(value, out);
	else if ((type == TYPE_SIZE || type == TYPE_KIB) && value != 0 && value % (1 << 20) == 0)
		(void)snprintf(out, TIME_TEXT_MAX, "%lldM", (long long)(value >> 20));
	else if ((type == TYPE_SIZE || type == TYPE_KIB) && value != 0 && value % (1 << 10) == 0)
		(void)snprintf(out, TIME_TEXT_MAX, "%lldk", (long long)(value >> 10));
	else
		(void)snprintf(out, TIME_TEXT_MAX, "%lld", (long long)value);
}

/* What stands there instead, for people. */
static const char *
found(const config_setting_t *s)
{
	switch (config_setting_type(s)) {
	case CONFIG_TYPE_GROUP:
		return "a group";
	case CONFIG_TYPE_LIST:
	case CONFIG_TYPE_ARRAY:
		return "a list";
	case CONFIG_TYPE_STRING:
		return "a text";
	case CONFIG_TYPE_BOOL:
		return "true or false";
	case CONFIG_TYPE_FLOAT:
		return "a number with a fraction";
	default:
		return "a number";
	}
}

static void
wrong_type(struct config_reader *r, const struct config_row *row, const char *where, const config_setting_t *s,
	const config_setting_t *at)
{
	char list[CONFIG_WHERE_MAX] = "one of";
	const char *wants = kinds[row->type].wants, *name;
	int i;

	for (i = 0; wants == NULL && (name = config_choice(row, i)) != NULL; i++)
		(void)snprintf(list + strlen(list), sizeof list - strlen(list), "%s \"%s\"", i == 0 ? "" : ",", name);
	config_report(r, at, "%s wants %s, not %s", where, wants == NULL ? list : wants, found(s));
}

static bool
type_fits(unsigned takes, const config_setting_t *s)
{
	int type = config_setting_type(s);

	return ((takes & TAKES_TEXT) != 0 && type == CONFIG_TYPE_STRING) ||
	       ((takes & TAKES_NUMBER) != 0 && (type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64)) ||
	       ((takes & TAKES_BOOL) != 0 && type == CONFIG_TYPE_BOOL);
}

static void
store_number(const struct config_row *row, int64_t value, void *to)
{
	int small = (int)(row->type == TYPE_KIB ? value >> 10 : value);

	if (row->type == TYPE_DURATION || row->type == TYPE_LONG)
		memcpy(to, &value, sizeof value);
	else
		memcpy(to, &small, sizeof small);
}

static void
put_number(struct config_reader *r, const struct config_row *row, const char *where, const config_setting_t *s,
	void *to)
{
	bool text = config_setting_type(s) == CONFIG_TYPE_STRING;
	char is[TIME_TEXT_MAX], limit[TIME_TEXT_MAX];
	int64_t value = text ? -1 : config_setting_get_int64(s);
	struct err e;

	if (config_setting_type(s) == CONFIG_TYPE_INT)
		value = config_setting_get_int(s);
	if (text && row->type == TYPE_DURATION && duration_parse(config_setting_get_string(s), &value, &e) != 0) {
		config_report(r, s, "%s: %s", where, e.text);
		return;
	}
	if (text && row->type != TYPE_DURATION && (value = config_size_parse(config_setting_get_string(s))) < 0) {
		config_report(r, s, "%s: \"%.40s\" is not a size like 65536, \"64k\" or \"8M\"", where,
			config_setting_get_string(s));
		return;
	}
	if (value >= row->min && value <= row->max) {
		store_number(row, value, to);
		return;
	}
	config_number_text(row->type, value, is);
	config_number_text(row->type, value < row->min ? row->min : row->max, limit);
	/* The scanner writes INT_MAX for whatever does not fit. */
	config_report(r, s, "%s is %s%s; at %s %s is allowed", where, is, value == INT_MAX ? " or more" : "",
		value < row->min ? "least" : "most", limit);
}

/* A number of a set. */
static void
put_bit(struct config_reader *r, const struct config_row *row, const char *where, const config_setting_t *item,
	const config_setting_t *list, void *to)
{
	int value = config_setting_get_int(item);
	unsigned bits;

	if (config_setting_type(item) != CONFIG_TYPE_INT || value < row->min || value > row->max) {
		config_report(r, list, "%s: only integers from %d to %d can stand in it", where, (int)row->min, (int)row->max);
		return;
	}
	memcpy(&bits, to, sizeof bits);
	bits |= 1u << value;
	memcpy(to, &bits, sizeof bits);
}

static void
put_item(struct config_reader *r, const struct config_row *row, const char *where, const config_setting_t *item,
	const config_setting_t *list, void *base, size_t *count)
{
	char *to = (char *)base + row->offset;
	struct err e;

	if (!type_fits(kinds[row->type].takes, item)) {
		wrong_type(r, row, where, item, list);
		return;
	}
	if (row->type == TYPE_NUMBERS) {
		put_bit(r, row, where, item, list, to);
		return;
	}
	if (row->count_offset != 0) /* else bits */
		to += *count * row->size;
	/* libconfig gives the last item the line of what follows it, so mistakes are put on the list's. */
	if (kinds[row->type].read(r, row, to, config_setting_get_string(item), &e) != 0)
		config_report(r, list, "%s: %s", where, e.text);
	else
		++*count;
}

/* One text, or one number, alone counts as a list of one. */
static void
put_list(struct config_reader *r, const struct config_row *row, const char *where, const config_setting_t *s,
	void *base)
{
	bool alone = type_fits(kinds[row->type].takes, s);
	int length = alone ? 1 : config_setting_length(s), i;
	size_t count = 0;

	if (!alone && config_setting_type(s) != CONFIG_TYPE_LIST && config_setting_type(s) != CONFIG_TYPE_ARRAY) {
		wrong_type(r, row, where, s, s);
		return;
	}
	if (row->type != TYPE_NUMBERS && (length < row->min || length > row->max)) {
		config_report(r, s, "%s holds %d; from %d to %d are allowed", where, length, (int)row->min,
			(int)row->max);
		length = length > row->max ? (int)row->max : length;
	}
	if (row->count_offset == 0)
		memset((char *)base + row->offset, 0, row->size); /* bits: not the default's */
	for (i = 0; i < length; i++)
		put_item(r, row, where, alone ? s : config_setting_get_elem(s, (unsigned)i), s, base, &count);
	if (row->count_offset != 0)
		memcpy((char *)base + row->count_offset, &count, sizeof count);
}

void
config_value_put(struct config_reader *r, const struct config_row *row, const char *where,
	const config_setting_t *setting, void *base)
{
	const struct kind *kind = &kinds[row->type];
	void *to = (char *)base + row->offset;
	bool value;
	struct err e;

	if (config_type_is_list(row->type)) {
		put_list(r, row, where, setting, base);
		return;
	}
	if (!type_fits(kind->takes, setting)) {
		wrong_type(r, row, where, setting, setting);
		return;
	}
	if (row->type == TYPE_BOOL) {
		value = config_setting_get_bool(setting) != 0;
		memcpy(to, &value, sizeof value);
	} else if (kind->read == NULL)
		put_number(r, row, where, setting, to);
	else if (kind->read(r, row, to, config_setting_get_string(setting), &e) != 0)
		config_report(r, setting, "%s: %s", where, e.text);
}
