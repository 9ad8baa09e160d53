#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/der.h"
#include "policy/identity.h"

/* Certificates in the shape of each vendor, and the rules that an operator writes for them. */

#define OID_HW_MODULE    "1.3.6.1.5.5.7.8.4" /* RFC 4108, section 5 */
#define OID_PERMANENT_ID "1.3.6.1.5.5.7.8.3" /* RFC 4043, section 2 */
#define OID_PRIVATE      "1.3.6.1.4.1.9.21.2.3"
#define END_OF_2099      4102444799
#define NO_END           253402300799 /* "99991231235959Z" */

static EVP_PKEY *key;

static int
setup(void **state)
{
	struct err e;

	(void)state;
	if (ossl_init(&e) != 0)
		return -1;
	key = EVP_EC_gen("P-256");
	return key == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	EVP_PKEY_free(key);
	return 0;
}

/* Names and values of the subject by turns, up to NULL; sans: contents of a GeneralNames, may be empty. Through DER. */
static X509 *
make(const char *const *subject, struct bytes sans, int64_t until_s)
{
	X509 *cert = X509_new(), *again = NULL;
	CLEANUP(buf) struct buf der = { 0 }, names = { 0 };
	struct err e;

	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 0x0a1b2c);
	ASN1_TIME_set(X509_getm_notBefore(cert), 1700000000);
	ASN1_TIME_set(X509_getm_notAfter(cert), until_s);
	for (; subject != NULL && subject[0] != NULL; subject += 2)
		assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), subject[0], MBSTRING_UTF8,
			(const uint8_t *)subject[1], -1, -1, 0), 1);
	X509_set_pubkey(cert, key);
	if (sans.len > 0) {
		ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
		X509_EXTENSION *extension;

		der_put(&names, DER_SEQUENCE, sans);
		assert_int_equal(ASN1_OCTET_STRING_set(value, names.at, (int)names.len), 1);
		extension = X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, 0, value);
		assert_int_equal(X509_add_ext(cert, extension, -1), 1);
		X509_EXTENSION_free(extension);
		ASN1_OCTET_STRING_free(value);
	}
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	assert_int_equal(x509_to_der(cert, &der, &e), 0);
	assert_int_equal(x509_from_der(buf_bytes(&der), &again, &e), 0);
	X509_free(cert);
	return again;
}

static void
put_other(struct buf *sans, const char *oid, struct bytes value)
{
	size_t name = der_begin(sans, DER_CONTEXT_CONS(0)), inner;

	der_put_oid(sans, oid);
	inner = der_begin(sans, DER_CONTEXT_CONS(0));
	buf_append_bytes(sans, value);
	der_end(sans, inner);
	der_end(sans, name);
}

static void
put_hw_module(struct buf *sans, const char *type, struct bytes serial)
{
	CLEANUP(buf) struct buf value = { 0 };
	size_t mark = der_begin(&value, DER_SEQUENCE);

	der_put_oid(&value, type);
	der_put(&value, DER_OCTET_STRING, serial);
	der_end(&value, mark);
	put_other(sans, OID_HW_MODULE, buf_bytes(&value));
}

/* text and assigner may be NULL. */
static void
put_permanent_id(struct buf *sans, const char *text, const char *assigner)
{
	CLEANUP(buf) struct buf value = { 0 };
	size_t mark = der_begin(&value, DER_SEQUENCE);

	if (text != NULL)
		der_put(&value, DER_UTF8_STRING, bytes_of_text(text));
	if (assigner != NULL)
		der_put_oid(&value, assigner);
	der_end(&value, mark);
	put_other(sans, OID_PERMANENT_ID, buf_bytes(&value));
}

/* The rules of the example configuration, as the manual shows them. */
static const struct identity_rule
	cisco = { .name = "cisco-sudi", .trust = "vendor", .field = IDENTITY_SUBJECT_SERIAL,
		.pattern = "PID:[^ ]+ SN:([A-Z0-9]+)", .anchor = ANCHOR_IDEVID_SERIAL },
	aruba = { .name = "aruba-serial", .trust = "vendor", .field = IDENTITY_SUBJECT_CN,
		.pattern = "([A-Z0-9]+)::[0-9A-Fa-f:]{17}", .anchor = ANCHOR_IDEVID_SERIAL },
	subject_serial = { .name = "idevid-serial", .trust = "vendor", .field = IDENTITY_SUBJECT_SERIAL,
		.pattern = "([A-Z0-9-]+)", .anchor = ANCHOR_IDEVID_SERIAL },
	subject_mac = { .name = "mac-in-cn", .trust = "vendor", .field = IDENTITY_SUBJECT_CN,
		.pattern = "([0-9A-Fa-f:-]{12,17})", .anchor = ANCHOR_IDEVID_SERIAL, .fold_case = true },
	hw_module = { .name = "hw-module", .trust = "vendor", .field = IDENTITY_SAN_HW_MODULE,
		.pattern = "(1\\.3\\.6\\.1\\.4\\.1\\.[0-9.]+:[0-9a-f]+)", .anchor = ANCHOR_HW_MODULE },
	hw_serial = { .name = "hw-serial", .trust = "vendor", .field = IDENTITY_SAN_HW_SERIAL,
		.pattern = "([A-Za-z0-9-]+)", .anchor = ANCHOR_IDEVID_SERIAL },
	permanent_id = { .name = "permanent-id", .trust = "vendor", .field = IDENTITY_SAN_PERMANENT_ID,
		.pattern = "(.+)", .anchor = ANCHOR_IDEVID_SERIAL },
	devid_permanent = { .name = "devid", .trust = "vendor", .field = IDENTITY_SAN_PERMANENT_ID,
		.pattern = "([A-Za-z0-9 ]{2,8}:[0-9A-Fa-f]{8,64}:[0-9A-Fa-f]{1,40})", .anchor = ANCHOR_IDEVID_SERIAL },
	devid_module = { .name = "devid-module", .trust = "vendor", .field = IDENTITY_SAN_HW_SERIAL,
		.pattern = "([A-Za-z0-9 ]{2,8}:[0-9A-Fa-f]{8,64}:[0-9A-Fa-f]{1,40})", .anchor = ANCHOR_IDEVID_SERIAL };

/* How many anchors, -1 for a refused certificate. Frees it. */
static int
extract(X509 *cert, const struct identity_rule *rule, struct anchor *out)
{
	struct identity_rules *rules = NULL;
	size_t count = 0;
	struct err e;
	int rc;

	assert_int_equal(identity_rules_new(rule, 1, &rules, &e), 0);
	rc = identity_extract(rules, "vendor", cert, out, 1, &count, &e);
	identity_rules_free(rules);
	X509_free(cert);
	return rc != 0 ? -1 : (int)count;
}

static void
assert_anchor(X509 *cert, const struct identity_rule *rule, const char *value)
{
	struct anchor anchor;

	assert_int_equal(extract(cert, rule, &anchor), 1);
	assert_string_equal(anchor.value, value);
	assert_string_equal(anchor.issuer, "vendor");
	assert_int_equal(anchor.type, rule->anchor);
}

static void
assert_nobody(X509 *cert, const struct identity_rule *rule)
{
	struct anchor anchor;

	assert_int_equal(extract(cert, rule, &anchor), 0);
}

static void
assert_malformed(X509 *cert, const struct identity_rule *rule)
{
	struct anchor anchor;

	assert_int_equal(extract(cert, rule, &anchor), -1);
}

static X509 *
of_subject(const char *field, const char *value)
{
	const char *const subject[] = { field, value, NULL };

	return make(subject, bytes_of(NULL, 0), NO_END);
}

static void
policy_identity_reads_a_cisco_sudi(void **state)
{
	const char *const subject[] = { "serialNumber", "PID:CHIMAY-U-AC SN:FDO27361XTF", "O", "Cisco", "OU", "ACT-2 Lite SUDI",
		"CN", "CHIMAY-U-AC", NULL };
	CLEANUP(buf) struct buf sans = { 0 };

	(void)state;
	/* The chip's number, in a name of Cisco's own, is passed over. */
	put_other(&sans, OID_PRIVATE, bytes_of("\x04\x03\x01\x02\x03", 5));
	assert_anchor(make(subject, buf_bytes(&sans), END_OF_2099), &cisco, "FDO27361XTF");
}

static void
policy_identity_reads_no_cisco_serial_from_another_text(void **state)
{
	static const char *const others[] = { "FDO27361XTF", "PID:CHIMAY-U-AC", "PID:CHIMAY-U-AC SN:", "SN:FDO27361XTF",
		"PID:A SN:FDO1 SN:FDO2", "PID:A B SN:FDO1", "XPID:A SN:FDO1", "PID:A SN:fdo1" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof others / sizeof others[0]; i++)
		assert_nobody(of_subject("serialNumber", others[i]), &cisco);
}

static void
policy_identity_reads_an_aruba_factory_certificate(void **state)
{
	static const char *const others[] = { "BA0003137", "BA0003137::", "::00:1a:1e:00:89:b8", "BA0003137:00:1a:1e:00:89:b8",
		"BA0003137::00:1a:1e:00:89", "BA0003137::00:1a:1e:00:89:b8:01", "BA 0003137::00:1a:1e:00:89:b8" };
	size_t i;

	(void)state;
	/* "<serial number>::<MAC address>" */
	assert_anchor(of_subject("CN", "BA0003137::00:1a:1e:00:89:b8"), &aruba, "BA0003137");
	for (i = 0; i < sizeof others / sizeof others[0]; i++)
		assert_nobody(of_subject("CN", others[i]), &aruba);
}

static void
policy_identity_reads_the_serial_number_of_an_idevid(void **state)
{
	(void)state;
	/* IEEE 802.1AR wants it in the subject, and no end of validity. */
	assert_anchor(of_subject("serialNumber", "USE-1234ABCD"), &subject_serial, "USE-1234ABCD");
	assert_nobody(of_subject("serialNumber", "USE 1234"), &subject_serial);
	assert_nobody(of_subject("CN", "USE-1234ABCD"), &subject_serial);
}

static void
policy_identity_reads_an_address_in_every_spelling(void **state)
{
	(void)state;
	assert_anchor(of_subject("CN", "00:1A:1E:00:89:B8"), &subject_mac, "001a1e0089b8");
	assert_anchor(of_subject("CN", "00-1a-1e-00-89-b8"), &subject_mac, "001a1e0089b8");
	assert_anchor(of_subject("CN", "001A1E0089B8"), &subject_mac, "001a1e0089b8");
	assert_nobody(of_subject("CN", "001A1E0089"), &subject_mac);
}

static void
policy_identity_reads_hardware_module_names_as_octets_and_as_text(void **state)
{
	CLEANUP(buf) struct buf text = { 0 }, binary = { 0 }, foreign = { 0 };

	(void)state;
	put_hw_module(&text, "1.3.6.1.4.1.99999.1", bytes_of_text("SN-0042"));
	assert_anchor(make(NULL, buf_bytes(&text), NO_END), &hw_module, "1.3.6.1.4.1.99999.1:534e2d30303432");
	assert_anchor(make(NULL, buf_bytes(&text), NO_END), &hw_serial, "SN-0042");
	put_hw_module(&binary, "1.3.6.1.4.1.99999.1", bytes_of("\x00\x01\xfe", 3));
	assert_anchor(make(NULL, buf_bytes(&binary), NO_END), &hw_module, "1.3.6.1.4.1.99999.1:0001fe");
	/* Octets that are no text are no serial number that anybody has written into a registry. */
	assert_malformed(make(NULL, buf_bytes(&binary), NO_END), &hw_serial);
	put_hw_module(&foreign, "2.23.133.1.2", bytes_of_text("SN-0042"));
	assert_nobody(make(NULL, buf_bytes(&foreign), NO_END), &hw_module);
}

static void
policy_identity_refuses_two_hardware_modules_in_one_certificate(void **state)
{
	CLEANUP(buf) struct buf sans = { 0 }, empty = { 0 };

	(void)state;
	put_hw_module(&sans, "1.3.6.1.4.1.99999.1", bytes_of_text("SN-0042"));
	put_hw_module(&sans, "1.3.6.1.4.1.99999.1", bytes_of_text("SN-0043"));
	assert_malformed(make(NULL, buf_bytes(&sans), NO_END), &hw_module);
	assert_malformed(make(NULL, buf_bytes(&sans), NO_END), &hw_serial);
	put_hw_module(&empty, "1.3.6.1.4.1.99999.1", bytes_of(NULL, 0));
	assert_malformed(make(NULL, buf_bytes(&empty), NO_END), &hw_module);
	assert_malformed(make(NULL, buf_bytes(&empty), NO_END), &hw_serial);
}

static void
policy_identity_reads_permanent_identifiers(void **state)
{
	const char *const subject[] = { "serialNumber", "SN-7", NULL };
	CLEANUP(buf) struct buf with = { 0 }, without = { 0 };

	(void)state;
	put_permanent_id(&with, "device-42", "1.3.6.1.4.1.99999.2");
	assert_anchor(make(subject, buf_bytes(&with), NO_END), &permanent_id, "device-42");
	/* RFC 4043, section 2: without a value, the subject's serial number is it. */
	put_permanent_id(&without, NULL, "1.3.6.1.4.1.99999.2");
	assert_anchor(make(subject, buf_bytes(&without), NO_END), &permanent_id, "SN-7");
	assert_nobody(make(NULL, buf_bytes(&without), NO_END), &permanent_id);
	put_permanent_id(&with, "device-43", "1.3.6.1.4.1.99999.3");
	assert_malformed(make(subject, buf_bytes(&with), NO_END), &permanent_id);
}

/* The TPM's maker, the EK certificate's authority key identifier and its serial number. */
static void
policy_identity_reads_a_tpm_devid(void **state)
{
	static const char id[] = "INTC:4dbd92bd6e6e9a0c2f3f0d2b8f6c7a1e9d8c7b6a:0a1b2c3d4e5f";
	static const char *const others[] = { "INTC:4dbd92bd", "INTC::0a1b", ":4dbd92bd6e6e:0a1b", "INTC:4dbd92bd6e6e:",
		"INTC:4dbd92bd6e6e:0a1b:00", "INTC:4dbd92bd6e6g:0a1b" };
	CLEANUP(buf) struct buf permanent = { 0 }, module = { 0 };
	size_t i;

	(void)state;
	put_permanent_id(&permanent, id, "2.23.133.12.1");
	assert_anchor(make(NULL, buf_bytes(&permanent), NO_END), &devid_permanent, id);
	put_hw_module(&module, "2.23.133.1.2", bytes_of_text(id));
	assert_anchor(make(NULL, buf_bytes(&module), NO_END), &devid_module, id);
	for (i = 0; i < sizeof others / sizeof others[0]; i++) {
		CLEANUP(buf) struct buf sans = { 0 };

		put_permanent_id(&sans, others[i], "2.23.133.12.1");
		assert_nobody(make(NULL, buf_bytes(&sans), NO_END), &devid_permanent);
	}
}

/* A maker's certificate that says two things in one field says nothing. */
static void
policy_identity_refuses_two_serial_numbers_in_a_subject(void **state)
{
	const char *const subject[] = { "serialNumber", "PID:A SN:FDO1", "serialNumber", "PID:A SN:FDO2", NULL };

	(void)state;
	assert_malformed(make(subject, bytes_of(NULL, 0), NO_END), &cisco);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_identity_reads_a_cisco_sudi),
		cmocka_unit_test(policy_identity_reads_no_cisco_serial_from_another_text),
		cmocka_unit_test(policy_identity_reads_an_aruba_factory_certificate),
		cmocka_unit_test(policy_identity_reads_the_serial_number_of_an_idevid),
		cmocka_unit_test(policy_identity_reads_an_address_in_every_spelling),
		cmocka_unit_test(policy_identity_reads_hardware_module_names_as_octets_and_as_text),
		cmocka_unit_test(policy_identity_refuses_two_hardware_modules_in_one_certificate),
		cmocka_unit_test(policy_identity_reads_permanent_identifiers),
		cmocka_unit_test(policy_identity_reads_a_tpm_devid),
		cmocka_unit_test(policy_identity_refuses_two_serial_numbers_in_a_subject),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
