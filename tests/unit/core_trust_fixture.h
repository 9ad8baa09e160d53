/*
 * core_trust_fixture.h - two manufacturers' hierarchies and their devices. For the core_trust_*test programs.
 */
#ifndef TESTS_UNIT_CORE_TRUST_FIXTURE_H
#define TESTS_UNIT_CORE_TRUST_FIXTURE_H

#include "tests/unit/ca_fixture.h"

#include "gateway/core/trust.h"

/* Two makers: "acme" has a root and an intermediate, "other" a root. */
struct world {
	char dir[64];
	char acme_path[128], middle_path[128], other_path[128];
	EVP_PKEY *acme_key, *middle_key, *other_key, *leaf_key;
	X509 *acme, *middle, *other;
	STACK_OF(X509) *chain; /* the intermediate, as a device sends it */
	struct config_trust trust[3];
	struct config config;
	struct trust_sets *sets;
	struct trust_verdict verdict;
	struct err e;
};

static const char names_acme[1][REG_TEXT_MAX] = { "acme" };

static inline void
set_fill(struct config_trust *set, const char *name, const char *path, bool accept_expired)
{
	strcpy(set->name, name);
	strcpy(set->files.at[0], path);
	set->files.count = 1;
	set->accept_expired = accept_expired;
}

static inline void
sets_load(struct world *w)
{
	trust_free(w->sets);
	w->sets = NULL;
	if (trust_load(&w->config, &w->sets, &w->e) != 0)
		fail_msg("%s", w->e.text);
}

static inline int
world_setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	assert_non_null(w);
	assert_int_equal(ossl_init(&w->e), 0);
	assert_int_equal(key_init(&w->e), 0);
	strcpy(w->dir, "/tmp/trust-test-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	(void)snprintf(w->acme_path, sizeof w->acme_path, "%s/acme.pem", w->dir);
	(void)snprintf(w->middle_path, sizeof w->middle_path, "%s/middle.pem", w->dir);
	(void)snprintf(w->other_path, sizeof w->other_path, "%s/other.pem", w->dir);
	w->acme_key = key_make("P-256");
	w->middle_key = key_make("P-256");
	w->other_key = key_make("P-256");
	w->leaf_key = key_make("P-256");
	w->acme = ca_cert_make("Acme Root", w->acme_key, NULL, NULL, -1);
	w->middle = ca_cert_make("Acme Plant 2", w->middle_key, w->acme, w->acme_key, 0);
	w->other = ca_cert_make("Other Root", w->other_key, NULL, NULL, -1);
	cert_write(w->acme_path, w->acme, NULL);
	cert_write(w->middle_path, w->middle, NULL);
	cert_write(w->other_path, w->other, NULL);
	w->chain = sk_X509_new_null();
	assert_true(sk_X509_push(w->chain, w->middle) > 0);
	set_fill(&w->trust[0], "acme", w->acme_path, true);
	set_fill(&w->trust[1], "other", w->other_path, false);
	set_fill(&w->trust[2], "acme-plant-2", w->middle_path, false);
	w->config.trust = w->trust;
	w->config.trust_count = 3;
	sets_load(w);
	*state = w;
	return 0;
}

static inline int
world_teardown(void **state)
{
	struct world *w = *state;

	trust_free(w->sets);
	sk_X509_free(w->chain);
	X509_free(w->acme);
	X509_free(w->middle);
	X509_free(w->other);
	EVP_PKEY_free(w->acme_key);
	EVP_PKEY_free(w->middle_key);
	EVP_PKEY_free(w->other_key);
	EVP_PKEY_free(w->leaf_key);
	(void)unlink(w->acme_path);
	(void)unlink(w->middle_path);
	(void)unlink(w->other_path);
	assert_int_equal(rmdir(w->dir), 0);
	free(w);
	return 0;
}

struct shape {
	const char *basic, *usage, *eku; /* NULL: without the extension */
	int64_t from_s, until_s;         /* relative to NOW_S; both 0: a year around it */
	int version;                     /* 0: 3 */
	const EVP_MD *md;                /* NULL: SHA-256 */
};

static inline void
ext_add(X509 *cert, const char *name, const char *value)
{
	X509_EXTENSION *extension = value == NULL ? NULL : X509V3_EXT_nconf(NULL, NULL, name, value);

	if (value == NULL)
		return;
	assert_non_null(extension);
	assert_int_equal(X509_add_ext(cert, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

static inline X509 *
device(const struct world *w, X509 *issuer, EVP_PKEY *issuer_key, const struct shape *shape)
{
	X509 *cert = X509_new();
	bool usual = shape->from_s == 0 && shape->until_s == 0;

	assert_int_equal(X509_set_version(cert, shape->version == 0 ? X509_VERSION_3 : shape->version - 1), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 4711), 1);
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "serialNumber", MBSTRING_UTF8,
		(const unsigned char *)"SN-4711", -1, -1, 0), 1);
	assert_int_equal(X509_set_issuer_name(cert, X509_get_subject_name(issuer)), 1);
	assert_int_equal(X509_set_pubkey(cert, w->leaf_key), 1);
	assert_non_null(ASN1_TIME_set(X509_getm_notBefore(cert), NOW_S + (usual ? -DAY_S : shape->from_s)));
	assert_non_null(ASN1_TIME_set(X509_getm_notAfter(cert), NOW_S + (usual ? YEAR_S : shape->until_s)));
	ext_add(cert, "basicConstraints", shape->basic);
	ext_add(cert, "keyUsage", shape->usage);
	ext_add(cert, "extendedKeyUsage", shape->eku);
	assert_true(X509_sign(cert, issuer_key, shape->md == NULL ? EVP_sha256() : shape->md) > 0);
	return cert;
}

static const struct shape plain = { .basic = "CA:FALSE", .usage = "digitalSignature", .eku = "clientAuth" };

static inline int
verify(struct world *w, const char (*names)[REG_TEXT_MAX], size_t count, X509 *leaf)
{
	return trust_verify(w->sets, names, count, leaf, w->chain, NOW_S, &w->verdict, &w->e);
}

static inline void
assert_trusted(struct world *w, X509 *leaf)
{
	if (verify(w, names_acme, 1, leaf) != 0)
		fail_msg("%s", w->e.text);
	assert_string_equal(w->verdict.set, "acme");
	X509_free(leaf);
}

static inline void
assert_refused(struct world *w, X509 *leaf, const char *part)
{
	memset(&w->verdict, 0x55, sizeof w->verdict);
	assert_failed(verify(w, names_acme, 1, leaf), &w->e, ERR_UNAUTHENTIC, part);
	assert_int_equal(w->verdict.set[0], 0x55); /* untouched on failure */
	X509_free(leaf);
}

#endif
