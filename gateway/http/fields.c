/* Lines, tokens and lists: what request heads and answer heads share. */
#include <string.h>

#include "gateway/http/request.h"

static uint8_t
lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

static bool
starts_with(struct bytes in, const char *text)
{
	size_t i, len = strlen(text);

	if (in.len < len)
		return false;
	for (i = 0; i < len; i++)
		if (lower(in.at[i]) != (uint8_t)text[i])
			return false;
	return true;
}

bool
http_name_is(struct bytes name, const char *text)
{
	return name.len == strlen(text) && starts_with(name, text);
}

/* RFC 9110, section 5.6.2: tchar. */
static bool
is_tchar(uint8_t c)
{
	if ((c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z'))
		return true;
	return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

bool
http_is_token(struct bytes in)
{
	size_t i;

	for (i = 0; i < in.len; i++)
		if (!is_tchar(in.at[i]))
			return false;
	return in.len != 0;
}

static struct bytes
trim(struct bytes in)
{
	while (in.len != 0 && (in.at[0] == ' ' || in.at[0] == '\t'))
		in = bytes_of(in.at + 1, in.len - 1);
	while (in.len != 0 && (in.at[in.len - 1] == ' ' || in.at[in.len - 1] == '\t'))
		in.len--;
	return in;
}

int
http_field_split(struct bytes line, struct http_field *out)
{
	const uint8_t *colon = line.len == 0 ? NULL : memchr(line.at, ':', line.len);
	struct bytes name, value;
	size_t i;

	if (colon == NULL)
		return -1;
	name = bytes_of(line.at, (size_t)(colon - line.at));
	value = trim(bytes_of(colon + 1, line.len - name.len - 1));
	if (!http_is_token(name))
		return -1;
	for (i = 0; i < value.len; i++)
		if ((value.at[i] < 0x20 && value.at[i] != '\t') || value.at[i] == 0x7f)
			return -1;
	*out = (struct http_field){ .name = name, .value = value, .forward = true };
	return 0;
}

int
http_line_next(struct cursor *c, struct bytes *line)
{
	struct bytes whole = cursor_until(c, '\n');

	if (whole.len == 0 || whole.at[whole.len - 1] != '\r')
		return -1;
	*line = bytes_of(whole.at, whole.len - 1);
	return 0;
}

int
http_decimal(struct bytes in, uint64_t *out)
{
	uint64_t value = 0;
	size_t i;

	if (in.len == 0 || in.len > 18)
		return -1;
	for (i = 0; i < in.len; i++) {
		if (in.at[i] < '0' || in.at[i] > '9')
			return -1;
		value = value * 10 + (uint64_t)(in.at[i] - '0');
	}
	*out = value;
	return 0;
}

bool
http_list_has(struct bytes list, const char *text)
{
	while (list.len != 0) {
		const uint8_t *comma = memchr(list.at, ',', list.len);
		size_t len = comma == NULL ? list.len : (size_t)(comma - list.at);

		if (http_name_is(trim(bytes_of(list.at, len)), text))
			return true;
		if (comma == NULL)
			break;
		list = bytes_of(comma + 1, list.len - len - 1);
	}
	return false;
}

bool
http_name_is_ours(struct bytes name)
{
	static const char *const hop[] = { "connection", "content-length", "expect", "keep-alive",
		"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade" };
	size_t i;

	for (i = 0; i < sizeof hop / sizeof hop[0]; i++)
		if (http_name_is(name, hop[i]))
			return true;
	return starts_with(name, "x-front-");
}
