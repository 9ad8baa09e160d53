#include "base/text.h"

#include <stdio.h>
#include <string.h>

int
text_copy(char *out, size_t size, struct bytes in, const char *what, struct err *e)
{
	if (in.len >= size)
		return err_set(e, ERR_LIMIT, "%s is %zu octets long; at most %zu are allowed", what,
			in.len, size - 1);
	if (!text_is_clean(in))
		return err_set(e, ERR_MALFORMED, "%s is not UTF-8 or holds control characters", what);
	if (in.len != 0)
		memcpy(out, in.at, in.len);
	out[in.len] = '\0';
	return 0;
}

/* The length of the well-formed character at c (RFC 3629, section 4), or 0. */
static size_t
utf8_length(const uint8_t *c, size_t left)
{
	if (c[0] < 0x80)
		return c[0] >= 0x20 && c[0] != 0x7f ? 1 : 0;
	if (left >= 2 && c[0] >= 0xc2 && c[0] <= 0xdf && (c[1] & 0xc0) == 0x80)
		return c[0] == 0xc2 && c[1] < 0xa0 ? 0 : 2;
	if (left >= 3 && (c[0] & 0xf0) == 0xe0 && (c[1] & 0xc0) == 0x80 && (c[2] & 0xc0) == 0x80) {
		if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f))
			return 0;
		return 3;
	}
	if (left >= 4 && c[0] >= 0xf0 && c[0] <= 0xf4 && (c[1] & 0xc0) == 0x80 &&
	    (c[2] & 0xc0) == 0x80 && (c[3] & 0xc0) == 0x80) {
		if ((c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
			return 0;
		return 4;
	}
	return 0;
}

bool
text_is_clean(struct bytes in)
{
	size_t i = 0;

	while (i < in.len) {
		size_t n = utf8_length(in.at + i, in.len - i);

		if (n == 0)
			return false;
		i += n;
	}
	return true;
}

void
text_mend_end(char *text)
{
	size_t len = strlen(text), i;

	/* The last octet that does not continue a character starts one; is it all there? */
	for (i = 1; i <= 4 && i <= len; i++) {
		uint8_t c = (uint8_t)text[len - i];

		if ((c & 0xc0) == 0x80)
			continue;
		if (c >= 0xc0 && i < (c >= 0xf0 ? 4u : c >= 0xe0 ? 3u : 2u))
			text[len - i] = '\0';
		return;
	}
}

void
text_escape(char *out, size_t size, struct bytes in)
{
	size_t n = 0, i;

	for (i = 0; i < in.len; i++) {
		bool plain = in.at[i] >= 0x20 && in.at[i] < 0x7f && in.at[i] != '\\';

		if (n + (plain ? 1 : 4) >= size)
			break;
		if (plain)
			out[n++] = (char)in.at[i];
		else
			n += (size_t)snprintf(out + n, size - n, "\\x%02x", in.at[i]);
	}
	out[n] = '\0';
}

bool
text_is_name(const char *text)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strlen(text);

	return len >= 1 && len <= 64 && strspn(text, allowed) == len;
}
