#define _GNU_SOURCE
#include "tests/unit/core_trust_fixture.h"

#include <pthread.h>

#define THREADS 4

static const char names_other[1][REG_TEXT_MAX] = { "other" };
static const char names_both[2][REG_TEXT_MAX] = { "other", "acme" };
static const char names_middle[1][REG_TEXT_MAX] = { "acme-plant-2" };

static void
trust_names_the_set_whose_anchor_the_chain_reaches(void **state)
{
	struct world *w = *state;
	X509 *leaf = device(w, w->middle, w->middle_key, &plain);

	assert_int_equal(verify(w, names_both, 2, leaf), 0);
	assert_string_equal(w->verdict.set, "acme");
	assert_false(w->verdict.expired);
	assert_true(w->verdict.accept_expired);
	X509_free(leaf);
	leaf = device(w, w->other, w->other_key, &plain);
	assert_int_equal(verify(w, names_both, 2, leaf), 0);
	assert_string_equal(w->verdict.set, "other");
	assert_false(w->verdict.accept_expired);
	X509_free(leaf);
}

static void
trust_refuses_a_certificate_of_another_trust_domain(void **state)
{
	struct world *w = *state;
	X509 *leaf = device(w, w->middle, w->middle_key, &plain);

	assert_failed(verify(w, names_other, 1, leaf), &w->e, ERR_UNAUTHENTIC, "trust set \"other\" does not vouch");
	assert_failed(verify(w, NULL, 0, leaf), &w->e, ERR_UNAUTHENTIC, "no trust set");
	X509_free(leaf);
}

static void
trust_ignores_set_names_that_do_not_exist(void **state)
{
	static const char names[1][REG_TEXT_MAX] = { "nobody" };
	struct world *w = *state;
	X509 *leaf = device(w, w->middle, w->middle_key, &plain);

	assert_failed(verify(w, names, 1, leaf), &w->e, ERR_UNAUTHENTIC, "no trust set");
	X509_free(leaf);
}

static void
trust_takes_an_intermediate_as_anchor(void **state)
{
	struct world *w = *state;
	X509 *leaf = device(w, w->middle, w->middle_key, &plain);
	X509 *sibling = ca_cert_make("Acme Plant 3", w->other_key, w->acme, w->acme_key, 0);
	X509 *stranger = device(w, sibling, w->other_key, &plain);

	assert_int_equal(verify(w, names_middle, 1, leaf), 0);
	assert_int_equal(trust_verify(w->sets, names_middle, 1, leaf, NULL, NOW_S, &w->verdict, &w->e), 0);
	assert_string_equal(w->verdict.set, "acme-plant-2");
	/* The root above it is not trusted by that. */
	assert_true(sk_X509_push(w->chain, sibling) > 0);
	assert_failed(verify(w, names_middle, 1, stranger), &w->e, ERR_UNAUTHENTIC, "does not vouch");
	assert_int_equal(verify(w, names_acme, 1, stranger), 0);
	X509_free(leaf);
	X509_free(stranger);
	X509_free(sibling);
}

static void
trust_needs_the_intermediates(void **state)
{
	struct world *w = *state;
	X509 *leaf = device(w, w->middle, w->middle_key, &plain);

	assert_failed(trust_verify(w->sets, names_acme, 1, leaf, NULL, NOW_S, &w->verdict, &w->e), &w->e,
		ERR_UNAUTHENTIC, "unable to get local issuer certificate");
	X509_free(leaf);
}

static void
trust_refuses_a_forged_issuer_of_the_same_name(void **state)
{
	struct world *w = *state;
	X509 *leaf = device(w, w->middle, w->other_key, &plain);

	assert_refused(w, leaf, "signature");
}

static void
trust_reports_an_expired_leaf_and_leaves_it_to_policy(void **state)
{
	struct shape old = plain;
	struct world *w = *state;
	X509 *leaf;

	old.from_s = -2 * DAY_S;
	old.until_s = -DAY_S;
	leaf = device(w, w->middle, w->middle_key, &old);
	assert_int_equal(verify(w, names_acme, 1, leaf), 0);
	assert_true(w->verdict.expired);
	assert_true(w->verdict.accept_expired);
	assert_int_equal(verify(w, names_middle, 1, leaf), 0);
	assert_true(w->verdict.expired);
	assert_false(w->verdict.accept_expired);
	X509_free(leaf);
}

static void
trust_does_not_let_expiry_mask_another_fault(void **state)
{
	struct shape old = plain;
	struct world *w = *state;

	old.from_s = -2 * DAY_S;
	old.until_s = -DAY_S;
	assert_refused(w, device(w, w->middle, w->other_key, &old), "signature");
	assert_refused(w, device(w, w->other, w->other_key, &old), "unable to get local issuer");
	old.basic = "CA:TRUE";
	assert_refused(w, device(w, w->middle, w->middle_key, &old), "is a CA's");
}

static void
trust_refuses_what_is_not_valid_yet(void **state)
{
	struct shape early = plain;
	struct world *w = *state;
	struct ca_make make = { .common_name = "Acme Plant 4", .key = w->other_key, .issuer = w->acme,
		.issuer_key = w->acme_key, .path_len = 0, .not_before_s = NOW_S + 1,
		.not_after_s = NOW_S + YEAR_S };
	X509 *middle = NULL;

	early.from_s = 1;
	early.until_s = YEAR_S;
	assert_refused(w, device(w, w->middle, w->middle_key, &early), "not yet valid");
	assert_int_equal(ca_make_certificate(&make, &middle, &w->e), 0);
	assert_true(sk_X509_push(w->chain, middle) > 0);
	assert_refused(w, device(w, middle, w->other_key, &plain), "not yet valid (certificate 2 of the chain)");
	X509_free(middle);
}

static void
trust_refuses_an_expired_issuer(void **state)
{
	struct world *w = *state;
	struct ca_make make = { .common_name = "Acme Plant 5", .key = w->other_key, .issuer = w->acme,
		.issuer_key = w->acme_key, .path_len = 0, .not_before_s = NOW_S - YEAR_S,
		.not_after_s = NOW_S - 1 };
	X509 *middle = NULL;

	assert_int_equal(ca_make_certificate(&make, &middle, &w->e), 0);
	assert_true(sk_X509_push(w->chain, middle) > 0);
	assert_refused(w, device(w, middle, w->other_key, &plain), "expired (certificate 2 of the chain)");
	X509_free(middle);
}

/* A verdict is remembered; it must be forgotten with the chain's validity, and serve no other question. */
static void
trust_remembers_a_verdict_only_while_the_chain_is_valid(void **state)
{
	struct world *w = *state;
	X509 *leaf = device(w, w->middle, w->middle_key, &plain);

	assert_int_equal(verify(w, names_acme, 1, leaf), 0);
	/* Without the intermediate only the memory can vouch. */
	assert_int_equal(trust_verify(w->sets, names_acme, 1, leaf, NULL, NOW_S, &w->verdict, &w->e), 0);
	assert_string_equal(w->verdict.set, "acme");
	assert_true(w->verdict.accept_expired);
	assert_failed(trust_verify(w->sets, names_other, 1, leaf, NULL, NOW_S, &w->verdict, &w->e), &w->e,
		ERR_UNAUTHENTIC, "trust set \"other\" does not vouch");
	assert_failed(trust_verify(w->sets, names_acme, 1, leaf, NULL, NOW_S + YEAR_S + 1, &w->verdict, &w->e), &w->e,
		ERR_UNAUTHENTIC, "unable to get local issuer");
	assert_failed(trust_verify(w->sets, names_acme, 1, leaf, NULL, NOW_S - 2 * DAY_S, &w->verdict, &w->e), &w->e,
		ERR_UNAUTHENTIC, "unable to get local issuer");
	sets_load(w);
	assert_failed(trust_verify(w->sets, names_acme, 1, leaf, NULL, NOW_S, &w->verdict, &w->e), &w->e,
		ERR_UNAUTHENTIC, "unable to get local issuer");
	X509_free(leaf);
}

static void
trust_does_not_remember_an_expired_leaf(void **state)
{
	struct shape old = plain;
	struct world *w = *state;
	X509 *leaf;

	old.from_s = -2 * DAY_S;
	old.until_s = -DAY_S;
	leaf = device(w, w->middle, w->middle_key, &old);
	assert_int_equal(verify(w, names_acme, 1, leaf), 0);
	assert_failed(trust_verify(w->sets, names_acme, 1, leaf, NULL, NOW_S, &w->verdict, &w->e), &w->e,
		ERR_UNAUTHENTIC, "unable to get local issuer");
	X509_free(leaf);
}

static void
trust_takes_the_time_it_is_given(void **state)
{
	struct world *w = *state;
	X509 *leaf = device(w, w->middle, w->middle_key, &plain);

	assert_failed(trust_verify(w->sets, names_acme, 1, leaf, w->chain, NOW_S - 2 * DAY_S, &w->verdict, &w->e),
		&w->e, ERR_UNAUTHENTIC, "not yet valid");
	assert_int_equal(trust_verify(w->sets, names_acme, 1, leaf, w->chain, NOW_S + 2 * YEAR_S, &w->verdict,
		&w->e), 0);
	assert_true(w->verdict.expired);
	X509_free(leaf);
}

static void
trust_takes_the_devices_that_never_expire(void **state)
{
	struct shape eternal = plain;
	struct world *w = *state;

	eternal.from_s = -DAY_S;
	eternal.until_s = INT64_C(253402300799) - NOW_S; /* 99991231235959Z */
	assert_trusted(w, device(w, w->middle, w->middle_key, &eternal));
	assert_false(w->verdict.expired);
}

static void
trust_limits_what_a_peer_may_send(void **state)
{
	struct world *w = *state;
	X509 *leaf = device(w, w->middle, w->middle_key, &plain);
	int i;

	for (i = 0; i < 10; i++)
		assert_true(sk_X509_push(w->chain, w->other) > 0);
	assert_refused(w, leaf, "sent 11 certificates");
}

static void
trust_limits_the_depth_of_a_chain(void **state)
{
	struct world *w = *state;
	STACK_OF(X509) *made = sk_X509_new_null();
	X509 *above = w->acme, *leaf;
	EVP_PKEY *key = w->acme_key;
	char name[32];
	int i;

	for (i = 0; i < 7; i++) {
		(void)snprintf(name, sizeof name, "Acme Level %d", i);
		above = ca_cert_make(name, w->other_key, above, key, -1);
		key = w->other_key;
		assert_true(sk_X509_push(made, above) > 0);
		assert_true(sk_X509_push(w->chain, above) > 0);
		leaf = device(w, above, key, &plain);
		if (i < 6)
			assert_trusted(w, leaf);
		else
			assert_refused(w, leaf, "does not vouch");
	}
	sk_X509_pop_free(made, X509_free);
}

static void
trust_tells_the_nearest_reason(void **state)
{
	struct shape early = plain;
	struct world *w = *state;
	X509 *leaf;

	early.from_s = DAY_S;
	early.until_s = YEAR_S;
	leaf = device(w, w->middle, w->middle_key, &early);
	/* "other" knows nobody of this chain; what "acme" says is of use. */
	assert_failed(verify(w, names_both, 2, leaf), &w->e, ERR_UNAUTHENTIC, "trust set \"acme\"");
	assert_non_null(strstr(w->e.text, "not yet valid"));
	X509_free(leaf);
}

static void
trust_load_refuses_files_that_are_no_anchors(void **state)
{
	struct world *w = *state;
	X509 *leaf = device(w, w->middle, w->middle_key, &plain);
	struct trust_sets *sets = NULL;

	cert_write(w->other_path, leaf, NULL);
	assert_failed(trust_load(&w->config, &sets, &w->e), &w->e, ERR_MALFORMED,
		"trust set \"other\"");
	assert_non_null(strstr(w->e.text, "\"serialNumber=SN-4711\" is not a CA certificate"));
	assert_int_equal(truncate(w->other_path, 0), 0);
	assert_failed(trust_load(&w->config, &sets, &w->e), &w->e, ERR_MALFORMED, "no PEM certificate");
	strcpy(w->trust[1].files.at[0], "/nonexistent/other.pem");
	assert_failed(trust_load(&w->config, &sets, &w->e), &w->e, ERR_UPSTREAM, "cannot be read");
	assert_null(sets);
	trust_free(NULL);
	X509_free(leaf);
}

static void
trust_load_takes_no_sets_at_all(void **state)
{
	static const struct config empty;
	struct world *w = *state;
	struct trust_sets *sets = NULL;

	assert_int_equal(trust_load(&empty, &sets, &w->e), 0);
	trust_free(sets);
}

struct worker {
	struct world *w;
	X509 *leaf;
	int failed;
};

static void *
work(void *arg)
{
	struct worker *worker = arg;
	struct trust_verdict verdict;
	struct err e;
	int i;

	for (i = 0; i < 25; i++)
		if (trust_verify(worker->w->sets, names_both, 2, worker->leaf, worker->w->chain, NOW_S, &verdict,
		    &e) != 0)
			worker->failed++;
	return NULL;
}

static void
trust_serves_many_threads_at_once(void **state)
{
	struct world *w = *state;
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	int i;

	for (i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ w, device(w, w->middle, w->middle_key, &plain), 0 };
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(workers[i].failed, 0);
		X509_free(workers[i].leaf);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(trust_names_the_set_whose_anchor_the_chain_reaches),
		TEST(trust_refuses_a_certificate_of_another_trust_domain),
		TEST(trust_ignores_set_names_that_do_not_exist),
		TEST(trust_takes_an_intermediate_as_anchor),
		TEST(trust_needs_the_intermediates),
		TEST(trust_refuses_a_forged_issuer_of_the_same_name),
		TEST(trust_reports_an_expired_leaf_and_leaves_it_to_policy),
		TEST(trust_does_not_let_expiry_mask_another_fault),
		TEST(trust_refuses_what_is_not_valid_yet),
		TEST(trust_refuses_an_expired_issuer),
		TEST(trust_remembers_a_verdict_only_while_the_chain_is_valid),
		TEST(trust_does_not_remember_an_expired_leaf),
		TEST(trust_takes_the_time_it_is_given),
		TEST(trust_takes_the_devices_that_never_expire),
		TEST(trust_limits_what_a_peer_may_send),
		TEST(trust_limits_the_depth_of_a_chain),
		TEST(trust_tells_the_nearest_reason),
		TEST(trust_load_refuses_files_that_are_no_anchors),
		TEST(trust_load_takes_no_sets_at_all),
		TEST(trust_serves_many_threads_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
