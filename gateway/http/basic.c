#include "gateway/http/basic.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"

bool
basic_parse(const char *header, struct basic_credentials *out)
{
	struct buf decoded = { 0 };
	struct cursor c;
	struct bytes user;
	struct err e;
	bool good = false;

	*out = (struct basic_credentials){ .user = "" };
	if (header == NULL || strncasecmp(header, "Basic ", 6) != 0 || strlen(header) > 4 * BASIC_MAX)
		return false;
	if (base64_decode(bytes_of_text(header + 6), &decoded, &e) == 0) {
		c = cursor_of(buf_bytes(&decoded));
		user = cursor_until(&c, ':');
		good = !c.failed && text_copy(out->user, sizeof out->user, user, "user", &e) == 0 &&
			text_copy(out->secret, sizeof out->secret, cursor_take(&c, cursor_left(&c)), "secret", &e) == 0;
	}
	buf_free_secret(&decoded);
	if (!good)
		*out = (struct basic_credentials){ .user = "" };
	return good;
}

void
basic_challenge(const char *realm, char out[BASIC_CHALLENGE_MAX])
{
	static const char begin[] = "WWW-Authenticate: Basic realm=\"", end[] = "\"\r\n";
	size_t len = sizeof begin - 1;

	memcpy(out, begin, len);
	for (; *realm != '\0' && len + 2 < BASIC_CHALLENGE_MAX - sizeof end; realm++) {
		unsigned char c = (unsigned char)*realm;

		if (c < 0x20 || c == 0x7f)
			continue;
		if (c == '"' || c == '\\')
			out[len++] = '\\';
		out[len++] = *realm;
	}
	memcpy(out + len, end, sizeof end);
}
