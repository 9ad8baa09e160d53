/* Imports: a file, read line by line into records; by a map when it is another system's. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/core/admin_json.h"

#define IGNORED_SHOWN 32 /* names of columns that are told one by one */

struct import_source {
	struct admin_call *call;
	struct world *world;
	struct import_map *map; /* NULL: our own columns */
	struct import_reader *reader;
	FILE *in;
	char *line;
	size_t cap;
	int64_t bytes, size;
};

static int
next_record(void *arg, struct import_record *out, struct err *e)
{
	struct import_source *source = arg;
	bool have = false;
	ssize_t n;
	size_t i;

	while (!have) {
		n = getline(&source->line, &source->cap, source->in);
		if (n < 0)
			return ferror(source->in) ? err_set(e, ERR_UPSTREAM, "reading the file: %s", strerror(errno)) :
						    import_reader_end(source->reader, e);
		source->bytes += n;
		if (n > 0 && source->line[n - 1] == '\n')
			n--;
		if (import_reader_feed(source->reader, bytes_of(source->line, (size_t)n), out, &have, e) != 0)
			return -1;
	}
	/* As the identity rules will write what they find in a certificate, or the two never meet. */
	for (i = 0; i < out->anchor_count; i++)
		identity_fold(source->world->rules, &out->anchors[i]);
	return 1;
}

static void
report_progress(void *arg, int64_t done)
{
	struct import_source *source = arg;

	(void)source->call->emit(source->call->emit_arg,
		json_pack("{s:{s:I, s:I, s:I}}", "progress", "rows", (json_int_t)done, "done",
			(json_int_t)source->bytes, "total", (json_int_t)source->size));
}

static void
import_source_auto(struct import_source *source)
{
	world_put(source->world);
	import_reader_free(source->reader);
	import_map_free(source->map);
	free(source->line);
	if (source->in != NULL)
		(void)fclose(source->in);
}

/* A duplicate: the stream closes its own, whoever called closes theirs. */
static int
open_source(struct import_source *source, int file, struct err *e)
{
	int fd = file < 0 ? -1 : fcntl(file, F_DUPFD_CLOEXEC, 0);
	struct stat st;

	if (fd < 0)
		return err_set(e, ERR_MALFORMED, "the file did not come with the request");
	source->in = fdopen(fd, "r");
	if (source->in == NULL)
		(void)close(fd);
	if (source->in == NULL || fstat(fd, &st) != 0)
		return err_set(e, ERR_UPSTREAM, "the file cannot be read: %s", strerror(errno));
	source->size = (int64_t)st.st_size;
	return 0;
}

/* By the name of one that comes with the gateway, or as the text of the operator's own. */
static int
load_map(struct import_source *source, struct err *e)
{
	const struct admin_call *call = source->call;
	const char *name = admin_text_or(call, "map", NULL), *text = admin_text_or(call, "map_text", NULL);
	const char *owner = admin_text_or(call, "owner", ""), *issuer = admin_text_or(call, "issuer", "");

	if (name == NULL && text == NULL) {
		if (owner[0] == '\0' && issuer[0] == '\0')
			return 0;
		return err_set(e, ERR_MALFORMED, "--owner and --issuer are for files read with --map");
	}
	if (text == NULL)
		text = import_map_builtin(name);
	if (text == NULL)
		return err_set(e, ERR_MALFORMED, "no map \"%.40s\"; there are: %s. A file of your own has a \"/\" or \".\" in its name",
			name, import_map_builtins());
	return import_map_new(bytes_of_text(text), owner, issuer, &source->map, e);
}

static int
open_reader(struct import_source *source, const char *name, struct err *e)
{
	const char *format = admin_text_or(source->call, "format", "csv");

	if (strcmp(format, "csv") != 0 && strcmp(format, "jsonl") != 0)
		return err_set(e, ERR_MALFORMED, "\"%.20s\" is not csv or jsonl", format);
	if (load_map(source, e) != 0 || open_source(source, source->call->fd, e) != 0)
		return -1;
	source->world = world_get();
	if (import_reader_new(strcmp(format, "jsonl") == 0 ? IMPORT_JSONL : IMPORT_CSV, name, &source->reader, e) != 0)
		return -1;
	if (source->map != NULL)
		import_reader_use(source->reader, source->map);
	return 0;
}

static void
tell_ignored(const struct import_source *source, json_t *result)
{
	const char *names[IGNORED_SHOWN];
	json_t *shown = json_array();
	size_t count = import_reader_ignored(source->reader, names, IGNORED_SHOWN), i;

	for (i = 0; i < count && i < IGNORED_SHOWN; i++)
		(void)json_array_append_new(shown, json_string(names[i]));
	(void)json_object_set_new(result, "ignored_columns", json_integer((json_int_t)count));
	(void)json_object_set_new(result, "ignored", shown);
}

int
admin_import(struct admin_call *call, struct err *e)
{
	CLEANUP(import_source) struct import_source source = { .call = call };
	const char *name = admin_text_or(call, "source", admin_text_or(call, "map", "import"));
	struct import_summary sum = { 0 };
	struct import_job job = { .next = next_record,
		.progress = report_progress,
		.arg = &source,
		.actor = call->actor,
		.source = name,
		.now_s = call->now_s,
		.dry_run = admin_flag(call, "dry_run"),
		.create_owners = admin_flag(call, "create_owners") };
	int result;

	if (open_reader(&source, name, e) != 0)
		return -1;
	job.large = source.world->config->import_large;
	job.approval_s = source.world->config->approval_life_s;
	result = call->gateway->store_ops->import(call->gateway->store, &job, &sum, e);
	if (result != 0 && (e->code != ERR_PENDING || sum.approval_id == 0))
		return -1;
	call->result = json_pack("{s:I, s:I, s:I, s:I, s:b}", "added", (json_int_t)sum.added, "updated",
		(json_int_t)sum.updated, "unchanged", (json_int_t)sum.unchanged, "owners_added",
		(json_int_t)sum.owners_added, "dry_run", job.dry_run);
	if (source.map != NULL)
		tell_ignored(&source, call->result);
	if (result != 0) {
		(void)json_object_set_new(call->result, "waits", json_true());
		(void)json_object_set_new(call->result, "approval", json_integer((json_int_t)sum.approval_id));
	}
	return 0;
}
