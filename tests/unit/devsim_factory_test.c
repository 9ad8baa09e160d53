#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devsim/client.h"
#include "devsim/factory.h"

#define NOW_S 1800000000

static char folder[64];

static int
make_folder(void **state)
{
	struct err e;

	(void)state;
	(void)snprintf(folder, sizeof folder, "%s", "/tmp/devsim-factory-XXXXXX");
	return mkdtemp(folder) == NULL ? -1 : ossl_init(&e);
}

static int
remove_folder(void **state)
{
	static const char *const names[] = { "manufacturer/root.pem", "manufacturer/root.key", "manufacturer/issuing.pem",
		"manufacturer/issuing.key", "manufacturer", "" };
	char path[128];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof names / sizeof names[0]; i++) {
		(void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
		(void)remove(path);
	}
	return 0;
}

static void
factory_ca_auto(struct factory_ca *ca)
{
	factory_ca_close(ca);
}

static void
factory_devices_chain_to_the_root_and_say_who_they_are(void **state)
{
	struct factory_device device = { "acme", "X100", "SN00000007", NOW_S - 86400, FACTORY_FOREVER_S, true };
	CLEANUP(factory_ca) struct factory_ca ca = { 0 };
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	CLEANUP(X509) X509 *cert = NULL;
	CLEANUP(x509_stack) STACK_OF(X509) *chain = sk_X509_new_null();
	CLEANUP(x509_stack) STACK_OF(X509) *roots = sk_X509_new_null();
	int64_t before_s, after_s;
	struct key_spec spec;
	struct err e = { 0 };
	char text[160];

	(void)state;
	assert_int_equal(factory_ca_open(folder, "acme", NOW_S, &ca, &e), 0);
	assert_int_equal(key_spec_parse("ec:P-256", &spec, &e), 0);
	assert_int_equal(key_make(&spec, &key, &e), 0);
	assert_int_equal(factory_issue(&ca, &device, key, &cert, &e), 0);
	x509_name_text(X509_get_subject_name(cert), text, sizeof text);
	assert_string_equal(text, "serialNumber=PID:X100 SN:SN00000007,CN=X100-SN00000007,O=acme");
	assert_int_equal(x509_validity(cert, &before_s, &after_s, &e), 0);
	assert_int_equal(before_s, NOW_S - 86400);
	assert_int_equal(after_s, FACTORY_FOREVER_S);
	assert_int_equal(X509_check_ca(cert), 0);
	assert_true((X509_get_key_usage(cert) & KU_DIGITAL_SIGNATURE) != 0);
	assert_true(X509_get_ext_by_NID(cert, NID_subject_alt_name, -1) >= 0);
	assert_int_equal(X509_verify(cert, ca.issuing_key), 1);
	assert_int_equal(X509_verify(ca.issuing, X509_get0_pubkey(ca.root)), 1);
	assert_true(X509_up_ref(ca.issuing) == 1 && sk_X509_push(chain, ca.issuing) == 1);
	assert_true(X509_up_ref(ca.root) == 1 && sk_X509_push(roots, ca.root) == 1);
	assert_int_equal(X509_check_issued(ca.issuing, cert), X509_V_OK);
	assert_int_equal(X509_check_issued(ca.root, ca.issuing), X509_V_OK);
}

static void
factory_keeps_its_ca_and_its_keys_secret(void **state)
{
	CLEANUP(factory_ca) struct factory_ca first = { 0 };
	CLEANUP(factory_ca) struct factory_ca second = { 0 };
	struct err e = { 0 };
	char path[128];
	struct stat st;

	(void)state;
	assert_int_equal(factory_ca_open(folder, "acme", NOW_S, &first, &e), 0);
	assert_int_equal(factory_ca_open(folder, "acme", NOW_S, &second, &e), 0);
	assert_int_equal(X509_cmp(first.root, second.root), 0);
	assert_int_equal(EVP_PKEY_eq(first.issuing_key, second.issuing_key), 1);
	(void)snprintf(path, sizeof path, "%s/manufacturer/root.key", folder);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void
factory_refuses_another_manufacturer_in_its_folder(void **state)
{
	CLEANUP(factory_ca) struct factory_ca first = { 0 };
	CLEANUP(factory_ca) struct factory_ca other = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(factory_ca_open(folder, "acme", NOW_S, &first, &e), 0);
	assert_int_equal(factory_ca_open(folder, "other", NOW_S, &other, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	assert_null(other.root);
}

static void
factory_reads_the_number_of_a_row(void **state)
{
	(void)state;
	assert_int_equal(factory_row_number(bytes_of_text("acme-SN00000042,fleet,acme"), "acme", "SN"), 42);
	assert_int_equal(factory_row_number(bytes_of_text("acme-SN00000042,fleet"), "acme", "S"), 0);
	assert_int_equal(factory_row_number(bytes_of_text("acme-SN00000042,fleet"), "acm", "SN"), 0);
	assert_int_equal(factory_row_number(bytes_of_text("acme-SN42x,fleet"), "acme", "SN"), 0);
	assert_int_equal(factory_row_number(bytes_of_text("acme-SN42"), "acme", "SN"), 0);
	assert_int_equal(factory_row_number(bytes_of_text("tag,owner"), "acme", "SN"), 0);
	assert_int_equal(factory_row_number(bytes_of_text(""), "acme", "SN"), 0);
}

static void
factory_quotes_csv_fields_that_need_it(void **state)
{
	CLEANUP(buf) struct buf out = { 0 };

	(void)state;
	factory_csv_field(&out, "plain");
	buf_append_u8(&out, '|');
	factory_csv_field(&out, "a, \"b\"");
	assert_string_equal(buf_text(&out), "plain|\"a, \"\"b\"\"\"");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(factory_devices_chain_to_the_root_and_say_who_they_are, make_folder,
			remove_folder),
		cmocka_unit_test_setup_teardown(factory_keeps_its_ca_and_its_keys_secret, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(factory_refuses_another_manufacturer_in_its_folder, make_folder,
			remove_folder),
		cmocka_unit_test(factory_reads_the_number_of_a_row),
		cmocka_unit_test(factory_quotes_csv_fields_that_need_it),
	};

	return cmocka_run_group_tests_name("devsim/factory", tests, NULL, NULL);
}
