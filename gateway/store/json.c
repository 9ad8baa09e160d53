#include "gateway/store/sqlite_internal.h"

#include "base/text.h"

void
json_open(struct buf *b)
{
	buf_append_u8(b, '{');
}

static void
put_string(struct buf *b, const char *text)
{
	bool utf8 = text_is_clean(bytes_of_text(text));

	buf_append_u8(b, '"');
	for (; *text != '\0'; text++) {
		uint8_t c = (uint8_t)*text;

		if (c == '"' || c == '\\')
			buf_printf(b, "\\%c", c);
		else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8))
			buf_printf(b, "\\u%04x", (unsigned)c);
		else
			buf_append_u8(b, c);
	}
	buf_append_u8(b, '"');
}

static void
put_key(struct buf *b, const char *key)
{
	if (b->len > 0 && b->at[b->len - 1] != '{')
		buf_append_u8(b, ',');
	put_string(b, key);
	buf_append_u8(b, ':');
}

void
json_int(struct buf *b, const char *key, int64_t value)
{
	put_key(b, key);
	buf_printf(b, "%lld", (long long)value);
}

void
json_text(struct buf *b, const char *key, const char *value)
{
	put_key(b, key);
	put_string(b, value == NULL ? "" : value);
}

void
json_close(struct buf *b)
{
	buf_append_u8(b, '}');
}
