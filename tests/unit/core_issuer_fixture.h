/*
 * core_issuer_fixture.h - a CA elsewhere that does what the test says, and an issuer whose clock is the test's.
 *
 * Its certificates are the built-in CA's. What it is told to do it does once for each call, in order; past the last one,
 * the last again.
 */
#ifndef TESTS_UNIT_CORE_ISSUER_FIXTURE_H
#define TESTS_UNIT_CORE_ISSUER_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/unit/core_enroll_fixture.h"
#include "gateway/core/issuer_internal.h"

enum act { ISSUE, REFUSE, DOWN, WAIT, LOSE, LOSE_UNSENT, ABSENT, WRONG_KEY, WRONG_NAME, TOO_LONG, SAME_AGAIN };

#define ACTS_MAX 16
#define CALLS_MAX 64
struct fake {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum act issue[ACTS_MAX], poll[ACTS_MAX], reconcile[ACTS_MAX];
	size_t issues, polls, reconciles; /* calls so far */
	char asked[CALLS_MAX][INTENT_CA_REQUEST_MAX]; /* by issue(), in order */
	struct buf made;            /* the latest certificate that issue() made, lost or not */
	char made_serial[SERIAL_ANY_MAX];
	int64_t made_from, made_to;
	size_t made_count;          /* certificates that exist there */
	bool held;                  /* issue() waits until the test lets it go on */
	size_t inside;              /* calls of issue() under way */
	char revoked[ACTS_MAX][SERIAL_HEX_MAX];
	size_t revokes;
	bool revoke_down;
	bool check_down;            /* what looks at it finds nobody */
	size_t checks;
	_Atomic int64_t now_s;
	_Atomic int64_t jumped_s;   /* of it by being set */
};

static struct fake fake; /* ops have no argument of the test's own */

static inline void
fake_lock(void)
{
	(void)pthread_mutex_lock(&fake.lock);
}

static inline void
fake_unlock(void)
{
	(void)pthread_cond_broadcast(&fake.changed);
	(void)pthread_mutex_unlock(&fake.lock);
}

static inline int64_t
fake_now(void *arg)
{
	(void)arg;
	return atomic_load(&fake.now_s);
}

static inline int64_t
fake_steady(void *arg)
{
	return fake_now(arg) - atomic_load(&fake.jumped_s);
}

/* With the lock. */
static inline int
fake_make(struct ca *ca, const struct ca_request *request, enum act act, struct ca_answer *out, struct err *e)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");
	struct cert_spec spec = *request->spec;
	struct ca_request lie = *request;
	struct buf spki = { 0 };
	int result;

	make_spki(&spki, key);
	lie.spec = &spec;
	if (act == WRONG_KEY)
		lie.spki = buf_bytes(&spki);
	if (act == WRONG_NAME)
		(void)snprintf(spec.rdns[0].value, sizeof spec.rdns[0].value, "somebody-else");
	if (act == TOO_LONG)
		spec.not_after_s += DAY;
	result = ca_builtin.issue(ca, &lie, out, e);
	buf_free(&spki);
	if (result != 0)
		return -1;
	buf_clear(&fake.made);
	buf_append_bytes(&fake.made, buf_bytes(&out->cert));
	(void)snprintf(fake.made_serial, sizeof fake.made_serial, "%s", out->serial);
	fake.made_from = out->not_before_s;
	fake.made_to = out->not_after_s;
	fake.made_count++;
	return 0;
}

static inline void
fake_give(struct ca_answer *out)
{
	*out = (struct ca_answer){ .state = CA_ISSUED, .not_before_s = fake.made_from, .not_after_s = fake.made_to };
	buf_append_bytes(&out->cert, buf_bytes(&fake.made));
	(void)snprintf(out->serial, sizeof out->serial, "%s", fake.made_serial);
}

static inline int
fake_act(struct ca *ca, const struct ca_request *request, enum act act, struct ca_answer *out, struct err *e)
{
	switch (act) {
	case ISSUE:
	case WRONG_KEY:
	case WRONG_NAME:
	case TOO_LONG:
		return fake_make(ca, request, act, out, e);
	case SAME_AGAIN:
		fake_give(out);
		return 0;
	case LOSE:
	case LOSE_UNSENT:
		if (act == LOSE && fake_make(ca, request, act, out, e) != 0)
			return -1;
		ca_answer_free(out);
		*out = (struct ca_answer){ .state = CA_UNKNOWN, .reference = "ref-1" };
		(void)err_set(e, ERR_UPSTREAM, "no answer");
		return 0;
	case REFUSE:
		return err_set(e, ERR_DENIED, "template says no");
	case DOWN:
		return err_set(e, ERR_UPSTREAM, "connection refused");
	case WAIT:
		*out = (struct ca_answer){ .state = CA_WAITING, .retry_s = 30, .reference = "poll-7" };
		return 0;
	case ABSENT:
		*out = (struct ca_answer){ .state = CA_ABSENT };
		return 0;
	}
	return err_set(e, ERR_BUG, "no such act");
}

static inline enum act
fake_next(const enum act *acts, size_t calls)
{
	return acts[calls < ACTS_MAX ? calls : ACTS_MAX - 1];
}

static inline int
fake_issue(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	int result;

	fake_lock();
	fake.inside++;
	(void)pthread_cond_broadcast(&fake.changed);
	while (fake.held)
		(void)pthread_cond_wait(&fake.changed, &fake.lock);
	fake.inside--;
	(void)snprintf(fake.asked[fake.issues % CALLS_MAX], INTENT_CA_REQUEST_MAX, "%s", request->request_id);
	result = fake_act(ca, request, fake_next(fake.issue, fake.issues++), out, e);
	fake_unlock();
	return result;
}

static inline int
fake_poll(struct ca *ca, const struct ca_request *request, const char *reference, struct ca_answer *out, struct err *e)
{
	int result;

	fake_lock();
	assert_string_equal(reference, "poll-7");
	result = fake_act(ca, request, fake_next(fake.poll, fake.polls++), out, e);
	fake_unlock();
	return result;
}

static inline int
fake_reconcile(struct ca *ca, const struct ca_request *request, const char *reference, struct ca_answer *out,
	struct err *e)
{
	int result;

	(void)reference;
	fake_lock();
	result = fake_act(ca, request, fake_next(fake.reconcile, fake.reconciles++), out, e);
	fake_unlock();
	return result;
}

static inline int
fake_revoke(struct ca *ca, const char *serial, struct bytes cert, int reason, int64_t now_s, struct err *e)
{
	int result = 0;

	(void)ca;
	(void)reason;
	fake_lock();
	assert_true(cert.len > 0 && now_s > 0);
	if (fake.revoke_down)
		result = err_set(e, ERR_UPSTREAM, "connection refused");
	else
		(void)snprintf(fake.revoked[fake.revokes++ % ACTS_MAX], SERIAL_HEX_MAX, "%s", serial);
	fake_unlock();
	return result;
}

static inline int
fake_check(struct ca *ca, struct err *e)
{
	int result;

	(void)ca;
	fake_lock();
	fake.checks++;
	result = fake.check_down ? err_set(e, ERR_UPSTREAM, "connection refused") : 0;
	fake_unlock();
	return result;
}

/* All calls do this, from the next one on. */
static inline void
fake_will(enum act *acts, enum act act)
{
	size_t i;

	fake_lock();
	for (i = 0; i < ACTS_MAX; i++)
		acts[i] = act;
	fake_unlock();
}

static size_t step_ca; /* whose lane is stepped: the number of a CA of the configuration */

/* The configuration of the fixture, and more; requests do not wait unless the test says so. */
static inline void
issuer_load_more(struct rig *r, const char *settings, const char *more)
{
	CLEANUP(buf) struct buf conf = { 0 };
	const char *at = strstr(rig_conf, "chain = [ \"ca/root.pem\" ]; },");

	assert_non_null(at);
	buf_append(&conf, (const uint8_t *)rig_conf, (size_t)(at - rig_conf));
	buf_append_text(&conf, settings);
	buf_append_text(&conf, at);
	buf_append_text(&conf, more);
	rig_load(r, buf_text(&conf));
	rig_label(r, "");
	r->ca_ops = ca_builtin;
	r->ca_ops.remote = true;
	r->ca_ops.verified = false;
	r->ca_ops.issue = fake_issue;
	r->ca_ops.poll = fake_poll;
	r->ca_ops.reconcile = fake_reconcile;
	r->ca_ops.revoke = fake_revoke;
	r->ca_ops.check = fake_check;
}

static inline void
issuer_load(struct rig *r, const char *settings)
{
	issuer_load_more(r, settings, "");
}

static inline void
issuer_open(struct rig *r)
{
	struct issuer_settings settings = { .gateway = &r->gateway, .now_s = fake_now, .steady_s = fake_steady, .waiters_max = 2 };
	struct err e = { 0 };

	if (issuer_start(&settings, &r->gateway.issuer, &e) != 0)
		fail_msg("%s", e.text);
}

/* As a restart of the process: everything that was only in memory is gone. */
static inline void
issuer_reopen(struct rig *r)
{
	struct store_settings settings = { .path = r->db, .readers = 4, .cache_kib = 1024 };
	struct err e = { 0 };

	issuer_stop(r->gateway.issuer);
	r->gateway.issuer = NULL;
	store_sqlite.close(r->gateway.store);
	assert_int_equal(store_sqlite.open(&settings, &r->gateway.store, &e), 0);
}

static inline int
issuer_setup(void **state)
{
	int result = rig_setup(state);

	fake = (struct fake){ .now_s = NOW };
	step_ca = 0;
	(void)pthread_mutex_init(&fake.lock, NULL);
	(void)pthread_cond_init(&fake.changed, NULL);
	issuer_load(*state, "wait = \"0s\"; ");
	return result;
}

static inline int
issuer_teardown(void **state)
{
	struct rig *r = *state;

	issuer_stop(r->gateway.issuer);
	buf_free(&fake.made);
	(void)pthread_mutex_destroy(&fake.lock);
	(void)pthread_cond_destroy(&fake.changed);
	return rig_teardown(state);
}

/*
 * Without threads: everything that is due, once, oldest first, as a lane would. The count. The issuer's own threads
 * are not there then: the gateway has an issuer, whose world had no CA elsewhere when it began.
 */
static inline bool
step_keep(void *arg, const struct intent_row *row)
{
	*(int64_t *)arg = row->id;
	return false;
}

static inline bool
step_keep_revocation(void *arg, const struct revocation_row *row, struct bytes cert)
{
	struct issuer_job *job = arg;

	job->revoke = true;
	job->revocation = *row;
	buf_append_bytes(&job->cert, cert);
	return false;
}

static inline bool
step_one(struct rig *r, int64_t after_id, int64_t *id)
{
	const char *ca = r->world->config->cas[step_ca].name;
	struct intent_filter filter = { .ca = ca, .after_id = after_id, .due_s = fake.now_s, .active = true };
	struct issuer_job job = { .gateway = &r->gateway, .world = r->world, .ca = &r->world->cas[step_ca],
		.now_s = fake.now_s };
	struct store_read *read = NULL;
	struct err e = { 0 };

	*id = 0;
	assert_int_equal(r->ops.read_begin(r->gateway.store, &read, &e), 0);
	if (after_id == 0)
		assert_int_equal(r->ops.intents->revocations(read, ca, fake.now_s, 1, step_keep_revocation, &job, &e), 0);
	assert_int_equal(r->ops.intents->list(read, &filter, step_keep, id, &e), 0);
	r->ops.read_end(read);
	if (job.revoke && issuer_carry_out_revocation(&job, &e) != 0)
		fail_msg("%s", e.text);
	buf_free(&job.cert);
	if (*id == 0)
		return false;
	job.intent_id = *id;
	if (issuer_carry_out(&job, &e) != 0)
		fail_msg("%s", e.text);
	buf_free(&job.given);
	return true;
}

static inline size_t
step_all(struct rig *r)
{
	size_t count = 0;
	int64_t after = 0, id;

	while (step_one(r, after, &id)) {
		after = id;
		count++;
	}
	return count;
}

/* For tests without threads. */
static inline void
issuer_open_idle(struct rig *r)
{
	r->ca_ops.remote = false;
	issuer_open(r);
	r->ca_ops.remote = true;
}

static inline void
later_s(int64_t s)
{
	atomic_fetch_add(&fake.now_s, s);
}

/* Somebody sets the clock: no time has passed. */
static inline void
clock_is_set(int64_t by_s)
{
	atomic_fetch_add(&fake.jumped_s, by_s);
	atomic_fetch_add(&fake.now_s, by_s);
}

static inline int64_t
intents_in(const struct rig *r, enum intent_state state)
{
	char sql[96];

	(void)snprintf(sql, sizeof sql, "SELECT count(*) FROM intent WHERE state = %d", (int)state);
	return rig_number(r, sql);
}

static inline int64_t
audits_of(const struct rig *r, const char *action)
{
	char sql[128];

	(void)snprintf(sql, sizeof sql, "SELECT count(*) FROM audit WHERE action = '%s'", action);
	return rig_number(r, sql);
}

/* The request as it stands, asked for again at the present time. */
static inline void
ask(struct rig *r, enum err_code code)
{
	r->request.now_s = fake.now_s;
	rig_expect(r, code);
}

#define test(name) cmocka_unit_test_setup_teardown(name, issuer_setup, issuer_teardown)

#endif
