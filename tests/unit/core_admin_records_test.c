/* Operators' commands on requests, certificates, decisions, the audit chain, and the gateway itself. */
#define _GNU_SOURCE
#include "tests/unit/core_admin_fixture.h"

static void
requests_are_listed_shown_and_decided(void **state)
{
	struct rig *r = *state;
	char args[96];
	int64_t id;

	rig_label(r, "guarded");
	rig_expect(r, ERR_PENDING);
	good(r, "request list", "{\"state\": \"pending\"}");
	assert_int_equal(json_array_size(answer.rows), 1);
	id = number_of(row(0), "id");
	(void)snprintf(args, sizeof args, "{\"id\": %lld}", (long long)id);
	good(r, "request show", args);
	assert_non_null(strstr(text_of(answer.result, "csr"), "BEGIN CERTIFICATE REQUEST"));
	(void)snprintf(args, sizeof args, "{\"id\": %lld, \"approve\": true}", (long long)id);
	good(r, "request decide", args);
	assert_string_equal(text_of(answer.result, "state"), "approved");
	bad(r, "request decide", args, ERR_DENIED, "approved");
	rig_expect(r, ERR_NONE);
	good(r, "request list", "{\"asset\": \"rtr-1\", \"state\": \"issued\"}");
	assert_string_equal(text_of(row(0), "decided_by"), "operator:test");
	good(r, "request list", "{\"asset\": \"rtr-2\"}");
	assert_int_equal(json_array_size(answer.rows), 0);
	good(r, "request list", "{\"after\": 99}");
	assert_int_equal(json_array_size(answer.rows), 0);
}

static void
a_request_is_refused_with_a_reason(void **state)
{
	struct rig *r = *state;

	rig_label(r, "guarded");
	rig_expect(r, ERR_PENDING);
	bad(r, "request decide", "{\"id\": 1, \"approve\": false}", ERR_MALFORMED, "reason");
	good(r, "request decide", "{\"id\": 1, \"approve\": false, \"reason\": \"not ours\"}");
	assert_string_equal(text_of(answer.result, "state"), "refused");
	rig_expect(r, ERR_DENIED);
	bad(r, "request decide", "{\"id\": 99, \"approve\": true}", ERR_DENIED, "99");
	bad(r, "request show", "{\"id\": 99}", ERR_DENIED, "99");
	bad(r, "request show", "{\"id\": -1}", ERR_MALFORMED, "number");
	bad(r, "request list", "{\"state\": \"waiting\"}", ERR_MALFORMED, "waiting");
}

static int limit_seen;

static int
note_limit(struct store_read *read, const struct cert_filter *filter, cert_cb cb, void *arg, struct err *e)
{
	limit_seen = filter->limit;
	return store_sqlite.cert_list(read, filter, cb, arg, e);
}

static void
limits_of_lists_are_kept_in_bounds(void **state)
{
	struct rig *r = *state;

	rig_expect(r, ERR_NONE);
	rig_new_csr(r);
	rig_expect(r, ERR_NONE);
	good(r, "request list", "{\"limit\": 1}");
	assert_int_equal(json_array_size(answer.rows), 1);
	r->ops.cert_list = note_limit;
	good(r, "cert list", "{\"limit\": 9223372036854775807}");
	assert_int_equal(json_array_size(answer.rows), 2);
	assert_int_equal(limit_seen, 1000000);
	good(r, "cert list", "{\"limit\": 4294967295}");
	assert_int_equal(limit_seen, 1000000);
	good(r, "cert list", "{\"limit\": 0}");
	assert_int_equal(limit_seen, 1000);
	good(r, "audit list", "{\"limit\": -9223372036854775808}");
	assert_true(json_array_size(answer.rows) > 2);
	good(r, "audit list", "{\"limit\": 1}");
	assert_int_equal(json_array_size(answer.rows), 1); /* the latest */
	assert_string_equal(text_of(row(0), "action"), "enroll.issued");
	good(r, "audit list", "{\"limit\": 1, \"after\": 0}");
	assert_int_equal(number_of(row(0), "seq"), 1);
}

static void
certificates_are_listed_shown_and_revoked(void **state)
{
	struct rig *r = *state;
	char serial[64], args[160];
	const char *pem;
	X509 *cert;
	BIO *in;

	rig_expect(r, ERR_NONE);
	good(r, "cert list", "{\"asset\": \"rtr-1\", \"status\": \"valid\", \"expires_before\": \"2099-01-01\"}");
	assert_int_equal(json_array_size(answer.rows), 1);
	(void)snprintf(serial, sizeof serial, "%s", text_of(row(0), "serial"));
	good(r, "cert list", "{\"expires_before\": \"2020-01-01\"}");
	assert_int_equal(json_array_size(answer.rows), 0);
	(void)snprintf(args, sizeof args, "{\"serial\": \"%s\", \"ca\": \"issuing\"}", serial);
	good(r, "cert show", args);
	pem = text_of(answer.result, "pem");
	in = BIO_new_mem_buf(pem, (int)strlen(pem));
	cert = PEM_read_bio_X509(in, NULL, NULL, NULL);
	assert_non_null(cert);
	X509_free(cert);
	BIO_free(in);
	(void)snprintf(args, sizeof args, "{\"serial\": \"%s\", \"reason\": \"lost\"}", serial);
	good(r, "cert revoke", args);
	good(r, "cert list", "{\"status\": \"revoked\"}");
	assert_string_equal(text_of(row(0), "revoke_reason"), "lost");
	bad(r, "cert show", "{\"serial\": \"00\"}", ERR_DENIED, "00");
	bad(r, "cert revoke", "{\"serial\": \"00\", \"reason\": \"x\"}", ERR_DENIED, "00");
	(void)snprintf(args, sizeof args, "{\"serial\": \"%s\", \"ca\": \"second\"}", serial);
	bad(r, "cert show", args, ERR_DENIED, serial);
	bad(r, "cert list", "{\"status\": \"good\"}", ERR_MALFORMED, "good");
	bad(r, "cert list", "{\"expires_before\": \"soon\"}", ERR_MALFORMED, "soon");
}

/* Two certificates of one serial number, as two CAs may give. */
static int
list_twice(struct store_read *read, const struct cert_filter *filter, cert_cb cb, void *arg, struct err *e)
{
	struct cert_row row = { .id = 1, .ca = "issuing" };

	(void)read;
	(void)filter;
	(void)e;
	if (cb(arg, &row)) {
		row = (struct cert_row){ .id = 2, .ca = "second" };
		(void)cb(arg, &row);
	}
	return 0;
}

static void
a_serial_number_of_two_cas_revokes_neither(void **state)
{
	struct rig *r = *state;

	rig_expect(r, ERR_NONE);
	r->ops.cert_list = list_twice;
	bad(r, "cert revoke", "{\"serial\": \"01\", \"reason\": \"x\"}", ERR_DENIED, "--ca");
	assert_int_equal(rig_number(r, "SELECT count(*) FROM certificate WHERE status <> 0"), 0);
	good(r, "cert revoke", "{\"serial\": \"01\", \"reason\": \"x\", \"ca\": \"issuing\"}");
	assert_int_equal(rig_number(r, "SELECT status FROM certificate WHERE id = 1"), CERT_REVOKED);
}

static void
a_stored_request_is_explained(void **state)
{
	struct rig *r = *state;
	const json_t *decision;

	rig_expect(r, ERR_NONE);
	good(r, "explain", "{\"id\": 1}");
	decision = json_array_get(json_object_get(answer.result, "decisions"), 0);
	assert_string_equal(text_of(decision, "outcome"), "issued");
	assert_true(json_array_size(json_object_get(decision, "rules")) > 10);
	bad(r, "explain", "{\"id\": 99}", ERR_DENIED, "99");
}

static void
a_request_that_never_came_is_explained_without_a_trace(void **state)
{
	struct rig *r = *state;
	struct buf pem = { 0 };
	int64_t before = rig_number(r, "SELECT count(*) FROM audit");

	buf_append_text(&pem, "-----BEGIN CERTIFICATE REQUEST-----\n");
	base64_encode(&pem, r->request.csr, 64);
	buf_append_text(&pem, "-----END CERTIFICATE REQUEST-----\n");
	assert_int_equal(with_file(r, "explain", "{\"asset\": \"rtr-1\"}", buf_text(&pem)), 0);
	assert_string_equal(text_of(json_object_get(answer.result, "trial"), "outcome"), "allowed");
	assert_int_equal(with_file(r, "explain", "{\"asset\": \"rtr-1\", \"label\": \"guarded\"}", buf_text(&pem)), 0);
	assert_string_equal(text_of(json_object_get(answer.result, "trial"), "outcome"), "pending");
	assert_int_equal(with_file(r, "explain", "{\"asset\": \"rtr-1\", \"label\": \"no\"}", buf_text(&pem)), -1);
	assert_int_equal(with_file(r, "explain", "{\"asset\": \"rtr-1\", \"op\": \"steal\"}", buf_text(&pem)), -1);
	assert_int_equal(with_file(r, "explain", "{\"asset\": \"rtr-1\", \"proof\": \"word\"}", buf_text(&pem)), -1);
	assert_int_equal(with_file(r, "explain", "{\"asset\": \"rtr-1\", \"op\": \"renew\"}", buf_text(&pem)), -1);
	assert_non_null(strstr(answer.e.text, "no valid certificate"));
	assert_int_equal(with_file(r, "explain", "{\"asset\": \"rtr-9\"}", buf_text(&pem)), -1);
	assert_int_equal(with_file(r, "explain", "{\"asset\": \"rtr-1\"}", "nonsense"), -1);
	assert_int_equal(answer.e.code, ERR_MALFORMED);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit"), before);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM request"), 0);
	buf_free(&pem);
}

static void
verify_with(struct rig *r, const char *head, int64_t head_row)
{
	char args[96];

	(void)snprintf(args, sizeof args, "{\"head\": \"%s\"}", head);
	good(r, "audit verify", args);
	assert_int_equal(number_of(answer.result, "head_row"), head_row);
}

static void
the_audit_is_verified_with_an_old_head(void **state)
{
	struct rig *r = *state;
	char old[80], wrong[80], args[96];
	int64_t rows;

	good(r, "audit verify", NULL);
	rows = number_of(answer.result, "rows");
	(void)snprintf(old, sizeof old, "%s", text_of(answer.result, "head"));
	verify_with(r, old, rows);
	rig_expect(r, ERR_NONE);
	verify_with(r, old, rows);
	(void)snprintf(wrong, sizeof wrong, "%s", old);
	wrong[63] = wrong[63] == '0' ? '1' : '0';
	(void)snprintf(args, sizeof args, "{\"head\": \"%s\"}", wrong);
	bad(r, "audit verify", args, ERR_DENIED, "rewritten");
	bad(r, "audit verify", "{\"head\": \"00\"}", ERR_MALFORMED, "--head");
	bad(r, "audit verify", "{\"head\": \"zz\"}", ERR_MALFORMED, "--head");
}

static void
a_row_that_was_edited_is_found(void **state)
{
	struct rig *r = *state;
	sqlite3 *db = NULL;

	rig_expect(r, ERR_NONE);
	assert_int_equal(sqlite3_open(r->db, &db), SQLITE_OK);
	(void)sqlite3_busy_timeout(db, 5000);
	(void)sqlite3_exec(db, "DROP TRIGGER IF EXISTS audit_no_update", NULL, NULL, NULL);
	assert_int_equal(sqlite3_exec(db, "UPDATE audit SET actor = 'operator:nobody' WHERE seq = 1", NULL, NULL, NULL),
		SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	{
		struct admin_call call = { .gateway = &r->gateway, .actor = "operator:test", .fd = -1, .now_s = NOW,
			.emit = take_line, .emit_arg = &answer };

		answer.rows_until_gone = -1;
		assert_int_equal(admin_run("audit verify", &call, &answer.e), -1);
		assert_int_equal(answer.e.code, ERR_DENIED);
		assert_non_null(strstr(answer.e.text, "row 1"));
		assert_null(call.result);
	}
}

static void
the_gateway_tells_its_status(void **state)
{
	struct rig *r = *state;

	good(r, "status", NULL);
	assert_int_equal(number_of(answer.result, "pid"), getpid());
	assert_string_equal(text_of(answer.result, "store"), "sqlite");
	assert_string_equal(text_of(answer.result, "configuration"), r->world->config->path);
	assert_string_equal(text_of(answer.result, "policy_version"), r->world->config->version);
}

/* A store that does not answer is an error of every command, and not an empty list. */
static int
no_read(struct store *store, struct store_read **out, struct err *e)
{
	(void)store;
	(void)out;
	return err_set(e, ERR_UPSTREAM, "the disk is gone");
}

static void
a_store_that_is_down_is_told(void **state)
{
	static const struct {
		const char *command, *args;
	} cases[] = { { "asset list", NULL }, { "asset show", "{\"tag\": \"rtr-1\"}" }, { "audit list", NULL },
		{ "audit verify", NULL }, { "cert list", NULL }, { "cert show", "{\"serial\": \"01\"}" },
		{ "cert revoke", "{\"serial\": \"01\", \"reason\": \"x\"}" }, { "explain", "{\"id\": 1}" },
		{ "owner list", NULL }, { "owner put", "{\"name\": \"Fleet\"}" }, { "request list", NULL },
		{ "request show", "{\"id\": 1}" }, { "secret new", "{\"tag\": \"rtr-1\"}" },
		{ "secret keywrap", "{\"tag\": \"rtr-1\"}" } };
	struct rig *r = *state;
	size_t i;

	r->ops.read_begin = no_read;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++)
		bad(r, cases[i].command, cases[i].args, ERR_UPSTREAM, "disk");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(requests_are_listed_shown_and_decided),
		test(a_request_is_refused_with_a_reason),
		test(limits_of_lists_are_kept_in_bounds),
		test(certificates_are_listed_shown_and_revoked),
		test(a_serial_number_of_two_cas_revokes_neither),
		test(a_stored_request_is_explained),
		test(a_request_that_never_came_is_explained_without_a_trace),
		test(the_audit_is_verified_with_an_old_head),
		test(a_row_that_was_edited_is_found),
		test(the_gateway_tells_its_status),
		test(a_store_that_is_down_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
