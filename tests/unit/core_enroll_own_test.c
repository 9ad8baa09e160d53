/* Renewing with certificates of our own: revoked, held, expired, of another label. */
#define _GNU_SOURCE
#include "tests/unit/core_enroll_fixture.h"

/* A renewal keeps its names, so the requests here ask for none. */
static int
own_setup(void **state)
{
	struct rig *r;

	if (rig_setup(state) != 0)
		return -1;
	r = *state;
	r->name = "";
	return 0;
}

static void
renew_at(struct rig *r, int64_t now_s)
{
	r->request.op = ENROLL_RENEW;
	r->request.operation = "simplereenroll";
	r->request.now_s = now_s;
}

static void
our_own_certificate_renews_within_the_window(void **state)
{
	struct rig *r = *state;
	X509 *own = rig_own(r);

	renew_at(r, NOW + 59 * DAY);
	rig_new_csr(r);
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "renewal.window");
	renew_at(r, NOW + 61 * DAY);
	rig_expect(r, ERR_NONE);
	assert_int_equal(rig_number(r, "SELECT replaces_id FROM certificate WHERE id = 2"), 1);
	assert_int_equal(rig_number(r, "SELECT status FROM certificate WHERE id = 1"), CERT_VALID);
	X509_free(own);
}

/* RSA and Ed25519 sign the same request the same way: a device that keeps its key sends the same octets again. */
static void
a_renewal_with_the_octets_of_the_enrollment_is_a_new_certificate(void **state)
{
	struct rig *r = *state;
	struct buf second;
	X509 *own;

	rig_label(r, "anytime");
	own = rig_own(r);
	renew_at(r, NOW + DAY);
	rig_expect(r, ERR_NONE);
	assert_false(r->result.replayed);
	second = rig_take(r);
	rig_expect(r, ERR_NONE); /* and this one's answer may be lost */
	assert_true(r->result.replayed);
	assert_true(bytes_equal(buf_bytes(&second), buf_bytes(&r->result.cert)));
	assert_int_equal(rig_certs(r), 2);
	buf_free(&second);
	X509_free(own);
}

static void
a_manufacturers_certificate_does_not_renew(void **state)
{
	struct rig *r = *state;

	renew_at(r, NOW);
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "renewal.proof");
}

static void
a_revoked_certificate_proves_nothing(void **state)
{
	struct rig *r = *state;
	X509 *own = rig_own(r);

	rig_revoke(r, 1);
	rig_new_csr(r);
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "proof.revoked");
	renew_at(r, NOW + 61 * DAY);
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "proof.revoked");
	assert_int_equal(rig_certs(r), 1);
	X509_free(own);
}

static void
a_held_certificate_proves_nothing_until_it_is_released(void **state)
{
	struct rig *r = *state;
	X509 *own = rig_own(r);

	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	renew_at(r, NOW + 61 * DAY);
	rig_new_csr(r);
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "proof.revoked");
	rig_set_state(r, "rtr-1", ASSET_STAGED);
	rig_expect(r, ERR_NONE);
	X509_free(own);
}

static void
an_expired_certificate_needs_the_labels_grace(void **state)
{
	struct rig *r = *state;
	X509 *own = rig_own(r);

	renew_at(r, NOW + 91 * DAY);
	rig_new_csr(r);
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "proof.expired");
	rig_label(r, "graced");
	renew_at(r, NOW + 101 * DAY);
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "proof.expired");
	renew_at(r, NOW + 99 * DAY);
	rig_expect(r, ERR_NONE);
	X509_free(own);
}

static void
a_certificate_that_is_not_valid_yet_proves_nothing(void **state)
{
	struct rig *r = *state;
	X509 *own = rig_own(r);

	rig_new_csr(r);
	r->request.now_s = NOW - 3600;
	rig_expect(r, ERR_UNAUTHENTIC);
	rig_label(r, "graced"); /* takes no secrets: a password would not help */
	rig_expect(r, ERR_DENIED);
	assert_int_equal(rig_certs(r), 1);
	X509_free(own);
}

static void
another_cas_certificate_counts_only_where_a_trust_set_names_it(void **state)
{
	struct rig *r = *state;
	STACK_OF(X509) *chain = sk_X509_new_null();
	X509 *own = rig_own(r);

	r->request.client_chain = chain;
	renew_at(r, NOW + 61 * DAY);
	rig_new_csr(r);
	rig_label(r, "second");
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.proof, ""); /* not taken for ours */
	rig_label(r, "roaming");
	rig_expect(r, ERR_NONE);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM certificate WHERE ca = 'second'"), 1);
	sk_X509_free(chain);
	X509_free(own);
}

static void
a_certificate_with_our_names_that_is_not_recorded_is_a_strangers(void **state)
{
	struct rig *r = *state;
	X509 *own = rig_own(r), *forged = X509_dup(own);

	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(forged), 4711), 1);
	assert_true(X509_sign(forged, r->maker_key, EVP_sha256()) > 0);
	r->request.client_cert = forged;
	renew_at(r, NOW + 61 * DAY);
	rig_new_csr(r);
	rig_expect(r, ERR_UNAUTHENTIC);
	assert_int_equal(rig_certs(r), 1);
	X509_free(forged);
	X509_free(own);
}

static void
a_guarded_renewal_with_the_same_octets_waits_for_its_own_approval(void **state)
{
	struct rig *r = *state;
	struct err e;
	X509 *own;

	rig_csr(r, r->key, NULL);
	rig_label(r, "guarded");
	rig_expect(r, ERR_PENDING);
	assert_int_equal(store_sqlite.request_decide(r->gateway.store, r->result.request_id, true, "", "operator:o", NOW,
		&e), 0);
	rig_expect(r, ERR_NONE);
	own = rig_cert(r);
	r->request.client_cert = own;
	renew_at(r, NOW + 61 * DAY);
	rig_expect(r, ERR_PENDING);
	assert_int_equal(rig_certs(r), 1);
	X509_free(own);
}

#define test(name) cmocka_unit_test_setup_teardown(name, own_setup, rig_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(our_own_certificate_renews_within_the_window),
		test(a_renewal_with_the_octets_of_the_enrollment_is_a_new_certificate),
		test(a_manufacturers_certificate_does_not_renew),
		test(a_revoked_certificate_proves_nothing),
		test(a_held_certificate_proves_nothing_until_it_is_released),
		test(an_expired_certificate_needs_the_labels_grace),
		test(a_certificate_that_is_not_valid_yet_proves_nothing),
		test(another_cas_certificate_counts_only_where_a_trust_set_names_it),
		test(a_certificate_with_our_names_that_is_not_recorded_is_a_strangers),
		test(a_guarded_renewal_with_the_same_octets_waits_for_its_own_approval),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
