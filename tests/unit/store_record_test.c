#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"

static void
record_issued_keeps_request_certificate_decision_and_audit(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	CLEANUP(buf) struct buf der = {0}, csr = {0};
	struct store_read *read;
	struct request_row row;
	struct cert_row cert, other;
	struct sample s;
	struct err e;
	int64_t id;

	sample_fill(&s, &asset, 1, REQUEST_ISSUED);
	id = record_as(f->store, &s.o, STORE_RECORDED);
	read = begin(f->store);
	assert_int_equal(ops->request_find(read, asset.id, "routers", s.o.csr_sha256, &row, &e), 1);
	assert_int_equal(row.id, id);
	assert_int_equal(row.state, REQUEST_ISSUED);
	assert_int_equal(row.tries, 1);
	assert_string_equal(row.asset_tag, "rtr-1");
	assert_string_equal(row.peer, "192.0.2.7");
	assert_int_equal(ops->cert_by_serial(read, s.o.serial, s.o.cert_sha256, &cert, &e), 1);
	assert_int_equal(ops->cert_by_serial(read, s.o.serial, s.o.spki_sha256, &other, &e), 0);
	assert_int_equal(cert.id, row.cert_id);
	assert_int_equal(cert.request_id, id);
	assert_string_equal(cert.serial, s.serial);
	assert_string_equal(cert.sans, "dns:device.example");
	assert_memory_equal(cert.spki_sha256, s.o.spki_sha256, 32);
	assert_int_equal(ops->cert_der(read, cert.id, &der, &e), 1);
	assert_true(bytes_equal(buf_bytes(&der), s.o.cert));
	assert_int_equal(ops->request_by_id(read, id, &row, &csr, &e), 1);
	assert_true(bytes_equal(buf_bytes(&csr), s.o.csr));
	ops->read_end(read);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM decision WHERE outcome = 'issued'"), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action = 'enroll.issued'"
					   " AND actor = 'device:rtr-1' AND subject = 'rtr-1'"), 1);
}

static void
record_of_a_stranger_leaves_a_decision_and_an_audit_row_only(void **state)
{
	struct fixture *f = *state;
	struct sample s;

	sample_fill(&s, NULL, 1, REQUEST_DENIED);
	assert_int_equal(record_as(f->store, &s.o, STORE_RECORDED), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM request"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM decision WHERE request_id IS NULL"), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action = 'enroll.denied'"
					   " AND subject = '192.0.2.7'"), 1);
}

static void
record_refuses_what_was_decided_on_an_older_asset(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample s;
	struct err e;

	sample_fill(&s, &asset, 1, REQUEST_ISSUED);
	assert_int_equal(ops->asset_set_state(f->store, "rtr-1", ASSET_STOLEN, "", "operator:t", NOW, NULL, &e), 0);
	(void)record_as(f->store, &s.o, STORE_STALE);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM request"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM decision"), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action LIKE 'enroll.%'"), 0);
}

static void
record_of_the_same_request_again_says_it_exists(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample first, second;
	int64_t id;

	sample_fill(&first, &asset, 1, REQUEST_ISSUED);
	id = record_as(f->store, &first.o, STORE_RECORDED);
	sample_fill(&second, &asset, 2, REQUEST_ISSUED);
	memcpy(second.o.csr_sha256, first.o.csr_sha256, 32);
	(void)record_as(f->store, &second.o, STORE_EXISTS);
	second.o.request_id = id; /* issued stays issued, even when it is named */
	(void)record_as(f->store, &second.o, STORE_EXISTS);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), 1);
	second.o.request_id = 0;
	second.o.attempt = 1; /* after the first certificate aged */
	assert_int_not_equal(record_as(f->store, &second.o, STORE_RECORDED), id);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), 2);
}

static void
record_finds_the_newest_attempt(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample first, second;
	struct store_read *read;
	struct request_row row;
	struct err e;

	sample_fill(&first, &asset, 1, REQUEST_ISSUED);
	(void)record_as(f->store, &first.o, STORE_RECORDED);
	sample_fill(&second, &asset, 2, REQUEST_ISSUED);
	memcpy(second.o.csr_sha256, first.o.csr_sha256, 32);
	second.o.attempt = 7;
	(void)record_as(f->store, &second.o, STORE_RECORDED);
	read = begin(f->store);
	assert_int_equal(ops->request_find(read, asset.id, "routers", first.o.csr_sha256, &row, &e), 1);
	assert_int_equal(row.attempt, 7);
	assert_int_equal(ops->request_find(read, asset.id, "phones", first.o.csr_sha256, &row, &e), 0);
	ops->read_end(read);
}

static void
record_of_a_repeated_denial_updates_its_row(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample s;
	struct request_row row;
	int64_t id;

	sample_fill(&s, &asset, 1, REQUEST_DENIED);
	id = record_as(f->store, &s.o, STORE_RECORDED);
	s.o.request_id = id;
	s.o.now_s = NOW + 60;
	assert_int_equal(record_as(f->store, &s.o, STORE_RECORDED), id);
	row = get_request(f->store, id);
	assert_int_equal(row.tries, 2);
	assert_int_equal(row.created_s, NOW);
	assert_int_equal(row.updated_s, NOW + 60);
	assert_int_equal(row.decision_id, 2);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM request"), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action = 'enroll.denied'"), 2);
	/* Who did not see the row goes on with it too. */
	s.o.request_id = 0;
	assert_int_equal(record_as(f->store, &s.o, STORE_RECORDED), id);
}

static void
record_takes_a_pending_request_through_approval_to_its_certificate(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample s;
	struct err e;
	int64_t id;

	sample_fill(&s, &asset, 1, REQUEST_PENDING);
	id = record_as(f->store, &s.o, STORE_RECORDED);
	assert_int_equal(ops->request_decide(f->store, id, true, "fine", "operator:eve", NOW, &e), 0);
	assert_int_equal(get_request(f->store, id).state, REQUEST_APPROVED);
	s.o.request_id = id; /* decided before the approval: the approval stays */
	assert_int_equal(record_as(f->store, &s.o, STORE_RECORDED), id);
	assert_int_equal(get_request(f->store, id).state, REQUEST_APPROVED);
	sample_fill(&s, &asset, 1, REQUEST_ISSUED);
	s.o.request_id = id;
	assert_int_equal(record_as(f->store, &s.o, STORE_RECORDED), id);
	assert_int_equal(get_request(f->store, id).state, REQUEST_ISSUED);
	assert_string_equal(get_request(f->store, id).decided_by, "operator:eve");
	assert_int_equal(get_request(f->store, id).tries, 3);
}

static void
record_never_issues_what_an_operator_refused(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample s;
	struct request_row row;
	struct err e;
	int64_t id;

	sample_fill(&s, &asset, 1, REQUEST_PENDING);
	id = record_as(f->store, &s.o, STORE_RECORDED);
	assert_int_equal(ops->request_decide(f->store, id, false, "who is this?", "operator:eve", NOW, &e), 0);
	s.o.request_id = id;
	(void)record_as(f->store, &s.o, STORE_EXISTS);
	sample_fill(&s, &asset, 1, REQUEST_ISSUED);
	s.o.request_id = id;
	(void)record_as(f->store, &s.o, STORE_EXISTS);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), 0);
	sample_fill(&s, &asset, 1, REQUEST_DENIED);
	s.o.request_id = id;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	row = get_request(f->store, id);
	assert_int_equal(row.state, REQUEST_REFUSED);
	assert_string_equal(row.sentence, "who is this?");
	assert_int_equal(row.tries, 2);
}

static int64_t
put_secret(struct fixture *f, int64_t asset_id, bool once)
{
	struct secret_row secret = {.asset_id = asset_id, .once = once, .label = "*", .protocol = "est"};
	struct secret_row out[4];
	struct store_read *read;
	struct err e;

	secret.salt[0] = 7;
	secret.hash[31] = 9;
	assert_int_equal(ops->secret_put(f->store, &secret, "operator:t", NOW, NULL, &e), 0);
	read = begin(f->store);
	assert_true(ops->secrets(read, asset_id, "est", out, 4, &e) > 0);
	ops->read_end(read);
	assert_int_equal(out[0].salt[0], 7);
	assert_int_equal(out[0].hash[31], 9);
	return out[0].id;
}

static void
record_spends_a_once_secret_for_one_request_only(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	int64_t secret = put_secret(f, asset.id, true);
	struct sample s;

	sample_fill(&s, &asset, 1, REQUEST_PENDING);
	s.o.secret_id = secret; /* waiting spends nothing */
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	sample_fill(&s, &asset, 2, REQUEST_ISSUED);
	s.o.secret_id = secret;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	sample_fill(&s, &asset, 3, REQUEST_ISSUED);
	s.o.secret_id = secret;
	(void)record_as(f->store, &s.o, STORE_SPENT);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM secret WHERE used_request_id = 2"), 1);
}

static void
record_leaves_a_reusable_secret_unused(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	int64_t secret = put_secret(f, asset.id, false);
	struct sample s;

	for (unsigned i = 1; i <= 2; i++) {
		sample_fill(&s, &asset, i, REQUEST_ISSUED);
		s.o.secret_id = secret;
		(void)record_as(f->store, &s.o, STORE_RECORDED);
	}
	assert_int_equal(fixture_number(f, "SELECT used_s FROM secret"), 0);
}

static void
record_refuses_the_secret_of_another_asset(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1"), other = add_asset(f->store, "rtr-2");
	enum store_recorded what;
	struct sample s;
	struct err e;
	int64_t id;

	sample_fill(&s, &asset, 1, REQUEST_ISSUED);
	s.o.secret_id = put_secret(f, other.id, true);
	assert_int_equal(ops->record(f->store, &s.o, &what, &id, &e), -1);
	assert_int_equal(e.code, ERR_BUG);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM request"), 0);
}

static void
record_of_a_renewal_revokes_the_old_certificate_when_asked(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample s;
	struct cert_row old;

	sample_fill(&s, &asset, 1, REQUEST_ISSUED);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	sample_fill(&s, &asset, 2, REQUEST_ISSUED);
	s.o.replaces_id = 1;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	assert_int_equal(get_cert(f->store, 1).status, CERT_VALID);
	sample_fill(&s, &asset, 3, REQUEST_ISSUED);
	s.o.replaces_id = 1;
	s.o.supersede = true;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	old = get_cert(f->store, 1);
	assert_int_equal(old.status, CERT_REVOKED);
	assert_string_equal(old.revoke_reason, "superseded");
	assert_int_equal(old.revoked_s, NOW);
	assert_int_equal(get_cert(f->store, 3).replaces_id, 1);
	/* A renewal with the old certificate that was decided before this one must be decided again. */
	sample_fill(&s, &asset, 4, REQUEST_ISSUED);
	s.o.replaces_id = 1;
	(void)record_as(f->store, &s.o, STORE_STALE);
}

static void
record_refuses_to_replace_the_certificate_of_another_asset(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1"), other = add_asset(f->store, "rtr-2");
	enum store_recorded what;
	struct sample s;
	struct err e;
	int64_t id;

	sample_fill(&s, &asset, 1, REQUEST_ISSUED);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	sample_fill(&s, &other, 2, REQUEST_ISSUED);
	s.o.replaces_id = 1;
	s.o.supersede = true;
	assert_int_equal(ops->record(f->store, &s.o, &what, &id, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	assert_int_equal(get_cert(f->store, 1).status, CERT_VALID);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM request"), 1);
}

static void
record_refuses_a_serial_the_ca_gave_before(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	enum store_recorded what;
	struct sample first, s;
	struct err e;
	int64_t id;

	sample_fill(&first, &asset, 1, REQUEST_ISSUED);
	(void)record_as(f->store, &first.o, STORE_RECORDED);
	sample_fill(&s, &asset, 2, REQUEST_ISSUED);
	s.o.serial = first.o.serial;
	assert_int_equal(ops->record(f->store, &s.o, &what, &id, &e), -1);
	assert_int_equal(e.code, ERR_BUG);
	sample_fill(&s, &asset, 3, REQUEST_ISSUED);
	s.o.serial = first.o.serial;
	s.o.ca = "another"; /* serials are unique per CA */
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM request"), 2);
	assert_int_equal(verify(f->store).bad_seq, 0);
}

/* Issued, denied since, and asked again: the first answer is found, and a later issue goes on with the denied row. */
static void
record_keeps_an_answer_in_front_of_later_denials(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	enum store_recorded what;
	struct sample first, denied, again;
	struct store_read *read;
	struct request_row row;
	struct err e;
	int64_t id, denied_id;

	sample_fill(&first, &asset, 1, REQUEST_ISSUED);
	id = record_as(f->store, &first.o, STORE_RECORDED);
	sample_fill(&denied, &asset, 2, REQUEST_DENIED);
	memcpy(denied.o.csr_sha256, first.o.csr_sha256, 32);
	denied.o.attempt = 1;
	denied_id = record_as(f->store, &denied.o, STORE_RECORDED);
	assert_int_equal(record_as(f->store, &denied.o, STORE_RECORDED), denied_id);
	read = begin(f->store);
	assert_int_equal(ops->request_find(read, asset.id, first.o.label, first.o.csr_sha256, &row, &e), 1);
	assert_int_equal(row.id, id);
	assert_int_equal(row.state, REQUEST_ISSUED);
	ops->read_end(read);
	sample_fill(&again, &asset, 3, REQUEST_ISSUED);
	memcpy(again.o.csr_sha256, first.o.csr_sha256, 32);
	again.o.attempt = 1;
	assert_int_equal(record_as(f->store, &again.o, STORE_RECORDED), denied_id);
	assert_int_equal(ops->record(f->store, &again.o, &what, &id, &e), 0);
	assert_int_equal(what, STORE_EXISTS);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM request"), 2);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM certificate"), 2);
}

static void
record_tells_whose_certificates_hold_a_key(void **state)
{
	struct fixture *f = *state;
	struct asset one = add_asset(f->store, "rtr-1"), two = add_asset(f->store, "rtr-2");
	bool elsewhere = true, before = true;
	struct store_read *read;
	struct sample s;
	struct err e;

	sample_fill(&s, &one, 1, REQUEST_ISSUED);
	read = begin(f->store);
	assert_int_equal(ops->key_use(read, s.o.spki_sha256, one.id, &elsewhere, &before, &e), 0);
	assert_false(elsewhere || before);
	ops->read_end(read);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	read = begin(f->store);
	assert_int_equal(ops->key_use(read, s.o.spki_sha256, one.id, &elsewhere, &before, &e), 0);
	assert_true(!elsewhere && before);
	assert_int_equal(ops->key_use(read, s.o.spki_sha256, two.id, &elsewhere, &before, &e), 0);
	assert_true(elsewhere && !before);
	ops->read_end(read);
}

/* The index holds the beginning of a digest only. */
static void
record_tells_keys_apart_whose_digests_begin_alike(void **state)
{
	struct fixture *f = *state;
	struct asset one = add_asset(f->store, "rtr-1"), two = add_asset(f->store, "rtr-2");
	bool elsewhere = true, before = true;
	struct store_read *read;
	struct sample s, like;
	struct err e;

	sample_fill(&s, &one, 1, REQUEST_ISSUED);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	sample_fill(&like, &two, 2, REQUEST_ISSUED);
	memcpy(like.o.spki_sha256, s.o.spki_sha256, sizeof like.o.spki_sha256);
	like.o.spki_sha256[31] ^= 1;
	read = begin(f->store);
	assert_int_equal(ops->key_use(read, like.o.spki_sha256, one.id, &elsewhere, &before, &e), 0);
	assert_false(elsewhere || before);
	ops->read_end(read);
	(void)record_as(f->store, &like.o, STORE_RECORDED);
	read = begin(f->store);
	assert_int_equal(ops->key_use(read, like.o.spki_sha256, one.id, &elsewhere, &before, &e), 0);
	assert_true(elsewhere && !before);
	ops->read_end(read);
}

static void
record_cuts_long_texts_between_characters(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	char sans[2 * STORE_SUBJECT_MAX];
	struct cert_row cert;
	struct sample s;

	sample_fill(&s, &asset, 1, REQUEST_ISSUED);
	for (size_t i = 0; i + 2 < sizeof sans; i += 2)
		memcpy(sans + i, "\xc3\xa9", 3);
	s.o.sans = sans;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	cert = get_cert(f->store, 1);
	assert_int_equal(strlen(cert.sans), STORE_SUBJECT_MAX - 2);
	assert_memory_equal(cert.sans, sans, strlen(cert.sans));
}

static void
record_refuses_an_outcome_that_only_an_operator_gives(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	enum store_recorded what;
	struct sample s;
	struct err e;
	int64_t id;

	sample_fill(&s, &asset, 1, REQUEST_APPROVED);
	assert_int_equal(ops->record(f->store, &s.o, &what, &id, &e), -1);
	assert_int_equal(e.code, ERR_BUG);
	sample_fill(&s, &asset, 1, REQUEST_DENIED);
	s.o.request_id = 99; /* not the row of this request */
	assert_int_equal(ops->record(f->store, &s.o, &what, &id, &e), -1);
	assert_int_equal(e.code, ERR_BUG);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(record_issued_keeps_request_certificate_decision_and_audit),
		STORE_TEST(record_of_a_stranger_leaves_a_decision_and_an_audit_row_only),
		STORE_TEST(record_refuses_what_was_decided_on_an_older_asset),
		STORE_TEST(record_of_the_same_request_again_says_it_exists),
		STORE_TEST(record_finds_the_newest_attempt),
		STORE_TEST(record_of_a_repeated_denial_updates_its_row),
		STORE_TEST(record_takes_a_pending_request_through_approval_to_its_certificate),
		STORE_TEST(record_never_issues_what_an_operator_refused),
		STORE_TEST(record_spends_a_once_secret_for_one_request_only),
		STORE_TEST(record_leaves_a_reusable_secret_unused),
		STORE_TEST(record_refuses_the_secret_of_another_asset),
		STORE_TEST(record_of_a_renewal_revokes_the_old_certificate_when_asked),
		STORE_TEST(record_refuses_to_replace_the_certificate_of_another_asset),
		STORE_TEST(record_refuses_a_serial_the_ca_gave_before),
		STORE_TEST(record_keeps_an_answer_in_front_of_later_denials),
		STORE_TEST(record_tells_whose_certificates_hold_a_key),
		STORE_TEST(record_tells_keys_apart_whose_digests_begin_alike),
		STORE_TEST(record_cuts_long_texts_between_characters),
		STORE_TEST(record_refuses_an_outcome_that_only_an_operator_gives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
