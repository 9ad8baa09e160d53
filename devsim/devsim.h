/*
 * devsim.h - the subcommands and what their exit codes mean.
 */
#ifndef DEVSIM_DEVSIM_H
#define DEVSIM_DEVSIM_H

#include "base/err.h"

#define DEVSIM_VERSION "0.1"

enum devsim_exit {
	DEVSIM_OK = 0,        /* issued, or whatever was asked for */
	DEVSIM_LOCAL = 1,     /* a file, memory or other trouble on this side */
	DEVSIM_USAGE = 2,
	DEVSIM_REFUSED = 3,   /* HTTP 401 or 403; CoAP 4.01 or 4.03; SCEP: FAILURE */
	DEVSIM_PENDING = 4,   /* HTTP 202, CoAP 5.03 with Max-Age, SCEP PENDING, and no waiting asked for or its limit reached */
	DEVSIM_SERVER = 5,    /* no connection, another HTTP status or CoAP code, a timeout */
	DEVSIM_MALFORMED = 6, /* an answer that is not what the protocol or the request calls for */
};

/* Each parses its own arguments (argv[0] is its name) and returns an enum devsim_exit. */
int factory_main(int argc, char **argv);
int enroll_main(int argc, char **argv);
int scep_main(int argc, char **argv);
int fleet_main(int argc, char **argv);
int proxy_main(int argc, char **argv);

/* "devsim: text" on stderr; returns code. */
int devsim_complain(int code, const struct err *e);

/* "ok", "refused", ...: an enum devsim_exit for JSON. */
const char *devsim_exit_name(int code);

#endif
