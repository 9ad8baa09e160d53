/*
 * timefmt.h - times and durations as text. Seconds since 1970, UTC, int64_t.
 */
#ifndef BASE_TIMEFMT_H
#define BASE_TIMEFMT_H

#include <stdint.h>
#include <time.h>

#include "base/err.h"

/* The wall clock. Only programs' outermost layers call it; the rest takes now_s. */
int64_t time_now_s(void);
/* A clock that never jumps, for durations only. */
int64_t time_monotonic_us(void);

/* Days since 1970 of a proleptic Gregorian date, and the reverse of gmtime_r. */
int64_t time_from_utc(const struct tm *tm);

/* "2026-11-21T07:25:00Z"; out holds TIME_TEXT_MAX octets. */
#define TIME_TEXT_MAX 24
void time_text(int64_t at_s, char out[TIME_TEXT_MAX]);
/* The same form, or a date alone ("2026-11-21", midnight). ERR_MALFORMED otherwise. */
MUST_USE int time_parse(const char *text, int64_t *out_s, struct err *e);

/* "90d", "12h", "30m", "45s", "2w" or plain seconds; not negative. ERR_MALFORMED otherwise. */
MUST_USE int duration_parse(const char *text, int64_t *out_s, struct err *e);
/* The largest unit that divides it: 7776000 is "90d". */
void duration_text(int64_t duration_s, char out[TIME_TEXT_MAX]);

#endif
