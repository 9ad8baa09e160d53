/* What a world holds for SCEP: registration authorities, and the answers that are the same for everybody. */
#define _GNU_SOURCE
#include "tests/unit/core_scep_fixture.h"

#include "est/body.h"
#include "gateway/core/world.h"
#include "scep/build.h"

static struct world *
world_of(const char *text)
{
	struct world *world = NULL;
	struct err e;

	if (world_load(load_good(text), &world, &e) != 0)
		fail_msg("%s", e.text);
	return world;
}

/* text with one thing changed, as a world. */
static struct world *
world_with(const char *find, const char *replace)
{
	size_t line;
	char *text = changed(scep_good, find, replace, &line);
	struct world *world = world_of(text);

	free(text);
	return world;
}

static const struct world_scep *
scep_of(const struct world *world, const char *label)
{
	return world_scep_of(world, config_label(world->config, label));
}

/* These certificates, in this order, and no others. */
static void
expect_bundle(const struct buf *der, const char *const *names, int count)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	struct err e;
	int i;

	assert_int_equal(est_certs_decode(buf_bytes(der), &certs, &e), 0);
	assert_int_equal(sk_X509_num(certs), count);
	for (i = 0; i < count; i++) {
		X509 *cert = read_certificate(names[i]);

		assert_int_equal(X509_cmp(sk_X509_value(certs, i), cert), 0);
		X509_free(cert);
	}
}

/* Whether one of the capabilities' lines is this; each ends in LF. */
static bool
says(const struct world_scep *scep, const char *line)
{
	char text[256] = "\n", wanted[64];

	assert_in_range(scep->caps.len, 1, sizeof text - 2);
	memcpy(text + 1, scep->caps.at, scep->caps.len);
	text[1 + scep->caps.len] = '\0';
	(void)snprintf(wanted, sizeof wanted, "\n%s\n", line);
	return strstr(text, wanted) != NULL;
}

static void
world_holds_an_ra_with_every_key_that_decrypts(void **state)
{
	struct world *world = world_of(scep_good);
	const struct world_ra *one = world_ra_of(world, "one"), *two = world_ra_of(world, "two");
	X509 *old = read_certificate("old.pem");

	(void)state;
	assert_null(world_ra_of(world, "three"));
	assert_null(world_ra_of(world, ""));
	assert_int_equal(one->recipient_count, 2);
	assert_ptr_equal(one->decrypt_cert, one->cert);
	assert_ptr_equal(one->recipients[0].cert, one->cert);
	assert_int_equal(X509_cmp(one->recipients[1].cert, old), 0);
	assert_int_equal(X509_check_private_key(one->recipients[1].cert, one->recipients[1].key), 1);
	assert_int_equal(X509_check_private_key(one->cert, one->key), 1);
	assert_int_equal(two->recipient_count, 1); /* its signing certificate forbids encryption */
	assert_ptr_equal(two->recipients[0].cert, two->decrypt_cert);
	assert_int_not_equal(X509_cmp(two->cert, two->decrypt_cert), 0);
	assert_int_equal(X509_check_private_key(two->decrypt_cert, two->recipients[0].key), 1);
	X509_free(old);
	world_put(world);
}

/* Clients that are given two certificates may encrypt to either, unless one forbids it. */
static void
world_decrypts_with_a_signing_certificate_that_allows_it(void **state)
{
	struct world *world = world_with("	certificate = \"sign.pem\";\n	key = \"sign.key\";",
		"	certificate = \"ra.pem\"; key = \"ra.key\";");
	const struct world_ra *two = world_ra_of(world, "two");

	(void)state;
	assert_int_equal(two->recipient_count, 2);
	assert_ptr_equal(two->recipients[0].cert, two->decrypt_cert);
	assert_ptr_equal(two->recipients[1].cert, two->cert);
	world_put(world);
}

static void
world_answers_get_ca_cert_with_the_ra_and_its_chain(void **state)
{
	static const char *const one[] = { "ra.pem", "issuing.pem", "ca.pem" };
	static const char *const two[] = { "sign.pem", "decrypt.pem", "issuing.pem", "ca.pem" };
	struct world *world = world_of(scep_good);
	const struct world_scep *single = scep_of(world, "cisco");
	X509 *cert = NULL, *ra = read_certificate("ra.pem");
	struct err e;

	(void)state;
	assert_true(scep_of(world, "")->ca_cert_bundle);
	expect_bundle(&scep_of(world, "")->ca_cert, one, 3);
	expect_bundle(&scep_of(world, "managed")->ca_cert, two, 4);
	assert_false(single->ca_cert_bundle);
	assert_int_equal(x509_from_der(buf_bytes(&single->ca_cert), &cert, &e), 0);
	assert_int_equal(X509_cmp(cert, ra), 0);
	X509_free(cert);
	X509_free(ra);
	world_put(world);
}

static void
world_says_what_a_label_takes_and_no_more(void **state)
{
	struct world *world = world_of(scep_good);
	const struct world_scep *first = scep_of(world, ""), *managed = scep_of(world, "managed");

	(void)state;
	assert_true(says(first, "AES"));
	assert_true(says(first, "DES3"));
	assert_false(says(first, "SHA-1"));
	assert_true(says(first, "Renewal"));
	assert_true(says(first, "GetNextCACert"));
	assert_false(says(managed, "DES3"));
	assert_false(says(managed, "Renewal")); /* its operations have no renew */
	assert_true(says(scep_of(world, "cisco"), "SHA-1"));
	world_put(world);
	world = world_with("	next = \"next.pem\";", "");
	assert_false(says(scep_of(world, ""), "GetNextCACert"));
	assert_true(says(scep_of(world, ""), "Renewal"));
	world_put(world);
}

static void
world_signs_the_next_ca_certificate_by_the_ra(void **state)
{
	static const char *const next[] = { "next.pem" };
	struct world *world = world_of(scep_good);
	CLEANUP(buf) struct buf certs = { 0 };
	X509 *signer = NULL;
	struct err e;

	(void)state;
	assert_int_equal(scep_next_open(buf_bytes(&scep_of(world, "managed")->next), &certs, &signer, &e), 0);
	assert_int_equal(X509_cmp(signer, world_ra_of(world, "two")->cert), 0);
	expect_bundle(&certs, next, 1);
	X509_free(signer);
	world_put(world);
	world = world_with("	next = \"next.pem\";", "");
	assert_int_equal(scep_of(world, "")->next.len, 0);
	world_put(world);
}

static void
world_has_nothing_for_labels_without_scep(void **state)
{
	struct world *world = world_of(scep_good);
	const struct world_scep *lab = scep_of(world, "lab");

	(void)state;
	assert_int_equal(lab->caps.len + lab->ca_cert.len + lab->next.len, 0);
	world_put(world);
	world = world_of(good);
	assert_null(world_ra_of(world, ""));
	assert_null(world_mdm_of(world, ""));
	assert_int_equal(scep_of(world, "")->caps.len, 0);
	world_put(world);
}

static void
world_opens_the_mdms(void **state)
{
	struct world *world = world_of(scep_good);

	(void)state;
	assert_ptr_equal(world_mdm_of(world, "jamf"), &world->mdms[0]);
	assert_non_null(world->mdms[0].mdm);
	assert_string_equal(world->mdms[0].ops->type, "webhook");
	assert_null(world_mdm_of(world, "acme"));
	world_put(world);
}

/* A reload with a new RA certificate: whoever still holds the old world answers with the old one. */
static void
world_rolls_an_ra_over_while_the_old_one_is_in_use(void **state)
{
	static const char rolled[] = "	certificate = \"new.pem\"; key = \"new.key\";\n"
				     "	previous_certificates = [ \"ra.pem\", \"old.pem\" ];\n"
				     "	previous_keys = [ \"ra.key\", \"old.key\" ];\n";
	struct world *before = world_of(scep_good), *after, *held;
	X509 *ra = read_certificate("ra.pem"), *fresh;

	(void)state;
	make_ra("new", EVP_RSA_gen(2048), "issuing", BOTH_USES, 86400);
	fresh = read_certificate("new.pem");
	world_swap(before);
	held = world_get();
	after = world_with("	certificate = \"ra.pem\";\n	key = \"ra.key\";\n"
			   "	previous_certificates = [ \"old.pem\" ];\n"
			   "	previous_keys = [ \"file:old.key\" ];\n", rolled);
	world_swap(after);
	assert_int_equal(X509_cmp(world_ra_of(held, "one")->cert, ra), 0);
	world_put(held);
	held = world_get();
	assert_int_equal(X509_cmp(world_ra_of(held, "one")->cert, fresh), 0);
	assert_int_equal(world_ra_of(held, "one")->recipient_count, 3);
	assert_int_equal(X509_cmp(world_ra_of(held, "one")->recipients[1].cert, ra), 0);
	world_put(held);
	world_swap(NULL);
	X509_free(ra);
	X509_free(fresh);
}

/* Between the check and the load a file may have gone. */
static void
world_says_which_ra_could_not_be_loaded(void **state)
{
	struct config *config = load_good(scep_good);
	struct world *world = NULL;
	struct err e;

	(void)state;
	(void)snprintf(config->ras[1].decrypt_key, sizeof config->ras[1].decrypt_key, "%s", config->ras[0].key);
	assert_int_equal(world_load(config, &world, &e), -1);
	assert_null(world);
	assert_non_null(strstr(e.text, "RA \"two\""));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(world_holds_an_ra_with_every_key_that_decrypts),
		cmocka_unit_test(world_decrypts_with_a_signing_certificate_that_allows_it),
		cmocka_unit_test(world_answers_get_ca_cert_with_the_ra_and_its_chain),
		cmocka_unit_test(world_says_what_a_label_takes_and_no_more),
		cmocka_unit_test(world_signs_the_next_ca_certificate_by_the_ra),
		cmocka_unit_test(world_has_nothing_for_labels_without_scep),
		cmocka_unit_test(world_opens_the_mdms),
		cmocka_unit_test(world_rolls_an_ra_over_while_the_old_one_is_in_use),
		cmocka_unit_test(world_says_which_ra_could_not_be_loaded),
	};

	return cmocka_run_group_tests(tests, make_scep_files, remove_files);
}
