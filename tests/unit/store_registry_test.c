#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/store_fixture.h"

static void
set_state(struct fixture *f, const char *tag, enum asset_state to, int64_t expected)
{
	int64_t revoked = -1;
	struct err e = {0};

	if (ops->asset_set_state(f->store, tag, to, "because", "operator:eve", NOW + 5, &revoked, &e) != 0)
		fail_msg("set_state: %s", e.text);
	assert_int_equal(revoked, expected);
}

/* An asset with two certificates, ids 1 and 2. */
static struct asset
asset_with_certificates(struct fixture *f, const char *tag)
{
	struct asset asset = add_asset(f->store, tag);
	struct sample s;

	for (unsigned n = 1; n <= 2; n++) {
		sample_fill(&s, &asset, n, REQUEST_ISSUED);
		(void)record_as(f->store, &s.o, STORE_RECORDED);
	}
	return asset;
}

static void
registry_revokes_the_certificates_of_a_stolen_asset(void **state)
{
	struct fixture *f = *state;
	struct asset asset = asset_with_certificates(f, "rtr-1");
	struct asset other = add_asset(f->store, "rtr-2");
	struct cert_row cert;
	struct sample s;

	sample_fill(&s, &other, 3, REQUEST_ISSUED);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	set_state(f, "rtr-1", ASSET_STOLEN, 2);
	cert = get_cert(f->store, 2);
	assert_int_equal(cert.status, CERT_REVOKED);
	assert_int_equal(cert.revoked_s, NOW + 5);
	assert_string_equal(cert.revoke_reason, "stolen");
	assert_int_equal(get_cert(f->store, 3).status, CERT_VALID);
	asset = get_asset(f->store, "rtr-1");
	assert_int_equal(asset.version, 2);
	assert_int_equal(asset.state_since_s, NOW + 5);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM transition WHERE asset_id = 1 AND from_state = 3"
					   " AND to_state = 9 AND actor = 'operator:eve' AND reason = 'because'"), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action = 'asset.state'"
					   " AND subject = 'rtr-1' AND detail_json ->> 'revoked' = 2"), 1);
}

static void
registry_revokes_an_expired_certificate_with_the_others(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample s;

	sample_fill(&s, &asset, 1, REQUEST_ISSUED); /* a label's grace might renew it */
	s.o.not_after_s = NOW - 1;
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	set_state(f, "rtr-1", ASSET_DECOMMISSIONED, 1);
	assert_int_equal(get_cert(f->store, 1).status, CERT_REVOKED);
}

static void
registry_holds_in_quarantine_and_lifts_when_back_in_service(void **state)
{
	struct fixture *f = *state;
	struct err e;

	(void)asset_with_certificates(f, "rtr-1");
	assert_int_equal(ops->cert_revoke(f->store, 1, "keyCompromise", "operator:eve", NOW, &e), 0);
	set_state(f, "rtr-1", ASSET_QUARANTINED, 1);
	assert_int_equal(get_cert(f->store, 1).status, CERT_REVOKED);
	assert_int_equal(get_cert(f->store, 2).status, CERT_HELD);
	assert_int_equal(get_cert(f->store, 2).revoked_s, NOW + 5);
	assert_int_equal(get_cert(f->store, 1).revoked_s, NOW);
	set_state(f, "rtr-1", ASSET_IN_STOCK, 0);
	assert_int_equal(get_cert(f->store, 2).status, CERT_HELD);
	set_state(f, "rtr-1", ASSET_STAGED, 0);
	assert_int_equal(get_cert(f->store, 2).status, CERT_VALID);
	assert_int_equal(get_cert(f->store, 2).revoked_s, 0);
	assert_int_equal(get_cert(f->store, 1).status, CERT_REVOKED);
}

static void
registry_revokes_what_was_held(void **state)
{
	struct fixture *f = *state;

	(void)asset_with_certificates(f, "rtr-1");
	set_state(f, "rtr-1", ASSET_QUARANTINED, 2);
	set_state(f, "rtr-1", ASSET_STOLEN, 2);
	assert_int_equal(get_cert(f->store, 1).status, CERT_REVOKED);
}

static void
registry_refuses_a_move_the_rules_forbid(void **state)
{
	struct fixture *f = *state;
	struct err e;

	(void)add_asset(f->store, "rtr-1");
	set_state(f, "rtr-1", ASSET_DECOMMISSIONED, 0);
	assert_int_equal(ops->asset_set_state(f->store, "rtr-1", ASSET_DEPLOYED, "", "operator:eve", NOW, NULL, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	assert_int_equal(ops->asset_set_state(f->store, "rtr-9", ASSET_DEPLOYED, "", "operator:eve", NOW, NULL, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	assert_non_null(strstr(e.text, "rtr-9"));
	assert_int_equal(get_asset(f->store, "rtr-1").version, 2);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action = 'asset.state'"), 1);
}

static void
registry_revokes_one_certificate_once(void **state)
{
	struct fixture *f = *state;
	struct err e;

	(void)asset_with_certificates(f, "rtr-1");
	assert_int_equal(ops->cert_revoke(f->store, 2, "keyCompromise", "operator:eve", NOW, &e), 0);
	assert_string_equal(get_cert(f->store, 2).revoke_reason, "keyCompromise");
	assert_int_equal(get_cert(f->store, 1).status, CERT_VALID);
	assert_int_equal(ops->cert_revoke(f->store, 2, "again", "operator:eve", NOW, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	assert_int_equal(ops->cert_revoke(f->store, 77, "x", "operator:eve", NOW, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	/* A renewal that was decided before the revocation is stale. */
	assert_int_equal(get_asset(f->store, "rtr-1").version, 2);
}

static void
registry_decides_pending_requests_only(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1");
	struct sample s;
	struct err e;
	int64_t id;

	sample_fill(&s, &asset, 1, REQUEST_PENDING);
	id = record_as(f->store, &s.o, STORE_RECORDED);
	assert_int_equal(ops->request_decide(f->store, id, true, "ok", "operator:eve", NOW + 9, &e), 0);
	assert_int_equal(get_request(f->store, id).updated_s, NOW + 9);
	assert_int_equal(ops->request_decide(f->store, id, false, "no", "operator:eve", NOW, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	assert_non_null(strstr(e.text, "approved"));
	assert_int_equal(ops->request_decide(f->store, 55, true, "", "operator:eve", NOW, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action = 'request.approved'"), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action = 'request.refused'"), 0);
}

static bool
copy_owner(void *arg, const struct owner *row)
{
	struct owner *out = arg;

	*out = *row;
	return true;
}

static void
registry_updates_an_owner_by_its_name(void **state)
{
	struct fixture *f = *state;
	struct owner owner = {.name = "Customer One", .kind = OWNER_CUSTOMER, .contract_end_s = NOW}, got = {0};
	struct store_read *read;
	struct err e;

	assert_int_equal(ops->owner_put(f->store, &owner, "operator:eve", NOW, &e), 0);
	owner.status = OWNER_SUSPENDED;
	(void)snprintf(owner.contact, sizeof owner.contact, "ops@example.com");
	assert_int_equal(ops->owner_put(f->store, &owner, "operator:eve", NOW, &e), 0);
	read = begin(f->store);
	assert_int_equal(ops->owner_list(read, copy_owner, &got, &e), 0);
	ops->read_end(read);
	assert_int_equal(got.id, 1);
	assert_int_equal(got.kind, OWNER_CUSTOMER);
	assert_int_equal(got.status, OWNER_SUSPENDED);
	assert_int_equal(got.contract_end_s, NOW);
	assert_string_equal(got.contact, "ops@example.com");
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM owner"), 1);
	owner.name[0] = '\0';
	assert_int_equal(ops->owner_put(f->store, &owner, "operator:eve", NOW, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
}

static void
registry_gives_the_newest_secrets_of_one_asset_and_protocol(void **state)
{
	struct fixture *f = *state;
	struct asset one = add_asset(f->store, "rtr-1"), two = add_asset(f->store, "rtr-2");
	struct secret_row secret = {.label = "*", .protocol = "est", .expires_s = 7, .created_s = NOW}, out[2];
	struct store_read *read;
	struct err e;
	int64_t id;

	for (int i = 0; i < 3; i++) {
		secret.asset_id = one.id;
		secret.salt[0] = (uint8_t)i;
		assert_int_equal(ops->secret_put(f->store, &secret, "operator:eve", NOW, &id, &e), 0);
		assert_int_equal(id, i + 1);
	}
	(void)snprintf(secret.protocol, sizeof secret.protocol, "scep");
	assert_int_equal(ops->secret_put(f->store, &secret, "operator:eve", NOW, NULL, &e), 0);
	read = begin(f->store);
	assert_int_equal(ops->secrets(read, one.id, "est", out, 2, &e), 2);
	assert_int_equal(out[0].salt[0], 2);
	assert_int_equal(out[1].salt[0], 1);
	assert_int_equal(out[0].expires_s, 7);
	assert_int_equal(ops->secrets(read, one.id, "est", out, 0, &e), 0);
	assert_int_equal(ops->secret_by_id(read, 2, &out[0], &e), 1);
	assert_int_equal(out[0].id, 2);
	assert_int_equal(out[0].asset_id, one.id);
	assert_int_equal(out[0].salt[0], 1);
	assert_int_equal(ops->secret_by_id(read, 99, &out[0], &e), 0);
	assert_int_equal(ops->secrets(read, two.id, "est", out, 2, &e), 0);
	ops->read_end(read);
	secret.asset_id = 99;
	assert_int_equal(ops->secret_put(f->store, &secret, "operator:eve", NOW, NULL, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	/* Neither salt nor hash is anybody's to read in the audit. */
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE action = 'secret.new'"
					   " AND (detail_json LIKE '%salt%' OR detail_json LIKE '%hash%')"), 0);
}

static const char *const hostile[] = {
	"'; DROP TABLE asset; --",
	"\" OR \"\"=\"",
	"a' OR '1'='1",
	"%",
	"_",
	"rtr\\",
	"?1",
	":tag",
	"x'00'",
	"\xc3\xa9\xe2\x80\xae",
};
#define HOSTILE (sizeof hostile / sizeof hostile[0])

static void
registry_takes_hostile_texts_as_texts(void **state)
{
	struct fixture *f = *state;
	struct asset asset;
	struct sample s;

	(void)add_asset(f->store, "rtr-1");
	for (size_t i = 0; i < HOSTILE; i++) {
		asset = add_asset(f->store, hostile[i]);
		assert_string_equal(asset.tag, hostile[i]);
		sample_fill(&s, &asset, (unsigned)i + 1, REQUEST_ISSUED);
		s.o.label = s.o.peer = s.o.proof = s.o.sentence = s.o.ca = s.o.subject = hostile[i];
		assert_string_equal(get_request(f->store, record_as(f->store, &s.o, STORE_RECORDED)).peer, hostile[i]);
		set_state(f, hostile[i], ASSET_STOLEN, 1);
	}
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM asset"), HOSTILE + 1);
	assert_int_equal(get_asset(f->store, "rtr-1").state, ASSET_STAGED);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit WHERE json_valid(detail_json)"), 3 * HOSTILE + 1);
	assert_int_equal(verify(f->store).bad_seq, 0);
}

static bool
count_assets(void *arg, const struct asset_summary *row)
{
	(void)row;
	++*(int *)arg;
	return true;
}

static bool
count_certs(void *arg, const struct cert_row *row)
{
	(void)row;
	++*(int *)arg;
	return true;
}

static void
registry_filters_never_match_by_pattern_or_by_injection(void **state)
{
	struct fixture *f = *state;
	struct asset asset = add_asset(f->store, "rtr-1"), got;
	struct store_read *read;
	struct owner owner;
	struct sample s;
	struct err e;
	int count = 0;

	sample_fill(&s, &asset, 1, REQUEST_ISSUED);
	(void)record_as(f->store, &s.o, STORE_RECORDED);
	read = begin(f->store);
	for (size_t i = 0; i < HOSTILE; i++) {
		struct asset_filter by_tag = {.tag = hostile[i], .state = -1}, by_owner = {.owner = hostile[i], .state = -1};
		struct cert_filter by_serial = {.serial = hostile[i], .status = -1};
		struct anchor anchor = {.type = ANCHOR_IDEVID_SERIAL, .issuer = "acme"};

		(void)snprintf(anchor.value, sizeof anchor.value, "%s", hostile[i]);
		assert_int_equal(ops->asset_by_tag(read, hostile[i], &got, &owner, &e), 0);
		assert_int_equal(ops->asset_by_anchor(read, &anchor, &got, &owner, &e), 0);
		assert_int_equal(ops->asset_list(read, &by_tag, NOW, count_assets, &count, &e), 0);
		assert_int_equal(ops->asset_list(read, &by_owner, NOW, count_assets, &count, &e), 0);
		assert_int_equal(ops->cert_list(read, &by_serial, count_certs, &count, &e), 0);
	}
	ops->read_end(read);
	assert_int_equal(count, 0);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(registry_revokes_the_certificates_of_a_stolen_asset),
		STORE_TEST(registry_revokes_an_expired_certificate_with_the_others),
		STORE_TEST(registry_holds_in_quarantine_and_lifts_when_back_in_service),
		STORE_TEST(registry_revokes_what_was_held),
		STORE_TEST(registry_refuses_a_move_the_rules_forbid),
		STORE_TEST(registry_revokes_one_certificate_once),
		STORE_TEST(registry_decides_pending_requests_only),
		STORE_TEST(registry_updates_an_owner_by_its_name),
		STORE_TEST(registry_gives_the_newest_secrets_of_one_asset_and_protocol),
		STORE_TEST(registry_takes_hostile_texts_as_texts),
		STORE_TEST(registry_filters_never_match_by_pattern_or_by_injection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
