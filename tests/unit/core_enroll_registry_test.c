/*
 * What the registry says beside the asset itself: exceptions, quotas, owners who leave, clones.
 */
#define _GNU_SOURCE
#include "tests/unit/core_enroll_fixture.h"

#include "gateway/core/sightings.h"

#define RULES_CONF                                                                                           \
	"registry = { clone_places = \"quarantine\"; offboard_lifetime = \"10d\"; };\n"                           \
	"attesters = ( { name = \"acme\"; method = \"idevid\"; }, { name = \"ours\"; method = \"idevid\"; } );\n" \
	"rules = ( { name = \"never\"; action = \"require\"; labels = [ \"anytime\" ]; attesters = [ \"ours\" ]; },\n" \
	"          { name = \"all\"; action = \"allow\"; } );\n"

static int
setup(void **state)
{
	CLEANUP(buf) struct buf conf = { 0 };
	struct err e = { 0 };
	struct rig *r;

	assert_int_equal(rig_setup(state), 0);
	r = *state;
	buf_append_text(&conf, rig_conf);
	buf_append_text(&conf, RULES_CONF);
	rig_load(r, buf_text(&conf));
	rig_label(r, "");
	assert_int_equal(sightings_new(64, &r->gateway.sightings, &e), 0);
	return 0;
}

static int
teardown(void **state)
{
	struct rig *r = *state;

	sightings_free(r->gateway.sightings);
	return rig_teardown(state);
}

static void
expect_denied(struct rig *r, const char *reason)
{
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, reason);
}

/* The request comes from another device of the maker. */
static X509 *
other_device(struct rig *r, const char *serial)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = rig_idevid(r, key, serial);

	r->request.client_cert = cert;
	rig_new_csr(r);
	return cert;
}

static void
give_exception(const struct rig *r, unsigned waives)
{
	struct exception_row row = { .asset_tag = "rtr-1", .label = "*", .waives = waives, .reason = "the lab burnt down",
		.ticket = "CHG-1", .expires_s = NOW + 10 * DAY, .max_uses = 1 };
	enum approval_state state;
	int64_t id, approval;
	struct err e = { 0 };

	if (store_sqlite.exception_request(r->gateway.store, &row, "operator:one", NOW, &id, &approval, &e) != 0 ||
	    store_sqlite.approval_decide(r->gateway.store, approval, true, "ok", "operator:two", NOW, &state, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(state, APPROVAL_USED);
}

static void
exception_lets_one_request_through_and_its_lost_answer(void **state)
{
	struct rig *r = *state;

	rig_label(r, "anytime");
	expect_denied(r, "attestation.present");
	give_exception(r, EXCEPTION_ATTESTATION);
	rig_expect(r, ERR_NONE);
	assert_int_equal(rig_number(r, "SELECT uses FROM exception"), 1);
	rig_expect(r, ERR_NONE);
	assert_true(r->result.replayed);
	assert_int_equal(rig_number(r, "SELECT uses FROM exception"), 1);
	rig_new_csr(r);
	expect_denied(r, "attestation.present");
}

static void
exception_does_not_bring_a_stolen_device_back(void **state)
{
	struct rig *r = *state;

	rig_label(r, "anytime");
	give_exception(r, EXCEPTION_ATTESTATION | EXCEPTION_RULES | EXCEPTION_QUOTA);
	rig_set_state(r, "rtr-1", ASSET_STOLEN);
	expect_denied(r, "asset.state");
	assert_int_equal(rig_number(r, "SELECT uses FROM exception"), 0);
}

static void
quota_holds_for_other_assets_and_not_for_those_inside(void **state)
{
	struct rig *r = *state;
	struct err e = { 0 };
	X509 *mine = r->idevid, *other;

	assert_int_equal(store_sqlite.quota_put(r->gateway.store, "Fleet", "device", 1, "operator:test", NOW, &e), 0);
	rig_expect(r, ERR_NONE);
	rig_expect(r, ERR_NONE);
	assert_true(r->result.replayed);
	rig_new_csr(r);
	rig_expect(r, ERR_NONE);
	other = other_device(r, "SN2");
	expect_denied(r, "owner.quota");
	r->request.client_cert = mine;
	rig_new_csr(r);
	rig_expect(r, ERR_NONE);
	X509_free(other);
}

static void
owner_who_leaves_renews_for_a_short_time_and_gets_nothing_new(void **state)
{
	struct rig *r = *state;
	int64_t not_before_s, not_after_s;
	struct err e = { 0 };
	X509 *first, *second, *mine = r->idevid;

	r->request.renewal_names_free = true;
	rig_expect(r, ERR_NONE);
	first = rig_cert(r);
	r->request.now_s = NOW + 65 * DAY; /* within the window */
	assert_int_equal(store_sqlite.owner_offboard(r->gateway.store, "Fleet", NOW + 95 * DAY, "sold", "operator:test",
				 r->request.now_s, &e), 0);
	rig_new_csr(r);
	expect_denied(r, "owner.status");
	r->request.op = ENROLL_RENEW;
	r->request.client_cert = first;
	rig_new_csr(r);
	rig_expect(r, ERR_NONE);
	second = rig_cert(r);
	assert_int_equal(x509_validity(second, &not_before_s, &not_after_s, &e), 0);
	assert_int_equal(not_after_s, NOW + 75 * DAY); /* offboard_lifetime */
	r->request.client_cert = mine;
	X509_free(first);
	X509_free(second);
}

static void
clone_by_key_is_denied_recorded_and_quarantined(void **state)
{
	struct rig *r = *state;
	X509 *mine = r->idevid, *clone;

	rig_expect(r, ERR_NONE);
	clone = other_device(r, "SN1");
	expect_denied(r, "identity.clone");
	assert_int_equal(rig_number(r, "SELECT state FROM asset WHERE tag = 'rtr-1'"), ASSET_QUARANTINED);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'identity.clone'"), 1);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'asset.quarantined'"), 1);
	r->request.client_cert = mine;
	rig_new_csr(r);
	expect_denied(r, "asset.state");
	X509_free(clone);
}

static void
clone_by_place_is_denied_when_the_configuration_says_so(void **state)
{
	struct rig *r = *state;

	rig_expect(r, ERR_NONE);
	r->request.peer = "198.51.100.7";
	r->request.now_s++;
	rig_new_csr(r);
	rig_expect(r, ERR_NONE);
	r->request.peer = "192.0.2.7";
	r->request.now_s++;
	rig_new_csr(r);
	expect_denied(r, "identity.clone");
	assert_int_equal(rig_number(r, "SELECT state FROM asset WHERE tag = 'rtr-1'"), ASSET_QUARANTINED);
}

static int
not_now(struct store_read *read, const struct anchor *anchor, uint8_t spki[32], struct err *e)
{
	(void)read;
	(void)anchor;
	(void)spki;
	return err_set(e, ERR_UPSTREAM, "disk on fire");
}

static void
registry_that_does_not_answer_issues_nothing(void **state)
{
	struct rig *r = *state;

	r->ops.anchor_key = not_now;
	rig_expect(r, ERR_UPSTREAM);
	assert_int_equal(rig_certs(r), 0);
	r->ops.anchor_key = store_sqlite.anchor_key;
	rig_expect(r, ERR_NONE);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(exception_lets_one_request_through_and_its_lost_answer),
		WITH_RIG(exception_does_not_bring_a_stolen_device_back),
		WITH_RIG(quota_holds_for_other_assets_and_not_for_those_inside),
		WITH_RIG(owner_who_leaves_renews_for_a_short_time_and_gets_nothing_new),
		WITH_RIG(clone_by_key_is_denied_recorded_and_quarantined),
		WITH_RIG(clone_by_place_is_denied_when_the_configuration_says_so),
		WITH_RIG(registry_that_does_not_answer_issues_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
