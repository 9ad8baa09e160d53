#define _GNU_SOURCE
#include "tests/unit/core_trust_fixture.h"

static void
trust_refuses_ca_certificates_as_leaves(void **state)
{
	struct world *w = *state;
	struct shape shape = plain;

	shape.basic = "critical,CA:TRUE";
	assert_refused(w, device(w, w->middle, w->middle_key, &shape), "is a CA's");
	shape.basic = NULL;
	shape.usage = "digitalSignature,keyCertSign";
	assert_refused(w, device(w, w->middle, w->middle_key, &shape), "is a CA's");
	assert_int_equal(X509_up_ref(w->middle), 1);
	assert_refused(w, w->middle, "is a CA's");
	assert_int_equal(X509_up_ref(w->acme), 1);
	assert_refused(w, w->acme, "is a CA's");
}

static void
trust_does_not_let_a_leaf_issue(void **state)
{
	struct world *w = *state;
	X509 *leaf = device(w, w->middle, w->middle_key, &plain);
	X509 *below = device(w, leaf, w->leaf_key, &plain);

	assert_true(sk_X509_push(w->chain, leaf) > 0);
	assert_refused(w, below, "does not vouch");
	X509_free(leaf);
}

static void
trust_judges_key_usage_and_purposes(void **state)
{
	static const struct {
		const char *usage, *eku;
		bool good;
	} cases[] = {
		{ NULL, NULL, true },
		{ "digitalSignature", NULL, true },
		{ "keyAgreement", NULL, true },
		{ "keyEncipherment", NULL, false },
		{ "DER:0500", NULL, false },
		{ NULL, "serverAuth", false },
		{ NULL, "serverAuth,clientAuth", true },
		{ NULL, "anyExtendedKeyUsage", false },
		{ NULL, "anyExtendedKeyUsage,clientAuth", true },
		{ NULL, "codeSigning", false },
		{ NULL, "emailProtection,timeStamping,OCSPSigning", false },
		{ NULL, "ipsecIKE", true },
		{ NULL, "1.3.6.1.5.5.7.3.28", true },
		{ NULL, "2.23.133.11.1.2", true },
		{ NULL, "2.23.1331", false },
		{ NULL, "1.2.3.4", false },
		{ NULL, "DER:3000", false },
		{ NULL, "DER:0500", false },
	};
	struct world *w = *state;
	size_t i;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct shape shape = { .usage = cases[i].usage, .eku = cases[i].eku };
		X509 *leaf = device(w, w->middle, w->middle_key, &shape);

		if ((verify(w, names_acme, 1, leaf) == 0) != cases[i].good)
			fail_msg("keyUsage %s, extendedKeyUsage %s", cases[i].usage, cases[i].eku);
		X509_free(leaf);
	}
}

static void
trust_refuses_a_purpose_extension_that_stands_there_twice(void **state)
{
	struct world *w = *state;
	X509 *leaf = device(w, w->middle, w->middle_key, &plain);

	ext_add(leaf, "extendedKeyUsage", "codeSigning");
	assert_true(X509_sign(leaf, w->middle_key, EVP_sha256()) > 0);
	assert_refused(w, leaf, "an extension that does not decode");
}

static void
trust_takes_version_1_devices(void **state)
{
	static const struct shape first = { .version = 1 };
	struct world *w = *state;

	assert_trusted(w, device(w, w->middle, w->middle_key, &first));
}

static void
trust_refuses_sha1_signatures_but_not_sha1_anchors(void **state)
{
	struct shape weak = plain;
	struct world *w = *state;

	weak.md = EVP_sha1();
	assert_refused(w, device(w, w->middle, w->middle_key, &weak), "too weak");
	assert_true(X509_sign(w->acme, w->acme_key, EVP_sha1()) > 0);
	cert_write(w->acme_path, w->acme, NULL);
	sets_load(w);
	assert_trusted(w, device(w, w->middle, w->middle_key, &plain));
}

static void
trust_refuses_unknown_critical_extensions(void **state)
{
	struct world *w = *state;
	X509 *leaf = device(w, w->middle, w->middle_key, &plain);

	ext_add(leaf, "1.2.3.4.5.6", "critical,ASN1:NULL");
	assert_true(X509_sign(leaf, w->middle_key, EVP_sha256()) > 0);
	assert_refused(w, leaf, "critical extension");
}

/* The curve's OID in the key is bent after signing; the rest still parses. */
static void
trust_refuses_a_key_that_does_not_decode(void **state)
{
	static const uint8_t p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
	CLEANUP(buf) struct buf der = { 0 };
	struct world *w = *state;
	X509 *leaf = device(w, w->middle, w->middle_key, &plain), *bent = NULL;
	uint8_t *at;

	assert_int_equal(x509_to_der(leaf, &der, &w->e), 0);
	at = memmem(der.at, der.len, p256, sizeof p256);
	assert_non_null(at);
	at[sizeof p256 - 1] = 0x7f;
	assert_int_equal(x509_from_der(buf_bytes(&der), &bent, &w->e), 0);
	assert_null(X509_get0_pubkey(bent));
	assert_refused(w, bent, "public key that does not decode");
	X509_free(leaf);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(trust_refuses_ca_certificates_as_leaves),
		TEST(trust_does_not_let_a_leaf_issue),
		TEST(trust_judges_key_usage_and_purposes),
		TEST(trust_refuses_a_purpose_extension_that_stands_there_twice),
		TEST(trust_takes_version_1_devices),
		TEST(trust_refuses_sha1_signatures_but_not_sha1_anchors),
		TEST(trust_refuses_unknown_critical_extensions),
		TEST(trust_refuses_a_key_that_does_not_decode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
