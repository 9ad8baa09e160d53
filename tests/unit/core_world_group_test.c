/* Trust groups: what is handed out for one, and whose a certificate is. */
#define _GNU_SOURCE
#include "tests/unit/core_group_fixture.h"

#include <fcntl.h>

#include "est/body.h"
#include "gateway/core/outcome.h"
#include "gateway/core/world.h"

static struct world *
world_of(const char *text)
{
	struct world *world = NULL;
	struct err e;

	if (world_load(load_good(text), &world, &e) != 0)
		fail_msg("%s", e.text);
	return world;
}

static struct world *
world_with(const char *find, const char *replace)
{
	size_t line;
	char *text = changed(group_good, find, replace, &line);
	struct world *world = world_of(text);

	free(text);
	return world;
}

/* These certificates, in this order, and no others. */
static void
expect_certs(const struct buf *der, const char *const *names, int count)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	struct err e;
	int i;

	assert_int_equal(est_certs_decode(buf_bytes(der), &certs, &e), 0);
	for (i = 0; i < count && i < sk_X509_num(certs); i++) {
		X509 *cert = read_certificate(names[i]);

		if (X509_cmp(sk_X509_value(certs, i), cert) != 0)
			fail_msg("certificate %d is not %s", i + 1, names[i]);
		X509_free(cert);
	}
	assert_int_equal(sk_X509_num(certs), count);
}

#define EXPECT(der, ...) \
	do { \
		static const char *const names_[] = { __VA_ARGS__ }; \
		expect_certs((der), names_, (int)(sizeof names_ / sizeof names_[0])); \
	} while (0)

/* A certificate with this issuer's name, by this key, and with an authorityKeyIdentifier if that is wanted. */
static struct buf
leaf_by(const char *issuer, const char *key, bool key_id)
{
	X509 *ca = read_certificate(issuer), *cert = X509_new();
	EVP_PKEY *signer = read_key(key), *own = EVP_EC_gen("P-256");
	struct buf out = { 0 };
	X509V3_CTX ctx;
	struct err e;

	assert_int_equal(X509_set_version(cert, X509_VERSION_3), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 4711), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), 0));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), 3600));
	assert_int_equal(X509_set_issuer_name(cert, X509_get_subject_name(ca)), 1);
	assert_int_equal(X509_set_pubkey(cert, own), 1);
	if (key_id) {
		X509_EXTENSION *extension;

		X509V3_set_ctx(&ctx, ca, cert, NULL, NULL, 0);
		extension = X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
		assert_non_null(extension);
		assert_int_equal(X509_add_ext(cert, extension, -1), 1);
		X509_EXTENSION_free(extension);
	}
	assert_true(X509_sign(cert, signer, EVP_sha256()) > 0);
	assert_int_equal(x509_to_der(cert, &out, &e), 0);
	X509_free(cert);
	X509_free(ca);
	EVP_PKEY_free(signer);
	EVP_PKEY_free(own);
	return out;
}

static void
cacerts_has_the_chain_then_what_comes_what_was_the_rest_and_the_cross_certificates(void **state)
{
	struct world *world = world_of(group_good);

	(void)state;
	EXPECT(&world_ca_of(world, "g1")->cacerts, "issuing.pem", "ca.pem", "g2.pem", "root2.pem", "other.pem", "root3.pem",
		"g3.pem", "old-with-new.pem", "new-with-old.pem");
	EXPECT(&world_ca_of(world, "g2")->cacerts, "g2.pem", "root2.pem", "g3.pem", "issuing.pem", "ca.pem", "other.pem",
		"root3.pem", "old-with-new.pem", "new-with-old.pem");
	EXPECT(&world_ca_of(world, "g3")->cacerts, "g3.pem", "root2.pem", "g2.pem", "issuing.pem", "ca.pem", "other.pem",
		"root3.pem", "old-with-new.pem", "new-with-old.pem");
	assert_int_equal(world_ca_of(world, "g3")->cacerts_count, 9);
	world_put(world);
}

static void
cacerts_of_a_ca_alone_is_its_chain(void **state)
{
	struct world *world = world_of(group_good);

	(void)state;
	EXPECT(&world_ca_of(world, "alone")->cacerts, "alone.pem", "root4.pem");
	assert_int_equal(world_ca_of(world, "alone")->cacerts_count, 2);
	world_put(world);
}

static void
cacerts_has_the_coming_certificate_of_a_file_as_well(void **state)
{
	struct world *world = world_with("	chain = [ \"root3.pem\" ];\n", "	chain = [ \"root3.pem\" ]; next = \"next.pem\";\n");

	(void)state;
	EXPECT(&world_ca_of(world, "other")->cacerts, "other.pem", "root3.pem", "next.pem", "g2.pem", "root2.pem", "issuing.pem",
		"ca.pem", "g3.pem", "old-with-new.pem", "new-with-old.pem");
	EXPECT(&world_ca_of(world, "g1")->cacerts, "issuing.pem", "ca.pem", "g2.pem", "root2.pem", "other.pem", "root3.pem",
		"next.pem", "g3.pem", "old-with-new.pem", "new-with-old.pem");
	world_put(world);
}

static void
what_comes_next_is_the_successor_or_the_file_with_the_cross_certificates(void **state)
{
	struct world *world = world_with("	chain = [ \"root3.pem\" ];\n", "	chain = [ \"root3.pem\" ]; next = \"next.pem\";\n");

	(void)state;
	EXPECT(&world_ca_of(world, "g1")->coming, "g2.pem", "root2.pem", "old-with-new.pem", "new-with-old.pem");
	EXPECT(&world_ca_of(world, "g2")->coming, "g3.pem", "root2.pem", "old-with-new.pem", "new-with-old.pem");
	EXPECT(&world_ca_of(world, "other")->coming, "next.pem", "old-with-new.pem", "new-with-old.pem");
	assert_int_equal(world_ca_of(world, "g3")->coming.len, 0);
	assert_int_equal(world_ca_of(world, "alone")->coming.len, 0);
	world_put(world);
}

static void
a_ca_proves_as_much_as_another_of_its_group_and_no_other(void **state)
{
	struct world *world = world_of(group_good);

	(void)state;
	assert_true(world_same_group(world, "g1", "g2"));
	assert_true(world_same_group(world, "g3", "other"));
	assert_false(world_same_group(world, "g1", "alone"));
	assert_false(world_same_group(world, "alone", "g1"));
	assert_false(world_same_group(world, "g1", "gone"));
	assert_true(world_same_group(world, "gone", "gone"));
	world_put(world);
}

/* No group is not a group of all that have none. */
static void
cas_without_a_group_have_nothing_in_common(void **state)
{
	struct world *world = world_with("name = \"other\"; group = \"fleet\"", "name = \"other\"");

	(void)state;
	assert_false(world_same_group(world, "other", "alone"));
	EXPECT(&world_ca_of(world, "alone")->cacerts, "alone.pem", "root4.pem");
	EXPECT(&world_ca_of(world, "other")->cacerts, "other.pem", "root3.pem");
	world_put(world);
}

static void
expect_generation(const struct world *world, const char *asked, struct buf cert, const char *expected)
{
	const struct config_ca *found = world_generation_of(world, config_ca(world->config, asked), buf_bytes(&cert));

	if (expected == NULL)
		assert_null(found);
	else {
		assert_non_null(found);
		assert_string_equal(found->name, expected);
	}
	buf_free(&cert);
}

/* All three generations have one name. */
static void
a_certificate_belongs_to_the_generation_whose_key_signed_it(void **state)
{
	struct world *world = world_of(group_good);
	int key_id;

	(void)state;
	for (key_id = 0; key_id < 2; key_id++) {
		expect_generation(world, "g1", leaf_by("issuing.pem", "issuing.key", key_id), "g1");
		expect_generation(world, "g1", leaf_by("g2.pem", "g2.key", key_id), "g2");
		expect_generation(world, "g2", leaf_by("issuing.pem", "issuing.key", key_id), "g1");
		expect_generation(world, "g1", leaf_by("g3.pem", "g3.key", key_id), "g3");
		expect_generation(world, "g3", leaf_by("g3.pem", "g3.key", key_id), "g3");
		expect_generation(world, "g1", leaf_by("alone.pem", "alone.key", key_id), NULL);
		expect_generation(world, "alone", leaf_by("issuing.pem", "issuing.key", key_id), NULL);
		expect_generation(world, "g1", leaf_by("g2.pem", "alone.key", key_id), NULL); /* forged */
	}
	world_put(world);
}

static void
another_service_of_the_group_is_not_a_generation_of_this_one(void **state)
{
	struct world *world = world_of(group_good);
	struct config_ca *g2 = &world->config->cas[0];

	(void)state;
	expect_generation(world, "g1", leaf_by("other.pem", "other.key", true), "other");
	(void)snprintf(g2->url, sizeof g2->url, "https://elsewhere.example.com");
	expect_generation(world, "g1", leaf_by("g2.pem", "g2.key", true), NULL);
	expect_generation(world, "g2", leaf_by("g2.pem", "g2.key", true), "g2");
	expect_generation(world, "g2", leaf_by("issuing.pem", "issuing.key", true), NULL);
	g2->url[0] = '\0';
	(void)snprintf(g2->type, sizeof g2->type, "est");
	expect_generation(world, "g1", leaf_by("g2.pem", "g2.key", true), NULL);
	world_put(world);
}

static void
the_coming_key_of_a_ca_is_that_cas(void **state)
{
	struct world *world = world_with("	chain = [ \"root3.pem\" ];\n", "	chain = [ \"root3.pem\" ]; next = \"next.pem\";\n");
	const struct config_ca *other = config_ca(world->config, "other");
	struct buf cert = leaf_by("next.pem", "next.key", true), present = leaf_by("other.pem", "other.key", true);
	X509 *next = read_certificate("next.pem");

	(void)state;
	assert_ptr_equal(world_generation_of(world, other, buf_bytes(&cert)), other);
	assert_int_equal(X509_cmp(world_signer_of(world, other, buf_bytes(&cert)), next), 0);
	assert_ptr_equal(world_signer_of(world, other, buf_bytes(&present)),
		sk_X509_value(world_ca_of(world, "other")->ops->chain(world_ca_of(world, "other")->ca), 0));
	assert_null(world_generation_of(world, config_ca(world->config, "g1"), buf_bytes(&cert))); /* its next, not g1's */
	X509_free(next);
	buf_free(&cert);
	buf_free(&present);
	world_put(world);
}

static void
octets_that_are_no_certificate_are_nobodys(void **state)
{
	struct world *world = world_of(group_good);
	const struct config_ca *g1 = config_ca(world->config, "g1");
	struct buf cert = leaf_by("issuing.pem", "issuing.key", true);
	size_t i;

	(void)state;
	assert_null(world_generation_of(world, g1, bytes_of(NULL, 0)));
	assert_null(world_signer_of(world, g1, bytes_of_text("no certificate")));
	for (i = 0; i < cert.len; i++)
		assert_null(world_generation_of(world, g1, bytes_of(cert.at, i)));
	cert.at[cert.len - 1] ^= 1; /* in the signature */
	assert_null(world_generation_of(world, g1, buf_bytes(&cert)));
	buf_free(&cert);
	world_put(world);
}

static void
expect_handed_out(const struct world *world, const char *ca, struct buf cert, const char *issuer, const char *root)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	CLEANUP(buf) struct buf out = { 0 };
	struct enroll_result result = { .cert = cert };
	X509 *one = read_certificate(issuer), *two = read_certificate(root);
	struct err e;

	(void)snprintf(result.ca, sizeof result.ca, "%s", ca);
	assert_int_equal(outcome_certs(world, config_label(world->config, "two"), &result, EST_CERTS_MAX, &out, &e), 0);
	assert_int_equal(est_certs_decode(buf_bytes(&out), &certs, &e), 0);
	assert_in_range(sk_X509_num(certs), 2, 3); /* next.pem is handed out without its root, which its file has not */
	assert_int_equal(X509_cmp(sk_X509_value(certs, 1), one), 0);
	if (sk_X509_num(certs) == 3)
		assert_int_equal(X509_cmp(sk_X509_value(certs, 2), two), 0);
	X509_free(one);
	X509_free(two);
	buf_free(&cert);
}

static void
a_certificate_goes_out_with_the_chain_of_the_ca_that_issued_it(void **state)
{
	struct world *world = world_with("	chain = [ \"root3.pem\" ];\n", "	chain = [ \"root3.pem\" ]; next = \"next.pem\";\n");

	(void)state;
	expect_handed_out(world, "g1", leaf_by("issuing.pem", "issuing.key", true), "issuing.pem", "ca.pem");
	expect_handed_out(world, "g2", leaf_by("g2.pem", "g2.key", true), "g2.pem", "root2.pem");
	expect_handed_out(world, "gone", leaf_by("issuing.pem", "issuing.key", true), "g2.pem", "root2.pem");
	expect_handed_out(world, "", leaf_by("g2.pem", "g2.key", true), "g2.pem", "root2.pem");
	expect_handed_out(world, "other", leaf_by("other.pem", "other.key", true), "other.pem", "root3.pem");
	expect_handed_out(world, "other", leaf_by("next.pem", "next.key", true), "next.pem", "root3.pem");
	world_put(world);
}

/* What loading this text writes into the log says that the old root has nobody to vouch for it. */
static bool
warns(const char *text)
{
	CLEANUP(buf) struct buf said = { 0 };
	char path[256], chunk[4096];
	int to, kept;
	ssize_t n;

	path_in(path, "log");
	to = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	kept = dup(STDERR_FILENO);
	assert_true(to >= 0 && kept >= 0 && dup2(to, STDERR_FILENO) >= 0);
	world_put(world_of(text));
	assert_true(dup2(kept, STDERR_FILENO) >= 0);
	assert_int_equal(lseek(to, 0, SEEK_SET), 0);
	while ((n = read(to, chunk, sizeof chunk)) > 0)
		buf_append(&said, chunk, (size_t)n);
	(void)close(kept);
	(void)close(to);
	return strstr(buf_text(&said), "succeeds \\\"g1\\\" with another root") != NULL;
}

static void
expect_warning(const char *cross, bool expected)
{
	size_t line;
	char *text = changed(group_good, "[ \"old-with-new.pem\", \"new-with-old.pem\" ]", cross, &line);

	if (warns(text) != expected)
		fail_msg("%s: %s", cross, expected ? "no warning" : "a warning");
	free(text);
}

/* RFC 7030, section 4.1.3: a device may trust the most recent root alone. */
static void
a_root_that_its_successor_does_not_vouch_for_is_told(void **state)
{
	(void)state;
	make_ca("old-with-third", "Test CA", "ca", "root3"); /* of the group, and not the root that comes */
	expect_warning("[ \"old-with-new.pem\" ]", false);
	expect_warning("[ ]", true);
	expect_warning("[ \"new-with-old.pem\" ]", true);
	expect_warning("[ \"old-with-third.pem\" ]", true);
	expect_warning("[ \"old-with-third.pem\", \"old-with-new.pem\" ]", false);
}

static bool
knows(const struct world *world, const char *label, const char *certificate)
{
	X509 *cert = read_certificate(certificate);
	bool known = world_knows_name(world, config_label(world->config, label), X509_get_subject_name(cert));

	X509_free(cert);
	return known;
}

static void
a_label_knows_the_names_of_its_whole_group(void **state)
{
	struct world *world = world_with("	chain = [ \"root3.pem\" ];\n", "	chain = [ \"root3.pem\" ]; next = \"next.pem\";\n");
	X509 *next = read_certificate("next.pem"), *g1 = read_certificate("issuing.pem");

	(void)state;
	assert_true(knows(world, "", "issuing.pem"));
	assert_true(knows(world, "", "root3.pem"));
	assert_true(knows(world, "two", "other.pem"));
	assert_true(knows(world, "two", "next.pem"));
	assert_false(knows(world, "two", "alone.pem"));
	assert_false(knows(world, "alone", "issuing.pem"));
	assert_true(knows(world, "alone", "root4.pem"));
	assert_true(world_ca_is(world_ca_of(world, "other"), X509_get_subject_name(next)));
	assert_false(world_ca_is(world_ca_of(world, "other"), X509_get_subject_name(g1)));
	assert_true(world_ca_is(world_ca_of(world, "g3"), X509_get_subject_name(g1)));
	X509_free(next);
	X509_free(g1);
	world_put(world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cacerts_has_the_chain_then_what_comes_what_was_the_rest_and_the_cross_certificates),
		cmocka_unit_test(cacerts_of_a_ca_alone_is_its_chain),
		cmocka_unit_test(cacerts_has_the_coming_certificate_of_a_file_as_well),
		cmocka_unit_test(what_comes_next_is_the_successor_or_the_file_with_the_cross_certificates),
		cmocka_unit_test(a_ca_proves_as_much_as_another_of_its_group_and_no_other),
		cmocka_unit_test(cas_without_a_group_have_nothing_in_common),
		cmocka_unit_test(a_certificate_belongs_to_the_generation_whose_key_signed_it),
		cmocka_unit_test(another_service_of_the_group_is_not_a_generation_of_this_one),
		cmocka_unit_test(the_coming_key_of_a_ca_is_that_cas),
		cmocka_unit_test(octets_that_are_no_certificate_are_nobodys),
		cmocka_unit_test(a_certificate_goes_out_with_the_chain_of_the_ca_that_issued_it),
		cmocka_unit_test(a_root_that_its_successor_does_not_vouch_for_is_told),
		cmocka_unit_test(a_label_knows_the_names_of_its_whole_group),
	};

	return cmocka_run_group_tests(tests, make_group_files, remove_files);
}
