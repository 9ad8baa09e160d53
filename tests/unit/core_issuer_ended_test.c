/* A CA whose certificates have ended is sent nothing: whatever it gave, nobody would accept. */
#define _GNU_SOURCE
#include "tests/unit/core_issuer_second.h"

static void
chain_ends(struct rig *r, size_t ca, int number, int64_t at_s)
{
	const struct world_ca *of = &r->world->cas[ca];

	assert_non_null(ASN1_TIME_set(X509_getm_notAfter(sk_X509_value(of->ops->chain(of->ca), number)), at_s));
}

static void
nothing_was_sent(struct rig *r)
{
	assert_int_equal(fake.issues, 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM intent WHERE state = 0 AND error LIKE 'nothing is sent%ended at%'"), 1);
}

static void
one_whose_certificate_has_ended_is_sent_nothing(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	chain_ends(r, 0, 0, NOW - 1);
	assert_int_equal(step_all(r), 1);
	nothing_was_sent(r);
	/* It has another by now. */
	chain_ends(r, 0, 0, NOW + 365 * DAY);
	fake.now_s += ISSUER_RETRY_MAX_S;
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.issues, 1);
	ask(r, ERR_NONE);
}

static void
nor_one_whose_root_has_ended(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	chain_ends(r, 0, 1, NOW - 1);
	assert_int_equal(step_all(r), 1);
	nothing_was_sent(r);
}

/* The service may sign with that one's key by now. */
static void
one_of_whose_generations_another_has_not_ended_is_asked(void **state)
{
	struct rig *r = *state;

	second_stands_in(r);
	r->world->config->cas[0].failover_count = 0;
	r->world->config->cas[0].wait_s = 0;
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	chain_ends(r, 0, 0, NOW - 1);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.issues, 1);
}

static void
one_whose_next_certificate_is_there_is_asked(void **state)
{
	struct rig *r = *state;
	struct world_ca *ca = &r->world->cas[0];

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	ca->next = sk_X509_new_null();
	assert_int_equal(sk_X509_push(ca->next, X509_dup(sk_X509_value(ca->ops->chain(ca->ca), 0))), 1);
	chain_ends(r, 0, 0, NOW - 1);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(fake.issues, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, issuer_setup, issuer_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_whose_certificate_has_ended_is_sent_nothing),
		TEST(nor_one_whose_root_has_ended),
		TEST(one_whose_next_certificate_is_there_is_asked),
		TEST(one_of_whose_generations_another_has_not_ended_is_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
