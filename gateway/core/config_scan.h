/*
 * config_scan.h - just enough of libconfig's lexer to find @include and what libconfig gets wrong.
 */
#ifndef GATEWAY_CORE_CONFIG_SCAN_H
#define GATEWAY_CORE_CONFIG_SCAN_H

#include "gateway/core/config_source.h"

enum config_scan_in { SCAN_PLAIN, SCAN_TEXT, SCAN_COMMENT, SCAN_LINE_COMMENT };

/* Where the reader of one file stands; begins zero but for line = 1. */
struct config_scan {
	enum config_scan_in in;
	size_t line;
	size_t opened; /* the joined text's line on which the text or comment began */
	bool word;     /* inside a name or number */
};

/*
 * When the line that begins here is @include "name", its length with the
 * newline, and the name; else 0.
 */
size_t config_scan_include(const struct config_scan *scan, struct bytes rest, char name[CONFIG_PATH_MAX]);

/* Copies one line to source->text, its numbers held within 32 bits, and reports what is wrong; its length. */
size_t config_scan_line(struct config_scan *scan, struct bytes rest, struct config_source *source);

/* A text or comment still open at the end of its file is a mistake. */
void config_scan_end(const struct config_scan *scan, struct config_source *source);

#endif
