/* RA certificates and keys, and the others files of SCEP, as --check judges them. */
#define _GNU_SOURCE
#include "tests/unit/core_scep_fixture.h"

/* The first RA of the good text, with other files. */
static void
expect_ra(const char *name, const char *message)
{
	char replace[160];

	(void)snprintf(replace, sizeof replace, "	certificate = \"%s.pem\"; key = \"%s.key\";", name, name);
	expect_scep("	certificate = \"ra.pem\";\n	key = \"ra.key\";", replace, message);
}

static void
config_reports_ra_files_that_cannot_be_used(void **state)
{
	(void)state;
	expect_scep_path("certificate = \"ra.pem\"", "certificate = \"gone.pem\"",
		"ras \"one\": certificate: DIR/gone.pem: No such file or directory");
	expect_scep_path("	key = \"ra.key\"", "	key = \"sign.key\"",
		"ras \"one\": key: this is not the key of the certificate in DIR/ra.pem");
	expect_scep_path("decrypt_key = \"decrypt.key\"", "decrypt_key = \"ra.key\"",
		"ras \"two\": decrypt_key: this is not the key of the certificate in DIR/decrypt.pem");
	expect_scep_path("\"file:old.key\"", "\"ra.key\"",
		"ras \"one\": previous_keys: this is not the key of the certificate in DIR/old.pem");
}

static void
config_reports_a_certificate_without_its_key(void **state)
{
	(void)state;
	expect_scep("	decrypt_certificate = \"decrypt.pem\";\n	decrypt_key = \"decrypt.key\";\n",
		"	decrypt_certificate = \"decrypt.pem\";\n",
		"ras \"two\": decrypt_certificate: it needs its key: set decrypt_key");
	expect_scep("	previous_keys = [ \"file:old.key\" ];", "	previous_keys = [ ];",
		"ras \"one\": previous_keys: there are 0 for the 1 of previous_certificates; each needs its own, in the same "
		"order");
}

static void
config_reports_a_key_without_its_certificate(void **state)
{
	struct problems problems;
	size_t line;
	char *text = changed(scep_good, "	decrypt_certificate = \"decrypt.pem\";\n", "", &line);

	(void)state;
	assert_null(load(text, &problems));
	assert_non_null(strstr(buf_text(&problems.text), "ras \"two\": decrypt_key: it needs its certificate: set "
		"decrypt_certificate"));
	buf_free(&problems.text);
	free(text);
}

static EVP_PKEY *
pss_key(void)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_RSA_PSS, NULL);
	EVP_PKEY *key = NULL;

	assert_non_null(ctx);
	assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048), 1);
	assert_int_equal(EVP_PKEY_keygen(ctx, &key), 1);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static void
config_reports_ra_keys_that_scep_cannot_use(void **state)
{
	(void)state;
	make_ra("ec", EVP_EC_gen("P-256"), "issuing", "digitalSignature,keyEncipherment", 86400);
	make_ra("short", EVP_RSA_gen(1024), "issuing", BOTH_USES, 86400);
	make_ra("pss", pss_key(), "issuing", BOTH_USES, 86400);
	expect_ra("ec", "ras \"one\": certificate: its key is EC P-256; an RA needs RSA of 2048 bits or more");
	/* It signs, but nothing can be encrypted to it. */
	expect_ra("pss", "ras \"one\": certificate: its key is of another kind; an RA needs RSA of 2048 bits or more");
	expect_ra("short", "ras \"one\": certificate: its key is RSA-1024; an RA needs RSA of 2048 bits or more");
}

static void
config_reports_key_usages_that_an_ra_lacks(void **state)
{
	(void)state;
	make_ra("none", EVP_RSA_gen(2048), "issuing", "critical,dataEncipherment", 86400);
	make_ra("any", EVP_RSA_gen(2048), "issuing", NULL, 86400);
	expect_ra("sign", "ras \"one\": certificate: its keyUsage lacks keyEncipherment");
	expect_ra("decrypt", "ras \"one\": certificate: its keyUsage lacks digitalSignature");
	expect_ra("none", "ras \"one\": certificate: its keyUsage lacks digitalSignature and keyEncipherment");
	expect_scep("decrypt_certificate = \"decrypt.pem\";\n	decrypt_key = \"decrypt.key\";",
		"decrypt_certificate = \"sign.pem\"; decrypt_key = \"sign.key\";",
		"ras \"two\": decrypt_certificate: its keyUsage lacks keyEncipherment");
	expect_scep("[ \"old.pem\" ];\n	previous_keys = [ \"file:old.key\" ];",
		"[ \"sign.pem\" ]; previous_keys = [ \"sign.key\" ];",
		"ras \"one\": previous_certificates: its keyUsage lacks keyEncipherment");
}

/* RFC 5280, section 4.2.1.3: without the extension a key is not restricted. */
static void
config_takes_an_ra_without_key_usage(void **state)
{
	size_t line;
	char *text = changed(scep_good, "	certificate = \"ra.pem\";\n	key = \"ra.key\";",
		"	certificate = \"any.pem\"; key = \"any.key\";", &line);

	(void)state;
	make_ra("any", EVP_RSA_gen(2048), "issuing", NULL, 86400);
	config_free(load_good(text));
	free(text);
}

/* The key of a CA is never lent to the RA, whatever certificate it stands in. */
static void
config_reports_an_ra_with_the_key_of_a_ca(void **state)
{
	static const char own[] = "give the RA a key of its own";
	EVP_PKEY *key = EVP_RSA_gen(2048);
	struct problems problems;
	size_t line;
	char *text, *both;

	(void)state;
	assert_int_equal(EVP_PKEY_up_ref(key), 1);
	make_ra("lent", key, "issuing", BOTH_USES, 86400);
	make_ra("caown", key, NULL, "critical,digitalSignature,keyEncipherment,keyCertSign", 86400);
	expect_ra("caown", "ras \"one\": certificate: this is a CA's certificate; give the RA one of its own");
	text = changed(scep_good, "certificate = \"ra.pem\";\n	key = \"ra.key\";",
		"certificate = \"lent.pem\"; key = \"lent.key\";", &line);
	both = changed(text, "next = \"next.pem\"", "next = \"caown.pem\"", &line);
	assert_null(load(both, &problems));
	assert_non_null(strstr(buf_text(&problems.text), "ras \"one\": key: this is a key of CA \"devices\""));
	assert_non_null(strstr(buf_text(&problems.text), own));
	buf_free(&problems.text);
	free(both);
	both = changed(text, "chain = [ \"ca.pem\" ]", "chain = [ \"caown.pem\" ]", &line);
	assert_null(load(both, &problems));
	assert_non_null(strstr(buf_text(&problems.text), own));
	buf_free(&problems.text);
	free(both);
	free(text);
}

static void
config_takes_an_ra_that_has_expired_for_other_protocols_go_on(void **state)
{
	struct problems problems;
	size_t line;
	char *text = changed(scep_good, "	certificate = \"ra.pem\";\n	key = \"ra.key\";",
		"	certificate = \"stale.pem\"; key = \"stale.key\";", &line);

	(void)state;
	make_ra("stale", EVP_RSA_gen(2048), "issuing", BOTH_USES, -60);
	config_free(load(text, &problems));
	assert_int_equal(problems.count, 0);
	buf_free(&problems.text);
	free(text);
}

/* Apple: "all certificates must chain to one top". */
static void
config_reports_an_ra_that_the_labels_ca_did_not_issue(void **state)
{
	static const char message[] = "was not issued by CA \"devices\" nor by one of its chain";
	struct problems problems;
	size_t line;
	char *text;

	(void)state;
	make_ra("foreign", EVP_RSA_gen(2048), NULL, BOTH_USES, 86400);
	text = changed(scep_good, "	certificate = \"ra.pem\";\n	key = \"ra.key\";",
		"	certificate = \"foreign.pem\"; key = \"foreign.key\";", &line);
	assert_null(load(text, &problems));
	assert_int_equal(problems.count, 2); /* two labels use it */
	assert_non_null(strstr(buf_text(&problems.text), "labels \"\": scep_ra: the certificate of \"one\""));
	assert_non_null(strstr(buf_text(&problems.text), message));
	buf_free(&problems.text);
	free(text);
	text = changed(scep_good, "decrypt_certificate = \"decrypt.pem\";\n	decrypt_key = \"decrypt.key\"",
		"decrypt_certificate = \"foreign.pem\"; decrypt_key = \"foreign.key\"", &line);
	assert_null(load(text, &problems));
	assert_int_equal(problems.count, 1);
	assert_non_null(strstr(buf_text(&problems.text), "labels \"managed\": scep_ra: the certificate of \"two\""));
	buf_free(&problems.text);
	free(text);
}

/* A certificate that is signed by somebody of the issuing CA's name, but not by its key. */
static void
config_is_not_deceived_by_a_name(void **state)
{
	struct problems problems;
	size_t line;
	char *text = changed(scep_good, "	certificate = \"ra.pem\";\n	key = \"ra.key\";",
		"	certificate = \"posing.pem\"; key = \"posing.key\";", &line);
	X509 *issuing = read_certificate("issuing.pem"), *cert;
	EVP_PKEY *other = EVP_EC_gen("P-256");

	(void)state;
	make_ra("posing", EVP_RSA_gen(2048), "issuing", BOTH_USES, 86400);
	cert = read_certificate("posing.pem");
	assert_true(X509_sign(cert, other, EVP_sha256()) > 0);
	write_certificate("posing.pem", cert);
	assert_null(load(text, &problems));
	assert_int_equal(problems.count, 2);
	buf_free(&problems.text);
	free(text);
	X509_free(issuing);
	X509_free(cert);
	EVP_PKEY_free(other);
}

static void
config_reports_a_single_certificate_of_an_ra_that_has_two(void **state)
{
	(void)state;
	expect_scep("	scep_ra = \"two\";", "	scep_ra_bundle = false; scep_ra = \"two\";",
		"labels \"managed\": scep_ra_bundle: RA \"two\" has two certificates, which only a bundle holds: set it "
		"true, or use another RA");
}

static void
config_reports_a_next_certificate_that_is_none(void **state)
{
	(void)state;
	expect_scep_path("next = \"next.pem\"", "next = \"gone.pem\"",
		"cas \"devices\": next: DIR/gone.pem: No such file or directory");
	expect_scep_path("next = \"next.pem\"", "next = \"server.pem\"", "cas \"devices\": next: DIR/server.pem: its first "
		"certificate is not a CA's (basicConstraints CA:TRUE)");
	expect_scep("next = \"next.pem\"", "next = \"issuing.pem\"",
		"cas \"devices\": next: this is the present certificate: name the one that follows it");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_reports_ra_files_that_cannot_be_used),
		cmocka_unit_test(config_reports_a_certificate_without_its_key),
		cmocka_unit_test(config_reports_a_key_without_its_certificate),
		cmocka_unit_test(config_reports_ra_keys_that_scep_cannot_use),
		cmocka_unit_test(config_reports_key_usages_that_an_ra_lacks),
		cmocka_unit_test(config_takes_an_ra_without_key_usage),
		cmocka_unit_test(config_reports_an_ra_with_the_key_of_a_ca),
		cmocka_unit_test(config_takes_an_ra_that_has_expired_for_other_protocols_go_on),
		cmocka_unit_test(config_reports_an_ra_that_the_labels_ca_did_not_issue),
		cmocka_unit_test(config_is_not_deceived_by_a_name),
		cmocka_unit_test(config_reports_a_single_certificate_of_an_ra_that_has_two),
		cmocka_unit_test(config_reports_a_next_certificate_that_is_none),
	};

	return cmocka_run_group_tests(tests, make_scep_files, remove_files);
}
