/* The pipeline and its CA: out of order, unwilling, slow, or lying. */
#define _GNU_SOURCE
#include "tests/unit/core_enroll_fixture.h"

#define SECRET "abcde-fghij-kmnpq-rstuv-wxyz22"

static int
ca_down(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	(void)ca;
	(void)request;
	(void)out;
	return err_set(e, ERR_UPSTREAM, "connection refused");
}

static int
ca_unwilling(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	(void)ca;
	(void)request;
	(void)out;
	return err_set(e, ERR_DENIED, "template says no");
}

static int
ca_slow(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	(void)ca;
	(void)request;
	(void)e;
	*out = (struct ca_answer){ .state = CA_WAITING, .retry_s = 99, .reference = "x" };
	return 0;
}

static int
ca_of_another_key(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");
	struct ca_request lie = *request;
	struct buf spki = { 0 };
	int result;

	make_spki(&spki, key);
	lie.spki = buf_bytes(&spki);
	result = ca_builtin.issue(ca, &lie, out, e);
	buf_free(&spki);
	return result;
}

static int
ca_with_another_name(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	struct cert_spec spec = *request->spec;
	struct ca_request lie = *request;

	spec.sans[spec.san_count].type = SPEC_SAN_DNS;
	(void)snprintf(spec.sans[spec.san_count].value, sizeof spec.sans[0].value, "bank.example.com");
	spec.san_count++;
	lie.spec = &spec;
	return ca_builtin.issue(ca, &lie, out, e);
}

static int
ca_of_rubbish(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	(void)ca;
	(void)request;
	(void)e;
	*out = (struct ca_answer){ .state = CA_ISSUED, .serial = "01" };
	buf_append_text(&out->cert, "not a certificate");
	return 0;
}

/* The secret is still good, and the same request gets its certificate when the CA is itself again. */
static void
expect_harmless(struct rig *r, enum err_code code)
{
	rig_secret(r, SECRET, "*", "est", 0);
	rig_use_secret(r, "rtr-1", SECRET);
	rig_expect(r, code);
	assert_int_equal(rig_certs(r), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM request WHERE state = 2"), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM secret WHERE used_s <> 0"), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'enroll.issued'"), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'enroll.refused'"), 1);
	r->ca_ops = ca_builtin;
	rig_expect(r, ERR_NONE);
	assert_int_equal(rig_certs(r), 1);
}

static void
a_ca_that_is_down_means_later_and_burns_no_secret(void **state)
{
	struct rig *r = *state;

	r->ca_ops.issue = ca_down;
	expect_harmless(r, ERR_UPSTREAM);
}

static void
a_ca_that_refuses_is_a_refusal(void **state)
{
	struct rig *r = *state;

	r->ca_ops.issue = ca_unwilling;
	expect_harmless(r, ERR_DENIED);
}

static void
a_ca_that_wants_time_says_when(void **state)
{
	struct rig *r = *state;

	r->ca_ops.issue = ca_slow;
	rig_expect(r, ERR_UPSTREAM);
	assert_int_equal(r->result.retry_after_s, 99);
	assert_int_equal(rig_certs(r), 0);
}

static void
a_certificate_of_another_key_is_withheld(void **state)
{
	struct rig *r = *state;

	r->ca_ops.verified = false;
	r->ca_ops.issue = ca_of_another_key;
	expect_harmless(r, ERR_BUG);
}

static void
a_certificate_with_a_name_nobody_approved_is_withheld(void **state)
{
	struct rig *r = *state;

	r->ca_ops.verified = false;
	r->ca_ops.issue = ca_with_another_name;
	expect_harmless(r, ERR_BUG);
}

static void
rubbish_from_the_ca_is_withheld(void **state)
{
	struct rig *r = *state;

	r->ca_ops.verified = false;
	r->ca_ops.issue = ca_of_rubbish;
	expect_harmless(r, ERR_BUG);
}

static void
an_honest_ca_that_is_checked_here_issues(void **state)
{
	struct rig *r = *state;

	r->ca_ops.verified = false;
	rig_expect(r, ERR_NONE);
}

static void
no_key_leaves_when_its_certificate_does_not(void **state)
{
	struct rig *r = *state;

	r->request.op = ENROLL_KEYGEN;
	r->ca_ops.issue = ca_down;
	rig_expect(r, ERR_UPSTREAM); /* rig_run() asserts that there is no key */
	r->ca_ops.issue = ca_slow;
	rig_expect(r, ERR_UPSTREAM);
	r->ca_ops.verified = false;
	r->ca_ops.issue = ca_of_another_key;
	rig_expect(r, ERR_BUG);
	assert_int_equal(rig_certs(r), 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_ca_that_is_down_means_later_and_burns_no_secret),
		test(a_ca_that_refuses_is_a_refusal),
		test(a_ca_that_wants_time_says_when),
		test(a_certificate_of_another_key_is_withheld),
		test(a_certificate_with_a_name_nobody_approved_is_withheld),
		test(rubbish_from_the_ca_is_withheld),
		test(an_honest_ca_that_is_checked_here_issues),
		test(no_key_leaves_when_its_certificate_does_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
