/* What operators see of CAs elsewhere, and what only they can tell. */
#define _GNU_SOURCE
#include "tests/unit/core_issuer_second.h"
#undef test
#include "tests/unit/core_admin_fixture.h"

#include "gateway/core/rule_limits.h"

static int
teardown(void **state)
{
	json_decref(answer.rows);
	json_decref(answer.result);
	answer = (struct answer){ .rows = NULL };
	return issuer_teardown(state);
}

/* One whose answer was lost. */
static void
one_unknown(struct rig *r)
{
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	fake_will(fake.issue, LOSE_UNSENT);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(intents_in(r, INTENT_UNKNOWN), 1);
}

static void
ca_list_tells_breaker_group_and_who_stands_in(void **state)
{
	struct rig *r = *state;
	struct config_ca *first = &r->world->config->cas[0];

	second_stands_in(r);
	(void)snprintf(first->failover[1], REG_TEXT_MAX, "third");
	first->failover_count = 2;
	fake_will(fake.issue, DOWN);
	both_looks_fail(true, true);
	second.act = DOWN;
	issuer_open(r);
	wave(r, GUARD_FAILURES);
	await(r, "SELECT count(*) FROM intent WHERE ca = 'second'", GUARD_FAILURES);
	good(r, "ca list", NULL);
	assert_int_equal(json_array_size(answer.rows), 2);
	assert_string_equal(text_of(row(0), "ca"), "issuing");
	assert_string_equal(text_of(row(0), "breaker"), "open");
	assert_string_equal(text_of(row(0), "group"), "fleet");
	assert_string_equal(text_of(row(0), "failover"), "second third");
	assert_int_equal(number_of(row(0), "open"), 0);
	assert_string_equal(text_of(row(1), "failover"), "");
	assert_int_equal(number_of(row(1), "open"), GUARD_FAILURES);
}

static void
ca_list_tells_no_breaker_of_one_in_this_process(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	good(r, "ca list", NULL);
	assert_string_equal(text_of(row(1), "ca"), "second");
	assert_string_equal(text_of(row(1), "breaker"), "");
	assert_string_equal(text_of(row(1), "type"), "builtin");
}

/* One issued by a CA whose revocations fail, or which cannot hold. */
static void
one_issued(struct rig *r, bool holds)
{
	r->ca_ops.holds = holds;
	fake.revoke_down = true;
	issuer_open(r);
	ask(r, ERR_PENDING);
	await(r, "SELECT count(*) FROM intent WHERE state = 4", 1);
}

static void
ca_list_tells_what_the_ca_has_not_heard(void **state)
{
	struct rig *r = *state;

	one_issued(r, true);
	good(r, "ca list", NULL);
	assert_int_equal(number_of(row(0), "holds"), 0);
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	good(r, "ca list", NULL);
	assert_int_equal(number_of(row(0), "holds"), 1);
	assert_int_equal(number_of(row(0), "revocations"), 0);
	assert_int_equal(number_of(row(0), "unheld"), 0);
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	good(r, "ca list", NULL);
	assert_int_equal(number_of(row(0), "holds"), 0);
	assert_int_equal(number_of(row(0), "revocations"), 1);
}

/* Its entry was taken out when nothing was open: what is revoked later waits for nobody. */
static void
ca_list_tells_what_waits_for_a_ca_that_is_not_configured_any_more(void **state)
{
	struct rig *r = *state;
	sqlite3 *db = NULL;

	one_issued(r, true);
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	good(r, "ca list", NULL);
	assert_int_equal(json_array_size(answer.rows), 2);
	assert_int_equal(sqlite3_open(r->db, &db), SQLITE_OK);
	(void)sqlite3_busy_timeout(db, 5000);
	assert_int_equal(sqlite3_exec(db, "UPDATE ca_revocation SET ca = 'former'", NULL, NULL, NULL), SQLITE_OK);
	(void)sqlite3_close(db);
	good(r, "ca list", NULL);
	assert_int_equal(json_array_size(answer.rows), 3);
	assert_string_equal(text_of(row(2), "ca"), "former");
	assert_string_equal(text_of(row(2), "type"), "");
	assert_string_equal(text_of(row(2), "breaker"), "");
	assert_int_equal(number_of(row(2), "revocations"), 1);
}

static void
ca_list_tells_what_is_on_hold_and_good_there(void **state)
{
	struct rig *r = *state;

	one_issued(r, false);
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	issuer_wake(r->gateway.issuer, NULL);
	await(r, "SELECT count(*) FROM ca_revocation WHERE state = 2", 1);
	good(r, "ca list", NULL);
	assert_int_equal(number_of(row(0), "unheld"), 1);
	assert_int_equal(number_of(row(0), "holds"), 0);
	rig_set_state(r, "rtr-1", ASSET_STAGED);
	good(r, "ca list", NULL);
	assert_int_equal(number_of(row(0), "unheld"), 0);
}

static int
not_by_you(struct ca *ca, const char *serial, struct bytes cert, int reason, int64_t now_s, struct err *e)
{
	(void)ca;
	(void)serial;
	(void)cert;
	(void)reason;
	(void)now_s;
	return err_set(e, ERR_DENIED, "your role may not hold");
}

static void
ca_list_tells_how_many_holds_the_ca_has_refused(void **state)
{
	struct rig *r = *state;

	one_issued(r, true);
	r->ca_ops.revoke = not_by_you;
	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	issuer_wake(r->gateway.issuer, NULL);
	await(r, "SELECT count(*) FROM audit WHERE action = 'ca.hold_refused'", 1);
	good(r, "ca list", NULL);
	assert_int_equal(number_of(row(0), "refused"), 1);
	assert_int_equal(number_of(row(0), "holds"), 1);
	assert_int_equal(number_of(row(0), "unheld"), 0);
	assert_int_equal(number_of(row(1), "refused"), 0);
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	good(r, "ca list", NULL);
	assert_int_equal(number_of(row(0), "refused"), 0);
	assert_int_equal(number_of(row(0), "revocations"), 1);
}

static void
ca_intents_are_chosen_by_ca_and_by_whether_they_are_over(void **state)
{
	struct rig *r = *state;

	one_unknown(r);
	rig_new_csr(r);
	fake_will(fake.issue, REFUSE);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	good(r, "ca intents", NULL);
	assert_int_equal(json_array_size(answer.rows), 2);
	assert_memory_equal(text_of(row(0), "ca_request"), "gw-1-0-", 7);
	assert_string_equal(text_of(row(0), "state"), "unknown");
	assert_string_equal(text_of(row(0), "reference"), "ref-1");
	assert_string_equal(text_of(row(0), "asset"), "rtr-1");
	assert_int_equal(number_of(row(0), "tries"), 1);
	assert_string_equal(text_of(row(1), "state"), "failed");
	good(r, "ca intents", "{\"open\": true}");
	assert_int_equal(json_array_size(answer.rows), 1);
	good(r, "ca intents", "{\"ca\": \"second\"}");
	assert_int_equal(json_array_size(answer.rows), 0);
	good(r, "ca intents", "{\"after\": 1}");
	assert_int_equal(json_array_size(answer.rows), 1);
}

static void
ca_resolve_absent_has_it_sent_again(void **state)
{
	struct rig *r = *state;

	one_unknown(r);
	good(r, "ca resolve", "{\"id\": 1, \"absent\": true, \"reason\": \"looked there\"}");
	assert_string_equal(text_of(answer.result, "state"), "open");
	assert_memory_equal(text_of(answer.result, "name"), "gw-1-0-", 7);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'ca.resolved' AND actor = 'operator:test'"
		" AND detail_json ->> 'reason' = 'looked there'"), 1);
	fake_will(fake.issue, ISSUE);
	assert_int_equal(step_all(r), 1);
	ask(r, ERR_NONE);
	assert_int_equal(fake.made_count, 1);
}

static void
ca_resolve_failed_denies_the_request_and_gives_the_limit_back(void **state)
{
	static const struct policy_rule rule = { .name = "few", .count = 1, .per_s = 86400 };
	static const struct policy_rule *const rules[] = { &rule };
	struct rig *r = *state;
	struct rule_limits *limits = NULL;
	struct rule_limits_key key = { .asset = "rtr-1", .label = "" };
	uint8_t digest[32];
	struct err e = { 0 };

	assert_int_equal(rule_limits_new(&limits, &e), 0);
	r->gateway.rule_limits = limits;
	assert_int_equal(sha256(r->request.csr, digest, &e), 0);
	key.csr_sha256 = digest;
	one_unknown(r);
	assert_true(rule_limits_take(limits, &rule, NOW));
	assert_true(rule_limits_hold(limits, &key, rules, 1, NOW));
	assert_false(rule_limits_room(limits, &rule, NOW));
	good(r, "ca resolve", "{\"id\": 1, \"failed\": true, \"reason\": \"not worth it\"}");
	assert_string_equal(text_of(answer.result, "state"), "failed");
	assert_true(rule_limits_room(limits, &rule, NOW));
	assert_int_equal(rig_number(r, "SELECT count(*) FROM request WHERE state = 3 AND reason = 'ca.resolved'"
		" AND sentence = 'not worth it'"), 1);
	assert_int_equal(step_all(r), 0);
	r->gateway.rule_limits = NULL;
	rule_limits_free(limits);
}

static void
ca_resolve_wants_one_word_and_an_unknown_one(void **state)
{
	struct rig *r = *state;

	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	bad(r, "ca resolve", "{\"id\": 1}", ERR_MALFORMED, "--absent");
	bad(r, "ca resolve", "{\"id\": 1, \"absent\": true, \"failed\": true}", ERR_MALFORMED, "--absent");
	bad(r, "ca resolve", "{\"id\": 1, \"absent\": true}", ERR_DENIED, "is open");
	bad(r, "ca resolve", "{\"id\": 7, \"failed\": true}", ERR_DENIED, "no intent 7");
	assert_int_equal(audits_of(r, "ca.resolved"), 0);
	assert_int_equal(intents_in(r, INTENT_OPEN), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, issuer_setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ca_list_tells_breaker_group_and_who_stands_in),
		TEST(ca_list_tells_no_breaker_of_one_in_this_process),
		TEST(ca_list_tells_what_the_ca_has_not_heard),
		TEST(ca_list_tells_what_waits_for_a_ca_that_is_not_configured_any_more),
		TEST(ca_list_tells_what_is_on_hold_and_good_there),
		TEST(ca_list_tells_how_many_holds_the_ca_has_refused),
		TEST(ca_intents_are_chosen_by_ca_and_by_whether_they_are_over),
		TEST(ca_resolve_absent_has_it_sent_again),
		TEST(ca_resolve_failed_denies_the_request_and_gives_the_limit_back),
		TEST(ca_resolve_wants_one_word_and_an_unknown_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
