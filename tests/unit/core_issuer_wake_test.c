/* A clone puts its asset into quarantine: the CA elsewhere hears of the hold at once, though no operator and no clock wakes anybody. */
#define _GNU_SOURCE
#include "tests/unit/core_issuer_hold.h"
#include "tests/unit/core_issuer_threads_fixture.h"

#define AWAIT_S 30

/* Nothing is due as long as the clock stands still: only a wake makes a thread look. */
static void
await_idle(struct rig *r)
{
	struct issuer *issuer = r->gateway.issuer;
	const struct lane *lane = issuer->lanes[0];
	bool idle = false;
	int i;

	while (!idle) {
		(void)pthread_mutex_lock(&issuer->lock);
		idle = lane->count == 0 && !lane->look && !lane->filling && !lane->moving && lane->move_s == 0 && lane->due_s > fake.now_s;
		for (i = 0; i < lane->thread_count; i++)
			idle = idle && lane->busy[i] == 0;
		(void)pthread_mutex_unlock(&issuer->lock);
		(void)sched_yield();
	}
}

/* The lane's threads are asleep, and a certificate is out. */
static void
begin(struct rig *r)
{
	memset(&at_ca, 0, sizeof at_ca);
	r->ca_ops.revoke = locked;
	r->ca_ops.holds = true;
	issuer_open(r);
	ask(r, ERR_PENDING);
	await_end(r, "SELECT count(*) FROM intent WHERE state = 4", 1);
	await_idle(r);
	assert_int_equal(at_ca.calls, 0);
}

/* false: nobody called, and nobody is going to. */
static bool
is_called(size_t calls)
{
	struct timespec until;
	bool called;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += AWAIT_S;
	fake_lock();
	while (at_ca.calls < calls && pthread_cond_timedwait(&fake.changed, &fake.lock, &until) == 0)
		;
	called = at_ca.calls == calls;
	fake_unlock();
	return called;
}

static X509 *
ask_as_clone(struct rig *r)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = rig_idevid(r, key, "SN1");

	r->request.client_cert = cert;
	rig_new_csr(r);
	ask(r, ERR_DENIED);
	return cert;
}

static void
a_clones_quarantine_is_a_hold_that_the_ca_hears_of_at_once(void **state)
{
	struct rig *r = *state;
	X509 *clone;

	begin(r);
	clone = ask_as_clone(r);
	assert_string_equal(r->result.reason, "identity.clone");
	assert_int_equal(rig_number(r, "SELECT state FROM asset WHERE tag = 'rtr-1'"), ASSET_QUARANTINED);
	assert_true(is_called(1));
	expect_reason(0, 6);
	await_end(r, "SELECT count(*) FROM audit WHERE action = 'ca.held'", 1);
	await_idle(r);
	X509_free(clone);
	/* Denied once more, and nothing has changed that somebody would have to hear of. */
	clone = ask_as_clone(r);
	await_idle(r);
	assert_int_equal(at_ca.calls, 1);
	X509_free(clone);
	r->request.client_cert = r->idevid;
}

/* It is only told of: the device keeps what it has. */
static void
a_clone_that_is_an_alert_only_holds_nothing(void **state)
{
	struct rig *r = *state;
	X509 *clone;
	EVP_PKEY *key = EVP_EC_gen("P-256");

	begin(r);
	r->world->config->clone_keys = CLONE_ALERT;
	clone = r->request.client_cert = rig_idevid(r, key, "SN1");
	rig_new_csr(r);
	ask(r, ERR_PENDING);
	await_end(r, "SELECT count(*) FROM intent WHERE state = 4", 2);
	await_idle(r);
	assert_int_equal(audits_of(r, "identity.clone"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation WHERE wanted = 2"), 0);
	X509_free(clone);
	EVP_PKEY_free(key);
	r->request.client_cert = r->idevid;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_clones_quarantine_is_a_hold_that_the_ca_hears_of_at_once),
		test(a_clone_that_is_an_alert_only_holds_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
