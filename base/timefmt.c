#define _GNU_SOURCE
#include "base/timefmt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DURATION_MAX_S ((int64_t)200 * 366 * 86400)
#define YEAR_MIN 1000 /* four digits, as time_parse() reads them */
#define YEAR_MAX 9999
#define DATE_LEN 10 /* "2030-12-31" */

int64_t
time_now_s(void)
{
	return (int64_t)time(NULL);
}

int64_t
time_monotonic_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
time_from_utc(const struct tm *tm)
{
	struct tm copy = *tm;

	return (int64_t)timegm(&copy);
}

void
time_text(int64_t at_s, char out[TIME_TEXT_MAX])
{
	time_t t = (time_t)at_s;
	struct tm tm;

	out[0] = '\0';
	if (gmtime_r(&t, &tm) != NULL && tm.tm_year >= YEAR_MIN - 1900 && tm.tm_year <= YEAR_MAX - 1900)
		(void)strftime(out, TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

int
time_parse(const char *text, int64_t *out_s, struct err *e)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	char again[TIME_TEXT_MAX];
	size_t len = strlen(text);

	if (end == NULL || *end != '\0') {
		tm = (struct tm){ 0 };
		end = strptime(text, "%Y-%m-%d", &tm);
	}
	/* strptime() also reads "2030-2-1" and 30 February; only what time_text() would write is a time. */
	if (end != NULL && *end == '\0') {
		time_text(time_from_utc(&tm), again);
		if ((len == DATE_LEN || len == strlen(again)) && strncmp(again, text, len) == 0) {
			*out_s = time_from_utc(&tm);
			return 0;
		}
	}
	return err_set(e, ERR_MALFORMED, "\"%.40s\" is not a time like 2030-12-31 or 2030-12-31T23:59:59Z", text);
}

static const struct {
	char unit;
	int64_t seconds;
} units[] = {
	{ 'w', 7 * 86400 },
	{ 'd', 86400 },
	{ 'h', 3600 },
	{ 'm', 60 },
	{ 's', 1 },
};

static int64_t
unit_seconds(const char *end)
{
	size_t i;

	if (*end == '\0')
		return 1;
	for (i = 0; i < sizeof units / sizeof units[0]; i++)
		if (end[0] == units[i].unit && end[1] == '\0')
			return units[i].seconds;
	return 0;
}

int
duration_parse(const char *text, int64_t *out_s, struct err *e)
{
	char *end = NULL;
	long long n = text[0] >= '0' && text[0] <= '9' ? strtoll(text, &end, 10) : -1;
	int64_t unit = n < 0 ? 0 : unit_seconds(end);

	if (unit == 0)
		return err_set(e, ERR_MALFORMED,
			"\"%.40s\" is not a duration like 90d, 12h, 30m or 45s", text);
	if (n > DURATION_MAX_S / unit)
		return err_set(e, ERR_MALFORMED, "\"%.40s\" is longer than 200 years", text);
	*out_s = n * unit;
	return 0;
}

void
duration_text(int64_t duration_s, char out[TIME_TEXT_MAX])
{
	size_t i;

	/* Weeks are for people to write; days are what they read. */
	for (i = 1; i < sizeof units / sizeof units[0]; i++)
		if (duration_s != 0 && duration_s % units[i].seconds == 0)
			break;
	if (i == sizeof units / sizeof units[0])
		i--;
	(void)snprintf(out, TIME_TEXT_MAX, "%lld%c", (long long)(duration_s / units[i].seconds),
		units[i].unit);
}
