#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static void
one_line(char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

int
err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
	va_list ap;

	e->code = code;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	one_line(e->text);
	text_mend_end(e->text);
	return -1;
}

int
err_prefix(struct err *e, const char *fmt, ...)
{
	char was[ERR_TEXT_MAX];
	char head[ERR_TEXT_MAX / 2];
	va_list ap;

	memcpy(was, e->text, sizeof was);
	va_start(ap, fmt);
	(void)vsnprintf(head, sizeof head, fmt, ap);
	va_end(ap);
	text_mend_end(head);
	return err_set(e, e->code, "%s: %.*s", head, (int)(sizeof e->text - strlen(head) - 3), was);
}

const char *
err_code_name(enum err_code code)
{
	switch (code) {
	case ERR_NONE:
		return "none";
	case ERR_MALFORMED:
		return "malformed";
	case ERR_UNSUPPORTED:
		return "unsupported";
	case ERR_UNAUTHENTIC:
		return "unauthentic";
	case ERR_DENIED:
		return "denied";
	case ERR_PENDING:
		return "pending";
	case ERR_UPSTREAM:
		return "upstream";
	case ERR_LIMIT:
		return "limit";
	case ERR_NOMEM:
		return "nomem";
	case ERR_BUG:
		return "bug";
	}
	return "unknown";
}
