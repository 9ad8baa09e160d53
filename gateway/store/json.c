#include "gateway/store/sqlite_internal.h"

#include "base/jsontext.h"

void
json_open(struct buf *b)
{
	buf_append_u8(b, '{');
}

static void
put_key(struct buf *b, const char *key)
{
	if (b->len > 0 && b->at[b->len - 1] != '{')
		buf_append_u8(b, ',');
	json_put_text(b, key);
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
	json_put_text(b, value == NULL ? "" : value);
}

void
json_close(struct buf *b)
{
	buf_append_u8(b, '}');
}
