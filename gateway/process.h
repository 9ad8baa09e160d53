/*
 * process.h - everything that runs: started in order, reloaded whole, stopped in reverse.
 */
#ifndef GATEWAY_PROCESS_H
#define GATEWAY_PROCESS_H

#include "base/err.h"

#define ENROLLD_VERSION "0.1.0"

/* Serve by this configuration until SIGTERM or SIGINT; SIGHUP reads it again. The exit status. */
int process_serve(const char *config_path);

#endif
