#include "gateway/store/sqlite_internal.h"

#include <stdio.h>
#include <string.h>

#define PROGRESS_ROWS 4096

struct audit_write {
	int64_t now_s;
	const char *actor, *action, *subject, *detail_json;
};

static int
audit_job(struct tx *tx, void *arg, struct err *e)
{
	const struct audit_write *w = arg;

	return chain_append(tx, w->now_s, w->actor, w->action, w->subject, w->detail_json, e);
}

int
sqlite_audit(struct store *store, int64_t now_s, const char *actor, const char *action, const char *subject,
	const char *detail_json, struct err *e)
{
	struct audit_write write = {now_s, actor, action, subject, detail_json};

	return store_write(store, audit_job, &write, e);
}

static int
newest_seq(struct store_read *read, int64_t *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn, "SELECT max(seq) FROM audit");

	if (query_row(&q, e) < 0)
		return -1;
	*out = query_get_int(&q);
	return 0;
}

int
sqlite_audit_list(struct store_read *read, int64_t after_seq, int limit, bool newest, audit_cb cb, void *arg,
	struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT seq, at_s, actor, action, subject, prev, hash, detail_json FROM audit"
		" WHERE seq > ?1 ORDER BY seq LIMIT ?2");
	int64_t rows = limit > 0 ? limit : STORE_LIST_DEFAULT, last;
	struct audit_row row;
	int rc;

	if (newest) {
		if (newest_seq(read, &last, e) != 0)
			return -1;
		if (last - rows > after_seq)
			after_seq = last - rows;
	}
	query_int(&q, after_seq);
	query_int(&q, rows);
	while ((rc = query_row(&q, e)) == 1) {
		row.seq = query_get_int(&q);
		row.at_s = query_get_int(&q);
		query_get_text(&q, row.actor, sizeof row.actor);
		query_get_text(&q, row.action, sizeof row.action);
		query_get_text(&q, row.subject, sizeof row.subject);
		query_get_blob(&q, row.prev, sizeof row.prev);
		query_get_blob(&q, row.hash, sizeof row.hash);
		row.detail_json = query_get0_text(&q);
		if (!cb(arg, &row))
			return 0;
	}
	return rc;
}

/* One pass over the chain. */
struct verification {
	struct chain head;    /* as stored apart from the rows */
	struct chain at;      /* the last row that fits */
	struct buf *scratch;
	struct audit_report *report;
};

/* Remembers the first thing that is wrong; numbers from 1, whatever an intruder's row calls itself. */
static int
bad(struct verification *v, int64_t seq, const char *problem)
{
	v->report->bad_seq = seq > 0 ? seq : 1;
	(void)snprintf(v->report->problem, sizeof v->report->problem, "row %lld %s", (long long)seq, problem);
	return 0;
}

/* 1: the row fits, 0: it does not (reported), -1: *e is set. */
static int
check_row(struct verification *v, struct query *q, struct err *e)
{
	int64_t expected = v->at.seq + 1;
	struct chain_row row;
	uint8_t prev[32], hash[32], computed[32];

	row.seq = query_get_int(q);
	row.at_s = query_get_int(q);
	row.actor = query_get0_blob(q);
	row.action = query_get0_blob(q);
	row.subject = query_get0_blob(q);
	row.detail = query_get0_blob(q);
	query_get_blob(q, prev, sizeof prev);
	query_get_blob(q, hash, sizeof hash);
	if (row.seq < expected)
		return bad(v, row.seq, "was put in: the chain begins with row 1");
	if (row.seq > expected)
		return bad(v, expected, "is missing");
	if (chain_hash(prev, &row, v->scratch, computed, e) != 0)
		return -1;
	if (memcmp(computed, hash, sizeof hash) != 0)
		return bad(v, row.seq, "was edited: its hash does not match its contents");
	if (memcmp(prev, v->at.hash, sizeof prev) != 0)
		return bad(v, row.seq, "does not follow the row before it: rows were put in, removed or reordered");
	v->at.seq = row.seq;
	memcpy(v->at.hash, hash, sizeof hash);
	return 1;
}

static void
check_head(struct verification *v)
{
	if (v->at.seq < v->head.seq)
		(void)bad(v, v->at.seq + 1, "is missing, with all after it: the chain's head is newer");
	else if (v->at.seq > v->head.seq)
		(void)bad(v, v->head.seq + 1, "was put in: the chain's head is older");
	else if (memcmp(v->at.hash, v->head.hash, sizeof v->at.hash) != 0)
		(void)bad(v, v->at.seq, "is not the one the chain's head names");
}

/* Reads texts as stored, past any of our limits: an edited row may be longer. */
static int
check_rows(struct store_read *read, struct verification *v, void (*progress)(void *, int64_t, int64_t),
	void *arg, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT seq, at_s, actor, action, subject, detail_json, prev, hash FROM audit ORDER BY seq");
	int rc, fits;

	while ((rc = query_row(&q, e)) == 1) {
		v->report->rows++;
		fits = check_row(v, &q, e);
		if (fits != 1)
			return fits;
		if (progress != NULL && v->report->rows % PROGRESS_ROWS == 0)
			progress(arg, v->report->rows, v->head.seq);
	}
	if (rc == 0)
		check_head(v);
	return rc;
}

int
sqlite_audit_verify(struct store_read *read, void (*progress)(void *, int64_t, int64_t), void *arg,
	struct audit_report *out, struct err *e)
{
	struct audit_report report = {0};
	CLEANUP(buf) struct buf scratch = {0};
	struct verification v = {.report = &report, .scratch = &scratch};
	int rc = chain_load(&read->conn, &v.head, e);

	if (rc < 0)
		return -1;
	if (rc == 0)
		(void)bad(&v, 1, "and all after it are in doubt: the chain's head is missing");
	else if (check_rows(read, &v, progress, arg, e) != 0)
		return -1;
	if (progress != NULL)
		progress(arg, report.rows, v.head.seq);
	memcpy(report.head, v.at.hash, sizeof report.head);
	*out = report;
	return 0;
}
