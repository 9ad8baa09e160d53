#include "gateway/ca/ejbca_text.h"

#include <ctype.h>
#include <string.h>

void
ejbca_percent_put(struct buf *out, const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		uint8_t c = (uint8_t)text[i];

		if (c < 0x80 && (isalnum(c) || strchr("-._~", c) != NULL))
			buf_append_u8(out, c);
		else
			buf_printf(out, "%%%02X", c);
	}
}

int
ejbca_certificate_put(const json_t *object, struct buf *out, struct err *e)
{
	CLEANUP(buf) struct buf once = { 0 };
	const char *text = remote_text(object, "certificate");

	if (text == NULL)
		return err_set(e, ERR_UPSTREAM, "no certificate");
	if (base64_decode(bytes_of_text(text), &once, e) != 0)
		return -1;
	if (once.len != 0 && once.at[0] == 'M')
		return base64_decode(buf_bytes(&once), out, e);
	buf_append_bytes(out, buf_bytes(&once));
	return 0;
}
