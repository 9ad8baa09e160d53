/*
 * core_issuer_second.h - a second CA elsewhere, that stands in for the first: its own counts, its own behaviour.
 */
#ifndef TESTS_UNIT_CORE_ISSUER_SECOND_H
#define TESTS_UNIT_CORE_ISSUER_SECOND_H

#include <sched.h>

#include "tests/unit/core_issuer_fixture.h"

/* All under the first one's lock. */
struct second {
	struct ca_ops ops;
	enum act act, reconcile;    /* of every call */
	size_t issues, checks, revokes;
	bool check_down;
	char revoked[SERIAL_HEX_MAX];
};
static struct second second;

static inline int
second_issue(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	int result;

	fake_lock();
	second.issues++;
	result = second.act == ISSUE ? ca_builtin.issue(ca, request, out, e) : fake_act(ca, request, second.act, out, e);
	fake_unlock();
	return result;
}

static inline int
second_reconcile(struct ca *ca, const struct ca_request *request, const char *reference, struct ca_answer *out, struct err *e)
{
	int result;

	(void)reference;
	fake_lock();
	result = fake_act(ca, request, second.reconcile, out, e);
	fake_unlock();
	return result;
}

static inline int
second_revoke(struct ca *ca, const char *serial, struct bytes cert, int reason, int64_t now_s, struct err *e)
{
	(void)now_s;
	(void)ca;
	(void)cert;
	(void)reason;
	(void)e;
	fake_lock();
	second.revokes++;
	(void)snprintf(second.revoked, sizeof second.revoked, "%s", serial);
	fake_unlock();
	return 0;
}

static inline int
second_check(struct ca *ca, struct err *e)
{
	int result;

	(void)ca;
	fake_lock();
	second.checks++;
	result = second.check_down ? err_set(e, ERR_UPSTREAM, "connection refused") : 0;
	fake_unlock();
	return result;
}

/* What a device gets from the first from here on: the configuration is the test's own until the issuer begins. */
static inline void
second_stands_in(struct rig *r)
{
	struct config_ca *cas = r->world->config->cas;

	second = (struct second){ .ops = ca_builtin, .act = ISSUE, .reconcile = DOWN };
	second.ops.remote = true;
	second.ops.verified = false;
	second.ops.issue = second_issue;
	second.ops.poll = NULL;
	second.ops.reconcile = second_reconcile;
	second.ops.revoke = second_revoke;
	second.ops.check = second_check;
	r->world->cas[1].ops = &second.ops;
	(void)snprintf(cas[0].group, sizeof cas[0].group, "fleet");
	(void)snprintf(cas[1].group, sizeof cas[1].group, "fleet");
	(void)snprintf(cas[0].failover[0], sizeof cas[0].failover[0], "second");
	cas[0].failover_count = 1;
}

static inline void
second_acts(enum act act)
{
	fake_lock();
	second.act = act;
	fake_unlock();
}

static inline void
both_looks_fail(bool first, bool other)
{
	fake_lock();
	fake.check_down = first;
	second.check_down = other;
	fake_unlock();
}

/* Until the database says so: the issuer's threads work meanwhile. */
static inline void
await(struct rig *r, const char *sql, int64_t wanted)
{
	while (rig_number(r, sql) != wanted)
		(void)sched_yield();
}

/* The same while time goes on. */
static inline void
await_later(struct rig *r, const char *sql, int64_t wanted)
{
	while (rig_number(r, sql) != wanted) {
		later_s(1);
		issuer_wake(r->gateway.issuer, NULL);
		(void)sched_yield();
	}
}

/* Until it is closed time goes on: no breaker closes without it. */
static inline void
await_guard(struct rig *r, const char *ca, enum guard_state wanted)
{
	enum guard_state guard;

	do {
		(void)sched_yield();
		if (wanted == GUARD_CLOSED) {
			later_s(1);
			issuer_wake(r->gateway.issuer, NULL);
		}
		assert_true(issuer_guard_state(r->gateway.issuer, ca, &guard));
	} while (guard != wanted);
}

/* So many devices are told to come back, unless the end is there before the answer. */
static inline void
wave(struct rig *r, size_t count)
{
	for (; count > 0; count--) {
		rig_new_csr(r);
		r->request.now_s = fake.now_s;
		rig_run(r);
		assert_true(r->result.code == ERR_PENDING || r->result.code == ERR_NONE || r->result.code == ERR_DENIED);
	}
}

#endif
