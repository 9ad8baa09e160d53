#include <string.h>
#include <strings.h>

#include "policy/rules_internal.h"

#define DAY_NAME_LEN 3
#define CLOCK_LEN    5 /* "08:00" */
#define ALL_DAYS     ((1u << WEEK_DAYS) - 1)

static const char day_names[WEEK_DAYS][DAY_NAME_LEN + 1] = { "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun" };

static int
parse_day(const char **at, unsigned *day, struct err *e)
{
	size_t len = strcspn(*at, "-, ");

	for (*day = 0; *day < WEEK_DAYS; (*day)++)
		if (len == DAY_NAME_LEN && strncasecmp(day_names[*day], *at, DAY_NAME_LEN) == 0) {
			*at += DAY_NAME_LEN;
			return 0;
		}
	return err_set(e, ERR_MALFORMED, "\"%.*s\" is no day of the week", (int)len, *at);
}

/* "Mon-Fri,Sun"; "Sat-Mon" passes the week's end. */
static int
parse_days(const char **at, unsigned *days, struct err *e)
{
	unsigned first, last;

	*days = 0;
	for (;;) {
		if (parse_day(at, &first, e) != 0)
			return -1;
		last = first;
		if (**at == '-') {
			(*at)++;
			if (parse_day(at, &last, e) != 0)
				return -1;
		}
		for (;; first = (first + 1) % WEEK_DAYS) {
			if ((*days & 1u << first) != 0)
				return err_set(e, ERR_MALFORMED, "%s is named twice", day_names[first]);
			*days |= 1u << first;
			if (first == last)
				break;
		}
		if (**at != ',')
			return 0;
		(*at)++;
	}
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int
parse_clock(const char **at, unsigned *minutes, struct err *e)
{
	const char *p = *at;
	unsigned hours, rest;

	if (strlen(p) < CLOCK_LEN || !is_digit(p[0]) || !is_digit(p[1]) || p[2] != ':' || !is_digit(p[3]) ||
	    !is_digit(p[4]))
		return err_set(e, ERR_MALFORMED, "\"%s\" is no time of the form 08:00", p);
	hours = (unsigned)(p[0] - '0') * 10 + (unsigned)(p[1] - '0');
	rest = (unsigned)(p[3] - '0') * 10 + (unsigned)(p[4] - '0');
	if (rest > 59 || hours * 60 + rest > DAY_MINUTES)
		return err_set(e, ERR_MALFORMED, "\"%.*s\" is no time of the day", CLOCK_LEN, p);
	*minutes = hours * 60 + rest;
	*at += CLOCK_LEN;
	return 0;
}

static int
parse_range(const char **at, struct window *window, struct err *e)
{
	if (parse_clock(at, &window->from, e) != 0)
		return -1;
	if (**at != '-')
		return err_set(e, ERR_MALFORMED, "a time without an end");
	(*at)++;
	if (parse_clock(at, &window->to, e) != 0)
		return -1;
	if (window->from == DAY_MINUTES)
		return err_set(e, ERR_MALFORMED, "nothing begins at 24:00; say 00:00");
	if (window->from == window->to)
		return err_set(e, ERR_MALFORMED, "it begins when it ends; the whole day is 00:00-24:00");
	return 0;
}

static int
parse_window(const char *at, struct window *window, struct err *e)
{
	*window = (struct window){ .days = ALL_DAYS, .from = 0, .to = DAY_MINUTES };
	if (*at == '\0')
		return err_set(e, ERR_MALFORMED, "it is empty");
	if (!is_digit(*at)) {
		if (parse_days(&at, &window->days, e) != 0)
			return -1;
		if (*at == '\0')
			return 0;
		if (*at++ != ' ')
			return err_set(e, ERR_MALFORMED, "after the days there is one blank, or nothing");
	}
	if (parse_range(&at, window, e) != 0)
		return -1;
	if (*at != '\0')
		return err_set(e, ERR_MALFORMED, "\"%s\" is left over", at);
	return 0;
}

int
window_parse(const char *text, struct window *out, struct err *e)
{
	struct window window;

	if (parse_window(text, &window, e) != 0)
		return err_prefix(e, "the time \"%s\"", text);
	*out = window;
	return 0;
}

struct moment
moment_of(int64_t now_s)
{
	int64_t minutes = now_s / 60 - (now_s % 60 < 0 ? 1 : 0);
	int64_t days = minutes / DAY_MINUTES - (minutes % DAY_MINUTES < 0 ? 1 : 0);
	/* The first of January 1970 was a Thursday. */
	int64_t day = (days % WEEK_DAYS + WEEK_DAYS + 3) % WEEK_DAYS;

	return (struct moment){ .day = (unsigned)day, .minute = (unsigned)(minutes - days * DAY_MINUTES) };
}

bool
window_holds(const struct window *window, struct moment moment)
{
	unsigned yesterday = (moment.day + WEEK_DAYS - 1) % WEEK_DAYS;
	bool today = (window->days & 1u << moment.day) != 0;

	if (window->days == 0)
		return true;
	if (window->from < window->to)
		return today && moment.minute >= window->from && moment.minute < window->to;
	return (today && moment.minute >= window->from) ||
		((window->days & 1u << yesterday) != 0 && moment.minute < window->to);
}
