/*
 * jsontext.h - writing small JSON straight into a buffer, for the hot path.
 *
 * Reading JSON, and building documents of any depth, is jansson's.
 */
#ifndef BASE_JSONTEXT_H
#define BASE_JSONTEXT_H

#include "base/bytes.h"

/* A quoted JSON string (RFC 8259, section 7). Octets that are not well-formed UTF-8 become \u00XX. */
void json_put_text(struct buf *out, const char *text);

/* ,"key":"text" -- without the comma right after "{" or "["; nothing at all when text is NULL. */
void json_put_pair(struct buf *out, const char *key, const char *text);
void json_put_int(struct buf *out, const char *key, int64_t value);

#endif
