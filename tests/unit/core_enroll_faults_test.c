/* The pipeline when the store or the CA fails, is slow, or lies: nothing is released that is not recorded. */
#define _GNU_SOURCE
#include "tests/unit/core_enroll_fixture.h"

#include <pthread.h>

#define SECRET "abcde-fghij-kmnpq-rstuv-wxyz22"

/* Functions of a store that does not answer. */
static int
down(struct err *e)
{
	return err_set(e, ERR_UPSTREAM, "the disk is gone");
}

static int
no_read_begin(struct store *store, struct store_read **out, struct err *e)
{
	(void)store;
	(void)out;
	return down(e);
}

static int
no_asset_by_anchor(struct store_read *read, const struct anchor *anchor, struct asset *asset, struct owner *owner,
	struct err *e)
{
	(void)read;
	(void)anchor;
	(void)asset;
	(void)owner;
	return down(e);
}

static int
no_asset_by_tag(struct store_read *read, const char *tag, struct asset *asset, struct owner *owner, struct err *e)
{
	(void)read;
	(void)tag;
	(void)asset;
	(void)owner;
	return down(e);
}

static int
no_asset_by_id(struct store_read *read, int64_t id, struct asset *asset, struct owner *owner, struct err *e)
{
	(void)read;
	(void)id;
	(void)asset;
	(void)owner;
	return down(e);
}

static int
no_cert_by_serial(struct store_read *read, const char *serial, const uint8_t hash[32], struct cert_row *out,
	struct err *e)
{
	(void)read;
	(void)serial;
	(void)hash;
	(void)out;
	return down(e);
}

static int
no_cert_by_id(struct store_read *read, int64_t id, struct cert_row *out, struct err *e)
{
	(void)read;
	(void)id;
	(void)out;
	return down(e);
}

static int
no_cert_der(struct store_read *read, int64_t id, struct buf *out, struct err *e)
{
	(void)read;
	(void)id;
	buf_append_text(out, "half a certificate");
	return down(e);
}

static int
no_request_find(struct store_read *read, int64_t asset_id, const char *label, const uint8_t csr_sha256[32],
	struct request_row *out, struct err *e)
{
	(void)read;
	(void)asset_id;
	(void)label;
	(void)csr_sha256;
	(void)out;
	return down(e);
}

static int
no_key_use(struct store_read *read, const uint8_t spki_sha256[32], int64_t asset_id, bool *elsewhere, bool *before,
	struct err *e)
{
	(void)read;
	(void)spki_sha256;
	(void)asset_id;
	(void)elsewhere;
	(void)before;
	return down(e);
}

static int
no_secrets(struct store_read *read, int64_t asset_id, const char *protocol, struct secret_row *out, int max,
	struct err *e)
{
	(void)read;
	(void)asset_id;
	(void)protocol;
	(void)out;
	(void)max;
	return down(e);
}

static int
no_record(struct store *store, const struct store_outcome *o, enum store_recorded *what, int64_t *id, struct err *e)
{
	(void)store;
	(void)o;
	(void)what;
	(void)id;
	return down(e);
}

static int
full_record(struct store *store, const struct store_outcome *o, enum store_recorded *what, int64_t *id, struct err *e)
{
	(void)store;
	(void)o;
	(void)what;
	(void)id;
	return err_set(e, ERR_LIMIT, "too many writes are waiting");
}

static int
no_audit(struct store *store, int64_t now_s, const char *actor, const char *action, const char *subject,
	const char *detail_json, struct err *e)
{
	(void)store;
	(void)now_s;
	(void)actor;
	(void)action;
	(void)subject;
	(void)detail_json;
	return down(e);
}

/* The gateway answers "later", and when the store is back everything is as if nothing had been asked. */
static void
expect_later(struct rig *r, int64_t certs)
{
	rig_expect(r, ERR_UPSTREAM);
	assert_true(r->result.retry_after_s > 0);
	assert_int_equal(rig_certs(r), certs);
	r->ops = store_sqlite;
	rig_expect(r, ERR_NONE);
}

static void
a_store_that_fails_in_a_lookup_means_later(void **state)
{
	struct rig *r = *state;

	r->ops.read_begin = no_read_begin;
	expect_later(r, 0);
	rig_new_csr(r);
	r->ops.asset_by_anchor = no_asset_by_anchor;
	expect_later(r, 1);
	rig_new_csr(r);
	r->ops.cert_by_serial = no_cert_by_serial;
	expect_later(r, 2);
	rig_new_csr(r);
	r->ops.request_find = no_request_find;
	expect_later(r, 3);
	rig_new_csr(r);
	r->ops.key_use = no_key_use;
	expect_later(r, 4);
}

static void
a_store_that_fails_in_a_lookup_of_a_secret_means_later(void **state)
{
	struct rig *r = *state;

	rig_secret(r, SECRET, "*", "est", 0);
	rig_use_secret(r, "rtr-1", SECRET);
	r->ops.asset_by_tag = no_asset_by_tag;
	rig_expect(r, ERR_UPSTREAM);
	r->ops = store_sqlite;
	r->ops.secrets = no_secrets;
	expect_later(r, 0);
}

static void
a_store_that_does_not_answer_counts_against_nobody(void **state)
{
	struct rig *r = *state;
	int i;

	rig_secret(r, SECRET, "*", "est", 0);
	rig_use_secret(r, "rtr-1", SECRET);
	r->ops.secrets = no_secrets;
	for (i = 0; i < 3 * MAX_FAILURES; i++)
		rig_expect(r, ERR_UPSTREAM);
	r->ops = store_sqlite;
	rig_expect(r, ERR_NONE);
}

static void
a_store_that_fails_while_a_renewal_is_looked_up_means_later(void **state)
{
	struct rig *r = *state;
	X509 *own;

	r->name = "";
	own = rig_own(r);
	r->request.op = ENROLL_RENEW;
	r->request.now_s = NOW + 61 * DAY;
	rig_new_csr(r);
	r->ops.asset_by_id = no_asset_by_id;
	expect_later(r, 1);
	X509_free(own);
}

static void
a_store_that_fails_while_repeating_means_later(void **state)
{
	struct rig *r = *state;

	rig_expect(r, ERR_NONE);
	r->ops.cert_by_id = no_cert_by_id;
	expect_later(r, 1);
	r->ops.cert_der = no_cert_der;
	expect_later(r, 1);
	r->ops.audit = no_audit; /* not recorded, not released */
	expect_later(r, 1);
	assert_true(r->result.replayed);
}

static void
a_certificate_that_cannot_be_recorded_is_not_released(void **state)
{
	struct rig *r = *state;

	rig_secret(r, SECRET, "*", "est", 0);
	rig_use_secret(r, "rtr-1", SECRET);
	r->ops.record = no_record;
	rig_expect(r, ERR_UPSTREAM);
	assert_int_equal(rig_certs(r), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM secret WHERE used_s <> 0"), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'enroll.refused'"), 1);
	r->ops.record = full_record; /* our queue, not the device's fault */
	expect_later(r, 0);
}

static void
a_denial_that_cannot_be_recorded_is_no_permission(void **state)
{
	struct rig *r = *state;

	rig_set_state(r, "rtr-1", ASSET_QUARANTINED);
	r->ops.record = no_record;
	r->ops.audit = no_audit;
	rig_expect(r, ERR_UPSTREAM);
	r->request.client_cert = NULL;
	rig_expect(r, ERR_UNAUTHENTIC);
	assert_int_equal(rig_certs(r), 0);
}

/* What another thread or an operator does just before this one records. */
static struct rig *rig;
static void (*meanwhile)(void);
static int records;

static int
record_after(struct store *store, const struct store_outcome *o, enum store_recorded *what, int64_t *id, struct err *e)
{
	records++;
	if (meanwhile != NULL && records == 1) {
		rig->ops.record = store_sqlite.record;
		meanwhile();
		rig->ops.record = record_after;
	}
	return store_sqlite.record(store, o, what, id, e);
}

static void
race(struct rig *r, void (*fn)(void))
{
	rig = r;
	meanwhile = fn;
	records = 0;
	r->ops.record = record_after;
}

static void
move_asset(void)
{
	rig_set_state(rig, "rtr-1", ASSET_DEPLOYED);
}

static void
a_changed_asset_is_decided_again(void **state)
{
	struct rig *r = *state;

	race(r, move_asset);
	rig_expect(r, ERR_NONE);
	assert_int_equal(records, 2);
	assert_int_equal(rig_certs(r), 1);
}

static void
lose_asset(void)
{
	rig_set_state(rig, "rtr-1", ASSET_QUARANTINED);
}

static void
an_asset_that_was_taken_out_of_service_meanwhile_gets_nothing(void **state)
{
	struct rig *r = *state;

	race(r, lose_asset);
	rig_expect(r, ERR_DENIED);
	assert_string_equal(r->result.reason, "asset.state");
	assert_int_equal(rig_certs(r), 0);
}

static int
always_stale(struct store *store, const struct store_outcome *o, enum store_recorded *what, int64_t *id, struct err *e)
{
	(void)store;
	(void)o;
	(void)id;
	(void)e;
	records++;
	*what = STORE_STALE;
	return 0;
}

static void
a_registry_that_never_rests_means_later(void **state)
{
	struct rig *r = *state;

	records = 0;
	r->ops.record = always_stale;
	rig_expect(r, ERR_UPSTREAM);
	assert_in_range(records, 2, 100);
	r->ops = store_sqlite;
	rig_expect(r, ERR_NONE);
}

static struct enroll_result first;

static void
same_request_is_quicker(void)
{
	enroll_run(&rig->gateway, rig->world, &rig->request, &first);
	assert_int_equal(first.code, ERR_NONE);
}

static void
the_slower_of_two_identical_requests_gets_the_others_certificate(void **state)
{
	struct rig *r = *state;

	race(r, same_request_is_quicker);
	rig_expect(r, ERR_NONE);
	assert_true(r->result.replayed);
	assert_true(bytes_equal(buf_bytes(&first.cert), buf_bytes(&r->result.cert)));
	assert_int_equal(rig_certs(r), 1);
	enroll_result_free(&first);
}

static void
another_request_is_quicker(void)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_EC_gen("P-256");
	struct enroll_request request = rig->request;
	struct buf csr = { 0 };

	make_request(&csr, key, NULL);
	request.csr = buf_bytes(&csr);
	enroll_run(&rig->gateway, rig->world, &request, &first);
	assert_int_equal(first.code, ERR_NONE);
	enroll_result_free(&first);
	buf_free(&csr);
}

static void
one_secret_is_one_certificate_however_close_two_requests_are(void **state)
{
	struct rig *r = *state;

	rig_secret(r, SECRET, "*", "est", 0);
	rig_use_secret(r, "rtr-1", SECRET);
	race(r, another_request_is_quicker);
	rig_expect(r, ERR_UNAUTHENTIC);
	assert_int_equal(rig_certs(r), 1);
}

#define THREADS 6

static void *
run_thread(void *arg)
{
	enroll_run(&rig->gateway, rig->world, &rig->request, arg);
	return NULL;
}

static void
identical_requests_at_once_are_one_certificate(void **state)
{
	struct rig *r = *state;
	struct enroll_result results[THREADS];
	pthread_t threads[THREADS];
	int i;

	rig = r;
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_thread, &results[i]), 0);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (i = 0; i < THREADS; i++) {
		assert_int_equal(results[i].code, ERR_NONE);
		assert_true(bytes_equal(buf_bytes(&results[0].cert), buf_bytes(&results[i].cert)));
	}
	for (i = 0; i < THREADS; i++)
		enroll_result_free(&results[i]);
	assert_int_equal(rig_certs(r), 1);
	rig_chain_holds(r);
}

#define test(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_store_that_fails_in_a_lookup_means_later),
		test(a_store_that_fails_in_a_lookup_of_a_secret_means_later),
		test(a_store_that_does_not_answer_counts_against_nobody),
		test(a_store_that_fails_while_a_renewal_is_looked_up_means_later),
		test(a_store_that_fails_while_repeating_means_later),
		test(a_certificate_that_cannot_be_recorded_is_not_released),
		test(a_denial_that_cannot_be_recorded_is_no_permission),
		test(a_changed_asset_is_decided_again),
		test(an_asset_that_was_taken_out_of_service_meanwhile_gets_nothing),
		test(a_registry_that_never_rests_means_later),
		test(the_slower_of_two_identical_requests_gets_the_others_certificate),
		test(one_secret_is_one_certificate_however_close_two_requests_are),
		test(identical_requests_at_once_are_one_certificate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
