/*
 * text.h - bounded C strings, and the check every name from outside passes.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

/*
 * Copy to a fixed array. ERR_LIMIT when it does not fit, ERR_MALFORMED when it
 * is not UTF-8 or holds a control character. what names the field in the text.
 */
MUST_USE int text_copy(char *out, size_t size, struct bytes in, const char *what, struct err *e);

/* Well-formed UTF-8 without U+0000-001F and U+007F-009F. */
bool text_is_clean(struct bytes in);

/* Takes an incomplete character off the end, which cutting a text to fit may leave there. */
void text_mend_end(char *text);

/* Printable ASCII stays, the rest becomes \xNN; cut to fit. For logs and error texts. */
void text_escape(char *out, size_t size, struct bytes in);

/* A name an operator may give to a label, profile, CA...: [A-Za-z0-9._-], 1-64 octets. */
bool text_is_name(const char *text);

#endif
