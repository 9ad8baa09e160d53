/* Challenges: who a challengePassword names, what spends it, what polls for its outcome. */
#define _GNU_SOURCE
#include "tests/unit/core_enroll_fixture.h"

#define SECRET "abcde-fghij-kmnpq-rstuv-wxyz22"
#define UTF8_STRING 0x0c
#define PRINTABLE_STRING 0x13

static void
ask_with_key(struct rig *r, EVP_PKEY *key, const char *challenge, uint8_t tag)
{
	struct buf attributes = { 0 };

	if (challenge != NULL)
		make_text_attribute(&attributes, "1.2.840.113549.1.9.7", tag, bytes_of_text(challenge));
	rig_csr(r, key, challenge == NULL ? NULL : &attributes);
	buf_free(&attributes);
	r->request.protocol = "scep";
	r->request.operation = "PKCSReq";
	r->request.op = ENROLL_EITHER;
	r->request.client_cert = NULL;
	r->request.challenge = true;
	r->request.renewal_names_free = true;
}

/* A new key's request with this challenge; NULL: without. */
static void
ask(struct rig *r, const char *challenge)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");

	ask_with_key(r, key, challenge, PRINTABLE_STRING);
}

static void
challenge_for(const struct rig *r, char out[64], const char *label, int64_t expires_s)
{
	challenge_text(rig_secret(r, SECRET, label, "scep", expires_s), SECRET, out);
}

static void
key_of(EVP_PKEY *key, struct buf *out)
{
	buf_clear(out);
	make_spki(out, key);
}

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

static void
wrong_secrets_lock_the_asset_they_name(void **state)
{
	struct rig *r = *state;
	char challenge[64];
	int i;

	challenge_for(r, challenge, "*", 0);
	for (i = 0; i < MAX_FAILURES; i++) {
		ask(r, "1-aaaaa");
		rig_expect(r, ERR_UNAUTHENTIC);
	}
	r->request.peer = "198.51.100.9";
	ask(r, challenge);
	rig_expect(r, ERR_LIMIT);
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

/* The certificate that came of a challenge, which signs from here on; the caller frees. */
static X509 *
enrolled(struct rig *r, EVP_PKEY *key)
{
	char challenge[64];

	challenge_for(r, challenge, "*", 0);
	ask_with_key(r, key, challenge, PRINTABLE_STRING);
	r->request.transaction = "T1";
	rig_expect(r, ERR_NONE);
	return rig_cert(r);
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

static int64_t
pending(struct rig *r, EVP_PKEY *key, struct config_label *label)
{
	char challenge[64];

	*label = *config_label(r->world->config, "guarded");
	label->policy.auth |= AUTH_SECRET;
	r->request.label = label;
	challenge_for(r, challenge, "guarded", NOW + DAY);
	ask_with_key(r, key, challenge, PRINTABLE_STRING);
	r->request.transaction = "T9";
	rig_expect(r, ERR_PENDING);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM secret WHERE used_s <> 0"), 0);
	return r->result.request_id;
}

static void
poll(struct rig *r, EVP_PKEY *key, enum err_code code)
{
	struct enroll_request request = r->request;
	struct buf spki = { 0 };

	request.csr = bytes_of(NULL, 0);
	request.operation = "CertPoll";
	if (key != NULL)
		key_of(key, &spki);
	enroll_result_free(&r->result);
	enroll_poll(&r->gateway, r->world, &request, buf_bytes(&spki), &r->result);
	if (r->result.code != code)
		fail_msg("%s (%s): %s", err_code_name(r->result.code), r->result.reason, r->result.sentence);
	buf_free(&spki);
	rig_chain_holds(r);
}

static void
approve(const struct rig *r, int64_t id)
{
	struct err e = { 0 };

	assert_int_equal(store_sqlite.request_decide(r->gateway.store, id, true, "known", "operator:test", NOW, &e), 0);
}

static void
a_poll_gets_the_certificate_once_it_is_approved(void **state)
{
	struct rig *r = *state;
	struct config_label label;
	int64_t id = pending(r, r->key, &label);
	struct buf first;

	poll(r, r->key, ERR_PENDING);
	approve(r, id);
	r->request.now_s = NOW + 2 * DAY; /* the challenge proved itself in time */
	poll(r, r->key, ERR_NONE);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM secret WHERE used_s <> 0"), 1);
	first = rig_take(r);
	poll(r, r->key, ERR_NONE);
	assert_true(bytes_equal(buf_bytes(&first), buf_bytes(&r->result.cert)));
	assert_int_equal(rig_certs(r), 1);
	buf_free(&first);
}

static void
the_identical_request_gets_the_certificate_once_it_is_approved(void **state)
{
	struct rig *r = *state;
	struct config_label label;

	approve(r, pending(r, r->key, &label));
	rig_expect(r, ERR_NONE);
	assert_int_equal(rig_certs(r), 1);
}

static void
a_renewal_that_waited_is_polled_for_by_its_new_key(void **state)
{
	struct rig *r = *state;
	CLEANUP(EVP_PKEY) EVP_PKEY *fresh = EVP_EC_gen("P-256");
	CLEANUP(X509) X509 *own = enrolled(r, r->key);
	struct config_label label = *config_label(r->world->config, "guarded");
	struct buf first;

	r->request.label = &label;
	ask_with_key(r, fresh, NULL, 0);
	r->request.client_cert = own;
	r->request.now_s = NOW + 80 * DAY;
	r->request.transaction = "T5";
	rig_expect(r, ERR_PENDING);
	r->request.client_cert = NULL;
	poll(r, fresh, ERR_PENDING);
	approve(r, r->result.request_id);
	poll(r, fresh, ERR_NONE);
	first = rig_take(r);
	poll(r, fresh, ERR_NONE);
	assert_true(bytes_equal(buf_bytes(&first), buf_bytes(&r->result.cert)));
	assert_int_equal(rig_certs(r), 2);
	assert_int_equal(rig_number(r, "SELECT max(replaces_id) FROM certificate"), 1);
	buf_free(&first);
}

static void
a_challenge_is_not_in_the_database(void **state)
{
	struct rig *r = *state;
	struct config_label label;
	struct store_read *read = NULL;
	struct buf stored = { 0 };
	struct request_row row;
	struct err e = { 0 };

	(void)pending(r, r->key, &label);
	assert_int_equal(store_sqlite.read_begin(r->gateway.store, &read, &e), 0);
	assert_int_equal(store_sqlite.request_by_id(read, 1, &row, &stored, &e), 1);
	store_sqlite.read_end(read);
	assert_true(stored.len > r->request.csr.len);
	assert_null(memmem(stored.at, stored.len, SECRET, strlen(SECRET)));
	assert_non_null(memmem(r->request.csr.at, r->request.csr.len, SECRET, strlen(SECRET)));
	buf_free(&stored);
}

static void
a_poll_with_another_key_or_transaction_is_refused(void **state)
{
	struct rig *r = *state;
	CLEANUP(EVP_PKEY) EVP_PKEY *other = EVP_EC_gen("P-256");
	struct config_label label;

	approve(r, pending(r, r->key, &label));
	poll(r, other, ERR_DENIED);
	assert_string_equal(r->result.reason, "request.unknown");
	r->request.transaction = "T8";
	poll(r, r->key, ERR_DENIED);
	assert_string_equal(r->result.reason, "request.unknown");
	r->request.transaction = "T9";
	poll(r, r->key, ERR_NONE);
}

static void
a_poll_signed_by_another_assets_certificate_is_refused(void **state)
{
	struct rig *r = *state;
	CLEANUP(EVP_PKEY) EVP_PKEY *other = EVP_EC_gen("P-256");
	CLEANUP(X509) X509 *stranger = rig_idevid(r, other, "SN2");
	struct config_label label;

	approve(r, pending(r, r->key, &label));
	r->request.client_cert = stranger;
	poll(r, NULL, ERR_DENIED);
	assert_string_equal(r->result.reason, "request.unknown");
	assert_int_equal(rig_certs(r), 0);
	r->request.client_cert = r->idevid;
	poll(r, NULL, ERR_NONE);
}

static void
a_poll_is_decided_in_the_state_its_asset_is_in_now(void **state)
{
	struct rig *r = *state;
	struct config_label label;

	approve(r, pending(r, r->key, &label));
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	poll(r, r->key, ERR_DENIED);
	assert_string_equal(r->result.reason, "asset.state");
	assert_int_equal(rig_certs(r), 0);
}

static void
fetch(struct rig *r, EVP_PKEY *key, const X509 *cert, enum err_code code)
{
	char serial[SERIAL_HEX_MAX];
	struct buf spki = { 0 };
	struct err e;

	assert_int_equal(x509_serial_hex(cert, serial, &e), 0);
	if (key != NULL)
		key_of(key, &spki);
	enroll_result_free(&r->result);
	enroll_fetch(&r->gateway, r->world, &r->request, buf_bytes(&spki), X509_get_issuer_name(cert), serial,
		&r->result);
	if (r->result.code != code)
		fail_msg("%s (%s): %s", err_code_name(r->result.code), r->result.reason, r->result.sentence);
	buf_free(&spki);
}

static void
a_certificate_is_given_again_to_its_holder_only(void **state)
{
	struct rig *r = *state;
	CLEANUP(EVP_PKEY) EVP_PKEY *other = EVP_EC_gen("P-256");
	CLEANUP(X509) X509 *stranger = rig_idevid(r, other, "SN2");
	CLEANUP(X509) X509 *own = enrolled(r, r->key);
	CLEANUP(X509) X509 *again = NULL;

	fetch(r, r->key, own, ERR_NONE);
	again = rig_cert(r);
	assert_int_equal(X509_cmp(own, again), 0);
	fetch(r, other, own, ERR_DENIED);
	assert_string_equal(r->result.reason, "certificate.unknown");
	r->request.client_cert = stranger;
	fetch(r, NULL, own, ERR_DENIED);
	r->request.client_cert = own;
	fetch(r, NULL, own, ERR_NONE);
	rig_revoke(r, 1);
	fetch(r, NULL, own, ERR_DENIED);
}

static void
the_revocation_list_holds_what_was_revoked_and_has_not_ended(void **state)
{
	struct rig *r = *state;
	CLEANUP(X509) X509 *own = enrolled(r, r->key);
	struct buf der = { 0 };
	struct err e = { 0 };
	X509_REVOKED *entry = NULL;
	X509_CRL *crl;
	const uint8_t *at;
	int round;

	for (round = 0; round < 3; round++) {
		if (round == 1)
			rig_revoke(r, 1);
		buf_clear(&der);
		if (enroll_crl(&r->gateway, r->world, "issuing", round == 2 ? NOW + 100 * DAY : NOW + 1, &der, &e) != 0)
			fail_msg("%s", e.text);
		at = der.at;
		crl = d2i_X509_CRL(NULL, &at, (long)der.len);
		assert_non_null(crl);
		assert_int_equal(X509_CRL_get0_by_cert(crl, &entry, own), round == 1 ? 1 : 0);
		X509_CRL_free(crl);
	}
	assert_int_equal(enroll_crl(&r->gateway, r->world, "nobody", NOW, &der, &e), -1);
	buf_free(&der);
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
		TEST(wrong_secrets_lock_the_asset_they_name),
		TEST(a_refused_key_does_not_spend_the_challenge),
		TEST(a_request_signed_by_our_certificate_is_a_renewal_whatever_challenge_it_carries),
		TEST(a_foreign_signer_is_refused_whatever_challenge_it_carries),
		TEST(a_request_with_another_devices_challenge_is_not_renewed),
		TEST(a_transaction_is_not_for_a_second_key),
		TEST(a_poll_gets_the_certificate_once_it_is_approved),
		TEST(the_identical_request_gets_the_certificate_once_it_is_approved),
		TEST(a_renewal_that_waited_is_polled_for_by_its_new_key),
		TEST(a_challenge_is_not_in_the_database),
		TEST(a_poll_with_another_key_or_transaction_is_refused),
		TEST(a_poll_signed_by_another_assets_certificate_is_refused),
		TEST(a_poll_is_decided_in_the_state_its_asset_is_in_now),
		TEST(a_certificate_is_given_again_to_its_holder_only),
		TEST(the_revocation_list_holds_what_was_revoked_and_has_not_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
