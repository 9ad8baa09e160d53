/* The value of an Authorization header. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "gateway/http/basic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool condition)
{
	if (!condition)
		abort();
}

/* What was taken says the same when it is encoded again. */
static void
check_again(const struct basic_credentials *first)
{
	CLEANUP(buf) struct buf plain = { 0 };
	CLEANUP(buf) struct buf header = { 0 };
	struct basic_credentials second;

	buf_append_text(&plain, first->user);
	buf_append_u8(&plain, ':');
	buf_append_text(&plain, first->secret);
	buf_append_text(&header, "Basic ");
	base64_encode(&header, buf_bytes(&plain), 0);
	must(basic_parse(buf_text(&header), &second));
	must(strcmp(first->user, second.user) == 0 && strcmp(first->secret, second.secret) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct basic_credentials none;
	struct basic_credentials out;
	char *text = malloc(size + 1);

	must(text != NULL);
	if (size != 0)
		memcpy(text, data, size);
	text[size] = '\0';
	memset(&out, 0x5a, sizeof out);
	if (basic_parse(text, &out)) {
		must(memchr(out.user, '\0', sizeof out.user) != NULL && strchr(out.user, ':') == NULL);
		must(memchr(out.secret, '\0', sizeof out.secret) != NULL);
		must(text_is_clean(bytes_of_text(out.user)) && text_is_clean(bytes_of_text(out.secret)));
		check_again(&out);
	} else
		must(memcmp(&out, &none, sizeof out) == 0);
	free(text);
	return 0;
}
