/* An MDM vouched for the device, and a CA elsewhere is asked: the MDM is told of the end once, whoever is there for it. */
#define _GNU_SOURCE
#include "tests/unit/core_issuer_mdm.h"

static void
the_mdm_is_told_of_a_certificate_that_nobody_waited_for(void **state)
{
	struct rig *r = *state;

	begin(r, "wait = \"0s\"; ");
	hold(true);
	issuer_open(r);
	ask(r, ERR_PENDING);
	is_told(0, 0);
	hold(false);
	await_end(r, "SELECT count(*) FROM intent WHERE state = 4", 1);
	await_recorded(r);
	is_told(1, 0);
	ask(r, ERR_NONE);
	assert_true(r->result.replayed);
	is_told(1, 0);
}

static void
the_mdm_is_told_once_of_one_that_was_waited_for(void **state)
{
	struct rig *r = *state;

	begin(r, "wait = \"60s\"; ");
	issuer_open(r);
	ask(r, ERR_NONE);
	await_recorded(r);
	is_told(1, 0);
}

static void
the_mdm_is_told_of_a_refusal_that_nobody_waited_for(void **state)
{
	struct rig *r = *state;

	begin(r, "wait = \"0s\"; ");
	fake_will(fake.issue, REFUSE);
	hold(true);
	issuer_open(r);
	ask(r, ERR_PENDING);
	hold(false);
	await_end(r, "SELECT count(*) FROM intent WHERE state = 5", 1);
	await_recorded(r);
	is_told(0, 1);
	ask(r, ERR_DENIED);
	is_told(0, 1);
}

static void
the_mdm_is_told_once_of_a_refusal_that_was_waited_for(void **state)
{
	struct rig *r = *state;

	begin(r, "wait = \"60s\"; ");
	fake_will(fake.issue, REFUSE);
	issuer_open(r);
	ask(r, ERR_DENIED);
	await_recorded(r);
	is_told(0, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(the_mdm_is_told_of_a_certificate_that_nobody_waited_for),
		test(the_mdm_is_told_once_of_one_that_was_waited_for),
		test(the_mdm_is_told_of_a_refusal_that_nobody_waited_for),
		test(the_mdm_is_told_once_of_a_refusal_that_was_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
