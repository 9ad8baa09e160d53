/*
 * config_source.h - the configuration's files as one text, and the way back from a line of it.
 *
 * libconfig 1.5 reads from memory only: left to itself it opens whatever
 * @include names, ends the process on a folder, wraps numbers past 32 bits
 * silently, drops what follows "\x00" in a text, and takes an unclosed comment
 * for the end of the file. All that is settled here, before it sees the text.
 */
#ifndef GATEWAY_CORE_CONFIG_SOURCE_H
#define GATEWAY_CORE_CONFIG_SOURCE_H

#include "gateway/core/config.h"

#define CONFIG_TEXT_MAX ((size_t)1 << 20) /* all files together */
#define CONFIG_FILES_MAX 64
#define CONFIG_INCLUDE_DEPTH 4

/* Lines of the joined text from first on are lines of a file, from line on. */
struct config_span {
	size_t first, file, line;
};

struct config_source {
	char paths[CONFIG_FILES_MAX][CONFIG_PATH_MAX];
	size_t file_count;
	struct buf text;   /* what libconfig parses */
	struct buf octets; /* every file as read, in that order: what the version is the digest of */
	struct config_span *spans;
	size_t span_count, span_cap;
	size_t lines;      /* in text */
	bool broken;       /* a mistake after which parsing would only mislead */
	config_problem problem;
	void *arg;
	size_t problems;
};

/*
 * Read path and what it includes. Mistakes go to source->problem, which the
 * caller has set, and are counted; broken says that nothing can be parsed.
 * @include "name" stands alone on its line; name is relative to the folder of
 * the file it stands in and never leaves it.
 */
void config_source_read(struct config_source *source, const char *path);
/* The same for octets at hand; path only names them. */
void config_source_take(struct config_source *source, const char *path, struct bytes octets);
void config_source_free(struct config_source *source);

/* Reports "file:line: text" for a line of the joined text; line 0 names the first file alone. */
void config_source_report(struct config_source *source, size_t line, const char *fmt, ...) PRINTF(3, 4);

/* The folder part of path ("." when it has none), cut to fit. */
void config_folder(const char *path, char *out, size_t size);

/* A regular file's octets, at most max of them, appended. ERR_UPSTREAM or ERR_LIMIT says why not. */
MUST_USE int config_read_octets(const char *path, size_t max, struct buf *out, struct err *e);

#endif
