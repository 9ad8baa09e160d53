#define _GNU_SOURCE
#include "tests/unit/core_trust_fixture.h"

#include <openssl/x509v3.h>

#include "gateway/core/trust_crl.h"

#define SERIAL 4711 /* of every device() */

struct crl_shape {
	long serial;          /* the one that is revoked; 0: none */
	int64_t from_s, until_s; /* relative to NOW_S */
	bool der;
};

static void
crl_write(const char *path, X509 *issuer, EVP_PKEY *key, const struct crl_shape *shape)
{
	ASN1_TIME *from = ASN1_TIME_set(NULL, NOW_S + shape->from_s), *until = ASN1_TIME_set(NULL, NOW_S + shape->until_s);
	X509_CRL *crl = X509_CRL_new();
	X509_REVOKED *revoked = X509_REVOKED_new();
	ASN1_INTEGER *serial = ASN1_INTEGER_new();
	FILE *out = fopen(path, "wb");

	assert_non_null(out);
	assert_int_equal(X509_CRL_set_version(crl, X509_CRL_VERSION_2), 1);
	assert_int_equal(X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer)), 1);
	assert_int_equal(X509_CRL_set1_lastUpdate(crl, from), 1);
	assert_int_equal(X509_CRL_set1_nextUpdate(crl, until), 1);
	if (shape->serial != 0) {
		assert_int_equal(ASN1_INTEGER_set(serial, shape->serial), 1);
		assert_int_equal(X509_REVOKED_set_serialNumber(revoked, serial), 1);
		assert_int_equal(X509_REVOKED_set_revocationDate(revoked, from), 1);
		assert_int_equal(X509_CRL_add0_revoked(crl, revoked), 1);
		revoked = NULL;
	}
	assert_true(X509_CRL_sign(crl, key, EVP_sha256()) > 0);
	assert_int_equal(shape->der ? i2d_X509_CRL_fp(out, crl) : PEM_write_X509_CRL(out, crl), 1);
	assert_int_equal(fclose(out), 0);
	X509_REVOKED_free(revoked);
	ASN1_INTEGER_free(serial);
	X509_CRL_free(crl);
	ASN1_TIME_free(from);
	ASN1_TIME_free(until);
}

/* The set "acme" with these CRLs of the intermediate, or of whoever. */
static void
crls_use(struct world *w, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		(void)snprintf(w->trust[0].crls.at[i], sizeof w->trust[0].crls.at[i], "%s/%zu.crl", w->dir, i);
	w->trust[0].crls.count = count;
}

static void
crls_forget(struct world *w)
{
	size_t i;

	for (i = 0; i < w->trust[0].crls.count; i++)
		(void)unlink(w->trust[0].crls.at[i]);
}

static const struct crl_shape nobody = { .from_s = -DAY_S, .until_s = DAY_S };

static void
trust_refuses_a_certificate_its_maker_has_revoked(void **state)
{
	struct crl_shape it = nobody;
	struct world *w = *state;

	crls_use(w, 1);
	crl_write(w->trust[0].crls.at[0], w->middle, w->middle_key, &nobody);
	sets_load(w);
	assert_trusted(w, device(w, w->middle, w->middle_key, &plain));
	it.serial = SERIAL + 1;
	crl_write(w->trust[0].crls.at[0], w->middle, w->middle_key, &it);
	sets_load(w);
	assert_trusted(w, device(w, w->middle, w->middle_key, &plain));
	it.serial = SERIAL;
	it.der = true;
	crl_write(w->trust[0].crls.at[0], w->middle, w->middle_key, &it);
	sets_load(w);
	assert_refused(w, device(w, w->middle, w->middle_key, &plain), "certificate revoked");
	crls_forget(w);
}

static void
trust_refuses_everybody_when_the_revocation_list_is_missing_forged_or_out_of_date(void **state)
{
	const struct crl_shape old = { .from_s = -2 * DAY_S, .until_s = -DAY_S };
	const struct crl_shape early = { .from_s = DAY_S, .until_s = 2 * DAY_S };
	struct world *w = *state;

	crls_use(w, 1);
	crl_write(w->trust[0].crls.at[0], w->acme, w->acme_key, &nobody); /* the root's, not the plant's */
	sets_load(w);
	assert_refused(w, device(w, w->middle, w->middle_key, &plain), "unable to get certificate CRL");
	crl_write(w->trust[0].crls.at[0], w->middle, w->other_key, &nobody);
	sets_load(w);
	assert_refused(w, device(w, w->middle, w->middle_key, &plain), "CRL signature failure");
	crl_write(w->trust[0].crls.at[0], w->middle, w->middle_key, &old);
	sets_load(w);
	assert_refused(w, device(w, w->middle, w->middle_key, &plain), "CRL has expired");
	crl_write(w->trust[0].crls.at[0], w->middle, w->middle_key, &early);
	sets_load(w);
	assert_refused(w, device(w, w->middle, w->middle_key, &plain), "CRL is not yet valid");
	crls_forget(w);
}

/* A verdict that is remembered ends with the list it was made by. */
static void
trust_forgets_a_verdict_when_the_revocation_list_ends(void **state)
{
	struct world *w = *state;
	X509 *leaf = device(w, w->middle, w->middle_key, &plain);

	crls_use(w, 1);
	crl_write(w->trust[0].crls.at[0], w->middle, w->middle_key, &nobody);
	sets_load(w);
	assert_int_equal(verify(w, names_acme, 1, leaf), 0);
	assert_int_equal(trust_verify(w->sets, names_acme, 1, leaf, w->chain, NOW_S + DAY_S - 1, &w->verdict, &w->e), 0);
	assert_failed(trust_verify(w->sets, names_acme, 1, leaf, w->chain, NOW_S + DAY_S + 1, &w->verdict, &w->e),
		&w->e, ERR_UNAUTHENTIC, "CRL has expired");
	X509_free(leaf);
	crls_forget(w);
}

static void
trust_load_says_which_revocation_list_is_none(void **state)
{
	struct world *w = *state;
	struct trust_sets *sets = NULL;

	crls_use(w, 1);
	assert_failed(trust_load(&w->config, &sets, &w->e), &w->e, ERR_UPSTREAM, "0.crl: No such file");
	cert_write(w->trust[0].crls.at[0], w->acme, NULL);
	assert_failed(trust_load(&w->config, &sets, &w->e), &w->e, ERR_MALFORMED, "0.crl: it holds no CRL");
	crls_forget(w);
	assert_null(sets);
}

#define TRUST_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TRUST_TEST(trust_refuses_a_certificate_its_maker_has_revoked),
		TRUST_TEST(trust_refuses_everybody_when_the_revocation_list_is_missing_forged_or_out_of_date),
		TRUST_TEST(trust_forgets_a_verdict_when_the_revocation_list_ends),
		TRUST_TEST(trust_load_says_which_revocation_list_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
