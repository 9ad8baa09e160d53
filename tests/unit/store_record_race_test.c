#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"

/* What changes between a decision and its record, beside the asset itself. */

static void
put_owner(struct fixture *f, enum owner_status status, int64_t contract_end_s)
{
	struct owner owner = {.name = "Net Ops", .status = status, .contract_end_s = contract_end_s};
	struct err e = {0};

	/* Later than any certificate here. */
	owner.offboard_end_s = status == OWNER_OFFBOARDING ? NOW + 9999 * (int64_t)86400 : 0;
	if (ops->owner_put(f->store, &owner, "operator:t", NOW, &e) != 0)
		fail_msg("owner_put: %s", e.text);
}

static void
record_refuses_what_was_decided_before_the_owner_was_suspended(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample s, denied;

	put_owner(f, OWNER_SUSPENDED, 0);
	sample_fill(&s, &asset, 1, REQUEST_ISSUED);
	(void)record_as(f->store, &s.o, STORE_STALE);
	put_owner(f, OWNER_OFFBOARDED, 0);
	(void)record_as(f->store, &s.o, STORE_STALE);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), 0);
	sample_fill(&denied, &asset, 2, REQUEST_DENIED);
	(void)record_as(f->store, &denied.o, STORE_RECORDED);
	put_owner(f, OWNER_OFFBOARDING, 0);
	(void)record_as(f->store, &s.o, STORE_STALE);
	s.o.renewal = true;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
}

static void
record_refuses_a_certificate_that_outlives_the_contract_as_it_is_now(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample s;

	sample_fill(&s, &asset, 1, REQUEST_ISSUED);
	put_owner(f, OWNER_ACTIVE, s.o.not_after_s - 1);
	(void)record_as(f->store, &s.o, STORE_STALE);
	put_owner(f, OWNER_ACTIVE, s.o.not_after_s);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
}

static void
record_refuses_a_key_that_another_asset_got_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct asset one = add_asset(f->store, "rtr-1"), two = add_asset(f->store, "rtr-2");
	struct sample first, second;

	sample_fill(&first, &one, 1, REQUEST_ISSUED);
	sample_fill(&second, &two, 2, REQUEST_ISSUED);
	memcpy(second.o.spki_sha256, first.o.spki_sha256, 32);
	(void)record_as(f->store, &first.o, STORE_RECORDED);
	(void)record_as(f->store, &second.o, STORE_STALE);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), 1);
	/* Its own key an asset may keep: policy says whether. */
	sample_fill(&second, &one, 3, REQUEST_ISSUED);
	memcpy(second.o.spki_sha256, first.o.spki_sha256, 32);
	(void)record_as(f->store, &second.o, STORE_RECORDED);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(record_refuses_what_was_decided_before_the_owner_was_suspended),
		STORE_TEST(record_refuses_a_certificate_that_outlives_the_contract_as_it_is_now),
		STORE_TEST(record_refuses_a_key_that_another_asset_got_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
