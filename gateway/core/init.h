/*
 * init.h - a directory to begin with.
 */
#ifndef GATEWAY_CORE_INIT_H
#define GATEWAY_CORE_INIT_H

#include <stdint.h>

#include "base/err.h"

struct init_options {
	const char *dir;
	int port;               /* HTTPS on the loopback addresses; the admin port is the next one */
	const char *trust_name; /* a manufacturer, NULL: none yet */
	const char *trust_file; /* its root certificates, copied to dir/trust/<name>.pem */
	int64_t now_s;
};

/*
 * Make dir, which may exist but holds no enrolld.conf, with
 *   offline/root.key         the root's key: take it away from the machine
 *   ca/root.pem, issuing.pem, issuing.key
 *   tls/server.pem, server.key   for localhost and this machine's name
 *   keygen.master            what key-wrap keys are derived from
 *   enrolld.conf             with paths relative to dir
 * Keys are EC P-256, in files of mode 0600.
 */
MUST_USE int init_directory(const struct init_options *options, struct err *e);

#endif
