/* Challenges: who a challengePassword names, and what spends it. */
#define _GNU_SOURCE
#include "tests/unit/core_enroll_challenge.h"

static void
a_challenge_names_its_asset_and_issues_once(void **state)
{
	struct rig *r = *state;
	char challenge[64];

	challenge_for(r, challenge, "*", 0);
	ask(r, challenge);
	rig_expect(r, ERR_NONE);
	assert_string_equal(r->result.asset_tag, "rtr-1");
	assert_string_equal(r->result.proof, "challenge of rtr-1");
	assert_int_equal(rig_number(r, "SELECT count(*) FROM secret WHERE used_s <> 0"), 1);
	ask(r, challenge);
	rig_expect(r, ERR_UNAUTHENTIC);
	assert_int_equal(rig_certs(r), 1);
}

static void
a_challenge_may_be_of_any_string_type(void **state)
{
	struct rig *r = *state;
	char challenge[64];

	challenge_for(r, challenge, "*", 0);
	ask_with_key(r, r->key, challenge, UTF8_STRING);
	rig_expect(r, ERR_NONE);
}

static void
the_same_request_gets_the_same_certificate(void **state)
{
	struct rig *r = *state;
	char challenge[64];
	struct buf first;

	challenge_for(r, challenge, "*", 0);
	ask(r, challenge);
	rig_expect(r, ERR_NONE);
	first = rig_take(r);
	rig_expect(r, ERR_NONE);
	assert_true(r->result.replayed);
	assert_true(bytes_equal(buf_bytes(&first), buf_bytes(&r->result.cert)));
	assert_int_equal(rig_certs(r), 1);
	buf_free(&first);
}

static void
a_challenge_that_is_missing_empty_wrong_or_malformed_is_refused(void **state)
{
	static const char *const wrong[] = { NULL, SECRET, "1-", "-" SECRET, "1-" SECRET "x", "2-" SECRET,
		"99999999999999999999-" SECRET, "+1-" SECRET, " 1-" SECRET, "01-" SECRET };
	struct rig *r = *state;
	size_t i;

	(void)rig_secret(r, SECRET, "*", "scep", 0);
	for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		r->request.peer = i % 2 == 0 ? "192.0.2.1" : "192.0.2.2"; /* below the limit of an address */
		ask(r, wrong[i]);
		rig_expect(r, ERR_UNAUTHENTIC);
	}
	assert_int_equal(rig_certs(r), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM secret WHERE used_s <> 0"), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'enroll.refused'"),
		sizeof wrong / sizeof wrong[0]);
}

static void
a_challenge_of_another_label_or_protocol_or_past_its_time_is_refused(void **state)
{
	struct rig *r = *state;
	char challenge[64];

	challenge_for(r, challenge, "guarded", 0);
	ask(r, challenge);
	rig_expect(r, ERR_UNAUTHENTIC);
	challenge_for(r, challenge, "*", NOW - 1);
	ask(r, challenge);
	rig_expect(r, ERR_UNAUTHENTIC);
	challenge_text(rig_secret(r, SECRET, "*", "est", 0), SECRET, challenge);
	ask(r, challenge);
	rig_expect(r, ERR_UNAUTHENTIC);
	assert_int_equal(rig_certs(r), 0);
}

static void
wrong_challenges_lock_the_address_and_its_network(void **state)
{
	struct rig *r = *state;
	char challenge[64], peer[64];
	int i;

	challenge_for(r, challenge, "*", 0);
	for (i = 0; i < 2 * MAX_FAILURES; i++) {
		(void)snprintf(peer, sizeof peer, "2001:db8:1:2::%d", i + 1);
		r->request.peer = peer;
		ask(r, "nothing like it");
		rig_expect(r, ERR_UNAUTHENTIC);
	}
	r->request.peer = "2001:db8:1:2:ffff::1";
	ask(r, challenge);
	rig_expect(r, ERR_LIMIT);
	r->request.peer = "2001:db8:1:3::1";
	rig_expect(r, ERR_NONE);
}

/* The number before the dash is anybody's guess, what is behind it nobody's: locking would shut out the owner alone. */
static void
a_strangers_guesses_do_not_lock_the_owner_out(void **state)
{
	struct rig *r = *state;
	char challenge[64];
	int i;

	challenge_for(r, challenge, "*", 0);
	for (i = 0; i < 2 * MAX_FAILURES; i++) {
		ask(r, "1-aaaaa");
		rig_expect(r, ERR_UNAUTHENTIC);
	}
	ask(r, challenge);
	rig_expect(r, ERR_LIMIT);
	r->request.peer = "198.51.100.9";
	rig_expect(r, ERR_NONE);
}

static void
a_refused_key_does_not_spend_the_challenge(void **state)
{
	struct rig *r = *state;
	CLEANUP(EVP_PKEY) EVP_PKEY *odd = EVP_EC_gen("P-521");
	char challenge[64];

	challenge_for(r, challenge, "*", 0);
	ask_with_key(r, odd, challenge, PRINTABLE_STRING);
	rig_expect(r, ERR_DENIED);
	ask(r, challenge);
	rig_expect(r, ERR_NONE);
}

static void
a_request_signed_by_our_certificate_is_a_renewal_whatever_challenge_it_carries(void **state)
{
	struct rig *r = *state;
	CLEANUP(X509) X509 *own = enrolled(r, r->key);

	ask(r, "1-" SECRET); /* spent */
	r->request.client_cert = own;
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "renewal.window");
	r->request.now_s = NOW + 80 * DAY;
	r->request.transaction = "T1"; /* the device's own: a renewal may bring a new key */
	rig_expect(r, ERR_NONE);
	assert_int_equal(rig_number(r, "SELECT max(replaces_id) FROM certificate"), 1);
}

static void
a_foreign_signer_is_refused_whatever_challenge_it_carries(void **state)
{
	struct rig *r = *state;
	CLEANUP(X509) X509 *foreign = NULL;
	char challenge[64];

	X509_free(r->maker);
	r->maker = X509_new();
	assert_non_null(r->maker);
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(r->maker), "CN", MBSTRING_ASC,
		(const uint8_t *)"Nobody", -1, -1, 0), 1);
	foreign = rig_idevid(r, r->key, "SN1");
	challenge_for(r, challenge, "*", 0);
	ask(r, challenge);
	r->request.client_cert = foreign;
	rig_run(r);
	assert_true(r->result.code == ERR_DENIED || r->result.code == ERR_UNAUTHENTIC);
	assert_int_equal(rig_certs(r), 0);
}

static void
a_request_with_another_devices_challenge_is_not_renewed(void **state)
{
	struct rig *r = *state;
	CLEANUP(EVP_PKEY) EVP_PKEY *victim = EVP_EC_gen("P-256");
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");
	CLEANUP(X509) X509 *insider = rig_idevid(r, key, "SN2");
	char challenge[64];

	challenge_for(r, challenge, "guarded", NOW - 1); /* another label's, and past its time: it is the device's all the same */
	ask_with_key(r, victim, challenge, PRINTABLE_STRING);
	r->request.client_cert = insider;
	rig_expect(r, ERR_DENIED);
	assert_non_null(strstr(r->result.sentence, "another device's challenge"));
	assert_int_equal(rig_certs(r), 0);
	ask_with_key(r, key, "1-wrong", PRINTABLE_STRING);
	r->request.client_cert = insider;
	rig_expect(r, ERR_NONE);
}

static void
a_transaction_is_not_for_a_second_key(void **state)
{
	struct rig *r = *state;
	char challenge[64];

	X509_free(enrolled(r, r->key));
	challenge_for(r, challenge, "*", 0);
	ask(r, challenge);
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "request.transaction");
	assert_int_equal(rig_number(r, "SELECT count(*) FROM secret WHERE used_s <> 0"), 1);
	r->request.transaction = "T2";
	rig_expect(r, ERR_NONE);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_challenge_names_its_asset_and_issues_once),
		TEST(a_challenge_may_be_of_any_string_type),
		TEST(the_same_request_gets_the_same_certificate),
		TEST(a_challenge_that_is_missing_empty_wrong_or_malformed_is_refused),
		TEST(a_challenge_of_another_label_or_protocol_or_past_its_time_is_refused),
		TEST(wrong_challenges_lock_the_address_and_its_network),
		TEST(a_strangers_guesses_do_not_lock_the_owner_out),
		TEST(a_refused_key_does_not_spend_the_challenge),
		TEST(a_request_signed_by_our_certificate_is_a_renewal_whatever_challenge_it_carries),
		TEST(a_foreign_signer_is_refused_whatever_challenge_it_carries),
		TEST(a_request_with_another_devices_challenge_is_not_renewed),
		TEST(a_transaction_is_not_for_a_second_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
