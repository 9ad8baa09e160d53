/* files.h - are the PEM files of a client in order? ERR_UPSTREAM (or the code of x509_load_file()) says what to mend. */
#ifndef GATEWAY_OUTBOUND_FILES_H
#define GATEWAY_OUTBOUND_FILES_H

#include "base/bytes.h"

MUST_USE int outbound_check_ca(const char *path, struct err *e);
/* The PEM of a client certificate, its chain, and its key; both are the caller's also on failure: buf_free_secret(). */
MUST_USE int outbound_load_pair(const char *cert_path, const char *key_source, struct buf *cert, struct buf *key,
	struct err *e);

#endif
