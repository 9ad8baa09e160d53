#include "policy/template.h"

#include <string.h>

#include "base/text.h"

static const char *const field_names[TEMPLATE_FIELDS] = {
	"tag", "serial", "manufacturer", "model", "class", "site", "hostname", "owner", "source_key",
};

void
template_values_of(struct template_values *out, const struct asset *asset, const struct owner *owner)
{
	*out = (struct template_values){ .at = { asset->tag, asset->serial, asset->manufacturer, asset->model,
		asset->class_name, asset->site, asset->hostname, owner->name, asset->source_key } };
}

void
template_values_sample(struct template_values *out)
{
	size_t i;

	*out = (struct template_values){ .sample = true };
	for (i = 0; i < TEMPLATE_FIELDS; i++)
		out->at[i] = "x";
}

static int
field_of(struct bytes name)
{
	int i;

	for (i = 0; i < TEMPLATE_FIELDS; i++)
		if (bytes_equal_text(name, field_names[i]))
			return i;
	return -1;
}

struct expansion {
	char *out;
	size_t size, len;
	bool full;
};

static void
put(struct expansion *x, char c)
{
	if (x->len + 1 >= x->size)
		x->full = true;
	else
		x->out[x->len++] = c;
}

static void
put_value(struct expansion *x, const char *value, bool percent)
{
	static const char hex[] = "0123456789ABCDEF";

	for (; *value != '\0'; value++) {
		unsigned char c = (unsigned char)*value;
		bool unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			strchr("-._~", c) != NULL;

		if (percent && !unreserved) {
			put(x, '%');
			put(x, hex[c >> 4]);
			put(x, hex[c & 15]);
		} else
			put(x, (char)c);
	}
}

/* "." and ".." are segments that a URI reader resolves away, whatever their encoding. */
static bool
is_dot_segment(const char *value)
{
	return strcmp(value, ".") == 0 || strcmp(value, "..") == 0;
}

static int
expand_field(struct expansion *x, struct cursor *c, const struct template_values *values, bool percent,
	struct template_result *result, struct err *e)
{
	struct bytes name = cursor_until(c, '}');
	char shown[40];
	int field;

	if (c->failed)
		return err_set(e, ERR_MALFORMED, "a \"{\" without its \"}\"");
	field = field_of(name);
	if (field < 0) {
		text_escape(shown, sizeof shown, name);
		return err_set(e, ERR_MALFORMED, "unknown field {%s}; there are tag, serial, manufacturer, model, "
			"class, site, hostname, owner and source_key", shown);
	}
	if (percent && is_dot_segment(values->at[field]))
		return err_set(e, ERR_DENIED, "{%s} is \"%s\"", field_names[field], values->at[field]);
	result->has_fields = true;
	if (values->at[field][0] == '\0')
		result->missing = true;
	put_value(x, values->at[field], percent);
	return 0;
}

int
template_expand(struct bytes text, const struct template_values *values, bool percent, char *out, size_t size,
	struct template_result *result, struct err *e)
{
	struct expansion x = { .out = out, .size = size };
	struct cursor c = cursor_of(text);

	*result = (struct template_result){ 0 };
	while (cursor_left(&c) > 0) {
		char octet = (char)cursor_u8(&c);

		if (octet == '{') {
			if (expand_field(&x, &c, values, percent, result, e) != 0)
				return -1;
			continue;
		}
		if (octet == '}')
			return err_set(e, ERR_MALFORMED, "a \"}\" without its \"{\"");
		if (octet == '\\') {
			if (cursor_left(&c) == 0)
				return err_set(e, ERR_MALFORMED, "a backslash at the end");
			octet = (char)cursor_u8(&c);
		}
		put(&x, octet);
	}
	out[x.len] = '\0';
	if (x.full && !result->missing)
		return err_set(e, ERR_DENIED, "longer than %zu octets", size - 1);
	return 0;
}

static bool
is_space(uint8_t c)
{
	return c == ' ' || c == '\t';
}

/* The length of the value up to an unescaped comma, and whether it has an unescaped "+". */
static size_t
value_length(const struct cursor *c, bool *plus)
{
	const uint8_t *p;

	*plus = false;
	for (p = c->at; p < c->end && *p != ','; p++) {
		if (*p == '\\' && p + 1 < c->end)
			p++;
		else if (*p == '+')
			*plus = true;
	}
	return (size_t)(p - c->at);
}

/* White space around an RDN is the template's layout, unless a backslash says otherwise. */
static struct bytes
trim(struct bytes value)
{
	while (value.len > 0 && is_space(value.at[0])) {
		value.at++;
		value.len--;
	}
	while (value.len > 0 && is_space(value.at[value.len - 1]) &&
	    (value.len < 2 || value.at[value.len - 2] != '\\'))
		value.len--;
	return value;
}

int
template_next_rdn(struct cursor *subject, char type[OID_TEXT_MAX], struct bytes *value, struct err *e)
{
	struct bytes name;
	bool plus;

	if (cursor_left(subject) == 0)
		return 0;
	name = trim(cursor_until(subject, '='));
	if (subject->failed || name.len == 0)
		return err_set(e, ERR_MALFORMED, "an attribute without TYPE=");
	if (text_copy(type, OID_TEXT_MAX, name, "attribute type", e) != 0) {
		e->code = ERR_MALFORMED;
		return -1;
	}
	*value = trim(cursor_take(subject, value_length(subject, &plus)));
	if (plus)
		return err_set(e, ERR_MALFORMED, "%s: several values in one RDN are not supported; write \\+ for a "
			"plus sign", type);
	if (cursor_left(subject) == 0)
		return 1;
	(void)cursor_u8(subject);
	if (cursor_left(subject) == 0)
		return err_set(e, ERR_MALFORMED, "a comma at the end");
	return 1;
}

int
template_san_type(const char *san, enum spec_san_type *type, struct bytes *value, struct err *e)
{
	static const struct {
		const char *prefix;
		enum spec_san_type type;
	} types[] = {
		{ "dns:", SPEC_SAN_DNS },
		{ "uri:", SPEC_SAN_URI },
		{ "ip:", SPEC_SAN_IP },
		{ "email:", SPEC_SAN_EMAIL },
	};
	size_t i;

	for (i = 0; i < sizeof types / sizeof types[0]; i++) {
		size_t len = strlen(types[i].prefix);

		if (strncmp(san, types[i].prefix, len) != 0)
			continue;
		*type = types[i].type;
		*value = bytes_of_text(san + len);
		return 0;
	}
	return err_set(e, ERR_MALFORMED, "a SAN begins with dns:, uri:, ip: or email:");
}
