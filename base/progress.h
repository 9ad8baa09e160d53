/*
 * progress.h - how far a long job is: a live bar on a terminal, a plain line every few seconds elsewhere.
 *
 * A struct progress belongs to one thread. progress_begin(), _update() and _end()
 * read the monotonic clock and write to their stream; progress_format() is pure.
 */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdio.h>

#include "base/bytes.h"

enum progress_style {
	PROGRESS_QUIET, /* nothing at all */
	PROGRESS_LINES, /* not a terminal: one line every PROGRESS_LINE_EVERY_S */
	PROGRESS_LIVE,  /* a terminal: a bar that is redrawn */
};

#define PROGRESS_LINE_EVERY_S 5

struct progress {
	FILE *to;
	const char *what; /* "enrolling"; borrowed until progress_end() */
	uint64_t total;   /* 0: unknown, so neither bar nor ETA */
	enum progress_style style;
	int64_t began_us;
	int64_t shown_us;
	bool shown;
};

/* The style follows from the stream: quiet, a terminal, or neither. */
void progress_begin(struct progress *p, FILE *to, bool quiet, const char *what, uint64_t total);
/* As often as you like: what is not due yet is not drawn. */
void progress_update(struct progress *p, uint64_t done);
/* The last state and a newline. A short job without a terminal leaves no line. */
void progress_end(struct progress *p, uint64_t done);

/*
 * The text alone, without newline, appended to out: "what [####....]  40 %  4/10  2/s  ETA 0:03".
 * width  columns of the terminal, the last of which stays free; 0 leaves the bar out
 */
void progress_format(struct buf *out, const char *what, uint64_t done, uint64_t total, int64_t elapsed_us,
	size_t width);

/* "0:07", "12:30", "3:05:09"; "-" for a negative duration. */
void progress_clock_text(int64_t seconds, char out[24]);

#endif
