/*
 * jsontext.h - writing small JSON straight into a buffer, for the hot path.
 *
 * Reading JSON, and building documents of any depth, is jansson's; what comes from outside
 * is looked at here first.
 */
#ifndef BASE_JSONTEXT_H
#define BASE_JSONTEXT_H

#include "base/bytes.h"

/* A quoted JSON string (RFC 8259, section 7). Octets that are not well-formed UTF-8 become \u00XX. */
void json_put_text(struct buf *out, const char *text);

/* ,"key":"text" -- without the comma right after "{" or "["; nothing at all when text is NULL. */
void json_put_pair(struct buf *out, const char *key, const char *text);
void json_put_int(struct buf *out, const char *key, int64_t value);

/*
 * Is a text from outside fit for jansson? It recurses up to 2048 levels deep, more than the stacks of CivetWeb's threads hold.
 * No judgement of anything but the nesting of [ and {: false past JSON_DEPTH_MAX.
 */
#define JSON_DEPTH_MAX 16
bool json_is_shallow(struct bytes text);

#endif
