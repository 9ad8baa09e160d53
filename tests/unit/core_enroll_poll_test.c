/* What was asked for before: polls, certificates given again, revocation lists. */
#define _GNU_SOURCE
#include "tests/unit/core_enroll_challenge.h"

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
