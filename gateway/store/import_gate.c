#include "gateway/store/import_internal.h"

#include <stdio.h>

/*
 * A large import needs a second operator. The first time it is only tried, so
 * that nobody approves what would fail, and asks; the same records with the
 * same options, once approved, go in. They are told by a digest.
 */
#define GATE_S_DEFAULT ((int64_t)7 * 86400)

static int
already_waits(int64_t id, struct err *e)
{
	return err_set(e, ERR_PENDING, "the import waits for a second operator: approval %lld", (long long)id);
}

static int
find_job(struct tx *tx, void *arg, struct err *e)
{
	struct import_gate *gate = arg;
	enum approval_state state = APPROVAL_WAITING;
	int rc;

	gate->approval_id = 0;
	rc = approval_of_digest(tx, gate->digest, gate->job->now_s, &gate->approval_id, &state, e);
	gate->given = rc == 1 && state == APPROVAL_GIVEN;
	return rc < 0 ? -1 : JOB_UNDO;
}

int
import_gate_find(struct store *store, struct import_gate *gate, struct err *e)
{
	if (store_write(store, find_job, gate, e) != 0)
		return -1;
	if (gate->given)
		return 1;
	return gate->approval_id == 0 ? 0 : already_waits(gate->approval_id, e);
}

static int
ask(struct tx *tx, struct import_gate *gate, struct err *e)
{
	char text[96];
	struct approval_ask ask = {
		.kind = "import",
		.subject = gate->job->source,
		.detail = text,
		.reason = "",
		.actor = gate->job->actor,
		.needed = 1,
		.now_s = gate->job->now_s,
		.expires_s = gate->job->now_s + (gate->job->approval_s > 0 ? gate->job->approval_s : GATE_S_DEFAULT),
		.digest = gate->digest,
	};
	CLEANUP(buf) struct buf detail = {0};
	char hex[65];

	(void)snprintf(text, sizeof text, "%lld records, %lld moved between owners", (long long)gate->records,
		(long long)gate->moved);
	if (approval_put(tx, &ask, &gate->approval_id, e) != 0)
		return -1;
	hex_encode(bytes_of(gate->digest, sizeof gate->digest), hex);
	json_open(&detail);
	json_int(&detail, "approval", gate->approval_id);
	json_int(&detail, "records", gate->records);
	json_int(&detail, "moved", gate->moved);
	json_text(&detail, "sha256", hex);
	json_int(&detail, "expires_s", ask.expires_s);
	json_close(&detail);
	return store_append(tx, ask.now_s, ask.actor, "import.waits", ask.subject, &detail, e);
}

/* Somebody else may have asked for the same while this one was tried. */
static int
ask_job(struct tx *tx, void *arg, struct err *e)
{
	struct import_gate *gate = arg;
	enum approval_state state;
	int rc = approval_of_digest(tx, gate->digest, gate->job->now_s, &gate->approval_id, &state, e);

	if (rc < 0)
		return -1;
	return rc == 1 ? JOB_UNDO : ask(tx, gate, e);
}

int
import_gate_ask(struct store *store, struct import_gate *gate, struct err *e)
{
	if (store_write(store, ask_job, gate, e) != 0)
		return -1;
	return already_waits(gate->approval_id, e);
}

int
import_gate_pass(struct tx *tx, const struct import_gate *gate, struct err *e)
{
	enum approval_state state;
	int64_t id;
	int rc;

	if (gate->approval_id == 0)
		return 0;
	rc = approval_of_digest(tx, gate->digest, gate->job->now_s, &id, &state, e);
	if (rc < 0)
		return -1;
	if (rc == 0 || id != gate->approval_id || state != APPROVAL_GIVEN)
		return err_set(e, ERR_DENIED, "approval %lld is used up", (long long)gate->approval_id);
	return approval_use(tx, id, gate->job->source, gate->job->actor, gate->job->now_s, e);
}
