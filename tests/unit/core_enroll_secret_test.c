/* Secrets: what spends them, what does not, and who is locked out. */
#define _GNU_SOURCE
#include "tests/unit/core_enroll_fixture.h"

#define SECRET "abcde-fghij-kmnpq-rstuv-wxyz22"

static int64_t
used(const struct rig *r)
{
	return rig_number(r, "SELECT count(*) FROM secret WHERE used_s <> 0");
}

static void
the_right_secret_issues_once(void **state)
{
	struct rig *r = *state;

	rig_secret(r, SECRET, "*", "est", 0);
	rig_use_secret(r, "rtr-1", SECRET);
	rig_expect(r, ERR_NONE);
	assert_string_equal(r->result.proof, "secret of rtr-1");
	assert_int_equal(used(r), 1);
	assert_int_equal(rig_number(r, "SELECT s.used_request_id = r.id FROM secret s, request r"), 1);
}

static void
a_spent_secret_repeats_its_own_request_and_no_other(void **state)
{
	struct rig *r = *state;
	struct buf first;

	rig_secret(r, SECRET, "*", "est", 0);
	rig_use_secret(r, "rtr-1", SECRET);
	rig_expect(r, ERR_NONE);
	first = rig_take(r);
	rig_expect(r, ERR_NONE);
	assert_true(r->result.replayed);
	assert_true(bytes_equal(buf_bytes(&first), buf_bytes(&r->result.cert)));
	rig_new_csr(r);
	rig_expect(r, ERR_UNAUTHENTIC);
	assert_int_equal(rig_certs(r), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM request"), 1);
	buf_free(&first);
}

static void
a_spent_secret_does_not_repeat_what_another_proof_was_given(void **state)
{
	struct rig *r = *state;
	struct enroll_request with_certificate = r->request;
	struct buf csr = { 0 };

	rig_expect(r, ERR_NONE);
	buf_append_bytes(&csr, r->request.csr);
	with_certificate.csr = buf_bytes(&csr);
	rig_secret(r, SECRET, "*", "est", 0);
	rig_use_secret(r, "rtr-1", SECRET);
	rig_new_csr(r);
	rig_expect(r, ERR_NONE);
	r->request.csr = with_certificate.csr;
	rig_expect(r, ERR_UNAUTHENTIC);
	r->request = with_certificate;
	rig_expect(r, ERR_NONE);
	assert_true(r->result.replayed);
	buf_free(&csr);
}

static void
a_spent_secret_opens_nothing_once_its_certificate_is_revoked(void **state)
{
	struct rig *r = *state;

	rig_secret(r, SECRET, "*", "est", 0);
	rig_use_secret(r, "rtr-1", SECRET);
	rig_expect(r, ERR_NONE);
	rig_revoke(r, 1);
	rig_expect(r, ERR_UNAUTHENTIC);
	assert_int_equal(rig_certs(r), 1);
}

static void
tries_with_a_spent_secret_count_against_the_address(void **state)
{
	struct rig *r = *state;
	int i;

	rig_secret(r, SECRET, "*", "est", 0);
	rig_use_secret(r, "rtr-1", SECRET);
	rig_expect(r, ERR_NONE);
	for (i = 0; i < 2 * MAX_FAILURES; i++) {
		rig_new_csr(r);
		rig_expect(r, ERR_UNAUTHENTIC);
	}
	rig_expect(r, ERR_LIMIT);
}

static void
a_refused_request_does_not_burn_the_secret(void **state)
{
	struct rig *r = *state;
	CLEANUP(EVP_PKEY) EVP_PKEY *small = EVP_RSA_gen(1024);
	struct buf spki = { 0 }, info = { 0 }, algorithm = { 0 }, signature = { 0 };
	static const uint8_t null[] = { 0x05, 0x00 };
	size_t mark;

	rig_secret(r, SECRET, "*", "est", 0);
	rig_use_secret(r, "rtr-1", SECRET);
	make_spki(&spki, small);
	make_info(&info, 0, "device-1", buf_bytes(&spki), NULL);
	mark = der_begin(&algorithm, DER_SEQUENCE);
	der_put_oid(&algorithm, "1.2.840.113549.1.1.11");
	buf_append(&algorithm, null, sizeof null);
	der_end(&algorithm, mark);
	make_signature(&signature, buf_bytes(&info), small, "SHA256", -1);
	buf_clear(&r->csr);
	make_outer(&r->csr, buf_bytes(&info), buf_bytes(&algorithm), buf_bytes(&signature));
	r->request.csr = buf_bytes(&r->csr);
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "csr.key");
	assert_int_equal(used(r), 0);
	r->request.csr.len--;
	rig_expect(r, ERR_MALFORMED);
	assert_int_equal(used(r), 0);
	rig_new_csr(r);
	rig_expect(r, ERR_NONE);
	buf_free(&spki);
	buf_free(&info);
	buf_free(&algorithm);
	buf_free(&signature);
}

static void
wrong_secrets_lock_the_name_for_every_address(void **state)
{
	struct rig *r = *state;
	int i;

	rig_secret(r, SECRET, "*", "est", 0);
	rig_use_secret(r, "rtr-1", "wrong");
	for (i = 0; i < MAX_FAILURES; i++)
		rig_expect(r, ERR_UNAUTHENTIC);
	rig_use_secret(r, "rtr-1", SECRET);
	r->request.peer = "192.0.2.99";
	rig_expect(r, ERR_LIMIT);
	assert_int_equal(r->result.retry_after_s, LOCK_S);
	assert_int_equal(used(r), 0);
	r->request.now_s += LOCK_S;
	rig_expect(r, ERR_NONE);
}

static void
wrong_names_lock_the_address_for_every_name(void **state)
{
	static const char *const names[2 * MAX_FAILURES] = { "a", "b", "c", "d", "e", "f" };
	struct rig *r = *state;
	int i;

	rig_secret(r, SECRET, "*", "est", 0);
	for (i = 0; i < 2 * MAX_FAILURES; i++) {
		rig_use_secret(r, names[i], SECRET);
		rig_expect(r, ERR_UNAUTHENTIC);
		assert_string_equal(r->result.asset_tag, "");
	}
	rig_use_secret(r, "rtr-1", SECRET);
	rig_expect(r, ERR_LIMIT);
	r->request.peer = "192.0.2.99";
	rig_expect(r, ERR_NONE);
}

static void
the_right_secret_forgives_the_name_and_not_the_address(void **state)
{
	struct rig *r = *state;
	int round, i;

	rig_secret(r, SECRET, "*", "est", 0);
	for (round = 0; round < 2; round++) {
		rig_use_secret(r, "rtr-1", "wrong");
		for (i = 0; i + 1 < MAX_FAILURES; i++)
			rig_expect(r, ERR_UNAUTHENTIC);
		rig_use_secret(r, "rtr-1", SECRET);
		rig_expect(r, ERR_NONE);
	}
	rig_use_secret(r, "nobody", "wrong");
	for (i = 0; i < 2; i++)
		rig_expect(r, ERR_UNAUTHENTIC);
	rig_use_secret(r, "rtr-1", SECRET);
	rig_expect(r, ERR_LIMIT);
}

static void
an_expired_secret_is_wrong(void **state)
{
	struct rig *r = *state;

	rig_secret(r, SECRET, "*", "est", NOW + 60);
	rig_use_secret(r, "rtr-1", SECRET);
	r->request.now_s = NOW + 61;
	rig_expect(r, ERR_UNAUTHENTIC);
	assert_int_equal(used(r), 0);
	r->request.now_s = NOW + 60;
	rig_expect(r, ERR_NONE);
}

static void
a_secret_for_another_label_is_wrong(void **state)
{
	struct rig *r = *state;

	rig_secret(r, SECRET, "guarded", "est", 0);
	rig_use_secret(r, "rtr-1", SECRET);
	rig_expect(r, ERR_UNAUTHENTIC);
	rig_secret(r, SECRET, "", "est", 0);
	rig_expect(r, ERR_NONE);
}

static void
a_secret_for_another_protocol_is_wrong(void **state)
{
	struct rig *r = *state;

	rig_secret(r, SECRET, "*", "scep", 0);
	rig_use_secret(r, "rtr-1", SECRET);
	rig_expect(r, ERR_UNAUTHENTIC);
	assert_int_equal(used(r), 0);
}

static void
a_secret_of_another_asset_is_wrong(void **state)
{
	struct rig *r = *state;

	rig_secret(r, SECRET, "*", "est", 0);
	rig_use_secret(r, "rtr-2", SECRET);
	rig_expect(r, ERR_UNAUTHENTIC);
	assert_int_equal(used(r), 0);
}

static void
an_empty_secret_is_none(void **state)
{
	struct rig *r = *state;

	rig_secret(r, "", "*", "est", 0);
	rig_use_secret(r, "rtr-1", "");
	rig_expect(r, ERR_UNAUTHENTIC);
	assert_int_equal(rig_certs(r), 0);
}

static void
a_label_without_secrets_takes_none(void **state)
{
	struct rig *r = *state;

	rig_secret(r, SECRET, "*", "est", 0);
	rig_use_secret(r, "rtr-1", SECRET);
	rig_label(r, "guarded");
	rig_expect(r, ERR_UNAUTHENTIC);
	assert_int_equal(used(r), 0);
}

static void
a_stranger_with_a_secret_is_who_the_secret_says(void **state)
{
	struct rig *r = *state;
	X509 *stranger;

	EVP_PKEY_free(r->maker_key); /* not the key of the root that is trusted */
	r->maker_key = EVP_EC_gen("P-256");
	stranger = rig_idevid(r, r->key, "SN2");
	rig_secret(r, SECRET, "*", "est", 0);
	rig_use_secret(r, "rtr-1", SECRET);
	r->request.client_cert = stranger;
	rig_expect(r, ERR_NONE);
	assert_string_equal(r->result.asset_tag, "rtr-1");
	r->request.secret = "wrong";
	rig_expect(r, ERR_UNAUTHENTIC);
	X509_free(stranger);
}

static void
secrets_stay_out_of_every_record(void **state)
{
	struct rig *r = *state;

	rig_secret(r, SECRET, "*", "est", 0);
	rig_use_secret(r, "rtr-1", SECRET "x");
	rig_expect(r, ERR_UNAUTHENTIC);
	assert_null(strstr(r->result.sentence, SECRET));
	rig_use_secret(r, "rtr-1", SECRET);
	rig_expect(r, ERR_NONE);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE detail_json LIKE '%" SECRET "%'"), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM decision WHERE rules_json LIKE '%" SECRET "%'"), 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

/* A stranger is answered every time, but cannot fill the disk with rows about it. */
static void
a_stranger_leaves_no_more_rows_than_the_limit(void **state)
{
	struct rig *r = *state;
	struct err e;
	int64_t before;
	int i;

	assert_int_equal(limiter_new(64, 3, 60, 60, &r->gateway.strangers, &e), 0);
	r->request.client_cert = NULL;
	before = rig_number(r, "SELECT count(*) FROM audit");
	for (i = 0; i < 10; i++)
		rig_expect(r, ERR_UNAUTHENTIC);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit") - before, 3);
	r->request.peer = "192.0.2.99";
	rig_expect(r, ERR_UNAUTHENTIC);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit") - before, 4);
	limiter_free(r->gateway.strangers);
	r->gateway.strangers = NULL;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(the_right_secret_issues_once),
		test(a_stranger_leaves_no_more_rows_than_the_limit),
		test(a_spent_secret_repeats_its_own_request_and_no_other),
		test(a_spent_secret_does_not_repeat_what_another_proof_was_given),
		test(a_spent_secret_opens_nothing_once_its_certificate_is_revoked),
		test(tries_with_a_spent_secret_count_against_the_address),
		test(a_refused_request_does_not_burn_the_secret),
		test(wrong_secrets_lock_the_name_for_every_address),
		test(wrong_names_lock_the_address_for_every_name),
		test(the_right_secret_forgives_the_name_and_not_the_address),
		test(an_expired_secret_is_wrong),
		test(a_secret_for_another_label_is_wrong),
		test(a_secret_for_another_protocol_is_wrong),
		test(a_secret_of_another_asset_is_wrong),
		test(an_empty_secret_is_none),
		test(a_label_without_secrets_takes_none),
		test(a_stranger_with_a_secret_is_who_the_secret_says),
		test(secrets_stay_out_of_every_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
