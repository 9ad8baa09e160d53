/* Operators' commands on the registry: arguments, owners, assets, imports, secrets. */
#define _GNU_SOURCE
#include "tests/unit/core_admin_fixture.h"

#include "gateway/ctl/ctl.h"
#include "gateway/process.h"

static void
unknown_commands_are_told(void **state)
{
	struct rig *r = *state;

	bad(r, "asset delete", "{}", ERR_UNSUPPORTED, "no command \"asset delete\"");
	bad(r, "", "{}", ERR_UNSUPPORTED, "no command");
	bad(r, "asset", "{}", ERR_UNSUPPORTED, "no command");
}

/* A mistyped dry_run that was overlooked would import for good. */
static void
no_command_takes_an_argument_it_does_not_know(void **state)
{
	static const char *const commands[] = { "approval decide", "approval list", "approval show", "asset forget-key",
		"exception list", "exception request", "exception revoke", "owner offboard", "owner report", "policy diff",
		"policy test", "quota list", "quota set", "transfer decide", "transfer list", "transfer offer", "asset list",
		"asset set-state", "asset show", "audit list", "audit verify",
		"cert list", "cert revoke", "cert show", "explain", "import", "owner list", "owner put", "request decide",
		"request list", "request show", "secret keywrap", "secret new", "status" };
	struct rig *r = *state;
	size_t i;

	for (i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		bad(r, commands[i], "{\"dryrun\": true}", ERR_MALFORMED, "no argument \"dryrun\"");
		bad(r, commands[i], "{\"\": 1}", ERR_MALFORMED, "no argument \"\"");
		bad(r, commands[i], "[]", ERR_MALFORMED, "not an object");
	}
	bad(r, "import", "{\"dry_run?\": true}", ERR_MALFORMED, "no argument");
	bad(r, "import", "{\"dry\": true}", ERR_MALFORMED, "no argument");
}

static void
arguments_of_a_wrong_type_are_refused(void **state)
{
	static const struct {
		const char *command, *args;
	} cases[] = { { "asset list", "{\"limit\": \"5\"}" }, { "asset list", "{\"tag\": 5}" },
		{ "asset list", "{\"tag\": null}" }, { "asset show", "{\"tag\": {}}" },
		{ "asset set-state", "{\"tag\": \"rtr-1\", \"state\": 3, \"reason\": \"x\"}" },
		{ "audit list", "{\"after\": 1.5}" }, { "audit verify", "{\"head\": true}" },
		{ "cert list", "{\"limit\": true}" }, { "cert show", "{\"serial\": 17}" },
		{ "cert revoke", "{\"serial\": \"1\", \"reason\": []}" }, { "explain", "{\"id\": \"1\"}" },
		{ "import", "{\"dry_run\": \"true\"}" }, { "import", "{\"create_owners\": 1}" },
		{ "owner put", "{\"name\": [\"x\"]}" }, { "request decide", "{\"id\": 1, \"approve\": \"yes\"}" },
		{ "request decide", "{\"id\": \"1\", \"approve\": true}" }, { "request list", "{\"state\": 1}" },
		{ "request show", "{\"id\": \"1\"}" }, { "secret keywrap", "{\"tag\": true}" },
		{ "secret new", "{\"tag\": \"rtr-1\", \"static\": \"false\"}" },
		{ "secret new", "{\"tag\": \"rtr-1\", \"label\": null}" },
		{ "approval decide", "{\"id\": 1, \"approve\": \"yes\"}" }, { "transfer decide", "{\"id\": \"1\"}" },
		{ "exception request", "{\"uses\": \"1\"}" }, { "policy diff", "{\"last\": \"all\"}" },
		{ "quota set", "{\"limit\": 5}" }, { "transfer list", "{\"open\": 1}" } };
	struct rig *r = *state;
	int64_t before = rig_number(r, "SELECT count(*) FROM audit");
	size_t i;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++)
		bad(r, cases[i].command, cases[i].args, ERR_MALFORMED, "wants");
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit"), before);
}

static void
missing_arguments_are_named(void **state)
{
	static const struct {
		const char *command, *args, *part;
	} cases[] = { { "asset show", NULL, "\"tag\"" }, { "asset show", "{\"tag\": \"\"}", "\"tag\"" },
		{ "asset set-state", "{\"tag\": \"rtr-1\"}", "\"state\"" },
		{ "asset set-state", "{\"tag\": \"rtr-1\", \"state\": \"lost\"}", "\"reason\"" },
		{ "cert show", "{}", "\"serial\"" }, { "cert revoke", "{\"serial\": \"01\"}", "\"reason\"" },
		{ "explain", "{}", "\"asset\"" }, { "explain", "{\"asset\": \"rtr-1\"}", "CSR file" },
		{ "import", "{}", "the file" }, { "owner put", "{}", "\"name\"" },
		{ "request show", "{}", "number" }, { "request decide", "{\"approve\": true}", "number" },
		{ "request decide", "{\"id\": 1}", "reason" }, { "secret new", "{}", "\"tag\"" },
		{ "secret keywrap", "{}", "\"tag\"" }, { "transfer offer", "{\"tag\": \"rtr-1\"}", "\"to\"" },
		{ "transfer decide", "{\"to\": \"accept\"}", "number" }, { "approval show", "{}", "number" },
		{ "approval decide", "{\"id\": 1}", "reason" }, { "exception revoke", "{\"reason\": \"x\"}", "number" },
		{ "asset forget-key", "{\"tag\": \"rtr-1\"}", "\"reason\"" },
		{ "owner offboard", "{\"name\": \"Fleet\"}", "\"reason\"" }, { "owner report", "{}", "\"name\"" },
		{ "quota set", "{\"owner\": \"Fleet\"}", "\"profile\"" }, { "policy test", "{}", "the file" },
		{ "policy diff", "{}", "the file" } };
	struct rig *r = *state;
	size_t i;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++)
		bad(r, cases[i].command, cases[i].args, ERR_MALFORMED, cases[i].part);
}

static void
owners_are_put_and_listed(void **state)
{
	struct rig *r = *state;

	good(r, "owner put", "{\"name\": \"Tenant\", \"kind\": \"customer\", \"contract_end\": \"2030-01-01\"}");
	assert_string_equal(text_of(answer.result, "contract_end"), "2030-01-01T00:00:00Z");
	good(r, "owner list", "{}");
	assert_int_equal(json_array_size(answer.rows), 2);
	assert_string_equal(text_of(row(0), "name"), "Fleet");
	assert_string_equal(text_of(row(1), "kind"), "customer");
	bad(r, "owner put", "{\"name\": \"T\", \"kind\": \"friend\"}", ERR_MALFORMED, "friend");
	bad(r, "owner put", "{\"name\": \"T\", \"status\": \"gone\"}", ERR_MALFORMED, "gone");
	bad(r, "owner put", "{\"name\": \"T\", \"contract_end\": \"soon\"}", ERR_MALFORMED, "soon");
	bad(r, "owner put", "{\"name\": \"T\\n\"}", ERR_MALFORMED, "name");
}

/* A new telephone number must not let a suspended customer in again, nor end a contract's end. */
static void
an_owner_keeps_what_is_not_said(void **state)
{
	struct rig *r = *state;

	good(r, "owner put", "{\"name\": \"Fleet\", \"kind\": \"partner\", \"status\": \"suspended\","
		"\"contract_end\": \"2030-01-01\"}");
	good(r, "owner put", "{\"name\": \"Fleet\", \"contact\": \"x@example.net\"}");
	good(r, "owner list", "{}");
	assert_string_equal(text_of(row(0), "status"), "suspended");
	assert_string_equal(text_of(row(0), "kind"), "partner");
	assert_string_equal(text_of(row(0), "contract_end"), "2030-01-01T00:00:00Z");
	assert_string_equal(text_of(row(0), "contact"), "x@example.net");
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "owner.status");
	good(r, "owner put", "{\"name\": \"Fleet\", \"status\": \"active\", \"contract_end\": \"none\"}");
	assert_true(json_is_null(json_object_get(answer.result, "contract_end")));
}

static void
assets_are_listed_by_filter_and_limit(void **state)
{
	struct rig *r = *state;

	rig_expect(r, ERR_NONE);
	good(r, "asset list", NULL);
	assert_int_equal(json_array_size(answer.rows), 3);
	assert_int_equal(number_of(row(0), "certs_valid"), 1);
	good(r, "asset list", "{\"limit\": 0}");
	assert_int_equal(json_array_size(answer.rows), 3);
	good(r, "asset list", "{\"limit\": 2}");
	assert_int_equal(json_array_size(answer.rows), 2);
	good(r, "asset list", "{\"state\": \"decommissioned\"}");
	assert_string_equal(text_of(row(0), "tag"), "old-3");
	good(r, "asset list", "{\"tag\": \"rtr-2\", \"owner\": \"Fleet\"}");
	assert_int_equal(json_array_size(answer.rows), 1);
	good(r, "asset list", "{\"owner\": \"Nobody\"}");
	assert_int_equal(json_array_size(answer.rows), 0);
	bad(r, "asset list", "{\"state\": \"sold\"}", ERR_MALFORMED, "sold");
	assert_int_equal(run_with(r, "asset list", "{}", -1, 2), 0);
	assert_int_equal(json_array_size(answer.rows), 2); /* the operator has gone */
}

static void
an_asset_is_shown_with_its_anchors_and_certificates(void **state)
{
	struct rig *r = *state;
	const json_t *anchor;

	rig_expect(r, ERR_NONE);
	good(r, "asset show", "{\"tag\": \"rtr-1\"}");
	assert_string_equal(text_of(answer.result, "owner"), "Fleet");
	anchor = json_array_get(json_object_get(answer.result, "anchors"), 0);
	assert_string_equal(text_of(anchor, "value"), "SN1");
	assert_int_equal(json_array_size(json_object_get(answer.result, "certs")), 1);
	bad(r, "asset show", "{\"tag\": \"rtr-9\"}", ERR_DENIED, "rtr-9");
}

static void
an_asset_moves_through_its_life(void **state)
{
	struct rig *r = *state;

	rig_expect(r, ERR_NONE);
	good(r, "asset set-state", "{\"tag\": \"rtr-1\", \"state\": \"stolen\", \"reason\": \"break-in\"}");
	assert_int_equal(number_of(answer.result, "revoked"), 1);
	assert_int_equal(rig_number(r, "SELECT status FROM certificate"), CERT_REVOKED);
	bad(r, "asset set-state", "{\"tag\": \"rtr-1\", \"state\": \"sold\", \"reason\": \"x\"}", ERR_MALFORMED, "sold");
	bad(r, "asset set-state", "{\"tag\": \"rtr-9\", \"state\": \"lost\", \"reason\": \"x\"}", ERR_DENIED, "rtr-9");
	bad(r, "asset set-state", "{\"tag\": \"old-3\", \"state\": \"deployed\", \"reason\": \"x\"}", ERR_DENIED, "");
}

static void
a_file_is_imported(void **state)
{
	static const char csv[] = "tag,owner,anchor\nnew-1,Fleet,idevid_serial:acme:N1\nnew-2,Fleet,\n";
	struct rig *r = *state;

	assert_int_equal(with_file(r, "import", "{\"dry_run\": true}", csv), 0);
	assert_int_equal(number_of(answer.result, "added"), 2);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM asset"), 3);
	assert_int_equal(with_file(r, "import", "{\"source\": \"sheet\"}", csv), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM asset WHERE source = 'sheet'"), 2);
	assert_int_equal(with_file(r, "import", "{\"source\": \"sheet\"}", csv), 0);
	assert_int_equal(number_of(answer.result, "unchanged"), 2);
	assert_int_equal(with_file(r, "import", "{\"format\": \"jsonl\"}", "{\"tag\":\"new-3\",\"owner\":\"Fleet\"}\n"), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM asset"), 6);
}

static void
a_mistake_in_a_file_is_told_by_line_and_undoes_it_all(void **state)
{
	struct rig *r = *state;

	assert_int_equal(with_file(r, "import", "{}", "tag,owner,tier\nnew-1,Fleet,1\nnew-2,Fleet,high\n"), -1);
	assert_int_equal(answer.e.code, ERR_MALFORMED);
	assert_non_null(strstr(answer.e.text, "line 3, column tier"));
	assert_int_equal(with_file(r, "import", "{}", "tag,owner\nnew-1,Fleet\nnew-2,Strangers\n"), -1);
	assert_non_null(strstr(answer.e.text, "line 3"));
	assert_int_equal(with_file(r, "import", "{\"format\": \"jsonl\"}", "{\"tag\":\"new-1\",\"owner\":\"Fleet\"}\n{"), -1);
	assert_non_null(strstr(answer.e.text, "line 2"));
	assert_int_equal(with_file(r, "import", "{}", ""), -1);
	assert_int_equal(with_file(r, "import", "{\"format\": \"xlsx\"}", "tag,owner\nnew-1,Fleet\n"), -1);
	assert_non_null(strstr(answer.e.text, "xlsx"));
	assert_int_equal(rig_number(r, "SELECT count(*) FROM asset"), 3);
	assert_int_equal(with_file(r, "import", "{\"create_owners\": true}", "tag,owner\nnew-2,Strangers\n"), 0);
}

static void
a_new_secret_enrolls_once(void **state)
{
	struct rig *r = *state;
	char secret[64], *text;

	good(r, "secret new", "{\"tag\": \"rtr-1\"}");
	(void)snprintf(secret, sizeof secret, "%s", text_of(answer.result, "secret"));
	assert_int_equal(strlen(secret), 30);
	assert_string_equal(text_of(answer.result, "label"), "*");
	assert_int_equal(rig_number(r, "SELECT expires_s FROM secret"), NOW + 7 * DAY);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action LIKE 'secret%'"), 1);
	rig_use_secret(r, "rtr-1", secret);
	rig_expect(r, ERR_NONE);
	good(r, "audit list", "{\"after\": 0}");
	text = json_dumps(answer.rows, 0);
	assert_non_null(text);
	assert_null(strstr(text, secret));
	free(text);
}

static void
a_secret_may_be_static_and_for_one_label(void **state)
{
	struct rig *r = *state;

	r->world->config->labels[0].protocols |= PROTOCOL_SCEP;
	good(r, "secret new", "{\"tag\": \"rtr-1\", \"static\": true, \"label\": \"guarded\"}");
	assert_int_equal(rig_number(r, "SELECT count(*) FROM secret WHERE once = 0 AND expires_s = 0 AND "
		"label = 'guarded' AND protocol = 'est'"), 1);
	good(r, "secret new", "{\"tag\": \"rtr-1\", \"scep\": true, \"expires\": \"12h\", \"label\": \"\"}");
	assert_int_equal(rig_number(r, "SELECT count(*) FROM secret WHERE label = '' AND protocol = 'scep'"), 1);
	bad(r, "secret new", "{\"tag\": \"rtr-1\", \"label\": \"gaurded\"}", ERR_MALFORMED, "gaurded");
	bad(r, "secret new", "{\"tag\": \"rtr-1\", \"expires\": \"soon\"}", ERR_MALFORMED, "soon");
	bad(r, "secret new", "{\"tag\": \"rtr-1\", \"expires\": \"9223372036854775807\"}", ERR_MALFORMED, "longer");
	bad(r, "secret new", "{\"tag\": \"rtr-9\"}", ERR_DENIED, "rtr-9");
	assert_int_equal(rig_number(r, "SELECT count(*) FROM secret"), 2);
}

/* What is printed says which row it is; what is stored is the hash of the secret behind the dash. */
static void
a_new_challenge_begins_with_the_number_of_its_secret(void **state)
{
	struct rig *r = *state;
	struct secret_row row;
	struct store_read *read;
	char challenge[CHALLENGE_MAX];
	const char *secret;
	uint8_t hash[32];
	struct err e;
	int64_t id;

	good(r, "secret new", "{\"tag\": \"rtr-1\"}");
	good(r, "secret new", "{\"tag\": \"rtr-2\", \"scep\": true}");
	assert_string_equal(text_of(answer.result, "protocol"), "scep");
	assert_int_equal(strlen(text_of(answer.result, "secret")), 2 + 30);
	(void)snprintf(challenge, sizeof challenge, "%s", text_of(answer.result, "secret"));
	assert_int_equal(challenge_split(challenge, &id, &secret), 0);
	assert_true(id == rig_number(r, "SELECT id FROM secret WHERE protocol = 'scep'"));
	assert_int_equal(strlen(secret), 30);
	assert_int_equal(store_sqlite.read_begin(r->gateway.store, &read, &e), 0);
	assert_int_equal(store_sqlite.secret_by_id(read, id, &row, &e), 1);
	store_sqlite.read_end(read);
	assert_true(row.asset_id == rig_asset_id(r, "rtr-2"));
	assert_true(row.once);
	assert_int_equal(secret_hash(row.salt, secret, hash, &e), 0);
	assert_memory_equal(hash, row.hash, sizeof hash);
}

/* It would open nothing, and nobody would know before a device stands in the field. */
static void
a_secret_is_made_only_for_a_label_that_speaks_its_protocol(void **state)
{
	struct rig *r = *state;

	bad(r, "secret new", "{\"tag\": \"rtr-1\", \"scep\": true, \"label\": \"guarded\"}", ERR_MALFORMED,
		"label \"guarded\" does not speak SCEP");
	r->world->config->labels[0].protocols = PROTOCOL_SCEP;
	bad(r, "secret new", "{\"tag\": \"rtr-1\", \"label\": \"\"}", ERR_MALFORMED, "add --scep");
	good(r, "secret new", "{\"tag\": \"rtr-1\", \"scep\": true, \"label\": \"\"}");
	good(r, "secret new", "{\"tag\": \"rtr-1\", \"label\": \"guarded\"}");
	assert_int_equal(rig_number(r, "SELECT count(*) FROM secret"), 2);
}

/* Each says its version, and they are released together. */
static void
both_programs_have_one_version(void **state)
{
	(void)state;
	assert_string_equal(ENROLLCTL_VERSION, ENROLLD_VERSION);
}

static void
a_key_wrap_key_is_what_the_pipeline_derives(void **state)
{
	struct rig *r = *state;
	uint8_t id[KEYWRAP_ID_LEN], key[KEYWRAP_KEY_LEN];
	char hex[2 * KEYWRAP_KEY_LEN + 1];
	struct err e;

	good(r, "secret keywrap", "{\"tag\": \"rtr-1\"}");
	assert_int_equal(hex_decode(bytes_of_text(text_of(answer.result, "key_id")), id, sizeof id, &e), 0);
	assert_int_equal(keywrap_derive(&r->world->master, rig_asset_id(r, "rtr-1"), bytes_of(id, sizeof id), key, &e), 0);
	hex_encode(bytes_of(key, sizeof key), hex);
	assert_string_equal(text_of(answer.result, "key"), hex);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'secret.keywrap' AND subject = 'rtr-1'"),
		1);
	bad(r, "secret keywrap", "{\"tag\": \"rtr-9\"}", ERR_DENIED, "rtr-9");
	buf_clear(&r->world->master);
	bad(r, "secret keywrap", "{\"tag\": \"rtr-1\"}", ERR_UNSUPPORTED, "keygen.master");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(unknown_commands_are_told),
		test(no_command_takes_an_argument_it_does_not_know),
		test(arguments_of_a_wrong_type_are_refused),
		test(missing_arguments_are_named),
		test(owners_are_put_and_listed),
		test(an_owner_keeps_what_is_not_said),
		test(assets_are_listed_by_filter_and_limit),
		test(an_asset_is_shown_with_its_anchors_and_certificates),
		test(an_asset_moves_through_its_life),
		test(a_file_is_imported),
		test(a_mistake_in_a_file_is_told_by_line_and_undoes_it_all),
		test(a_new_secret_enrolls_once),
		test(a_secret_may_be_static_and_for_one_label),
		test(a_new_challenge_begins_with_the_number_of_its_secret),
		test(a_secret_is_made_only_for_a_label_that_speaks_its_protocol),
		cmocka_unit_test(both_programs_have_one_version),
		test(a_key_wrap_key_is_what_the_pipeline_derives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
