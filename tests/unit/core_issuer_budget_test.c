/* A CA's budget, and what was to ask it for a certificate and did not: the next has its share, at the same second. */
#define _GNU_SOURCE
#include "tests/unit/core_issuer_second.h"

/* The issuer has looked, and found nothing to do. */
static void
await_idle(struct rig *r)
{
	struct issuer *issuer = r->gateway.issuer;
	bool idle = false;

	while (!idle) {
		const struct lane *lane = issuer->lanes[0];

		(void)pthread_mutex_lock(&issuer->lock);
		idle = lane->count == 0 && !lane->look && !lane->filling && lane->move_s == 0 && lane->due_s > fake.now_s;
		(void)pthread_mutex_unlock(&issuer->lock);
		(void)sched_yield();
	}
}

static void
recorded(struct rig *r, size_t count)
{
	issuer_load(r, "wait = \"0s\"; calls = 1; budget = 1; ");
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	while (--count > 0) {
		rig_new_csr(r);
		ask(r, ERR_PENDING);
	}
	issuer_stop(r->gateway.issuer);
	r->gateway.issuer = NULL;
}

/* An operator refuses the request itself. */
static void
refuse_first(const struct rig *r)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open_v2(r->db, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	(void)sqlite3_busy_timeout(db, 5000);
	assert_int_equal(sqlite3_exec(db, "UPDATE request SET state = 3 WHERE id = 1", NULL, NULL, NULL), SQLITE_OK);
	(void)sqlite3_close(db);
}

static void
what_is_withdrawn_before_the_call_leaves_its_share_to_the_next(void **state)
{
	struct rig *r = *state;

	recorded(r, 2);
	refuse_first(r);
	later_s(ISSUER_RECHECK_S + 1);
	issuer_open(r);
	/* No time goes on: without that share the second would come a minute later. */
	await(r, "SELECT count(*) FROM intent WHERE state = 4", 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM intent WHERE id = 1 AND state = 5"), 1);
	assert_int_equal(audits_of(r, "ca.withdrawn"), 1);
	assert_int_equal(fake.issues, 1);
}

static int (*by_id_really)(struct store_read *read, int64_t id, struct intent_row *out, struct buf *spec, struct buf *spki, struct err *e);
static _Atomic bool by_id_down;

static int
by_id_sometimes(struct store_read *read, int64_t id, struct intent_row *out, struct buf *spec, struct buf *spki, struct err *e)
{
	return by_id_down ? err_set(e, ERR_UPSTREAM, "disk") : by_id_really(read, id, out, spec, spki, e);
}

/* One that was recorded as sent and could not be read again is not sent: nor has it used what it took. */
static void
what_was_claimed_and_not_called_for_leaves_its_share(void **state)
{
	struct rig *r = *state;
	struct intent_ops intents = *r->ops.intents;

	issuer_load(r, "wait = \"0s\"; calls = 1; budget = 1; ");
	by_id_really = intents.by_id;
	intents.by_id = by_id_sometimes;
	r->ops.intents = &intents;
	by_id_down = true;
	issuer_open(r);
	await_idle(r);
	ask(r, ERR_PENDING);
	await(r, "SELECT count(*) FROM intent WHERE state = 0 AND tries = 1", 1);
	by_id_down = false;
	rig_new_csr(r);
	ask(r, ERR_PENDING);
	await(r, "SELECT count(*) FROM intent WHERE state = 4", 1);
	assert_int_equal(fake.issues, 1);
	issuer_stop(r->gateway.issuer);
	r->gateway.issuer = NULL;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(what_is_withdrawn_before_the_call_leaves_its_share_to_the_next),
		test(what_was_claimed_and_not_called_for_leaves_its_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
