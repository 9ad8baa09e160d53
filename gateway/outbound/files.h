/* files.h - are the PEM files of a client in order? ERR_UPSTREAM (or the code of x509_load_file()) says what to mend. */
#ifndef GATEWAY_OUTBOUND_FILES_H
#define GATEWAY_OUTBOUND_FILES_H

#include "base/err.h"

MUST_USE int outbound_check_ca(const char *path, struct err *e);
MUST_USE int outbound_check_pair(const char *cert_path, const char *key_path, struct err *e);

#endif
