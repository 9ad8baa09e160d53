#define _GNU_SOURCE
#include "base/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/timefmt.h"

#define SECOND_US      1000000
#define LIVE_EVERY_US  (SECOND_US / 10)
#define LINES_EVERY_US ((int64_t)PROGRESS_LINE_EVERY_S * SECOND_US)
#define BAR_MAX        40
#define BAR_MIN        8
#define WIDTH_UNKNOWN  80

void
progress_clock_text(int64_t seconds, char out[24])
{
	long long s = seconds;

	if (s < 0)
		(void)snprintf(out, 24, "-");
	else if (s < 3600)
		(void)snprintf(out, 24, "%lld:%02lld", s / 60, s % 60);
	else
		(void)snprintf(out, 24, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
}

static void
format_numbers(struct buf *out, uint64_t done, uint64_t total, int64_t elapsed_us)
{
	double rate = elapsed_us <= 0 ? 0 : (double)done * SECOND_US / (double)elapsed_us;
	char eta[24];

	if (total == 0)
		buf_printf(out, "  %llu", (unsigned long long)done);
	else
		buf_printf(out, "  %3d %%  %llu/%llu", (int)((double)done * 100 / (double)total),
			(unsigned long long)done, (unsigned long long)total);
	buf_printf(out, rate != 0 && rate < 10 ? "  %.1f/s" : "  %.0f/s", rate);
	if (total == 0 || done >= total) {
		progress_clock_text(elapsed_us / SECOND_US, eta);
		buf_printf(out, "  in %s", eta);
	} else {
		progress_clock_text(rate <= 0 ? -1 : (int64_t)((double)(total - done) / rate + 0.5), eta);
		buf_printf(out, "  ETA %s", eta);
	}
}

static void
format_bar(struct buf *out, uint64_t done, uint64_t total, size_t columns)
{
	size_t full = (size_t)((double)columns * (double)done / (double)total), i;

	buf_append_text(out, " [");
	for (i = 0; i < columns; i++)
		buf_append_u8(out, i < full ? '#' : '.');
	buf_append_text(out, "]");
}

void
progress_format(struct buf *out, const char *what, uint64_t done, uint64_t total, int64_t elapsed_us,
	size_t width)
{
	CLEANUP(buf) struct buf numbers = { 0 };
	size_t taken;

	if (total != 0 && done > total)
		done = total;
	format_numbers(&numbers, done, total, elapsed_us);
	buf_append_text(out, what);
	taken = strlen(what) + numbers.len + sizeof " []";
	if (total != 0 && width >= taken + BAR_MIN)
		format_bar(out, done, total, width - taken < BAR_MAX ? width - taken : BAR_MAX);
	buf_append_bytes(out, buf_bytes(&numbers));
}

static size_t
terminal_width(FILE *to)
{
	struct winsize size = { 0 };

	if (ioctl(fileno(to), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
		return WIDTH_UNKNOWN;
	return size.ws_col;
}

static void
show(struct progress *p, uint64_t done, int64_t now_us)
{
	CLEANUP(buf) struct buf line = { 0 };
	bool live = p->style == PROGRESS_LIVE;

	progress_format(&line, p->what, done, p->total, now_us - p->began_us, live ? terminal_width(p->to) : 0);
	(void)fprintf(p->to, live ? "\r%s\033[K" : "%s\n", buf_text(&line));
	(void)fflush(p->to);
	p->shown_us = now_us;
	p->shown = true;
}

void
progress_begin(struct progress *p, FILE *to, bool quiet, const char *what, uint64_t total)
{
	*p = (struct progress){ .to = to, .what = what, .total = total, .began_us = time_monotonic_us() };
	p->shown_us = p->began_us;
	if (quiet)
		p->style = PROGRESS_QUIET;
	else
		p->style = isatty(fileno(to)) ? PROGRESS_LIVE : PROGRESS_LINES;
}

void
progress_update(struct progress *p, uint64_t done)
{
	int64_t now_us;

	if (p->style == PROGRESS_QUIET)
		return;
	now_us = time_monotonic_us();
	if (now_us - p->shown_us >= (p->style == PROGRESS_LIVE ? LIVE_EVERY_US : LINES_EVERY_US))
		show(p, done, now_us);
}

void
progress_end(struct progress *p, uint64_t done)
{
	if (p->style == PROGRESS_LIVE) {
		show(p, done, time_monotonic_us());
		(void)fputc('\n', p->to);
	} else if (p->style == PROGRESS_LINES && p->shown)
		show(p, done, time_monotonic_us());
}
