/*
 * metrics_process.h - what /metrics tells about the process itself, and how a series is written.
 */
#ifndef GATEWAY_CORE_METRICS_PROCESS_H
#define GATEWAY_CORE_METRICS_PROCESS_H

#include "gateway/core/metrics.h"

/* The HELP and TYPE lines of a series; help holds no backslash and no newline. */
void metrics_put_head(struct buf *out, const char *name, const char *type, const char *help);
/* name="value", the value escaped as the text format asks. */
void metrics_put_label(struct buf *out, const char *name, const char *value);

/* Appends enrolld_build_info and the usual process_* series; what cannot be read is left out. */
void metrics_put_process(struct buf *out);

#endif
