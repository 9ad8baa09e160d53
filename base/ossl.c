#include "base/ossl.h"

#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include "base/text.h"
#include "base/timefmt.h"

#define OID_TEXT_MAX 96

#define SERIAL_SHOWN 20 /* octets of one that is too long */

static EVP_MD *fetched_sha256;
static EVP_MD *fetched_sha384;
static EVP_MD *fetched_sha512;

int
ossl_init(struct err *e)
{
	if (fetched_sha256 != NULL)
		return 0;
	fetched_sha384 = EVP_MD_fetch(NULL, "SHA2-384", NULL);
	fetched_sha512 = EVP_MD_fetch(NULL, "SHA2-512", NULL);
	fetched_sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
	if (fetched_sha256 == NULL || fetched_sha384 == NULL || fetched_sha512 == NULL)
		return err_ossl(e, ERR_BUG, "fetching digests");
	return 0;
}

const EVP_MD *
ossl_sha256(void)
{
	return fetched_sha256;
}

const EVP_MD *
ossl_sha384(void)
{
	return fetched_sha384;
}

const EVP_MD *
ossl_sha512(void)
{
	return fetched_sha512;
}

int
err_ossl(struct err *e, enum err_code code, const char *what)
{
	unsigned long number = ERR_peek_error();
	const char *reason = number == 0 ? NULL : ERR_reason_error_string(number);

	ERR_clear_error();
	return err_set(e, code, "%s: %s", what, reason == NULL ? "refused by OpenSSL" : reason);
}

int
sha256(struct bytes in, uint8_t out[32], struct err *e)
{
	if (EVP_Digest(in.at, in.len, out, NULL, fetched_sha256, NULL) != 1)
		return err_ossl(e, ERR_BUG, "SHA-256");
	return 0;
}

int
random_octets(uint8_t *out, size_t len, struct err *e)
{
	if (RAND_bytes(out, (int)len) != 1)
		return err_ossl(e, ERR_BUG, "random generator");
	return 0;
}

int
x509_from_der(struct bytes der, X509 **out, struct err *e)
{
	CLEANUP(X509) X509 *cert = NULL;
	const uint8_t *p = der.at;

	if (der.len == 0 || der.len > BUF_MAX)
		return err_set(e, ERR_MALFORMED, "certificate of %zu octets", der.len);
	cert = d2i_X509(NULL, &p, (long)der.len);
	if (cert == NULL)
		return err_ossl(e, ERR_MALFORMED, "certificate");
	if (p != der.at + der.len)
		return err_set(e, ERR_MALFORMED, "%td octets after the certificate",
			der.at + der.len - p);
	*out = cert;
	cert = NULL;
	return 0;
}

int
x509_to_der(const X509 *cert, struct buf *out, struct err *e)
{
	uint8_t *der = NULL;
	int len = i2d_X509(cert, &der);

	if (len <= 0)
		return err_ossl(e, ERR_BUG, "encoding a certificate");
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	if (buf_failed(out))
		return err_set(e, ERR_NOMEM, "encoding a certificate: no memory");
	return 0;
}

int
pem_no_password(char *out, int size, int writing, void *arg)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

int
x509_load_file(const char *path, STACK_OF(X509) **out, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = sk_X509_new_null();
	CLEANUP(BIO) BIO *in = BIO_new_file(path, "r");
	X509 *cert;

	if (in == NULL) {
		ERR_clear_error();
		return err_set(e, ERR_UPSTREAM, "%s: cannot be read", path);
	}
	if (certs == NULL)
		return err_set(e, ERR_NOMEM, "%s: no memory", path);
	while ((cert = PEM_read_bio_X509(in, NULL, pem_no_password, NULL)) != NULL)
		if (sk_X509_push(certs, cert) <= 0) {
			X509_free(cert);
			return err_set(e, ERR_NOMEM, "%s: no memory", path);
		}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return err_ossl(e, ERR_MALFORMED, path);
	ERR_clear_error();
	if (sk_X509_num(certs) == 0)
		return err_set(e, ERR_MALFORMED, "%s: no PEM certificate in it", path);
	*out = certs;
	certs = NULL;
	return 0;
}

int
x509_sha256(const X509 *cert, uint8_t out[32], struct err *e)
{
	if (X509_digest(cert, fetched_sha256, out, NULL) != 1)
		return err_ossl(e, ERR_BUG, "fingerprint");
	return 0;
}

int
x509_serial_hex(const X509 *cert, char out[SERIAL_HEX_MAX], struct err *e)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);

	if (serial == NULL || serial->length < 1 || serial->length > 20 ||
	    serial->type == V_ASN1_NEG_INTEGER)
		return err_set(e, ERR_MALFORMED, "certificate serial number is negative, empty or too long");
	hex_encode(bytes_of(serial->data, (size_t)serial->length), out);
	return 0;
}

int
asn1_serial_hex(const ASN1_INTEGER *serial, char out[SERIAL_ANY_MAX], struct err *e)
{
	const char *sign = serial != NULL && serial->type == V_ASN1_NEG_INTEGER ? "-" : "";
	char begun[2 * SERIAL_SHOWN + 1];

	if (serial == NULL || serial->length < 1)
		return err_set(e, ERR_MALFORMED, "certificate serial number is empty");
	if (serial->length > SERIAL_ANY_MAX / 2 - 1) {
		hex_encode(bytes_of(serial->data, SERIAL_SHOWN), begun);
		return err_set(e, ERR_MALFORMED, "certificate serial number has %d octets: %s%s...", serial->length, sign, begun);
	}
	out[0] = sign[0];
	hex_encode(bytes_of(serial->data, (size_t)serial->length), out + strlen(sign));
	return 0;
}

bool
x509_has_usage(const X509 *cert, const char *dotted)
{
	EXTENDED_KEY_USAGE *usages = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
	char text[OID_TEXT_MAX];
	bool found = false;
	int i;

	for (i = 0; i < sk_ASN1_OBJECT_num(usages) && !found; i++)
		found = OBJ_obj2txt(text, sizeof text, sk_ASN1_OBJECT_value(usages, i), 1) > 0 && strcmp(text, dotted) == 0;
	EXTENDED_KEY_USAGE_free(usages);
	return found;
}

int
asn1_time_s(const ASN1_TIME *t, int64_t *out)
{
	struct tm tm;

	if (t == NULL || ASN1_TIME_to_tm(t, &tm) != 1)
		return -1;
	*out = time_from_utc(&tm);
	return 0;
}

int
x509_validity(const X509 *cert, int64_t *not_before_s, int64_t *not_after_s, struct err *e)
{
	int64_t before, after;

	if (asn1_time_s(X509_get0_notBefore(cert), &before) != 0 ||
	    asn1_time_s(X509_get0_notAfter(cert), &after) != 0)
		return err_set(e, ERR_MALFORMED, "certificate validity is not a time");
	*not_before_s = before;
	*not_after_s = after;
	return 0;
}

void
x509_name_text(const X509_NAME *name, char *out, size_t size)
{
	CLEANUP(BIO) BIO *mem = BIO_new(BIO_s_mem());
	char *text = NULL;
	long len = 0;

	out[0] = '\0';
	if (mem != NULL && name != NULL &&
	    X509_NAME_print_ex(mem, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >= 0)
		len = BIO_get_mem_data(mem, &text);
	ERR_clear_error();
	if (len > 0) {
		(void)snprintf(out, size, "%.*s", (int)len, text);
		text_mend_end(out);
	}
	/* OpenSSL escapes U+0000-001F, but passes U+0080-009F, which terminals obey too. */
	if (!text_is_clean(bytes_of_text(out)))
		text_escape(out, size, bytes_of(text, (size_t)len));
}
