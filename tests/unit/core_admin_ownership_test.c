/* Operators' commands on ownership: transfers, approvals, exceptions, quotas, owners that leave; and what time ends. */
#define _GNU_SOURCE
#include "tests/unit/core_admin_fixture.h"

#include "gateway/core/config_source.h"
#include "gateway/core/metrics.h"
#include "gateway/core/sweep.h"

#define OTHER "operator:other"
#define THIRD "operator:third"

static void
as(struct rig *r, const char *actor, const char *command, int64_t id, const char *rest)
{
	char args[200];

	(void)snprintf(args, sizeof args, "{\"id\": %lld, %s}", (long long)id, rest);
	if (run_as(r, actor, command, args) != 0)
		fail_msg("%s %s: %s", command, args, answer.e.text);
}

static void
refused_as(struct rig *r, const char *actor, const char *command, int64_t id, const char *rest, const char *part)
{
	char args[200];

	(void)snprintf(args, sizeof args, "{\"id\": %lld, %s}", (long long)id, rest);
	assert_int_equal(run_as(r, actor, command, args), -1);
	if (strstr(answer.e.text, part) == NULL)
		fail_msg("%s %s: %s", command, args, answer.e.text);
}

static int64_t
offer(struct rig *r)
{
	good(r, "owner put", "{\"name\": \"Buyer\"}");
	good(r, "transfer offer", "{\"tag\": \"rtr-1\", \"to\": \"Buyer\", \"reason\": \"sold\"}");
	assert_string_equal(text_of(answer.result, "state"), "offered");
	return number_of(answer.result, "id");
}

static void
an_offer_lives_as_long_as_configured_unless_said(void **state)
{
	struct rig *r = *state;
	int64_t id = offer(r);

	assert_int_equal(rig_number(r, "SELECT expires_s - offered_s FROM transfer"), 14 * 86400);
	as(r, "operator:test", "transfer decide", id, "\"to\": \"cancel\"");
	assert_string_equal(text_of(answer.result, "state"), "cancelled");
	good(r, "transfer offer", "{\"tag\": \"rtr-1\", \"to\": \"Buyer\", \"expires\": \"3h\"}");
	assert_int_equal(rig_number(r, "SELECT max(expires_s - offered_s) FROM transfer WHERE state = 0"), 3 * 3600);
	bad(r, "transfer offer", "{\"tag\": \"rtr-1\", \"to\": \"Buyer\", \"expires\": \"soon\"}", ERR_MALFORMED, "expires");
	bad(r, "transfer decide", "{\"id\": 2, \"to\": \"take\"}", ERR_MALFORMED, "accept, decline or cancel");
	bad(r, "transfer decide", "{\"id\": 77, \"to\": \"accept\"}", ERR_DENIED, "no transfer 77");
}

static void
another_operator_accepts(void **state)
{
	struct rig *r = *state;
	int64_t id = offer(r);

	good(r, "transfer list", "{\"open\": true}");
	assert_int_equal(json_array_size(answer.rows), 1);
	refused_as(r, "operator:test", "transfer decide", id, "\"to\": \"accept\"", "does not accept it too");
	as(r, OTHER, "transfer decide", id, "\"to\": \"accept\"");
	assert_string_equal(text_of(answer.result, "decided_by"), OTHER);
	good(r, "asset show", "{\"tag\": \"rtr-1\"}");
	assert_string_equal(text_of(answer.result, "owner"), "Buyer");
	good(r, "transfer list", "{\"asset\": \"rtr-1\", \"open\": true}");
	assert_int_equal(json_array_size(answer.rows), 0);
}

static void
only_named_operators_accept_for_an_owner(void **state)
{
	struct rig *r = *state;
	int64_t id;

	good(r, "owner put", "{\"name\": \"Buyer\", \"operators\": \"third, fourth\"}");
	id = offer(r);
	refused_as(r, OTHER, "transfer decide", id, "\"to\": \"accept\"", "may not decide for owner Buyer");
	good(r, "owner put", "{\"name\": \"Buyer\", \"operators\": \"none\"}");
	assert_string_equal(text_of(answer.result, "operators"), "");
	as(r, OTHER, "transfer decide", id, "\"to\": \"accept\"");
}

static void
a_stolen_asset_waits_for_a_second_operator(void **state)
{
	struct rig *r = *state;
	int64_t id;

	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	good(r, "asset set-state", "{\"tag\": \"rtr-1\", \"state\": \"deployed\", \"reason\": \"found\"}");
	assert_true(json_is_true(json_object_get(answer.result, "waits")));
	id = number_of(answer.result, "approval");
	assert_int_equal(rig_number(r, "SELECT expires_s - requested_s FROM approval"), 7 * 86400);
	good(r, "approval list", "{\"open\": true}");
	assert_string_equal(text_of(row(0), "detail"), "stolen -> deployed");
	refused_as(r, "operator:test", "approval decide", id, "\"approve\": true", "another operator");
	as(r, OTHER, "approval decide", id, "\"approve\": true");
	assert_string_equal(text_of(answer.result, "state"), "used");
	good(r, "asset show", "{\"tag\": \"rtr-1\"}");
	assert_string_equal(text_of(answer.result, "state"), "deployed");
	bad(r, "approval show", "{\"id\": 77}", ERR_DENIED, "no approval 77");
	bad(r, "approval decide", "{\"id\": 77, \"approve\": true}", ERR_DENIED, "77");
}

static void
a_move_that_is_not_allowed_is_not_asked_for(void **state)
{
	struct rig *r = *state;

	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	bad(r, "asset set-state", "{\"tag\": \"rtr-1\", \"state\": \"in_stock\", \"reason\": \"x\"}", ERR_DENIED, "allowed:");
	good(r, "asset set-state", "{\"tag\": \"rtr-1\", \"state\": \"decommissioned\", \"reason\": \"x\"}");
	assert_int_equal(rig_number(r, "SELECT count(*) FROM approval"), 0);
}

static void
an_exception_is_in_force_once_approved(void **state)
{
	struct rig *r = *state;
	int64_t approval, id;

	good(r, "exception request", "{\"asset\": \"rtr-1\", \"waive\": \"rules, quota\", \"reason\": \"r\", \"ticket\": \"T-1\"}");
	approval = number_of(answer.result, "approval");
	id = number_of(answer.result, "id");
	assert_int_equal(rig_number(r, "SELECT expires_s - created_s FROM exception"), 7 * 86400);
	good(r, "exception list", "{\"open\": true}");
	assert_string_equal(text_of(row(0), "waives"), "quota,rules");
	assert_string_equal(text_of(row(0), "state"), "requested");
	assert_int_equal(number_of(row(0), "max_uses"), 1);
	as(r, OTHER, "approval decide", approval, "\"approve\": true");
	good(r, "exception list", "{\"asset\": \"rtr-1\"}");
	assert_string_equal(text_of(row(0), "approved_by"), OTHER);
	as(r, THIRD, "exception revoke", id, "\"reason\": \"x\"");
	good(r, "exception list", "{\"asset\": \"rtr-1\", \"open\": true}");
	assert_int_equal(json_array_size(answer.rows), 0);
}

static void
what_cannot_be_waived_is_told(void **state)
{
	struct rig *r = *state;

	bad(r, "exception request", "{\"asset\": \"rtr-1\", \"waive\": \"rules,state\", \"reason\": \"r\", \"ticket\": \"T\"}",
		ERR_MALFORMED, "\"state\" cannot be waived");
	bad(r, "exception request", "{\"asset\": \"rtr-1\", \"waive\": \",\", \"reason\": \"r\", \"ticket\": \"T\"}",
		ERR_MALFORMED, "cannot be waived");
	bad(r, "exception request", "{\"waive\": \"rules\", \"reason\": \"r\", \"ticket\": \"T\"}", ERR_MALFORMED, "--owner NAME");
	assert_int_equal(rig_number(r, "SELECT count(*) FROM exception"), 0);
}

static void
quotas_are_set_and_taken_away(void **state)
{
	struct rig *r = *state;

	good(r, "quota set", "{\"owner\": \"Fleet\", \"profile\": \"device\", \"limit\": \"5\"}");
	good(r, "quota list", "{\"owner\": \"Fleet\"}");
	assert_int_equal(number_of(row(0), "limit"), 5);
	bad(r, "quota set", "{\"owner\": \"Fleet\", \"profile\": \"devise\", \"limit\": \"5\"}", ERR_MALFORMED, "there are: device");
	bad(r, "quota set", "{\"owner\": \"Fleet\", \"profile\": \"device\", \"limit\": \"5x\"}", ERR_MALFORMED, "5x");
	good(r, "quota set", "{\"owner\": \"Fleet\", \"profile\": \"device\", \"limit\": \"none\"}");
	assert_true(json_is_null(json_object_get(answer.result, "limit")));
	good(r, "quota list", "{}");
	assert_int_equal(json_array_size(answer.rows), 0);
}

static void
an_owner_that_leaves_is_reported(void **state)
{
	struct rig *r = *state;

	rig_expect(r, ERR_NONE);
	good(r, "owner report", "{\"name\": \"Fleet\"}");
	assert_int_equal(number_of(answer.result, "revokes"), 0);
	good(r, "owner offboard", "{\"name\": \"Fleet\", \"reason\": \"x\"}");
	assert_string_equal(text_of(answer.result, "status"), "offboarding");
	assert_int_equal(number_of(answer.result, "revokes"), 1);
	assert_int_equal(rig_number(r, "SELECT offboard_end_s FROM owner WHERE name = 'Fleet'"), NOW + 30 * 86400);
	good(r, "owner offboard", "{\"name\": \"Fleet\", \"reason\": \"x\", \"grace\": \"0s\"}");
	assert_string_equal(text_of(answer.result, "status"), "offboarded");
	assert_int_equal(number_of(answer.result, "certificates_valid"), 0);
	bad(r, "owner report", "{\"name\": \"Nobody\"}", ERR_DENIED, "no owner \"Nobody\"");
}

static void
a_sweep_goes_on_until_nothing_is_left(void **state)
{
	struct rig *r = *state;
	struct err e;

	rig_expect(r, ERR_NONE);
	good(r, "owner offboard", "{\"name\": \"Fleet\", \"reason\": \"x\", \"grace\": \"1h\"}");
	assert_int_equal(sweep_once(&r->gateway, NOW + 3599, &e), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM certificate WHERE status = 1"), 0);
	assert_int_equal(sweep_once(&r->gateway, NOW + 3600, &e), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM certificate WHERE revoke_reason = 'offboarded'"), 1);
	rig_chain_holds(r);
}

static int
no_sweep(struct store *store, int64_t now_s, struct offboard_report *report, bool *more, struct err *e)
{
	(void)store;
	(void)now_s;
	(void)report;
	(void)more;
	return err_set(e, ERR_UPSTREAM, "the disk is full");
}

static void
a_sweep_that_fails_is_counted_and_stops_nothing(void **state)
{
	CLEANUP(buf) struct buf text = { 0 };
	struct rig *r = *state;
	struct sweep *sweep = NULL;
	struct err e;

	r->ops.sweep = no_sweep;
	assert_int_equal(sweep_once(&r->gateway, NOW, &e), -1);
	assert_string_equal(e.text, "the disk is full");
	assert_int_equal(sweep_start(&r->gateway, &sweep, &e), 0);
	sweep_stop(sweep);
	sweep_stop(NULL);
	metrics_render(&text);
	assert_non_null(strstr(buf_text(&text), "\nenrolld_sweeps_failed_total 1\n"));
}

static void
a_table_of_decisions_is_run(void **state)
{
	struct rig *r = *state;

	assert_int_equal(with_file(r, "policy test", "{}", "state,expect,reason\nstaged,allow,ok\nstolen,deny,asset.state\n"), 0);
	assert_int_equal(number_of(answer.result, "tests"), 2);
	assert_int_equal(number_of(answer.result, "failed"), 0);
	assert_int_equal(with_file(r, "policy test", "{}", "state,expect\nstaged,deny\n"), 0);
	assert_int_equal(number_of(answer.result, "failed"), 1);
	assert_string_equal(text_of(row(0), "got"), "allow");
	assert_int_equal(with_file(r, "policy test", "{\"format\": \"jsonl\"}", "[]\n"), -1);
	assert_int_equal(with_file(r, "policy test", "{}", "expect\n\"allow\n"), -1);
	assert_non_null(strstr(answer.e.text, "a quote is not closed"));
	assert_int_equal(with_file(r, "policy test", "{\"split\": 99}", "expect\nallow\n"), -1);
	assert_non_null(strstr(answer.e.text, "99 octets"));
}

/* Every number of stored requests is found, from none on. */
static void
the_latest_requests_are_compared(void **state)
{
	struct rig *r = *state;
	CLEANUP(buf) struct buf conf = { 0 };
	struct err e;
	int i;

	assert_int_equal(config_read_octets(r->conf, 1 << 20, &conf, &e), 0);
	for (i = 0; i < 6; i++) {
		assert_int_equal(with_file(r, "policy diff", "{}", buf_text(&conf)), 0);
		assert_int_equal(number_of(answer.result, "decided"), i);
		assert_int_equal(number_of(answer.result, "differ"), 0);
		rig_new_csr(r);
		rig_expect(r, ERR_NONE);
	}
	assert_int_equal(with_file(r, "policy diff", "{\"last\": 2}", buf_text(&conf)), 0);
	assert_int_equal(number_of(answer.result, "decided"), 2);
	assert_int_equal(with_file(r, "policy diff", "{\"last\": 0}", buf_text(&conf)), -1);
	assert_int_equal(with_file(r, "policy diff", "{}", "nonsense"), -1);
	assert_non_null(strstr(answer.e.text, "mistakes"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(an_offer_lives_as_long_as_configured_unless_said),
		test(another_operator_accepts),
		test(only_named_operators_accept_for_an_owner),
		test(a_stolen_asset_waits_for_a_second_operator),
		test(a_move_that_is_not_allowed_is_not_asked_for),
		test(an_exception_is_in_force_once_approved),
		test(what_cannot_be_waived_is_told),
		test(quotas_are_set_and_taken_away),
		test(an_owner_that_leaves_is_reported),
		test(a_sweep_goes_on_until_nothing_is_left),
		test(a_sweep_that_fails_is_counted_and_stops_nothing),
		test(a_table_of_decisions_is_run),
		test(the_latest_requests_are_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
