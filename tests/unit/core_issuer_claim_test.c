/* The short ways: to a CA that has nothing to do, past one whose answer is being recorded, and from it to the request that waits. */
#define _GNU_SOURCE
#include "tests/unit/core_issuer_threads_fixture.h"

/* As the CA gave it, without a look at the store: that it was asked for is known, and that it was allowed when it came. */
static void
who_has_asked_is_handed_the_certificate(void **state)
{
	struct rig *r = *state;
	struct device device = { 0 };

	issuer_load(r, "wait = \"60s\"; ");
	hold(true);
	issuer_open(r);
	device_start(&device, r);
	await_waiting(r, 1);
	hold(false);
	assert_int_equal(device_end(&device), ERR_NONE);
	assert_memory_equal(device.result.cert.at, fake.made.at, fake.made.len);
	assert_string_equal(device.result.ca, "issuing");
	assert_string_equal(device.result.asset_tag, "rtr-1");
	assert_int_equal(device.result.request_id, 1);
	assert_false(device.result.replayed);
	assert_int_equal(audits_of(r, "enroll.replayed"), 0);
	enroll_result_free(&device.result);
}

/* A certificate that did not come as it was approved is nobody's, whoever waits for it. */
static void
who_has_asked_is_not_handed_what_was_not_approved(void **state)
{
	struct rig *r = *state;
	struct device device = { 0 };

	issuer_load(r, "wait = \"60s\"; ");
	fake_will(fake.issue, TOO_LONG);
	hold(true);
	issuer_open(r);
	device_start(&device, r);
	await_waiting(r, 1);
	hold(false);
	assert_int_equal(device_end(&device), ERR_DENIED);
	assert_int_equal(device.result.cert.len, 0);
	enroll_result_free(&device.result);
}

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

static int (*step_really)(struct store *, const struct intent_step *, bool *, struct err *);
static size_t steps;

static int
step_counted(struct store *store, const struct intent_step *step, bool *done, struct err *e)
{
	steps++;
	return step_really(store, step, done, e);
}

static void
count_steps(struct rig *r, struct intent_ops *ops)
{
	*ops = *r->ops.intents;
	step_really = ops->step;
	ops->step = step_counted;
	r->ops.intents = ops;
	steps = 0;
}

static void
a_ca_with_nothing_to_do_is_called_as_soon_as_the_request_is_recorded(void **state)
{
	struct rig *r = *state;
	struct intent_ops ops;
	struct device device = { 0 };

	count_steps(r, &ops);
	issuer_load(r, "wait = \"60s\"; calls = 1; ");
	hold(true);
	issuer_open(r);
	await_idle(r);
	device_start(&device, r);
	await_calls(&fake.inside, 1);
	/* One that died now would find it: the call was not made before this could be read. */
	assert_int_equal(rig_number(r, "SELECT count(*) FROM intent WHERE state = 1 AND tries = 1"), 1);
	hold(false);
	assert_int_equal(device_end(&device), ERR_NONE);
	enroll_result_free(&device.result);
	assert_int_equal(steps, 0);
	assert_int_equal(fake.issues, 1);
}

static struct rig *recording_rig;
static int (*record_really)(struct store *, const struct store_outcome *, enum store_recorded *, int64_t *, struct err *);

static int
record_fails_once(struct store *store, const struct store_outcome *outcome, enum store_recorded *what, int64_t *request_id, struct err *e)
{
	struct rig *r = recording_rig;

	(void)store;
	(void)outcome;
	(void)what;
	(void)request_id;
	r->ops.record = record_really;
	return err_set(e, ERR_UPSTREAM, "disk full");
}

static int
record_and_rename(struct store *store, const struct store_outcome *outcome, enum store_recorded *what, int64_t *request_id, struct err *e)
{
	struct rig *r = recording_rig;
	int result = record_really(store, outcome, what, request_id, e);

	(void)pthread_mutex_lock(&r->gateway.issuer->lock);
	(void)snprintf(r->world->config->cas[0].name, sizeof r->world->config->cas[0].name, "renamed");
	(void)pthread_mutex_unlock(&r->gateway.issuer->lock);
	return result;
}

/* Its only call was kept for one that came to nothing. */
static void
what_could_not_be_recorded_is_not_called_for_and_blocks_nobody(void **state)
{
	struct rig *r = *state;

	issuer_load(r, "wait = \"60s\"; calls = 1; ");
	issuer_open(r);
	await_idle(r);
	recording_rig = r;
	record_really = r->ops.record;
	r->ops.record = record_fails_once;
	ask(r, ERR_UPSTREAM);
	assert_int_equal(fake.issues, 0);
	await_idle(r);
	ask(r, ERR_NONE);
	assert_int_equal(fake.issues, 1);
}

/* One certificate a minute: what was not even recorded took none of them. */
static void
what_could_not_be_recorded_leaves_the_budget_as_it_was(void **state)
{
	struct rig *r = *state;

	issuer_load(r, "wait = \"60s\"; budget = 1; ");
	issuer_open(r);
	await_idle(r);
	recording_rig = r;
	record_really = r->ops.record;
	r->ops.record = record_fails_once;
	ask(r, ERR_UPSTREAM);
	await_idle(r);
	ask(r, ERR_NONE);
	assert_int_equal(fake.issues, 1);
}

/* The CA's entry has gone from the configuration in between. */
static void
what_nobody_can_be_called_for_after_all_is_open_again(void **state)
{
	struct rig *r = *state;
	struct device device = { 0 };

	issuer_load(r, "wait = \"0s\"; calls = 1; ");
	issuer_open(r);
	await_idle(r);
	recording_rig = r;
	record_really = r->ops.record;
	r->ops.record = record_and_rename;
	device_start(&device, r);
	assert_int_equal(device_end(&device), ERR_PENDING);
	await_end(r, "SELECT count(*) FROM intent WHERE state = 0", 1);
	assert_int_equal(fake.issues, 0);
}

static struct {
	int (*really)(struct store *, const struct store_outcome *, enum store_recorded *, int64_t *, struct err *);
	size_t issues;  /* how often the CA had been called when the first certificate was recorded */
} recording;

static int
record_after_the_second_call(struct store *store, const struct store_outcome *outcome, enum store_recorded *what, int64_t *request_id,
	struct err *e)
{
	struct timespec until;

	fake_lock();
	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	if (outcome->state == REQUEST_ISSUED && recording.issues == 0) {
		while (fake.issues < 2 && pthread_cond_timedwait(&fake.changed, &fake.lock, &until) == 0)
			;
		recording.issues = fake.issues;
	}
	fake_unlock();
	return recording.really(store, outcome, what, request_id, e);
}

/* One call at a time: what it came to is recorded while the next one is made. */
static void
a_ca_does_not_wait_until_its_answer_is_recorded(void **state)
{
	struct rig *r = *state;
	struct device devices[2] = { 0 };
	struct buf csrs[2] = { 0 };
	size_t i;

	recording.issues = 0;
	recording.really = r->ops.record;
	r->ops.record = record_after_the_second_call;
	issuer_load(r, "wait = \"60s\"; calls = 1; ");
	issuer_open(r);
	for (i = 0; i < 2; i++) {
		rig_new_csr(r);
		buf_append_bytes(&csrs[i], r->request.csr);
		r->request.csr = buf_bytes(&csrs[i]);
		device_start(&devices[i], r);
	}
	for (i = 0; i < 2; i++) {
		assert_int_equal(device_end(&devices[i]), ERR_NONE);
		enroll_result_free(&devices[i].result);
		buf_free(&csrs[i]);
	}
	assert_int_equal(recording.issues, 2);
}

static struct {
	struct rig *rig;
	struct intent_ops ops;
	_Atomic bool committed, looked;
} look;

static int
record_and_look(struct store *store, const struct store_outcome *outcome, enum store_recorded *what, int64_t *request_id, struct err *e)
{
	int result = store_sqlite.record(store, outcome, what, request_id, e);

	look.rig->ops.record = store_sqlite.record;
	look.committed = true;
	issuer_wake(look.rig->gateway.issuer, "issuing");
	while (!look.looked)
		(void)sched_yield();
	return result;
}

/* A look that begins while the intent is being recorded, finds it sent, and ends when its call has come to nothing. */
static int
list_slowly(struct store_read *read, const struct intent_filter *filter, intent_cb cb, void *arg, struct err *e)
{
	int result;

	if (!look.committed || look.looked)
		return store_sqlite.intents->list(read, filter, cb, arg, e);
	result = store_sqlite.intents->list(read, filter, cb, arg, e);
	look.looked = true;
	await_end(look.rig, "SELECT count(*) FROM intent WHERE state = 0", 1);
	await_recorded(look.rig);
	return result;
}

static void
what_a_look_finds_sent_is_not_called_for_once_more_before_its_time(void **state)
{
	struct rig *r = *state;

	look.rig = r;
	look.committed = look.looked = false;
	look.ops = *r->ops.intents;
	look.ops.list = list_slowly;
	r->ops.intents = &look.ops;
	issuer_load(r, "wait = \"0s\"; calls = 2; ");
	fake_will(fake.issue, DOWN);
	issuer_open(r);
	await_idle(r);
	r->ops.record = record_and_look;
	ask(r, ERR_PENDING);
	await_calls(&fake.issues, 1);
	await_recorded(r);
	await_idle(r);
	await_recorded(r);
	assert_int_equal(fake.issues, 1);
}

static void
revoke_all(const struct rig *r)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open_v2(r->db, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	(void)sqlite3_busy_timeout(db, 5000);
	assert_int_equal(sqlite3_exec(db, "UPDATE certificate SET status = 1, revoked_s = 1, revoke_reason = 'stolen'", NULL, NULL, NULL), SQLITE_OK);
	(void)sqlite3_close(db);
}

/* Nobody wakes the lane: the sweep revokes. */
static void
a_clock_that_goes_back_keeps_no_lane_from_looking(void **state)
{
	struct rig *r = *state;
	struct issuer *issuer;

	issuer_load(r, "wait = \"60s\"; ");
	issuer_open(r);
	ask(r, ERR_NONE);
	issuer = r->gateway.issuer;
	await_recorded(r);
	later_s(7200);
	issuer_wake(issuer, NULL);
	await_idle(r);
	revoke_all(r);
	later_s(-7200);
	rig_new_csr(r);
	ask(r, ERR_NONE); /* its thread comes by */
	await_calls(&fake.revokes, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(who_has_asked_is_handed_the_certificate),
		test(who_has_asked_is_not_handed_what_was_not_approved),
		test(a_ca_does_not_wait_until_its_answer_is_recorded),
		test(a_ca_with_nothing_to_do_is_called_as_soon_as_the_request_is_recorded),
		test(what_could_not_be_recorded_is_not_called_for_and_blocks_nobody),
		test(what_could_not_be_recorded_leaves_the_budget_as_it_was),
		test(what_nobody_can_be_called_for_after_all_is_open_again),
		test(what_a_look_finds_sent_is_not_called_for_once_more_before_its_time),
		test(a_clock_that_goes_back_keeps_no_lane_from_looking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
