/* Certificates of the CMP CA: what a request asks for, signed by a key in a file. */
#include "tests/ca/cmp_ca.h"

#include <openssl/rsa.h>

#include "base/timefmt.h"

#define SERIAL_OCTETS 16
#define TOO_LONG_S    (120 * INT64_C(86400))
#define RSA_BITS      2048

static int
set_serial(X509 *cert, struct err *e)
{
	uint8_t octets[SERIAL_OCTETS];
	BIGNUM *number;
	bool set;

	if (random_octets(octets, sizeof octets, e) != 0)
		return -1;
	octets[0] = (uint8_t)((octets[0] & 0x7f) | 0x40); /* positive, and always of this length */
	number = BN_bin2bn(octets, sizeof octets, NULL);
	set = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
	BN_free(number);
	return set ? 0 : err_ossl(e, ERR_NOMEM, "serial number");
}

static int
set_names(X509 *cert, X509_REQ *request, X509 *issuing, enum mischief mischief, struct err *e)
{
	CLEANUP(X509_NAME) X509_NAME *subject = X509_NAME_dup(X509_REQ_get_subject_name(request));

	if (mischief == MISCHIEF_OTHER_NAME) {
		X509_NAME_free(subject);
		subject = X509_NAME_new();
		if (subject == NULL || X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
		    (const unsigned char *)"somebody-else", -1, -1, 0) != 1)
			return err_ossl(e, ERR_NOMEM, "subject");
	}
	if (subject == NULL || X509_set_subject_name(cert, subject) != 1 ||
	    X509_set_issuer_name(cert, X509_get_subject_name(issuing)) != 1)
		return err_ossl(e, ERR_NOMEM, "names");
	return 0;
}

static int
set_key(X509 *cert, X509_REQ *request, enum mischief mischief, struct err *e)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = X509_REQ_get_pubkey(request);

	if (mischief == MISCHIEF_OTHER_KEY) {
		bool rsa = EVP_PKEY_is_a(key, "RSA");

		EVP_PKEY_free(key);
		key = rsa ? EVP_RSA_gen(RSA_BITS) : EVP_EC_gen("P-256");
	}
	return key != NULL && X509_set_pubkey(cert, key) == 1 ? 0 : err_ossl(e, ERR_MALFORMED, "key");
}

static bool
add_extension(X509 *cert, X509 *issuing, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *extension;
	bool added;

	X509V3_set_ctx(&ctx, issuing, cert, NULL, NULL, 0);
	extension = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
	added = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return added;
}

/* The request's alternative names, as they are there. */
static bool
copy_names(X509 *cert, X509_REQ *request)
{
	CLEANUP(extension_stack) STACK_OF(X509_EXTENSION) *wanted = X509_REQ_get_extensions(request);
	int at = X509v3_get_ext_by_NID(wanted, NID_subject_alt_name, -1);

	return at < 0 || X509_add_ext(cert, X509v3_get_ext(wanted, at), -1) == 1;
}

static int
set_extensions(X509 *cert, X509_REQ *request, X509 *issuing, struct err *e)
{
	if (!add_extension(cert, issuing, NID_key_usage, "critical,digitalSignature") ||
	    !add_extension(cert, issuing, NID_ext_key_usage, "clientAuth") ||
	    !add_extension(cert, issuing, NID_subject_key_identifier, "hash") ||
	    !add_extension(cert, issuing, NID_authority_key_identifier, "keyid:always") || !copy_names(cert, request))
		return err_ossl(e, ERR_NOMEM, "extensions");
	return 0;
}

int
issuer_certify(const struct issuer *issuer, const X509_REQ *request, enum mischief mischief, X509 **out, struct err *e)
{
	CLEANUP(X509_REQ) X509_REQ *own = X509_REQ_dup(request); /* OpenSSL 3.0 reads no const one */
	CLEANUP(X509) X509 *cert = X509_new();
	X509 *issuing = sk_X509_value(issuer->chain, 0);
	int64_t now_s = time_now_s(), lifetime_s = mischief == MISCHIEF_TOO_LONG ? TOO_LONG_S : issuer->lifetime_s;

	if (own == NULL || cert == NULL || X509_set_version(cert, X509_VERSION_3) != 1 ||
	    ASN1_TIME_set(X509_getm_notBefore(cert), now_s - issuer->backdate_s) == NULL ||
	    ASN1_TIME_set(X509_getm_notAfter(cert), now_s + lifetime_s) == NULL)
		return err_ossl(e, ERR_NOMEM, "certificate");
	if (set_serial(cert, e) != 0 || set_names(cert, own, issuing, mischief, e) != 0 ||
	    set_key(cert, own, mischief, e) != 0 || set_extensions(cert, own, issuing, e) != 0)
		return -1;
	if (X509_sign(cert, issuer->key, EVP_sha256()) <= 0)
		return err_ossl(e, ERR_BUG, "signature");
	*out = cert;
	cert = NULL;
	return 0;
}
