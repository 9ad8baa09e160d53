#include "gateway/core/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "base/timefmt.h"

#define LINE_MAX_OCTETS 4096 /* PIPE_BUF: a line through a pipe never mixes with another */
#define VALUE_MAX_OCTETS 1024 /* of a value, before escaping; the rest is replaced by "..." */
#define TAIL_OCTETS 32        /* kept free for what closes a line that had to be cut */
#define RARE_PLACES 128
#define RARE_LINES 10
#define RARE_WINDOW_US ((int64_t)60 * 1000000)

static const char *const level_names[] = { "debug", "info", "warn", "error" };

#define JSON_BIT 0x100u
#define LEVEL_BITS 0xffu

/* Format and level in one word, so that a reload changes both at once. */
static atomic_uint setup = LOG_LEVEL_INFO;

void
log_setup(const char *format, const char *level)
{
	unsigned value = LOG_LEVEL_INFO;
	unsigned i;

	for (i = 0; i < sizeof level_names / sizeof level_names[0]; i++)
		if (strcmp(level, level_names[i]) == 0)
			value = i;
	if (strcmp(format, "json") == 0)
		value |= JSON_BIT;
	atomic_store(&setup, value);
}

/* Never grows past its end: what does not fit is left out whole, and cut says so. */
struct line {
	char at[LINE_MAX_OCTETS];
	size_t len;
	bool json;
	bool cut;
};

static bool
put(struct line *line, const char *text, size_t len)
{
	if (line->len + len > sizeof line->at - TAIL_OCTETS)
		return false;
	memcpy(line->at + line->len, text, len);
	line->len += len;
	return true;
}

static bool
put_string(struct line *line, const char *text)
{
	return put(line, text, strlen(text));
}

/* The octets of the character at c: more than one only for well-formed UTF-8 that is no control character. */
static size_t
character(const char *c, size_t left)
{
	size_t n;

	for (n = 1; n <= 4 && n <= left; n++)
		if (text_is_clean(bytes_of(c, n)))
			return n;
	return 0;
}

/* One character, escaped as the format and the quotes around it need. */
static bool
put_character(struct line *line, const char *c, size_t n)
{
	char escaped[8];

	if (n != 0 && (*c == '"' || *c == '\\'))
		return put(line, "\\", 1) && put(line, c, 1);
	if (n != 0)
		return put(line, c, n);
	if (line->json)
		/* An octet that is not UTF-8 appears as the character of that number, like a control character. */
		(void)snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned char)*c);
	else
		(void)snprintf(escaped, sizeof escaped, "\\x%02x", (unsigned char)*c);
	return put_string(line, escaped);
}

static bool
needs_quotes(const char *value)
{
	const unsigned char *c;

	for (c = (const unsigned char *)value; *c != '\0'; c++)
		if (*c <= ' ' || *c >= 0x7f || *c == '"' || *c == '\\' || *c == '=')
			return true;
	return value[0] == '\0';
}

static bool
put_value(struct line *line, const char *value)
{
	bool quotes = line->json || needs_quotes(value);
	size_t len = strlen(value), i = 0, end = len > VALUE_MAX_OCTETS ? VALUE_MAX_OCTETS : len;
	bool fits = !quotes || put(line, "\"", 1);

	while (fits && i < end) {
		size_t n = character(value + i, len - i);

		fits = put_character(line, value + i, n);
		i += n == 0 ? 1 : n;
	}
	if (i < len)
		fits = fits && put_string(line, "...");
	return fits && (!quotes || put(line, "\"", 1));
}

/* A pair that does not fit leaves no trace but line->cut. */
static void
put_pair(struct line *line, const char *key, const char *value)
{
	size_t before = line->len;
	bool fits;

	if (line->cut)
		return;
	if (line->json)
		fits = put_string(line, ",\"") && put_string(line, key) && put_string(line, "\":");
	else
		fits = put(line, " ", 1) && put_string(line, key) && put(line, "=", 1);
	if (fits && put_value(line, value))
		return;
	line->len = before;
	line->cut = true;
}

static void
begin(struct line *line, bool json, enum log_level level, const char *event)
{
	char now[TIME_TEXT_MAX];

	line->json = json;
	line->cut = false;
	time_text(time_now_s(), now);
	line->len = (size_t)snprintf(line->at, sizeof line->at,
		json ? "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%.64s\"" : "%s %s %.64s", now,
		level_names[level], event);
}

static void
finish(struct line *line)
{
	const char *cut = line->json ? ",\"cut\":true" : " cut=true";
	const char *end = line->json ? "}\n" : "\n";
	size_t at = 0;

	if (line->cut) {
		memcpy(line->at + line->len, cut, strlen(cut));
		line->len += strlen(cut);
	}
	memcpy(line->at + line->len, end, strlen(end));
	line->len += strlen(end);
	while (at < line->len) {
		ssize_t n = write(STDERR_FILENO, line->at + at, line->len - at);

		/* Nobody is left to tell: a closed or full log must not stop the service. */
		if (n < 0 && errno != EINTR)
			return;
		at += n < 0 ? 0 : (size_t)n;
	}
}

static bool
is_wanted(enum log_level level, unsigned now)
{
	return (unsigned)level >= (now & LEVEL_BITS);
}

void
log_fields(enum log_level level, const char *event, const struct log_field *fields, int count)
{
	unsigned now = atomic_load(&setup);
	struct line line;
	int i;

	if (!is_wanted(level, now))
		return;
	begin(&line, (now & JSON_BIT) != 0, level, event);
	for (i = 0; i < count; i++)
		if (fields[i].value != NULL)
			put_pair(&line, fields[i].key, fields[i].value);
	finish(&line);
}

void
log_text(enum log_level level, const char *event, const char *fmt, ...)
{
	char text[VALUE_MAX_OCTETS];
	struct log_field field = { "msg", text };
	va_list ap;

	if (!is_wanted(level, atomic_load(&setup)))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	log_fields(level, event, &field, 1);
}

/* How often one place has spoken in its present minute. */
struct place {
	const char *file;
	int line;
	int lines;
	long left_out;
	int64_t since_us;
};

static pthread_mutex_t places_lock = PTHREAD_MUTEX_INITIALIZER;
static struct place places[RARE_PLACES];

/* The place's slot; when all are taken, the one that has been silent longest makes room. */
static struct place *
place_of(const char *file, int line, int64_t now_us)
{
	struct place *oldest = &places[0];
	size_t i;

	for (i = 0; i < RARE_PLACES; i++) {
		if (places[i].file != NULL && places[i].line == line && strcmp(places[i].file, file) == 0)
			return &places[i];
		if (oldest->file != NULL && (places[i].file == NULL || places[i].since_us < oldest->since_us))
			oldest = &places[i];
	}
	*oldest = (struct place){ .file = file, .line = line, .since_us = now_us };
	return oldest;
}

/* Whether this place may speak now, and how many lines were left out since it last could. */
static bool
may_speak(const char *file, int line, long *left_out)
{
	int64_t now_us = time_monotonic_us();
	struct place *place;
	bool may;

	(void)pthread_mutex_lock(&places_lock);
	place = place_of(file, line, now_us);
	if (now_us - place->since_us >= RARE_WINDOW_US) {
		place->since_us = now_us;
		place->lines = 0;
	}
	may = place->lines < RARE_LINES;
	if (may) {
		place->lines++;
		*left_out = place->left_out;
		place->left_out = 0;
	} else
		place->left_out++;
	(void)pthread_mutex_unlock(&places_lock);
	return may;
}

void
log_rare_at(const char *file, int line, enum log_level level, const char *event, const char *fmt, ...)
{
	char text[VALUE_MAX_OCTETS], number[24];
	struct log_field fields[] = { { "msg", text }, { "left_out", NULL } };
	long left_out = 0;
	va_list ap;

	if (!is_wanted(level, atomic_load(&setup)) || !may_speak(file, line, &left_out))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (left_out != 0) {
		(void)snprintf(number, sizeof number, "%ld", left_out);
		fields[1].value = number;
	}
	log_fields(level, event, fields, 2);
}
