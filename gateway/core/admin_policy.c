/* policy test and policy diff: what rules decide, before they are in force. */
#define _GNU_SOURCE
#include "gateway/core/admin_policy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "gateway/core/admin_json.h"
#include "gateway/core/replay.h"

#define FILE_MAX (16 << 20) /* a table of tests, and a configuration behind it */
#define DIFF_DEFAULT 1000
#define DIFF_MAX 1000000
#define DIFF_PAGE 64 /* requests on one snapshot */

static int
read_file(const struct admin_call *call, struct buf *out, struct err *e)
{
	uint8_t chunk[16384];
	ssize_t n = 0;

	if (call->fd < 0)
		return err_set(e, ERR_MALFORMED, "the file did not come with the request");
	while (out->len <= FILE_MAX && (n = read(call->fd, chunk, sizeof chunk)) > 0)
		buf_append(out, chunk, (size_t)n);
	if (n < 0)
		return err_set(e, ERR_UPSTREAM, "reading the file: %s", strerror(errno));
	if (out->len > FILE_MAX)
		return err_set(e, ERR_LIMIT, "a file of more than %d octets", FILE_MAX);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for the file") : 0;
}

/* The first mistake is told, and how many there are. */
struct problems {
	const char *path; /* the present file's, by which the candidate's lines are named */
	char first[ERR_TEXT_MAX];
	int count;
};

static void
note_problem(void *arg, const char *text)
{
	struct problems *problems = arg;
	size_t len = strlen(problems->path);

	if (strncmp(text, problems->path, len) == 0 && text[len] == ':')
		text += len + 1;
	if (problems->count++ == 0)
		text_escape(problems->first, sizeof problems->first, bytes_of_text(text));
}

/* What the candidate's text would make the gateway; it is never served with. */
static int
load_candidate(struct buf *file, size_t at, const struct world *present, struct world **out, struct err *e)
{
	const char *text = buf_text(file) + at;
	struct problems problems = { .path = present->config->path };
	struct config *config = NULL;

	if (strlen(text) != file->len - at)
		return err_set(e, ERR_MALFORMED, "the new configuration is not a text");
	if (config_load_text(text, present->config, note_problem, &problems, &config) != 0)
		return err_set(e, ERR_MALFORMED, "the new configuration has %d mistakes, enrolld --check tells them; line %.150s",
			problems.count, problems.first);
	return world_load(config, out, e);
}

/* ---- test */

struct test_run {
	struct admin_call *call;
	const struct world *world;
	struct import_reader *csv; /* NULL: JSON Lines */
	json_t *header;            /* the CSV's names, once read */
	struct decision *decision;
	int64_t line, tests, failed;
};

static const char *
expectation(enum outcome outcome)
{
	switch (outcome) {
	case OUTCOME_ALLOWED:
		return "allow";
	case OUTCOME_PENDING:
		return "wait";
	case OUTCOME_DENIED:
		break;
	}
	return "deny";
}

static int
run_test(struct test_run *run, const json_t *fields, struct err *e)
{
	struct decision *got = run->decision;
	const char *reason, *name = json_string_value(json_object_get(fields, "name"));
	enum outcome expected;
	char text[80];

	if (made_up_decide(run->world, fields, run->call->now_s, got, &expected, &reason, e) != 0)
		return err_prefix(e, "line %" PRId64, run->line);
	run->tests++;
	if (got->outcome == expected && (reason[0] == '\0' || strcmp(reason, got->reason) == 0))
		return 0;
	run->failed++;
	(void)snprintf(text, sizeof text, "%s%s%.60s", expectation(expected), reason[0] == '\0' ? "" : " ", reason);
	(void)admin_emit_row(run->call, json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:o}", "line", (json_int_t)run->line,
					       "name", name == NULL ? "" : name, "expected", text, "got",
					       expectation(got->outcome), "reason", got->reason, "sentence", got->sentence,
					       "rules", json_of_rules(got, run->world->policy)));
	return 0;
}

static json_t *
json_of_field(const struct import_reader *csv, size_t at)
{
	struct bytes text = import_reader_field(csv, at);

	return json_stringn(text.len == 0 ? "" : (const char *)text.at, text.len);
}

static int
take_csv(struct test_run *run, struct bytes line, struct err *e)
{
	json_t *fields = NULL;
	bool have = false;
	size_t count = 0, i;
	int result = 0;

	if (import_reader_fields(run->csv, line, &have, &count, e) != 0)
		return -1;
	if (!have)
		return 0;
	if (run->header != NULL && count != json_array_size(run->header))
		return err_set(e, ERR_MALFORMED, "line %" PRId64 ": %zu fields, but the header has %zu", run->line, count,
			json_array_size(run->header));
	fields = run->header == NULL ? json_array() : json_object();
	for (i = 0; i < count && result == 0; i++) {
		json_t *text = json_of_field(run->csv, i);

		if (text == NULL)
			result = err_set(e, ERR_MALFORMED, "line %" PRId64 ": not UTF-8", run->line);
		else if (run->header == NULL)
			(void)json_array_append_new(fields, text);
		else
			(void)json_object_set_new(fields, json_string_value(json_array_get(run->header, i)), text);
	}
	if (result == 0 && run->header == NULL)
		run->header = json_incref(fields);
	else if (result == 0)
		result = run_test(run, fields, e);
	json_decref(fields);
	return result;
}

/* Numbers may be written as such: a tier. */
static int
take_json(struct test_run *run, struct bytes line, struct err *e)
{
	json_error_t why;
	json_t *fields, *value;
	char number[24];
	const char *key;
	void *next;
	int result;

	if (line.len == 0)
		return 0;
	fields = json_loadb((const char *)line.at, line.len, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(fields)) {
		json_decref(fields);
		return err_set(e, ERR_MALFORMED, "line %" PRId64 ": not a JSON object", run->line);
	}
	json_object_foreach_safe(fields, next, key, value)
		if (json_is_integer(value)) {
			(void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
			(void)json_object_set_new(fields, key, json_string(number));
		}
	result = run_test(run, fields, e);
	json_decref(fields);
	return result;
}

static int
run_tests(struct test_run *run, struct bytes text, struct err *e)
{
	while (text.len > 0) {
		const uint8_t *newline = memchr(text.at, '\n', text.len);
		size_t len = newline == NULL ? text.len : (size_t)(newline - text.at);
		struct bytes line = bytes_of(text.at, len);

		run->line++;
		if ((run->csv != NULL ? take_csv(run, line, e) : take_json(run, line, e)) != 0)
			return -1;
		text.at += len + (newline != NULL);
		text.len -= len + (newline != NULL);
	}
	return run->csv == NULL ? 0 : import_reader_end(run->csv, e);
}

static int
test_by(struct admin_call *call, const struct world *world, struct bytes table, struct err *e)
{
	struct test_run run = { .call = call, .world = world, .decision = calloc(1, sizeof *run.decision) };
	int result = run.decision == NULL ? err_set(e, ERR_NOMEM, "no memory for decisions") : 0;

	if (result == 0 && strcmp(admin_text_or(call, "format", "csv"), "jsonl") != 0)
		result = import_reader_new(IMPORT_CSV, "tests", &run.csv, e);
	if (result == 0)
		result = run_tests(&run, table, e);
	if (result == 0)
		call->result = json_pack("{s:I, s:I, s:s}", "tests", (json_int_t)run.tests, "failed", (json_int_t)run.failed,
			"policy_version", world->config->version);
	import_reader_free(run.csv);
	json_decref(run.header);
	free(run.decision);
	return result;
}

int
admin_policy_test(struct admin_call *call, struct err *e)
{
	CLEANUP(buf) struct buf file = { 0 };
	int64_t split = admin_int_or(call, "split", -1);
	struct world *present = world_get(), *candidate = NULL;
	struct bytes table;
	int result = read_file(call, &file, e);

	if (result == 0 && split > (int64_t)file.len)
		result = err_set(e, ERR_MALFORMED, "the files do not come to %" PRId64 " octets", split);
	if (result == 0 && split >= 0)
		result = load_candidate(&file, (size_t)split, present, &candidate, e);
	if (result == 0) {
		table = bytes_of(file.at, split >= 0 ? (size_t)split : file.len);
		result = test_by(call, candidate != NULL ? candidate : present, table, e);
	}
	if (candidate != NULL)
		world_put(candidate);
	world_put(present);
	return result;
}

/* ---- diff */

struct diff_run {
	struct admin_call *call;
	const struct world *present, *candidate;
	struct decision *now, *new;
	int64_t decided, differ, skipped;
	char skipped_why[ERR_TEXT_MAX];
	bool gone; /* the operator */
};

static int
compare(struct diff_run *run, const struct snapshot *s, int64_t id, struct err *e)
{
	CLEANUP(buf) struct buf csr = { 0 };
	struct request_row row;

	if (replay_load(run->call->gateway, s->read, id, &row, &csr, e) != 0 ||
	    replay_decide(run->call->gateway, run->present, s->read, &row, buf_bytes(&csr), row.updated_s, run->now, e) != 0 ||
	    replay_decide(run->call->gateway, run->candidate, s->read, &row, buf_bytes(&csr), row.updated_s, run->new, e) != 0)
		return -1;
	run->decided++;
	if (run->now->outcome == run->new->outcome && strcmp(run->now->reason, run->new->reason) == 0)
		return 0;
	run->differ++;
	run->gone = !admin_emit_row(run->call,
		json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "request", (json_int_t)id, "asset", row.asset_tag,
			"label", row.label, "now", expectation(run->now->outcome), "now_reason", run->now->reason,
			"now_sentence", run->now->sentence, "new", expectation(run->new->outcome), "new_reason",
			run->new->reason, "new_sentence", run->new->sentence));
	return 0;
}

static bool
keep_id(void *arg, const struct request_row *row)
{
	*(int64_t *)arg = row->id;
	return true;
}

/* Is there a request behind this one? *id gets the next one's number. */
static int
next_request(const struct snapshot *s, int64_t after, int64_t *id, struct err *e)
{
	struct request_filter filter = { .state = -1, .after_id = after, .limit = 1 };

	*id = 0;
	return s->ops->request_list(s->read, &filter, keep_id, id, e);
}

/* The latest request's number, found by halving: rows are numbered in order, and none goes. */
static int
latest_request(const struct snapshot *s, int64_t *out, struct err *e)
{
	int64_t low = 0, high = 1, id = 0;

	for (;;) {
		if (next_request(s, high, &id, e) != 0)
			return -1;
		if (id == 0)
			break;
		low = id;
		high = id * 2;
	}
	while (low < high) {
		int64_t middle = low + (high - low) / 2;

		if (next_request(s, middle, &id, e) != 0)
			return -1;
		if (id == 0)
			high = middle;
		else
			low = id;
	}
	*out = low;
	return 0;
}

/* A snapshot for each page: a long comparison never holds back the write-ahead log. *after moves on; 0: it was the last. */
static int
compare_page(struct diff_run *run, int64_t *after, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	int64_t id = *after;
	int i;

	if (snapshot_begin(run->call, &s, e) != 0)
		return -1;
	for (i = 0; i < DIFF_PAGE; i++) {
		if (next_request(&s, *after, &id, e) != 0)
			return -1;
		*after = id;
		if (id == 0)
			return 0;
		if (compare(run, &s, id, e) == 0 && !run->gone)
			continue;
		if (run->gone)
			return err_set(e, ERR_UPSTREAM, "the operator has gone");
		if (e->code == ERR_UPSTREAM && run->skipped == 0 && run->decided == 0)
			return -1;
		if (run->skipped++ == 0)
			(void)snprintf(run->skipped_why, sizeof run->skipped_why, "%s", e->text);
	}
	return 0;
}

static int
diff(struct diff_run *run, struct err *e)
{
	int64_t last = admin_int_or(run->call, "last", DIFF_DEFAULT), latest = 0, after = 0;
	int result = 0;

	if (last < 1 || last > DIFF_MAX)
		return err_set(e, ERR_MALFORMED, "--last wants a number from 1 to %d", DIFF_MAX);
	{
		CLEANUP(snapshot) struct snapshot s = { 0 };

		if (snapshot_begin(run->call, &s, e) != 0 || latest_request(&s, &latest, e) != 0)
			return -1;
	}
	if (latest == 0)
		return 0;
	after = latest > last ? latest - last : 0;
	do
		result = compare_page(run, &after, e);
	while (result == 0 && after != 0);
	return result;
}

int
admin_policy_diff(struct admin_call *call, struct err *e)
{
	CLEANUP(buf) struct buf text = { 0 };
	struct world *present = world_get(), *candidate = NULL;
	struct diff_run run = { .call = call, .present = present };
	int result = read_file(call, &text, e);

	if (result == 0)
		result = load_candidate(&text, 0, present, &candidate, e);
	if (result == 0) {
		run.candidate = candidate;
		run.now = calloc(1, sizeof *run.now);
		run.new = calloc(1, sizeof *run.new);
		result = run.now == NULL || run.new == NULL ? err_set(e, ERR_NOMEM, "no memory for decisions") : diff(&run, e);
	}
	if (result == 0 && candidate != NULL)
		call->result = json_pack("{s:I, s:I, s:I, s:s, s:s, s:s}", "decided", (json_int_t)run.decided, "differ",
			(json_int_t)run.differ, "skipped", (json_int_t)run.skipped, "skipped_why", run.skipped_why,
			"policy_version", present->config->version, "new_version", candidate->config->version);
	free(run.now);
	free(run.new);
	if (candidate != NULL)
		world_put(candidate);
	world_put(present);
	return result;
}
