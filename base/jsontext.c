#include "base/jsontext.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"

static void
put_octet(struct buf *out, uint8_t c, bool utf8)
{
	if (c == '"' || c == '\\') {
		buf_append_u8(out, '\\');
		buf_append_u8(out, c);
	} else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8))
		buf_printf(out, "\\u%04x", c);
	else
		buf_append_u8(out, c);
}

static bool
is_plain(const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if ((uint8_t)text[i] < 0x20 || (uint8_t)text[i] >= 0x7f || text[i] == '"' || text[i] == '\\')
			return false;
	return true;
}

void
json_put_text(struct buf *out, const char *text)
{
	size_t len = strlen(text), i;
	bool utf8;

	buf_append_u8(out, '"');
	if (is_plain(text, len))
		buf_append(out, text, len);
	else {
		utf8 = text_is_clean(bytes_of(text, len));
		for (i = 0; i < len; i++)
			put_octet(out, (uint8_t)text[i], utf8);
	}
	buf_append_u8(out, '"');
}

static void
put_key(struct buf *out, const char *key)
{
	if (out->len != 0 && out->at[out->len - 1] != '{' && out->at[out->len - 1] != '[')
		buf_append_u8(out, ',');
	json_put_text(out, key);
	buf_append_u8(out, ':');
}

void
json_put_pair(struct buf *out, const char *key, const char *text)
{
	if (text == NULL)
		return;
	put_key(out, key);
	json_put_text(out, text);
}

void
json_put_int(struct buf *out, const char *key, int64_t value)
{
	put_key(out, key);
	buf_printf(out, "%" PRId64, value);
}

bool
json_is_shallow(struct bytes text)
{
	size_t depth = 0, i;
	bool quoted = false;

	for (i = 0; i < text.len; i++) {
		uint8_t c = text.at[i];

		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == '[' || c == '{') && ++depth > JSON_DEPTH_MAX)
			return false;
		else if (!quoted && (c == ']' || c == '}') && depth > 0)
			depth--;
	}
	return true;
}
