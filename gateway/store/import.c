#include "gateway/store/import_internal.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Which assets this batch has written, by id, so that two lines that contradict each other are told. */
struct seen {
	uint8_t *bits;
	size_t octets;
};

struct import {
	const struct import_job *job;
	struct stage *stage;
	struct import_summary sum;
	int64_t revoked; /* certificates revoked or held by new states */
	struct seen seen;
	char owner[REG_TEXT_MAX]; /* the latest one looked up: most lines repeat it */
	int64_t owner_id;
	struct import_gate gate;
	bool probe; /* tried only, before a second operator is asked */
	atomic_llong done; /* read by the caller while the writer works */
};

/* ERR_DENIED when it was there already. */
static int
seen_add(struct seen *seen, int64_t id, const char *tag, struct err *e)
{
	size_t octet = (size_t)id / 8;
	uint8_t bit = (uint8_t)(1u << (id % 8));

	if (octet >= seen->octets) {
		size_t octets = octet * 2 + 1024;
		uint8_t *bits = realloc(seen->bits, octets);

		if (bits == NULL)
			return err_set(e, ERR_NOMEM, "import");
		memset(bits + seen->octets, 0, octets - seen->octets);
		seen->bits = bits;
		seen->octets = octets;
	}
	if ((seen->bits[octet] & bit) != 0)
		return err_set(e, ERR_DENIED, "asset %s stands differently in an earlier line", tag);
	seen->bits[octet] |= bit;
	return 0;
}

/* Owners. */

static int
add_owner(struct tx *tx, struct import *im, const char *name, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO owner (name, kind, status, contract_end_s, contact) VALUES (?1, ?2, ?3, 0, '')");

	query_text(&q, name);
	query_int(&q, OWNER_INTERNAL);
	query_int(&q, OWNER_ACTIVE);
	if (query_run(&q, e) != 0)
		return -1;
	im->sum.owners_added++;
	im->owner_id = sqlite3_last_insert_rowid(tx->conn->db);
	return 0;
}

static int
find_owner(struct tx *tx, struct import *im, const char *name, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn, "SELECT id FROM owner WHERE name = ?1");
	int rc;

	if (im->owner_id != 0 && strcmp(im->owner, name) == 0)
		return 0;
	query_text(&q, name);
	rc = query_row(&q, e);
	if (rc == 1)
		im->owner_id = query_get_int(&q);
	else if (rc == 0 && !im->job->create_owners)
		return err_set(e, ERR_DENIED, "there is no owner %s; --create-owners adds those that are missing", name);
	else if (rc == 0)
		rc = add_owner(tx, im, name, e);
	if (rc < 0)
		return -1;
	memcpy(im->owner, name, strlen(name) + 1);
	return 0;
}

/* The asset a record is about. */

static int
one_asset(struct query *q, struct asset *out, struct err *e)
{
	int rc = query_row(q, e);

	if (rc == 1)
		row_asset(q, out);
	return rc;
}

static int
find_by_source(struct tx *tx, const struct asset *in, struct asset *out, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT " ASSET_COLUMNS " FROM asset a"
		" WHERE a.source = ?1 AND a.source_key = ?2 AND a.source_key <> ''");

	query_text(&q, in->source);
	query_text(&q, in->source_key);
	return one_asset(&q, out, e);
}

/* 1: *found is the asset, 0: a new one, -1. */
static int
match(struct tx *tx, const struct asset *in, struct asset *found, struct err *e)
{
	CLEANUP(query) struct query q =
		query_of(tx->conn, "SELECT " ASSET_COLUMNS " FROM asset a WHERE a.tag = ?1");
	struct asset other;
	int by_tag, by_source;

	query_text(&q, in->tag);
	by_tag = one_asset(&q, found, e);
	if (by_tag < 0 || in->source_key[0] == '\0')
		return by_tag;
	by_source = find_by_source(tx, in, &other, e);
	if (by_source < 0)
		return -1;
	if (by_tag == 1 && by_source == 1 && other.id != found->id)
		return err_set(e, ERR_DENIED, "source %s, key %s is asset %s, not %s", in->source,
			in->source_key, other.tag, in->tag);
	if (by_tag == 0 && by_source == 1)
		*found = other;
	return by_tag == 1 ? 1 : by_source;
}

/* A lost, stolen, quarantined or retired device must not come back under another name. */
static int
check_serial(struct tx *tx, const struct asset *in, int64_t own_id, struct err *e)
{
	/* "ACME" and "Acme" are one manufacturer, and one that is left out may be any. */
	CLEANUP(query) struct query q = query_of(tx->conn,
		"SELECT tag, state FROM asset WHERE serial = ?2 COLLATE NOCASE AND locked = 1 AND id <> ?3"
		" AND (manufacturer = ?1 COLLATE NOCASE OR manufacturer = '' OR ?1 = '') LIMIT 1");
	char tag[REG_TEXT_MAX];
	int rc;

	if (in->serial[0] == '\0')
		return 0;
	query_text(&q, in->manufacturer);
	query_text(&q, in->serial);
	query_int(&q, own_id);
	rc = query_row(&q, e);
	if (rc != 1)
		return rc;
	query_get_text(&q, tag, sizeof tag);
	return err_set(e, ERR_DENIED, "serial %s of asset %s is that of %s, which is %s", in->serial, in->tag, tag,
		asset_state_name((enum asset_state)query_get_int(&q)));
}

static void
bind_fields(struct query *q, const struct asset *in, int64_t owner_id)
{
	query_text(q, in->tag);
	query_int(q, owner_id);
	query_text(q, in->manufacturer);
	query_text(q, in->model);
	query_text(q, in->serial);
	query_text(q, in->class_name);
	query_text(q, in->site);
	query_text(q, in->hostname);
	query_text(q, in->source);
	query_text(q, in->source_key);
	query_int(q, in->holding);
	query_int(q, in->tier);
}

static int
insert_asset(struct tx *tx, const struct import *im, const struct asset *in, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"INSERT INTO asset (tag, owner_id, manufacturer, model, serial, class, site, hostname, source,"
		" source_key, holding, tier, state, locked, version, state_since_s, created_s)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 1, ?15, ?15)");

	bind_fields(&q, in, im->owner_id);
	query_int(&q, in->state);
	query_int(&q, state_locked(in->state));
	query_int(&q, im->job->now_s);
	return query_run(&q, e);
}

static int
update_asset(struct tx *tx, const struct import *im, const struct asset *in, int64_t id, struct err *e)
{
	CLEANUP(query) struct query q = query_of(tx->conn,
		"UPDATE asset SET tag = ?1, owner_id = ?2, manufacturer = ?3, model = ?4, serial = ?5, class = ?6,"
		" site = ?7, hostname = ?8, source = ?9, source_key = ?10, holding = ?11, tier = ?12,"
		" version = version + 1 WHERE id = ?13");

	bind_fields(&q, in, im->owner_id);
	query_int(&q, id);
	return query_run(&q, e);
}

/* One record. */

static int
check_not_offered(const struct import_record *rec, struct err *e)
{
	if (rec->asset.state != ASSET_TRANSFER_PENDING)
		return 0;
	return err_set(e, ERR_DENIED, "asset %s: an asset becomes %s by an offer to another owner: use \"transfer offer\"",
		rec->asset.tag, asset_state_name(rec->asset.state));
}

static int
add(struct tx *tx, struct import *im, const struct import_record *rec, struct err *e)
{
	bool anchors;
	int64_t id;

	if (check_not_offered(rec, e) != 0 || check_serial(tx, &rec->asset, 0, e) != 0)
		return -1;
	if (insert_asset(tx, im, &rec->asset, e) != 0)
		return -1;
	id = sqlite3_last_insert_rowid(tx->conn->db);
	if (import_compare_anchors(tx, rec, id, false, &anchors, e) != 0)
		return -1;
	if (anchors && import_replace_anchors(tx, rec, id, e) != 0)
		return -1;
	im->sum.added++;
	return seen_add(&im->seen, id, rec->asset.tag, e);
}

/* *moves: the record names another state, and an import may bring it about. */
static int
check_state(const struct import_record *rec, const struct asset *found, bool *moves, struct err *e)
{
	*moves = rec->has_state && rec->asset.state != found->state;
	if (!*moves)
		return 0;
	if (state_locked(found->state))
		return err_set(e, ERR_DENIED, "asset %s is %s, and an import does not change that", found->tag,
			asset_state_name(found->state));
	if (check_not_offered(rec, e) != 0)
		return -1;
	if (asset_state_move(found->state, rec->asset.state, e) != 0)
		return err_prefix(e, "asset %s", found->tag);
	return 0;
}

static int
check_identity(struct tx *tx, const struct import *im, const struct asset *in, const struct asset *found,
	struct err *e)
{
	if (import_same_identity(in, found) && im->owner_id == found->owner_id)
		return 0;
	if (state_locked(found->state))
		return err_set(e, ERR_DENIED, "asset %s is %s and keeps its tag, manufacturer, serial and owner",
			found->tag, asset_state_name(found->state));
	if (found->state == ASSET_TRANSFER_PENDING && im->owner_id != found->owner_id)
		return err_set(e, ERR_DENIED, "asset %s is being transferred: its new owner accepts it, or it is cancelled",
			found->tag);
	return import_same_identity(in, found) ? 0 : check_serial(tx, in, found->id, e);
}

static int
move_state(struct tx *tx, struct import *im, const struct import_record *rec, const struct asset *found,
	struct err *e)
{
	struct state_change change = {
		.asset_id = found->id,
		.from = found->state,
		.to = rec->asset.state,
		.reason = im->job->source,
		.actor = im->job->actor,
		.now_s = im->job->now_s,
	};
	int64_t touched, lifted;

	if (state_apply(tx, &change, &touched, &lifted, e) != 0)
		return -1;
	im->revoked += touched;
	return 0;
}

/*
 * Its certificates stay good: the device is the same, and an import tells what has come about already. So it takes
 * up room at its new owner's, even more than there is. All else that the old owner had on it ends.
 */
static int
change_owner(struct tx *tx, struct import *im, struct import_change *change, struct err *e)
{
	int64_t id = change->found->id;

	if (im->owner_id == change->found->owner_id)
		return 0;
	im->gate.moved++;
	if (transfer_end_rights(tx, id, im->job->actor, im->job->now_s, &change->ended, e) != 0)
		return -1;
	return quota_leave(tx, id, e) != 0 ? -1 : quota_fill(tx, id, im->job->now_s, e);
}

static int
update(struct tx *tx, struct import *im, const struct import_record *rec, const struct asset *found,
	struct err *e)
{
	bool fields = !import_same_fields(&rec->asset, found) || im->owner_id != found->owner_id;
	struct import_change change = {.job = im->job, .rec = rec, .found = found, .owner_id = im->owner_id};

	if (check_identity(tx, im, &rec->asset, found, e) != 0 || check_state(rec, found, &change.moves, e) != 0)
		return -1;
	if (import_compare_anchors(tx, rec, found->id, state_locked(found->state), &change.anchors, e) != 0)
		return -1;
	if (!fields && !change.anchors && !change.moves) {
		im->sum.unchanged++;
		return 0;
	}
	if (seen_add(&im->seen, found->id, rec->asset.tag, e) != 0)
		return -1;
	if ((fields || change.anchors) && update_asset(tx, im, &rec->asset, found->id, e) != 0)
		return -1;
	if (change_owner(tx, im, &change, e) != 0)
		return -1;
	if (change.anchors && import_replace_anchors(tx, rec, found->id, e) != 0)
		return -1;
	if (change.moves && move_state(tx, im, rec, found, e) != 0)
		return -1;
	im->sum.updated++;
	return import_append_change(tx, &change, e);
}

static int
import_one(struct tx *tx, struct import *im, struct import_record *rec, struct err *e)
{
	struct asset found;
	int rc;

	if (find_owner(tx, im, rec->owner, e) != 0)
		return -1;
	rc = match(tx, &rec->asset, &found, e);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return add(tx, im, rec, e);
	import_merge(rec, &found);
	return update(tx, im, rec, &found, e);
}

static int
append_audit(struct tx *tx, const struct import *im, struct err *e)
{
	CLEANUP(buf) struct buf detail = {0};

	json_open(&detail);
	json_int(&detail, "added", im->sum.added);
	json_int(&detail, "updated", im->sum.updated);
	json_int(&detail, "unchanged", im->sum.unchanged);
	json_int(&detail, "owners_added", im->sum.owners_added);
	json_int(&detail, "certificates_revoked_or_held", im->revoked);
	json_close(&detail);
	if (buf_failed(&detail))
		return err_set(e, ERR_NOMEM, "audit row");
	return chain_append(tx, im->job->now_s, im->job->actor, "import", im->job->source, buf_text(&detail), e);
}

/* In the writer's thread, alone in its transaction. */
static int
import_job(struct tx *tx, void *arg, struct err *e)
{
	struct import *im = arg;
	struct import_record rec;
	int rc;

	if (import_gate_pass(tx, &im->gate, e) != 0)
		return -1;
	while ((rc = stage_next(im->stage, &rec, e)) == 1) {
		if (import_one(tx, im, &rec, e) != 0)
			return err_prefix(e, "line %lld", (long long)rec.line);
		atomic_fetch_add(&im->done, 1);
	}
	if (rc < 0)
		return -1;
	im->gate.waits = im->gate.moved > 0 && im->job->large > 0 && im->gate.approval_id == 0;
	if (im->job->dry_run || im->probe || im->gate.waits)
		return JOB_UNDO;
	return append_audit(tx, im, e);
}

/* In the caller's thread, who may be slow. */
static void
tick(void *arg)
{
	struct import *im = arg;

	if (im->job->progress != NULL)
		im->job->progress(im->job->arg, atomic_load(&im->done));
}

static int
gather(struct import *im, struct err *e)
{
	struct import_record rec;
	int rc;

	while ((rc = im->job->next(im->job->arg, &rec, e)) == 1) {
		if (stage_put(im->stage, &rec, e) != 0)
			return -1;
		im->gate.records++;
	}
	return rc < 0 ? -1 : stage_rewind(im->stage, e);
}

/* Nothing that it found stays: not even the ids of owners that it added. */
static int
probe(struct store *store, struct import *im, struct err *e)
{
	struct import trial = {.job = im->job, .stage = im->stage, .probe = true};
	int rc = writer_call(&store->writer, import_job, &trial, tick, e);

	free(trial.seen.bits);
	im->gate.moved = trial.gate.moved;
	return rc != 0 ? -1 : stage_rewind(im->stage, e);
}

/* With a second operator's word only. tried: it is known that it would go in. */
static int
admit(struct store *store, struct import *im, bool tried, struct err *e)
{
	int rc;

	if (stage_digest(im->stage, im->job, im->gate.digest, e) != 0)
		return -1;
	rc = import_gate_find(store, &im->gate, e);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	return !tried && probe(store, im, e) != 0 ? -1 : import_gate_ask(store, &im->gate, e);
}

static int
apply(struct store *store, struct import *im, struct err *e)
{
	int rc;

	im->gate.moved = 0;
	im->sum = (struct import_summary){0};
	im->revoked = 0;
	im->owner_id = 0;
	atomic_store(&im->done, 0);
	rc = writer_call(&store->writer, import_job, im, tick, e);
	free(im->seen.bits);
	im->seen = (struct seen){0};
	return rc;
}

/* A large one is known by its number; that it moves assets between owners only once it has been applied. */
static int
run(struct store *store, struct import *im, struct err *e)
{
	const struct import_job *job = im->job;

	if (!job->dry_run && job->large > 0 && im->gate.records > job->large && admit(store, im, false, e) != 0)
		return -1;
	if (apply(store, im, e) != 0)
		return -1;
	if (job->dry_run || !im->gate.waits)
		return 0;
	return admit(store, im, true, e) != 0 ? -1 : apply(store, im, e);
}

int
sqlite_import(struct store *store, const struct import_job *job, struct import_summary *out, struct err *e)
{
	CLEANUP(stage) struct stage *stage = NULL;
	struct import im = {.job = job, .gate.job = job};

	if (store->read_only)
		return err_set(e, ERR_UPSTREAM, "database: opened for reading only");
	if (stage_new(sqlite3_db_filename(store->writer.conn.db, "main"), &stage, e) != 0)
		return -1;
	im.stage = stage;
	if (gather(&im, e) != 0)
		return -1;
	if (run(store, &im, e) != 0) {
		out->approval_id = im.gate.approval_id;
		return -1;
	}
	tick(&im);
	im.sum.approval_id = 0;
	*out = im.sum;
	return 0;
}
