/*
 * files.h - the PEM files of a client, read and checked once. ERR_UPSTREAM (or the code of x509_load_file()) says what to mend. What
 * is appended is PEM of what was checked, not what stands in the file besides, and not what stands there later.
 */
#ifndef GATEWAY_OUTBOUND_FILES_H
#define GATEWAY_OUTBOUND_FILES_H

#include "base/bytes.h"

MUST_USE int outbound_load_ca(const char *path, struct buf *out, struct err *e);
/* The PEM of a client certificate, its chain, and its key; both are the caller's also on failure: buf_free_secret(). */
MUST_USE int outbound_load_pair(const char *cert_path, const char *key_source, struct buf *cert, struct buf *key,
	struct err *e);

#endif
