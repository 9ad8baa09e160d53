#include "devsim/factory.h"

#include <stdlib.h>
#include <string.h>

#include "base/der.h"
#include "devsim/files.h"

#define YEAR_S          ((int64_t)365 * 86400)
#define CA_BEFORE_S     (10 * YEAR_S) /* so that expired devices were issued by a CA that existed */
#define CA_AFTER_S      (40 * YEAR_S)
#define SERIAL_OCTETS   16
#define OID_HW_MODULE   "1.3.6.1.5.5.7.8.4"   /* id-on-hardwareModuleName */
#define OID_HW_TYPE     "1.3.6.1.4.1.32473.1" /* the enterprise number for examples (RFC 5612) */

struct extension {
	int nid;
	const char *value; /* as in openssl.cnf */
};

static int
add_extensions(X509 *cert, X509 *issuer, const struct extension *extensions, struct err *e)
{
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	X509V3_set_ctx_nodb(&ctx);
	for (; extensions->value != NULL; extensions++) {
		X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, extensions->nid, extensions->value);
		int rc = extension == NULL ? 0 : X509_add_ext(cert, extension, -1);

		X509_EXTENSION_free(extension);
		if (rc != 1)
			return err_ossl(e, ERR_BUG, extensions->value);
	}
	return 0;
}

static int
set_serial(X509 *cert, struct err *e)
{
	uint8_t octets[SERIAL_OCTETS];
	BIGNUM *number;
	int rc;

	if (random_octets(octets, sizeof octets, e) != 0)
		return -1;
	/* Positive, and always of the same length (RFC 5280, section 4.1.2.2). */
	octets[0] = (uint8_t)((octets[0] & 0x7f) | 0x40);
	number = BN_bin2bn(octets, sizeof octets, NULL);
	rc = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
	BN_free(number);
	return rc ? 0 : err_ossl(e, ERR_NOMEM, "serial number");
}

static int
set_time(ASN1_TIME *to, int64_t at_s)
{
	return ASN1_TIME_set_string_X509(to, "99991231235959Z") == 1 &&
		(at_s >= FACTORY_FOREVER_S || ASN1_TIME_set(to, (time_t)at_s) != NULL);
}

static int
add_name(X509_NAME *name, const char *type, const char *value)
{
	return X509_NAME_add_entry_by_txt(name, type, MBSTRING_UTF8, (const uint8_t *)value, -1, -1, 0);
}

/* Everything but subject and extensions. */
static X509 *
begin_cert(const X509_NAME *issuer, EVP_PKEY *key, int64_t not_before_s, int64_t not_after_s, struct err *e)
{
	CLEANUP(X509) X509 *cert = X509_new();
	X509 *out;

	if (cert == NULL || X509_set_version(cert, X509_VERSION_3) != 1 || X509_set_pubkey(cert, key) != 1 ||
	    !set_time(X509_getm_notBefore(cert), not_before_s) || !set_time(X509_getm_notAfter(cert), not_after_s) ||
	    (issuer != NULL && X509_set_issuer_name(cert, issuer) != 1)) {
		(void)err_ossl(e, ERR_BUG, "certificate");
		return NULL;
	}
	if (set_serial(cert, e) != 0)
		return NULL;
	out = cert;
	cert = NULL;
	return out;
}

static int
make_ca(const char *manufacturer, const char *role, X509 *issuer, EVP_PKEY *issuer_key, int64_t now_s,
	EVP_PKEY *key, X509 **out, struct err *e)
{
	static const struct extension root[] = { { NID_basic_constraints, "critical,CA:TRUE" },
		{ NID_key_usage, "critical,keyCertSign,cRLSign" }, { NID_subject_key_identifier, "hash" }, { 0, NULL } };
	static const struct extension issuing[] = { { NID_basic_constraints, "critical,CA:TRUE,pathlen:0" },
		{ NID_key_usage, "critical,keyCertSign,cRLSign" }, { NID_subject_key_identifier, "hash" },
		{ NID_authority_key_identifier, "keyid:always" }, { 0, NULL } };
	CLEANUP(X509) X509 *cert = begin_cert(issuer == NULL ? NULL : X509_get_subject_name(issuer), key,
		now_s - CA_BEFORE_S, now_s + CA_AFTER_S, e);
	char common_name[160];

	if (cert == NULL)
		return -1;
	(void)snprintf(common_name, sizeof common_name, "%s Device %s", manufacturer, role);
	if (add_name(X509_get_subject_name(cert), "O", manufacturer) != 1 ||
	    add_name(X509_get_subject_name(cert), "CN", common_name) != 1 ||
	    (issuer == NULL && X509_set_issuer_name(cert, X509_get_subject_name(cert)) != 1))
		return err_ossl(e, ERR_MALFORMED, "manufacturer's name");
	if (add_extensions(cert, issuer == NULL ? cert : issuer, issuer == NULL ? root : issuing, e) != 0)
		return -1;
	if (X509_sign(cert, issuer_key, ossl_sha256()) <= 0)
		return err_ossl(e, ERR_BUG, "signing a CA certificate");
	*out = cert;
	cert = NULL;
	return 0;
}

static int
cert_pem(const X509 *cert, struct buf *out, struct err *e)
{
	CLEANUP(buf) struct buf der = { 0 };

	if (x509_to_der(cert, &der, e) != 0)
		return -1;
	pem_encode(out, "CERTIFICATE", buf_bytes(&der));
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "certificate: no memory") : 0;
}

static int
save_pair(const char *dir, const char *name, const X509 *cert, const EVP_PKEY *key, struct err *e)
{
	CLEANUP(buf) struct buf pem = { 0 };
	char path[FILE_PATH_MAX];

	if (cert_pem(cert, &pem, e) != 0 || file_path(path, e, "%s/manufacturer/%s.key", dir, name) != 0 ||
	    key_save(path, key, e) != 0 || file_path(path, e, "%s/manufacturer/%s.pem", dir, name) != 0)
		return -1;
	return file_write(path, buf_bytes(&pem), FILE_MODE_PUBLIC, e);
}

static int
make_both(const char *dir, const char *manufacturer, int64_t now_s, struct factory_ca *ca, struct err *e)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *root_key = NULL;
	struct key_spec spec;

	if (key_spec_parse("ec:P-256", &spec, e) != 0 || key_make(&spec, &root_key, e) != 0 ||
	    key_make(&spec, &ca->issuing_key, e) != 0 ||
	    make_ca(manufacturer, "Root CA", NULL, root_key, now_s, root_key, &ca->root, e) != 0 ||
	    make_ca(manufacturer, "Issuing CA", ca->root, root_key, now_s, ca->issuing_key, &ca->issuing, e) != 0)
		return -1;
	/* issuing.pem is written last: a factory that has it is complete. */
	if (save_pair(dir, "root", ca->root, root_key, e) != 0)
		return -1;
	return save_pair(dir, "issuing", ca->issuing, ca->issuing_key, e);
}

static int
load_first(const char *dir, const char *name, X509 **out, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	char path[FILE_PATH_MAX];

	if (file_path(path, e, "%s/manufacturer/%s.pem", dir, name) != 0 || x509_load_file(path, &certs, e) != 0)
		return -1;
	*out = sk_X509_shift(certs);
	return 0;
}

static int
load_both(const char *dir, const char *manufacturer, struct factory_ca *ca, struct err *e)
{
	char path[FILE_PATH_MAX], have[160] = "";

	if (load_first(dir, "root", &ca->root, e) != 0 || load_first(dir, "issuing", &ca->issuing, e) != 0 ||
	    file_path(path, e, "%s/manufacturer/issuing.key", dir) != 0 || key_load(path, &ca->issuing_key, e) != 0)
		return -1;
	(void)X509_NAME_get_text_by_NID(X509_get_subject_name(ca->root), NID_organizationName, have, sizeof have);
	if (strcmp(have, manufacturer) != 0)
		return err_set(e, ERR_DENIED, "%s belongs to the manufacturer \"%s\", not \"%s\"", dir, have,
			manufacturer);
	return 0;
}

int
factory_ca_open(const char *dir, const char *manufacturer, int64_t now_s, struct factory_ca *ca, struct err *e)
{
	char path[FILE_PATH_MAX];
	int rc;

	*ca = (struct factory_ca){ 0 };
	if (file_path(path, e, "%s/manufacturer", dir) != 0 || file_mkdir(path, e) != 0 ||
	    file_path(path, e, "%s/manufacturer/issuing.pem", dir) != 0)
		return -1;
	rc = file_exists(path) ? load_both(dir, manufacturer, ca, e) : make_both(dir, manufacturer, now_s, ca, e);
	if (rc == 0)
		rc = cert_pem(ca->issuing, &ca->chain_pem, e);
	if (rc != 0)
		factory_ca_close(ca);
	return rc;
}

void
factory_ca_close(struct factory_ca *ca)
{
	X509_free(ca->root);
	X509_free(ca->issuing);
	EVP_PKEY_free(ca->issuing_key);
	buf_free(&ca->chain_pem);
	*ca = (struct factory_ca){ 0 };
}

/* SubjectAltName with one otherName: HardwareModuleName ::= SEQUENCE { hwType OID, hwSerialNum OCTET STRING }. */
static int
add_hw_module(X509 *cert, const char *serial, struct err *e)
{
	CLEANUP(buf) struct buf der = { 0 };
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *extension = NULL;
	size_t names = der_begin(&der, DER_SEQUENCE), other = der_begin(&der, DER_CONTEXT_CONS(0)), content, module;
	int rc;

	der_put_oid(&der, OID_HW_MODULE);
	content = der_begin(&der, DER_CONTEXT_CONS(0));
	module = der_begin(&der, DER_SEQUENCE);
	der_put_oid(&der, OID_HW_TYPE);
	der_put(&der, DER_OCTET_STRING, bytes_of_text(serial));
	der_end(&der, module);
	der_end(&der, content);
	der_end(&der, other);
	der_end(&der, names);
	rc = value != NULL && !buf_failed(&der) && ASN1_OCTET_STRING_set(value, der.at, (int)der.len) == 1;
	if (rc == 1)
		extension = X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, 0, value);
	rc = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	ASN1_OCTET_STRING_free(value);
	return rc ? 0 : err_ossl(e, ERR_NOMEM, "hardwareModuleName");
}

int
factory_issue(const struct factory_ca *ca, const struct factory_device *device, EVP_PKEY *key, X509 **out,
	struct err *e)
{
	/* IEEE 802.1AR asks for digitalSignature; the second usage lets a server-made key be encrypted to it. */
	const struct extension extensions[] = { { NID_basic_constraints, "critical,CA:FALSE" },
		{ NID_key_usage, EVP_PKEY_is_a(key, "RSA") ? "critical,digitalSignature,keyEncipherment" :
			"critical,digitalSignature,keyAgreement" },
		{ NID_subject_key_identifier, "hash" }, { NID_authority_key_identifier, "keyid:always" }, { 0, NULL } };
	CLEANUP(X509) X509 *cert = begin_cert(X509_get_subject_name(ca->issuing), key, device->not_before_s,
		device->not_after_s, e);
	X509_NAME *subject;
	char serial_number[256], common_name[256];

	if (cert == NULL)
		return -1;
	subject = X509_get_subject_name(cert);
	(void)snprintf(serial_number, sizeof serial_number, "PID:%s SN:%s", device->model, device->serial);
	(void)snprintf(common_name, sizeof common_name, "%s-%s", device->model, device->serial);
	if (add_name(subject, "O", device->manufacturer) != 1 || add_name(subject, "CN", common_name) != 1 ||
	    add_name(subject, "serialNumber", serial_number) != 1)
		return err_ossl(e, ERR_MALFORMED, "the device's name");
	if (add_extensions(cert, ca->issuing, extensions, e) != 0 ||
	    (device->hw_module && add_hw_module(cert, device->serial, e) != 0))
		return -1;
	if (X509_sign(cert, ca->issuing_key, ossl_sha256()) <= 0)
		return err_ossl(e, ERR_BUG, "signing a device certificate");
	*out = cert;
	cert = NULL;
	return 0;
}
