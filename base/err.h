/*
 * err.h - one failure, told once: a code says what to answer, a text says why.
 *
 * Functions that can fail return 0, or -1 with *e filled. Outputs are
 * untouched on failure. The text is one line of UTF-8 without secrets; bytes
 * that came from a peer are escaped before they enter it.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/attr.h"

enum err_code {
	ERR_NONE = 0,
	ERR_MALFORMED,   /* the peer's bytes break the protocol: HTTP 400 */
	ERR_UNSUPPORTED, /* well formed, but refused algorithm or operation */
	ERR_UNAUTHENTIC, /* no acceptable proof of identity: HTTP 401 */
	ERR_DENIED,      /* identified, and policy says no: HTTP 403 */
	ERR_PENDING,     /* ask again later: HTTP 202, SCEP PENDING, CoAP 5.03 */
	ERR_UPSTREAM,    /* a CA, store or token did not answer: HTTP 503 */
	ERR_LIMIT,       /* too much, too big, too often: HTTP 413 or 429 */
	ERR_NOMEM,
	ERR_BUG, /* our fault: HTTP 500 and an alert */
};

#define ERR_TEXT_MAX 240

struct err {
	enum err_code code;
	char text[ERR_TEXT_MAX];
};

/* Fills *e (control characters become '?') and returns -1. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...) PRINTF(3, 4);

/* Puts "what: " before the text that is there; returns -1. */
int err_prefix(struct err *e, const char *fmt, ...) PRINTF(2, 3);

/* "malformed", "denied", ...: a static string for logs and JSON. */
const char *err_code_name(enum err_code code);

#endif
