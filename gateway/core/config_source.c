#define _GNU_SOURCE
#include "gateway/core/config_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/core/config_scan.h"

#define REPORT_MAX 1024

void
config_source_report(struct config_source *source, size_t line, const char *fmt, ...)
{
	const struct config_span *span = NULL;
	char text[REPORT_MAX];
	va_list ap;
	size_t i, n;

	for (i = 0; i < source->span_count && source->spans[i].first <= line; i++)
		span = &source->spans[i];
	if (line == 0 || span == NULL)
		(void)snprintf(text, sizeof text, "%s: ", source->paths[0]);
	else
		(void)snprintf(text, sizeof text, "%s:%zu: ", source->paths[span->file],
			span->line + (line - span->first));
	n = strlen(text);
	va_start(ap, fmt);
	(void)vsnprintf(text + n, sizeof text - n, fmt, ap);
	va_end(ap);
	for (i = 0; text[i] != '\0'; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = '?';
	source->problems++;
	if (source->problem != NULL)
		source->problem(source->arg, text);
}

void
config_folder(const char *path, char *out, size_t size)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		(void)snprintf(out, size, ".");
	else
		(void)snprintf(out, size, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

static int
read_all(int fd, const char *path, size_t max, struct buf *out, struct err *e)
{
	uint8_t chunk[4096];
	size_t total = 0;
	ssize_t n;

	while ((n = read(fd, chunk, sizeof chunk)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, ERR_UPSTREAM, "%s: %s", path, strerror(errno));
		total += (size_t)n;
		if (total > max)
			return err_set(e, ERR_LIMIT, "%s: more than %zu octets", path, max);
		buf_append(out, chunk, (size_t)n);
	}
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "%s: no memory", path) : 0;
}

int
config_read_octets(const char *path, size_t max, struct buf *out, struct err *e)
{
	struct stat st;
	/* Non-blocking, so that a FIFO in the place of a file cannot hold the start up. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int result;

	if (fd < 0)
		return err_set(e, ERR_UPSTREAM, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		result = err_set(e, ERR_UPSTREAM, "%s: not a regular file", path);
	else
		result = read_all(fd, path, max, out, e);
	(void)close(fd);
	return result;
}

/* From here on, lines of the joined text are lines of this file. */
static bool
begin_span(struct config_source *source, size_t file, size_t line)
{
	size_t cap = source->span_cap == 0 ? 16 : source->span_cap * 2;
	struct config_span *spans = source->spans;

	if (source->span_count == source->span_cap) {
		spans = realloc(spans, cap * sizeof *spans);
		if (spans == NULL)
			return false;
		source->spans = spans;
		source->span_cap = cap;
	}
	spans[source->span_count++] =
		(struct config_span){ .first = source->lines + 1, .file = file, .line = line };
	return true;
}

static void take_file(struct config_source *source, size_t file, struct bytes octets, int depth);

static bool
name_is_inside(const char *name)
{
	const char *part = name;

	if (name[0] == '\0' || name[0] == '/')
		return false;
	for (; part != NULL; part = strchr(part, '/')) {
		part += part[0] == '/' ? 1 : 0;
		if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
			return false;
	}
	return true;
}

static void
include_file(struct config_source *source, size_t parent, const char *name, int depth)
{
	CLEANUP(buf) struct buf octets = { 0 };
	char folder[CONFIG_PATH_MAX];
	size_t file = source->file_count;
	size_t at = source->lines; /* the line before: reported under the including file's name */
	struct err e;
	int n;

	if (!name_is_inside(name)) {
		config_source_report(source, at + 1,
			"@include \"%.80s\" leaves the folder of this file; name a file in it or below", name);
		return;
	}
	if (depth >= CONFIG_INCLUDE_DEPTH || file == CONFIG_FILES_MAX) {
		config_source_report(source, at + 1, "@include goes deeper than %d files, or past %d in all",
			CONFIG_INCLUDE_DEPTH, CONFIG_FILES_MAX);
		return;
	}
	config_folder(source->paths[parent], folder, sizeof folder);
	n = snprintf(source->paths[file], CONFIG_PATH_MAX, "%s/%s", folder, name);
	if (n < 0 || n >= CONFIG_PATH_MAX) {
		config_source_report(source, at + 1, "@include \"%.80s\": the path is too long", name);
		return;
	}
	if (config_read_octets(source->paths[file], CONFIG_TEXT_MAX, &octets, &e) != 0) {
		config_source_report(source, at + 1, "@include: %s", e.text);
		return;
	}
	source->file_count++;
	take_file(source, file, buf_bytes(&octets), depth + 1);
}

/* Copies lines until an @include, or the end; returns where to go on. */
static size_t
copy_until_include(struct config_source *source, struct config_scan *scan, struct bytes octets, size_t at,
	char name[CONFIG_PATH_MAX], bool *include)
{
	*include = false;
	while (at < octets.len && !source->broken) {
		struct bytes rest = bytes_of(octets.at + at, octets.len - at);
		size_t skip = config_scan_include(scan, rest, name);

		if (skip != 0) {
			*include = true;
			return at + skip;
		}
		at += config_scan_line(scan, rest, source);
	}
	return at;
}

static void
take_file(struct config_source *source, size_t file, struct bytes octets, int depth)
{
	struct config_scan scan = { .line = 1 };
	char name[CONFIG_PATH_MAX];
	bool include = false, more = true;
	size_t at = 0;

	if (source->octets.len + octets.len > CONFIG_TEXT_MAX) {
		config_source_report(source, 0, "more than %zu octets of configuration", CONFIG_TEXT_MAX);
		source->broken = true;
	}
	buf_append_bytes(&source->octets, octets);
	more = begin_span(source, file, 1);
	while (more && at < octets.len && !source->broken) {
		at = copy_until_include(source, &scan, octets, at, name, &include);
		if (!include)
			break;
		include_file(source, file, name, depth);
		scan.line++;
		more = begin_span(source, file, scan.line);
	}
	config_scan_end(&scan, source);
	if (!more || buf_failed(&source->text) || buf_failed(&source->octets)) {
		config_source_report(source, 0, "no memory");
		source->broken = true;
	}
}

void
config_source_take(struct config_source *source, const char *path, struct bytes octets)
{
	(void)snprintf(source->paths[0], CONFIG_PATH_MAX, "%s", path);
	source->file_count = 1;
	take_file(source, 0, octets, 0);
}

void
config_source_read(struct config_source *source, const char *path)
{
	CLEANUP(buf) struct buf octets = { 0 };
	struct err e;

	(void)snprintf(source->paths[0], CONFIG_PATH_MAX, "%s", path);
	source->file_count = 1;
	if (strlen(path) >= CONFIG_PATH_MAX)
		(void)err_set(&e, ERR_LIMIT, "%.80s...: the path is too long", path);
	else if (config_read_octets(path, CONFIG_TEXT_MAX, &octets, &e) == 0) {
		config_source_take(source, path, buf_bytes(&octets));
		return;
	}
	source->broken = true;
	source->problems++;
	if (source->problem != NULL)
		source->problem(source->arg, e.text);
}

void
config_source_free(struct config_source *source)
{
	buf_free(&source->text);
	buf_free(&source->octets);
	free(source->spans);
}
