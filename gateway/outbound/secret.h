/*
 * secret.h - passwords and tokens that an operator keeps in a file.
 */
#ifndef GATEWAY_OUTBOUND_SECRET_H
#define GATEWAY_OUTBOUND_SECRET_H

#include "base/bytes.h"

#define SECRET_FILE_MAX 4096 /* octets */

/*
 * The only line of a file, without its newline, appended to out: a regular
 * file of this process's user (or root) with no permission for group or
 * others, 1-SECRET_FILE_MAX printable ASCII characters. ERR_UPSTREAM says
 * what to mend ("chmod 600 ..."), never what is in it. buf_free_secret() is the
 * caller's to call.
 */
MUST_USE int secret_file_read(const char *path, struct buf *out, struct err *e);

/* The rules about owner and mode alone, for files that others read (keys). */
MUST_USE int secret_file_check(const char *path, struct err *e);

static inline void
secret_buf_auto(struct buf *b)
{
	buf_free_secret(b);
}

#endif
