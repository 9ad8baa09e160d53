/* Owners, assets, imports. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "base/timefmt.h"
#include "gateway/core/admin_json.h"

static int
named(const char *what, int (*of)(const char *), const char *text, int *out, struct err *e)
{
	int value = of(text);

	if (value < 0)
		return err_set(e, ERR_MALFORMED, "\"%.60s\" is not %s", text, what);
	*out = value;
	return 0;
}

static bool
keep_owner(void *arg, const struct owner *row)
{
	struct owner *owner = arg;

	if (strcmp(owner->name, row->name) != 0)
		return true;
	*owner = *row;
	return false;
}

/* What is not said stays as it is: a new contact must not make a suspended owner active again. */
static int
present_owner(const struct admin_call *call, struct owner *owner, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };

	if (snapshot_begin(call, &s, e) != 0)
		return -1;
	return s.ops->owner_list(s.read, keep_owner, owner, e);
}

int
admin_owner_put(struct admin_call *call, struct err *e)
{
	struct owner owner = { .kind = OWNER_INTERNAL, .status = OWNER_ACTIVE };
	const char *name, *end = admin_text_or(call, "contract_end", NULL);
	const char *contact = admin_text_or(call, "contact", NULL);
	int kind = 0, status = 0;

	if (admin_text(call, "name", &name, e) != 0 ||
	    text_copy(owner.name, sizeof owner.name, bytes_of_text(name), "name", e) != 0 ||
	    present_owner(call, &owner, e) != 0 ||
	    named("an owner kind (internal, partner, customer)", owner_kind_of,
		    admin_text_or(call, "kind", owner_kind_name(owner.kind)), &kind, e) != 0 ||
	    named("an owner status (active, suspended, offboarding, offboarded)", owner_status_of,
		    admin_text_or(call, "status", owner_status_name(owner.status)), &status, e) != 0)
		return -1;
	if (contact != NULL && text_copy(owner.contact, sizeof owner.contact, bytes_of_text(contact), "contact", e) != 0)
		return -1;
	if (end != NULL && strcmp(end, "none") == 0)
		owner.contract_end_s = 0;
	else if (end != NULL && time_parse(end, &owner.contract_end_s, e) != 0)
		return -1;
	owner.kind = (enum owner_kind)kind;
	owner.status = (enum owner_status)status;
	if (call->gateway->store_ops->owner_put(call->gateway->store, &owner, call->actor, call->now_s, e) != 0)
		return -1;
	call->result = json_of_owner(&owner);
	return 0;
}

static bool
emit_owner(void *arg, const struct owner *row)
{
	return admin_emit_row(arg, json_of_owner(row));
}

int
admin_owner_list(struct admin_call *call, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };

	if (snapshot_begin(call, &s, e) != 0)
		return -1;
	return s.ops->owner_list(s.read, emit_owner, call, e);
}

struct paging {
	struct admin_call *call;
	int64_t last_id;
	int64_t left;  /* rows still wanted; -1: all */
	int rows;      /* of this page */
	bool gone;
};

static bool
emit_asset(void *arg, const struct asset_summary *row)
{
	struct paging *paging = arg;
	json_t *json = json_of_asset(&row->asset, row->owner);

	(void)json_object_set_new(json, "certs_valid", json_integer((json_int_t)row->certs_valid));
	(void)json_object_set_new(json, "next_expiry", json_of_time(row->next_expiry_s));
	paging->last_id = row->asset.id;
	paging->rows++;
	if (paging->left > 0)
		paging->left--;
	paging->gone = !admin_emit_row(paging->call, json);
	return !paging->gone && paging->left != 0;
}

/* Page by page, a snapshot each, so that a long list never holds back the write-ahead log. */
int
admin_asset_list(struct admin_call *call, struct err *e)
{
	struct asset_filter filter = { .state = -1,
		.tag = admin_text_or(call, "tag", NULL),
		.owner = admin_text_or(call, "owner", NULL) };
	int64_t limit = admin_int_or(call, "limit", 0);
	struct paging paging = { .call = call, .left = limit > 0 ? limit : -1 };
	const char *state = admin_text_or(call, "state", NULL);

	if (state != NULL && named("an asset state", asset_state_of, state, &filter.state, e) != 0)
		return -1;
	do {
		CLEANUP(snapshot) struct snapshot s = { 0 };

		paging.rows = 0;
		if (snapshot_begin(call, &s, e) != 0 ||
		    s.ops->asset_list(s.read, &filter, call->now_s, emit_asset, &paging, e) != 0)
			return -1;
		filter.after_id = paging.last_id;
	} while (paging.rows > 0 && paging.left != 0 && !paging.gone);
	return 0;
}

static bool
collect_anchor(void *arg, const struct anchor *row)
{
	return json_array_append_new(arg, json_of_anchor(row)) == 0;
}

static bool
collect_cert(void *arg, const struct cert_row *row)
{
	return json_array_append_new(arg, json_of_cert(row)) == 0;
}

int
admin_asset_show(struct admin_call *call, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	struct cert_filter filter = { .status = -1, .limit = 100 };
	struct asset asset;
	struct owner owner;
	json_t *anchors, *certs;
	int found;

	if (admin_text(call, "tag", &filter.asset_tag, e) != 0 || snapshot_begin(call, &s, e) != 0)
		return -1;
	found = s.ops->asset_by_tag(s.read, filter.asset_tag, &asset, &owner, e);
	if (found <= 0)
		return found < 0 ? -1 : err_set(e, ERR_DENIED, "no asset \"%.100s\"", filter.asset_tag);
	call->result = json_of_asset(&asset, owner.name);
	anchors = json_array();
	certs = json_array();
	(void)json_object_set_new(call->result, "anchors", anchors);
	(void)json_object_set_new(call->result, "certs", certs);
	if (s.ops->anchor_list(s.read, asset.id, collect_anchor, anchors, e) != 0)
		return -1;
	return s.ops->cert_list(s.read, &filter, collect_cert, certs, e);
}

int
admin_asset_set_state(struct admin_call *call, struct err *e)
{
	const char *tag, *text, *reason;
	int64_t revoked = 0;
	int state = 0;

	if (admin_text(call, "tag", &tag, e) != 0 || admin_text(call, "state", &text, e) != 0 ||
	    admin_text(call, "reason", &reason, e) != 0 ||
	    named("an asset state", asset_state_of, text, &state, e) != 0)
		return -1;
	if (call->gateway->store_ops->asset_set_state(call->gateway->store, tag, (enum asset_state)state, reason,
		    call->actor, call->now_s, &revoked, e) != 0)
		return -1;
	call->result = json_pack("{s:s, s:s, s:I}", "tag", tag, "state", text, "revoked", (json_int_t)revoked);
	return 0;
}

/* An import file, read line by line into records. */
struct import_source {
	struct admin_call *call;
	struct world *world;
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

int
admin_import(struct admin_call *call, struct err *e)
{
	CLEANUP(import_source) struct import_source source = { .call = call };
	const char *format = admin_text_or(call, "format", "csv");
	const char *name = admin_text_or(call, "source", "import");
	struct import_summary sum = { 0 };
	struct import_job job = { .next = next_record,
		.progress = report_progress,
		.arg = &source,
		.actor = call->actor,
		.source = name,
		.now_s = call->now_s,
		.dry_run = admin_flag(call, "dry_run"),
		.create_owners = admin_flag(call, "create_owners") };
	if (strcmp(format, "csv") != 0 && strcmp(format, "jsonl") != 0)
		return err_set(e, ERR_MALFORMED, "\"%.20s\" is not csv or jsonl", format);
	if (open_source(&source, call->fd, e) != 0)
		return -1;
	source.world = world_get();
	if (import_reader_new(strcmp(format, "jsonl") == 0 ? IMPORT_JSONL : IMPORT_CSV, name, &source.reader, e) != 0 ||
	    call->gateway->store_ops->import(call->gateway->store, &job, &sum, e) != 0)
		return -1;
	call->result = json_pack("{s:I, s:I, s:I, s:I, s:b}", "added", (json_int_t)sum.added, "updated",
		(json_int_t)sum.updated, "unchanged", (json_int_t)sum.unchanged, "owners_added",
		(json_int_t)sum.owners_added, "dry_run", job.dry_run);
	return 0;
}
