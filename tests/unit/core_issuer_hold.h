/*
 * core_issuer_hold.h - a CA elsewhere that holds, releases and revokes, as the test says; and one certificate that it has issued.
 */
#ifndef TESTS_UNIT_CORE_ISSUER_HOLD_H
#define TESTS_UNIT_CORE_ISSUER_HOLD_H

#include "tests/unit/core_issuer_fixture.h"

/* The CA's own idea of the one certificate, and how it answers. */
static struct {
	enum upstream is;
	int reasons[ACTS_MAX];
	size_t calls;
	enum err_code fails; /* ERR_NONE: it answers */
	bool arrives;        /* though it fails */
} at_ca;

static inline int
revoke_or_hold(struct ca *ca, const char *serial, struct bytes cert, int reason, int64_t now_s, struct err *e)
{
	(void)ca;
	(void)cert;
	(void)now_s;
	assert_string_equal(serial, fake.made_serial);
	at_ca.reasons[at_ca.calls++ % ACTS_MAX] = reason;
	if ((at_ca.fails == ERR_NONE || at_ca.arrives) && at_ca.is != UPSTREAM_REVOKED)
		at_ca.is = reason == 6 ? UPSTREAM_HELD : reason == 8 ? UPSTREAM_GOOD : UPSTREAM_REVOKED;
	return at_ca.fails == ERR_NONE ? 0 : err_set(e, at_ca.fails, "the CA says so");
}

static inline void
enroll(struct rig *r)
{
	memset(&at_ca, 0, sizeof at_ca);
	r->ca_ops.revoke = revoke_or_hold;
	r->ca_ops.holds = true;
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	ask(r, ERR_NONE);
}

/* What is due is told. */
static inline void
tell(struct rig *r)
{
	assert_int_equal(step_all(r), 0);
}

static inline void
expect_reason(size_t call, int reason)
{
	assert_int_equal(at_ca.calls, call + 1);
	assert_int_equal(at_ca.reasons[call], reason);
}

static inline struct issuer_job
job_of(struct rig *r)
{
	struct issuer_job job = { .gateway = &r->gateway, .world = r->world, .ca = &r->world->cas[0], .now_s = fake.now_s };
	struct store_read *read = NULL;
	struct err e = { 0 };

	assert_int_equal(r->ops.read_begin(r->gateway.store, &read, &e), 0);
	assert_int_equal(r->ops.intents->revocations(read, r->world->config->cas[0].name, fake.now_s, 1, step_keep_revocation, &job,
		&e), 0);
	r->ops.read_end(read);
	return job;
}

static inline void
await_ca(enum upstream is)
{
	struct timespec tick = { .tv_nsec = 1000000 };
	bool so = false;

	while (!so) {
		(void)nanosleep(&tick, NULL);
		fake_lock();
		so = at_ca.is == is;
		fake_unlock();
	}
}

static inline int
locked(struct ca *ca, const char *serial, struct bytes cert, int reason, int64_t now_s, struct err *e)
{
	int result;

	fake_lock();
	result = revoke_or_hold(ca, serial, cert, reason, now_s, e);
	fake_unlock();
	return result;
}

#endif
