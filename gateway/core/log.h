/*
 * log.h - one line per event on standard error, as text or JSON.
 *
 * log_event(LOG_INFO, "enroll", "id", "9f2c", "ms", LOG_INT(41), NULL) is not
 * how it works: values are texts, so that a line is a list of pairs. Peer text
 * is escaped here. A repeated warning is rate-limited per (file, line).
 */
#ifndef GATEWAY_CORE_LOG_H
#define GATEWAY_CORE_LOG_H

#include "base/attr.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* Once at start and on reload. format: "text" or "json"; level by name. Unknown ones mean text and info. */
void log_setup(const char *format, const char *level);

struct log_field {
	const char *key;   /* [a-z_]+ */
	const char *value; /* UTF-8 text; escaped as needed; NULL fields are left out */
};

/* One line: time, level, event, then the fields in order. Thread-safe, one write(2) a line. */
void log_fields(enum log_level level, const char *event, const struct log_field *fields, int count);

/* A line with one "msg" field. */
void log_text(enum log_level level, const char *event, const char *fmt, ...) PRINTF(3, 4);

/* The same, at most ten a minute for each place; the next one says how many were left out. */
#define log_rare(level, event, ...) log_rare_at(__FILE__, __LINE__, level, event, __VA_ARGS__)
void log_rare_at(const char *file, int line, enum log_level level, const char *event, const char *fmt, ...)
	PRINTF(5, 6);

#endif
