/*
 * init.h - a directory to begin with.
 */
#ifndef GATEWAY_CORE_INIT_H
#define GATEWAY_CORE_INIT_H

#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

#define INIT_PORT_MAX 65533

struct init_options {
	const char *dir;
	int port;               /* HTTPS on the loopback addresses; admin is the next one, plain HTTP for SCEP the one after */
	const char *trust_name; /* a manufacturer, NULL: none yet */
	const char *trust_file; /* its root certificates, copied to dir/trust/<name>.pem */
	int64_t now_s;
};

/*
 * Make dir, which may exist but holds no enrolld.conf, with
 *   offline/root.key         the root's key: take it away from the machine
 *   ca/root.pem, issuing.pem, issuing.key
 *   tls/server.pem, server.key   for localhost and this machine's name
 *   ra/ra.pem, ra.key        SCEP's registration authority
 *   keygen.master            what key-wrap keys are derived from
 *   enrolld.conf             with paths relative to dir
 * Keys are EC P-256, the RA's RSA-2048, in files of mode 0600.
 */
MUST_USE int init_directory(const struct init_options *options, struct err *e);

/* What to do with the directory now, and where it will be listened. */
void init_print_next(FILE *out, const struct init_options *options);

#endif
