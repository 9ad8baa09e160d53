/*
 * CoAP messages for people: one line each.
 */
#include "base/text.h"
#include "devsim/coapc_message.h"

#define VALUE_TEXT_MAX 200

void
coapc_code_text(int code, char out[COAPC_CODE_TEXT])
{
	(void)snprintf(out, COAPC_CODE_TEXT, "%d.%02d", code / 100 % 10, code % 100);
}

static uint32_t
number_of(struct bytes value)
{
	uint32_t n = 0;
	size_t i;

	for (i = 0; i < value.len && i < 4; i++)
		n = n << 8 | value.at[i];
	return n;
}

static void
print_option(FILE *to, unsigned number, struct bytes value)
{
	static const struct {
		unsigned number;
		const char *name;
	} numbers[] = { { COAPC_URI_PORT, "Uri-Port" }, { COAPC_CONTENT_FORMAT, "Content-Format" },
		{ COAPC_MAX_AGE, "Max-Age" }, { COAPC_ACCEPT, "Accept" }, { COAPC_SIZE1, "Size1" }, { COAPC_SIZE2, "Size2" } };
	uint32_t n = number_of(value);
	char text[VALUE_TEXT_MAX];
	size_t i;

	for (i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		if (numbers[i].number == number) {
			(void)fprintf(to, " %s %lu", numbers[i].name, (unsigned long)n);
			return;
		}
	text_escape(text, sizeof text, value);
	if (number == COAPC_URI_PATH)
		(void)fprintf(to, "/%s", text);
	else if (number == COAPC_URI_QUERY)
		(void)fprintf(to, " ?%s", text);
	else if (number == COAPC_BLOCK1 || number == COAPC_BLOCK2)
		/* RFC 7959, section 3: number, more, size. */
		(void)fprintf(to, " Block%d %lu/%d/%lu", number == COAPC_BLOCK1 ? 1 : 2, (unsigned long)(n >> 4),
			(n & 8) != 0, 16UL << (n & 7));
	else
		(void)fprintf(to, " option %u \"%s\"", number, text);
}

void
coapc_message_print(FILE *to, const char *mark, struct bytes message)
{
	static const char *const types[] = { "CON", "NON", "ACK", "RST" };
	char code[COAPC_CODE_TEXT];
	struct coapc_message m;
	struct bytes value;
	unsigned number = 0;
	struct cursor c;
	struct err e;

	if (coapc_message_decode(message, &m, &e) != 0) {
		(void)fprintf(to, "%s %s (%zu octets)\n", mark, e.text, message.len);
		return;
	}
	coapc_code_text(m.code, code);
	(void)fprintf(to, "%s %s %s", mark, types[m.type], m.code == COAPC_EMPTY ? "empty" : m.code == COAPC_GET ? "GET" :
		m.code == COAPC_POST ? "POST" : code);
	(void)fprintf(to, " id %u%s", (unsigned)m.id, m.options.len == 0 ? "" : " ");
	c = cursor_of(m.options);
	while (coapc_option_next(&c, &number, &value))
		print_option(to, number, value);
	if (m.payload.len > 0)
		(void)fprintf(to, "; %zu octets", m.payload.len);
	(void)fputc('\n', to);
}
