/* Chains of evidence: what leads to an attester's own roots, now. */
#define _GNU_SOURCE
#include "policy_attest_certs.h"

struct chain {
	EVP_PKEY *keys[4];      /* root, two intermediates, leaf */
	X509 *certs[4];
	struct buf der[4];
	struct bytes sent[4];   /* leaf first */
	struct attest_settings settings;
};

static EVP_PKEY *keys[4];

static int
make_keys(void **state)
{
	struct err e;
	size_t i;

	(void)state;
	if (ossl_init(&e) != 0 || key_init(&e) != 0)
		return -1;
	for (i = 0; i < 4; i++)
		keys[i] = EVP_EC_gen("P-256");
	return 0;
}

static int
free_keys(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++)
		EVP_PKEY_free(keys[i]);
	return 0;
}

/* ends[i]: notAfter; 0 as usual. */
static void
chain_make(struct chain *c, const int64_t ends[4])
{
	static const char *const names[] = { "root", "one", "two", "leaf" };
	size_t i;

	memset(c, 0, sizeof *c);
	for (i = 0; i < 4; i++) {
		c->certs[i] = cert_make(&(struct cert_wish){ .cn = names[i], .key = keys[i],
			.issuer = i == 0 ? NULL : c->certs[i - 1], .issuer_key = i == 0 ? NULL : keys[i - 1],
			.is_ca = i < 3, .to_s = ends == NULL ? 0 : ends[i] });
		c->sent[3 - i] = cert_der(c->certs[i], &c->der[i]);
	}
	c->settings.roots = sk_X509_new_null();
	assert_true(sk_X509_push(c->settings.roots, c->certs[0]) > 0);
}

static void
chain_free(struct chain *c)
{
	size_t i;

	for (i = 0; i < 4; i++) {
		X509_free(c->certs[i]);
		buf_free(&c->der[i]);
	}
	sk_X509_free(c->settings.roots);
}

static void
swap(struct bytes *a, struct bytes *b)
{
	struct bytes t = *a;

	*a = *b;
	*b = t;
}

static void
assert_passes(const struct chain *c, size_t count)
{
	struct attestation out = { .check_count = 0 };
	X509 *leaf = NULL;

	if (attest_chain(&c->settings, "android", c->sent, count, NOW_S, &leaf, &out) != 0) {
		print_checks(&out);
		fail_msg("refused");
	}
	assert_int_equal(X509_cmp(leaf, c->certs[3]), 0);
	assert_int_equal(out.check_count, 2);
	assert_string_equal(out.checks[0].name, "android.certificate");
	assert_string_equal(out.checks[1].name, "android.chain");
	assert_true(out.checks[0].passed && out.checks[1].passed);
	X509_free(leaf);
}

/* name is the last check that was made, and it failed. */
static void
assert_fails(const struct chain *c, size_t count, int64_t now_s, const char *name)
{
	struct attestation out = { .check_count = 0 };
	X509 *leaf = NULL;

	assert_int_equal(attest_chain(&c->settings, "android", c->sent, count, now_s, &leaf, &out), -1);
	assert_null(leaf);
	assert_true(out.check_count > 0);
	assert_string_equal(out.checks[out.check_count - 1].name, name);
	assert_false(out.checks[out.check_count - 1].passed);
	attest_conclude(&out);
	assert_false(out.valid);
}

static void
attest_chain_takes_intermediates_in_any_order_and_the_root_or_not(void **state)
{
	struct chain c;

	(void)state;
	chain_make(&c, NULL);
	assert_passes(&c, 4);
	assert_passes(&c, 3);
	swap(&c.sent[1], &c.sent[2]);
	assert_passes(&c, 3);
	swap(&c.sent[1], &c.sent[3]);
	assert_passes(&c, 4);
	chain_free(&c);
}

static void
attest_chain_refuses_a_gap(void **state)
{
	struct chain c;

	(void)state;
	chain_make(&c, NULL);
	assert_fails(&c, 2, NOW_S, "android.chain");
	assert_fails(&c, 1, NOW_S, "android.chain");
	chain_free(&c);
}

static void
attest_chain_takes_an_intermediate_as_its_root(void **state)
{
	struct chain c;

	(void)state;
	chain_make(&c, NULL);
	(void)sk_X509_set(c.settings.roots, 0, c.certs[1]);
	assert_passes(&c, 2);
	chain_free(&c);
}

static void
attest_chain_trusts_nobody_without_roots(void **state)
{
	STACK_OF(X509) *roots;
	struct chain c;

	(void)state;
	chain_make(&c, NULL);
	roots = c.settings.roots;
	c.settings.roots = NULL;
	assert_fails(&c, 4, NOW_S, "android.chain");
	c.settings.roots = roots;
	sk_X509_zero(roots);
	assert_fails(&c, 4, NOW_S, "android.chain");
	chain_free(&c);
}

static void
attest_chain_refuses_another_root_of_the_same_name(void **state)
{
	struct chain c;
	X509 *other;

	(void)state;
	chain_make(&c, NULL);
	other = cert_make(&(struct cert_wish){ .cn = "root", .key = keys[3], .is_ca = true });
	(void)sk_X509_set(c.settings.roots, 0, other);
	assert_fails(&c, 4, NOW_S, "android.chain");
	X509_free(other);
	chain_free(&c);
}

static void
attest_chain_judges_time_by_the_clock_it_is_given(void **state)
{
	const int64_t ends[][4] = { { 0, 0, 0, NOW_S - 1 }, { 0, 0, NOW_S - 1, 0 }, { 0, NOW_S - 1, 0, 0 },
		{ NOW_S - 1, 0, 0, 0 } };
	struct chain c;
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++) {
		chain_make(&c, ends[i]);
		assert_fails(&c, 4, NOW_S, "android.chain");
		chain_free(&c);
	}
	chain_make(&c, NULL);
	assert_passes(&c, 4);
	assert_fails(&c, 4, NOW_S - 2 * DAY_S, "android.chain");
	assert_fails(&c, 4, NOW_S + 2 * DAY_S, "android.chain");
	chain_free(&c);
}

static void
attest_chain_refuses_an_issuer_that_is_no_ca(void **state)
{
	struct chain c;

	(void)state;
	chain_make(&c, NULL);
	X509_free(c.certs[2]);
	c.certs[2] = cert_make(&(struct cert_wish){ .cn = "two", .key = keys[2], .issuer = c.certs[1],
		.issuer_key = keys[1], .is_ca = false });
	c.sent[1] = cert_der(c.certs[2], &c.der[2]);
	assert_fails(&c, 4, NOW_S, "android.chain");
	chain_free(&c);
}

static void
attest_chain_refuses_a_signature_with_sha1(void **state)
{
	struct chain c;

	(void)state;
	chain_make(&c, NULL);
	assert_true(X509_sign(c.certs[3], keys[2], EVP_sha1()) > 0);
	c.sent[0] = cert_der(c.certs[3], &c.der[3]);
	assert_fails(&c, 4, NOW_S, "android.chain");
	chain_free(&c);
}

static void
attest_chain_refuses_what_is_no_certificate(void **state)
{
	struct chain c;
	size_t i;

	(void)state;
	chain_make(&c, NULL);
	assert_fails(&c, 0, NOW_S, "android.certificate");
	for (i = 0; i < 4; i++) {
		c.sent[i].len--;
		assert_fails(&c, 4, NOW_S, "android.certificate");
		c.sent[i].len++;
	}
	buf_append_u8(&c.der[3], 0);
	c.sent[0] = buf_bytes(&c.der[3]);
	assert_fails(&c, 4, NOW_S, "android.certificate");
	chain_free(&c);
}

static void
attest_chain_refuses_more_certificates_than_evidence_can_have(void **state)
{
	struct bytes many[EVIDENCE_CERTS_MAX + 1];
	struct attestation out = { .check_count = 0 };
	X509 *leaf = NULL;
	struct chain c;
	size_t i;

	(void)state;
	chain_make(&c, NULL);
	for (i = 0; i < EVIDENCE_CERTS_MAX + 1; i++)
		many[i] = c.sent[i < 3 ? i : 3];
	assert_int_equal(attest_chain(&c.settings, "android", many, EVIDENCE_CERTS_MAX + 1, NOW_S, &leaf, &out), -1);
	assert_string_equal(out.checks[0].name, "android.certificate");
	assert_int_equal(attest_chain(&c.settings, "android", many, EVIDENCE_CERTS_MAX, NOW_S, &leaf, &out), 0);
	X509_free(leaf);
	chain_free(&c);
}

/* The point's first octet: such a certificate is decoded, but it has no key. */
static void
attest_chain_refuses_a_leaf_whose_key_does_not_decode(void **state)
{
	CLEANUP(buf) struct buf spki = { 0 };
	struct bytes key;
	struct chain c;
	uint8_t *found;

	(void)state;
	chain_make(&c, NULL);
	key = spki_der(keys[3], &spki);
	found = memmem(c.der[3].at, c.der[3].len, key.at, key.len);
	assert_non_null(found);
	found[key.len - 65] = 0x09;
	assert_fails(&c, 4, NOW_S, "android.certificate");
	chain_free(&c);
}

static void
attest_chain_names_checks_by_the_prefix(void **state)
{
	static const struct {
		const char *prefix, *name;
	} cases[] = { { "tpm.ak", "tpm.ak.chain" }, { "yubikey", "yubikey.chain" },
		{ "something", "something" } };
	struct chain c;
	size_t i;

	(void)state;
	chain_make(&c, NULL);
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct attestation out = { .check_count = 0 };
		X509 *leaf = NULL;

		assert_int_equal(attest_chain(&c.settings, cases[i].prefix, c.sent, 4, NOW_S, &leaf, &out), 0);
		assert_non_null(check_named(&out, cases[i].name));
		X509_free(leaf);
	}
	chain_free(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attest_chain_takes_intermediates_in_any_order_and_the_root_or_not),
		cmocka_unit_test(attest_chain_refuses_a_gap),
		cmocka_unit_test(attest_chain_takes_an_intermediate_as_its_root),
		cmocka_unit_test(attest_chain_trusts_nobody_without_roots),
		cmocka_unit_test(attest_chain_refuses_another_root_of_the_same_name),
		cmocka_unit_test(attest_chain_judges_time_by_the_clock_it_is_given),
		cmocka_unit_test(attest_chain_refuses_an_issuer_that_is_no_ca),
		cmocka_unit_test(attest_chain_refuses_a_signature_with_sha1),
		cmocka_unit_test(attest_chain_refuses_what_is_no_certificate),
		cmocka_unit_test(attest_chain_refuses_more_certificates_than_evidence_can_have),
		cmocka_unit_test(attest_chain_refuses_a_leaf_whose_key_does_not_decode),
		cmocka_unit_test(attest_chain_names_checks_by_the_prefix),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
