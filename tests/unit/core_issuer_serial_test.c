/* Serial numbers that no certificate should have: what has one is quarantined, named and revoked like any other that is wrong. */
#define _GNU_SOURCE
#include "tests/unit/core_issuer_hand.h"

static struct rig *rig_of_serial;
static uint8_t octets[64];
static int len;
static bool negative, lost;
static char wanted[SERIAL_ANY_MAX], revoked[SERIAL_ANY_MAX];
static size_t revokes;

static EVP_PKEY *
issuing_key(void)
{
	char path[160];
	EVP_PKEY *key;
	FILE *file;

	(void)snprintf(path, sizeof path, "%s/ca/issuing.key", rig_of_serial->dir);
	file = fopen(path, "r");
	assert_non_null(file);
	key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
	assert_int_equal(fclose(file), 0);
	assert_non_null(key);
	return key;
}

/* A right one, but for its serial number. */
static int
issue_odd(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = issuing_key();
	CLEANUP(X509) X509 *cert = NULL;

	assert_int_equal(ca_builtin.issue(ca, request, out, e), 0);
	assert_int_equal(x509_from_der(buf_bytes(&out->cert), &cert, e), 0);
	assert_int_equal(ASN1_STRING_set(X509_get_serialNumber(cert), octets, len), 1);
	if (negative)
		X509_get_serialNumber(cert)->type = V_ASN1_NEG_INTEGER;
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	buf_clear(&out->cert);
	assert_int_equal(x509_to_der(cert, &out->cert, e), 0);
	assert_int_equal(asn1_serial_hex(X509_get0_serialNumber(cert), out->serial, e), 0);
	memcpy(wanted, out->serial, sizeof wanted);
	buf_clear(&fake.made);
	buf_append_bytes(&fake.made, buf_bytes(&out->cert));
	if (!lost)
		return 0;
	ca_answer_free(out);
	*out = (struct ca_answer){ .state = CA_UNKNOWN };
	(void)err_set(e, ERR_UPSTREAM, "no answer");
	return 0;
}

static int
revoke_odd(struct ca *ca, const char *serial, struct bytes cert, int reason, int64_t now_s, struct err *e)
{
	(void)ca;
	(void)reason;
	(void)now_s;
	(void)e;
	assert_true(bytes_equal(cert, buf_bytes(&fake.made)));
	(void)snprintf(revoked, sizeof revoked, "%s", serial);
	revokes++;
	return 0;
}

static void
begin(struct rig *r, int octet_count, bool is_negative, bool is_lost)
{
	memset(octets, 0x5a, sizeof octets);
	rig_of_serial = r;
	len = octet_count;
	negative = is_negative;
	lost = is_lost;
	revokes = 0;
	r->ca_ops.issue = issue_odd;
	r->ca_ops.revoke = revoke_odd;
	r->ca_ops.reconcile = NULL;
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
}

static void
it_is_quarantined_and_revoked(struct rig *r, const char *why)
{
	char sql[400];

	assert_int_equal(intents_in(r, INTENT_QUARANTINED), 1);
	assert_int_equal(rig_certs(r), 0);
	(void)snprintf(sql, sizeof sql, "SELECT count(*) FROM request WHERE state = 3 AND reason = 'ca.verification' AND"
		" sentence LIKE '%%%s%%'", why);
	assert_int_equal(rig_number(r, sql), 1);
	(void)snprintf(sql, sizeof sql, "SELECT count(*) FROM audit WHERE action = 'ca.quarantined' AND detail_json ->> 'serial' = '%s'", wanted);
	assert_int_equal(rig_number(r, sql), 1);
	assert_int_equal(step_all(r), 0);
	assert_int_equal(revokes, 1);
	assert_string_equal(revoked, wanted);
	(void)snprintf(sql, sizeof sql, "SELECT count(*) FROM audit WHERE action = 'ca.revoked' AND subject = '%s'", wanted);
	assert_int_equal(rig_number(r, sql), 1);
}

static void
one_that_is_too_long_is_quarantined_and_revoked(void **state)
{
	begin(*state, 64, false, false);
	it_is_quarantined_and_revoked(*state, "longer than 20 octets: 5a5a5a");
	assert_int_equal(strlen(wanted), 128);
}

static void
a_negative_one_is_quarantined_and_revoked(void **state)
{
	begin(*state, 20, true, false);
	it_is_quarantined_and_revoked(*state, "is negative: -5a5a5a");
}

static void
one_that_an_operator_found_is_quarantined_and_revoked(void **state)
{
	struct rig *r = *state;

	begin(r, 24, false, true);
	assert_int_equal(intents_in(r, INTENT_UNKNOWN), 1);
	if (hand_in(r, buf_bytes(&fake.made)) != 0)
		fail_msg("%s", answer.e.text);
	assert_string_equal(text_of(answer.result, "state"), "quarantined");
	assert_string_equal(text_of(answer.result, "serial"), wanted);
	it_is_quarantined_and_revoked(r, "longer than 20 octets: 5a5a5a");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_that_is_too_long_is_quarantined_and_revoked),
		TEST(a_negative_one_is_quarantined_and_revoked),
		TEST(one_that_an_operator_found_is_quarantined_and_revoked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
