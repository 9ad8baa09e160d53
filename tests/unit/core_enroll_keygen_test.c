/* Keys made here: in the clear, for the client certificate, by key-wrap id; and never without a record. */
#define _GNU_SOURCE
#include "tests/unit/core_enroll_fixture.h"

#include "est/keygen.h"

static int
keygen_setup(void **state)
{
	struct rig *r;

	if (rig_setup(state) != 0)
		return -1;
	r = *state;
	r->request.op = ENROLL_KEYGEN;
	r->request.operation = "serverkeygen";
	return 0;
}

/* PKCS#8 octets are the private key of the certificate in the result. */
static void
expect_pair(const struct rig *r, struct bytes pkcs8)
{
	const uint8_t *p = pkcs8.at;
	EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &p, (long)pkcs8.len);
	X509 *cert = rig_cert(r);

	assert_non_null(key);
	assert_ptr_equal(p, pkcs8.at + pkcs8.len);
	assert_int_equal(X509_check_private_key(cert, key), 1);
	EVP_PKEY_free(key);
	X509_free(cert);
}

/* A request with an OCTET STRING attribute. */
static void
ask_with(struct rig *r, const char *oid, struct bytes id)
{
	struct buf attributes = { 0 };

	make_text_attribute(&attributes, oid, DER_OCTET_STRING, id);
	rig_csr(r, r->key, &attributes);
	buf_free(&attributes);
}

static void
an_ec_key_comes_with_its_certificate(void **state)
{
	struct rig *r = *state;
	X509 *cert;

	rig_csr(r, r->key, NULL);
	rig_expect(r, ERR_NONE);
	assert_false(r->result.key_encrypted);
	expect_pair(r, buf_bytes(&r->result.key));
	cert = rig_cert(r);
	assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(cert), r->key), 0); /* not the request's */
	X509_free(cert);
}

static void
an_rsa_key_comes_with_its_certificate(void **state)
{
	struct rig *r = *state;
	X509 *cert;

	rig_label(r, "rsa");
	rig_expect(r, ERR_NONE);
	expect_pair(r, buf_bytes(&r->result.key));
	cert = rig_cert(r);
	assert_int_equal(EVP_PKEY_get_bits(X509_get0_pubkey(cert)), 2048);
	X509_free(cert);
}

static void
the_recorded_key_is_the_one_that_was_made(void **state)
{
	struct rig *r = *state;
	uint8_t *der = NULL, hash[32];
	char sql[160], hex[65];
	struct err e;
	X509 *cert;
	int len;

	rig_expect(r, ERR_NONE);
	cert = rig_cert(r);
	len = i2d_PUBKEY(X509_get0_pubkey(cert), &der);
	assert_int_equal(sha256(bytes_of(der, (size_t)len), hash, &e), 0);
	hex_encode(bytes_of(hash, 32), hex);
	(void)snprintf(sql, sizeof sql, "SELECT count(*) FROM certificate WHERE lower(hex(spki_sha256)) = '%s'", hex);
	assert_int_equal(rig_number(r, sql), 1);
	OPENSSL_free(der);
	X509_free(cert);
}

static void
the_client_certificate_can_open_the_key(void **state)
{
	static const uint8_t ski[] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	struct rig *r = *state;
	struct est_keygen_recipient recipient = { .cert = r->idevid };
	struct buf pkcs8 = { 0 };
	X509 *signer = NULL;
	struct err e = { 0 };

	ask_with(r, OID_ASYM_ID, bytes_of(ski, sizeof ski));
	rig_expect(r, ERR_NONE);
	assert_true(r->result.key_encrypted);
	if (est_keygen_open(buf_bytes(&r->result.key), &recipient, r->key, &pkcs8, &signer, &e) != 0)
		fail_msg("%s", e.text);
	expect_pair(r, buf_bytes(&pkcs8));
	assert_int_equal(X509_cmp(signer, r->world->signer), 0);
	X509_free(signer);
	buf_free_secret(&pkcs8);
}

static void
a_key_id_of_nobodys_certificate_ends_the_request_before_the_ca(void **state)
{
	static const uint8_t other[] = { 8, 7, 6, 5, 4, 3, 2, 1 };
	struct rig *r = *state;

	ask_with(r, OID_ASYM_ID, bytes_of(other, sizeof other));
	rig_expect(r, ERR_MALFORMED);
	assert_int_equal(rig_certs(r), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM request"), 0);
}

static void
a_key_wrap_id_of_the_asset_opens_the_key(void **state)
{
	struct rig *r = *state;
	struct est_keygen_recipient recipient = { 0 };
	uint8_t id[KEYWRAP_ID_LEN], kek[KEYWRAP_KEY_LEN];
	int64_t asset = rig_asset_id(r, "rtr-1");
	struct buf pkcs8 = { 0 };
	X509 *signer = NULL;
	struct err e = { 0 };

	assert_int_equal(keywrap_new_id(&r->world->master, asset, id, &e), 0);
	assert_int_equal(keywrap_derive(&r->world->master, asset, bytes_of(id, sizeof id), kek, &e), 0);
	recipient.kek = bytes_of(kek, sizeof kek);
	ask_with(r, OID_DECRYPT_ID, bytes_of(id, sizeof id));
	rig_expect(r, ERR_NONE);
	assert_true(r->result.key_encrypted);
	assert_int_equal(est_keygen_open(buf_bytes(&r->result.key), &recipient, NULL, &pkcs8, &signer, &e), 0);
	expect_pair(r, buf_bytes(&pkcs8));
	buf_free_secret(&pkcs8);
	kek[0] ^= 1;
	X509_free(signer);
	signer = NULL;
	assert_int_equal(est_keygen_open(buf_bytes(&r->result.key), &recipient, NULL, &pkcs8, &signer, &e), -1);
	buf_free_secret(&pkcs8);
}

static void
a_key_wrap_id_of_another_asset_is_refused(void **state)
{
	struct rig *r = *state;
	uint8_t id[KEYWRAP_ID_LEN];
	struct err e = { 0 };

	assert_int_equal(keywrap_new_id(&r->world->master, rig_asset_id(r, "rtr-2"), id, &e), 0);
	ask_with(r, OID_DECRYPT_ID, bytes_of(id, sizeof id));
	rig_expect(r, ERR_MALFORMED);
	ask_with(r, OID_DECRYPT_ID, bytes_of(id, sizeof id - 1));
	rig_expect(r, ERR_MALFORMED);
	assert_int_equal(rig_certs(r), 0);
}

static void
without_a_master_there_is_no_key_wrapping(void **state)
{
	struct rig *r = *state;
	uint8_t id[KEYWRAP_ID_LEN];
	struct err e = { 0 };

	assert_int_equal(keywrap_new_id(&r->world->master, rig_asset_id(r, "rtr-1"), id, &e), 0);
	buf_clear(&r->world->master);
	ask_with(r, OID_DECRYPT_ID, bytes_of(id, sizeof id));
	rig_expect(r, ERR_UNSUPPORTED);
	assert_int_equal(rig_certs(r), 0);
}

static void
a_repetition_makes_a_new_key_and_supersedes_the_first(void **state)
{
	struct rig *r = *state;
	struct buf first;

	rig_csr(r, r->key, NULL);
	rig_expect(r, ERR_NONE);
	first = rig_take(r);
	rig_expect(r, ERR_NONE);
	assert_false(r->result.replayed);
	assert_false(bytes_equal(buf_bytes(&first), buf_bytes(&r->result.cert)));
	expect_pair(r, buf_bytes(&r->result.key));
	assert_int_equal(rig_number(r, "SELECT status FROM certificate WHERE id = 1"), CERT_REVOKED);
	assert_int_equal(rig_number(r, "SELECT revoke_reason = 'superseded' FROM certificate WHERE id = 1"), 1);
	assert_int_equal(rig_number(r, "SELECT replaces_id FROM certificate WHERE id = 2"), 1);
	assert_int_equal(rig_number(r, "SELECT status FROM certificate WHERE id = 2"), CERT_VALID);
	buf_free(&first);
}

static enum asset_state change_to;
static struct rig *rig;

/* Between deciding and recording, an operator was quicker. */
static int
record_too_late(struct store *store, const struct store_outcome *o, enum store_recorded *what, int64_t *id,
	struct err *e)
{
	rig->ops.record = store_sqlite.record;
	rig_set_state(rig, "rtr-1", change_to);
	return store_sqlite.record(store, o, what, id, e);
}

static void
a_key_made_in_a_lost_round_is_not_in_a_refusal(void **state)
{
	struct rig *r = *state;

	rig = r;
	change_to = ASSET_QUARANTINED;
	r->ops.record = record_too_late;
	rig_expect(r, ERR_DENIED); /* rig_run() asserts that there is no key */
	assert_string_equal(r->result.reason, "asset.state");
	assert_int_equal(rig_certs(r), 0);
}

static void
the_key_of_the_round_that_counts_is_delivered(void **state)
{
	struct rig *r = *state;

	rig = r;
	change_to = ASSET_DEPLOYED;
	r->ops.record = record_too_late;
	rig_expect(r, ERR_NONE);
	expect_pair(r, buf_bytes(&r->result.key));
	assert_int_equal(rig_certs(r), 1);
}

#define test(name) cmocka_unit_test_setup_teardown(name, keygen_setup, rig_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(an_ec_key_comes_with_its_certificate),
		test(an_rsa_key_comes_with_its_certificate),
		test(the_recorded_key_is_the_one_that_was_made),
		test(the_client_certificate_can_open_the_key),
		test(a_key_id_of_nobodys_certificate_ends_the_request_before_the_ca),
		test(a_key_wrap_id_of_the_asset_opens_the_key),
		test(a_key_wrap_id_of_another_asset_is_refused),
		test(without_a_master_there_is_no_key_wrapping),
		test(a_repetition_makes_a_new_key_and_supersedes_the_first),
		test(a_key_made_in_a_lost_round_is_not_in_a_refusal),
		test(the_key_of_the_round_that_counts_is_delivered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
