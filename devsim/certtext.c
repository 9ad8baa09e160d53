#include "devsim/certtext.h"

#include <string.h>

#include <openssl/err.h>

#include "base/key.h"
#include "base/text.h"
#include "base/timefmt.h"
#include "devsim/keys.h"

#define FACT_MAX 512

struct facts {
	char subject[FACT_MAX], issuer[FACT_MAX], serial[SERIAL_HEX_MAX], names[FACT_MAX], usage[FACT_MAX];
	char not_before[TIME_TEXT_MAX], not_after[TIME_TEXT_MAX];
	char key[24], sha256[65];
	bool ca;
};

/* An extension as OpenSSL prints it, on one line. */
static void
extension_text(const X509 *cert, int nid, char *out, size_t size)
{
	int at = X509_get_ext_by_NID(cert, nid, -1);
	CLEANUP(BIO) BIO *mem = BIO_new(BIO_s_mem());
	char *text = NULL;
	long len;

	out[0] = '\0';
	if (at < 0 || mem == NULL || X509V3_EXT_print(mem, X509_get_ext(cert, at), 0, 0) != 1) {
		ERR_clear_error();
		return;
	}
	len = BIO_get_mem_data(mem, &text);
	if (len > 0)
		text_escape(out, size, bytes_of(text, (size_t)len));
}

static void
usage_text(const X509 *cert, char out[FACT_MAX])
{
	char extended[FACT_MAX / 2];
	size_t len;

	extension_text(cert, NID_key_usage, out, FACT_MAX / 2);
	extension_text(cert, NID_ext_key_usage, extended, sizeof extended);
	len = strlen(out);
	if (extended[0] != '\0')
		(void)snprintf(out + len, FACT_MAX - len, "%s%s", len == 0 ? "" : "; ", extended);
}

static void
facts_of(const X509 *cert, struct facts *f)
{
	struct key_facts key = { 0 };
	int64_t before_s, after_s;
	uint8_t hash[32];
	struct err e;

	*f = (struct facts){ 0 };
	x509_name_text(X509_get_subject_name(cert), f->subject, sizeof f->subject);
	x509_name_text(X509_get_issuer_name(cert), f->issuer, sizeof f->issuer);
	if (x509_serial_hex(cert, f->serial, &e) != 0)
		(void)snprintf(f->serial, sizeof f->serial, "?");
	if (x509_validity(cert, &before_s, &after_s, &e) == 0) {
		time_text(before_s, f->not_before);
		time_text(after_s, f->not_after);
	}
	extension_text(cert, NID_subject_alt_name, f->names, sizeof f->names);
	usage_text(cert, f->usage);
	if (X509_get0_pubkey(cert) != NULL)
		key_facts_of(X509_get0_pubkey(cert), &key);
	key_text(&key, f->key);
	if (x509_sha256(cert, hash, &e) == 0)
		hex_encode(bytes_of(hash, sizeof hash), f->sha256);
	f->ca = (X509_get_extension_flags((X509 *)(uintptr_t)cert) & EXFLAG_CA) != 0;
}

void
certtext_print(const X509 *cert, FILE *to)
{
	struct facts f;

	facts_of(cert, &f);
	(void)fprintf(to, "  subject     %s\n  issuer      %s\n  serial      %s\n", f.subject, f.issuer, f.serial);
	if (f.names[0] != '\0')
		(void)fprintf(to, "  names       %s\n", f.names);
	(void)fprintf(to, "  valid       %s to %s\n  key         %s%s\n", f.not_before, f.not_after, f.key,
		f.ca ? ", a CA" : "");
	if (f.usage[0] != '\0')
		(void)fprintf(to, "  usage       %s\n", f.usage);
	(void)fprintf(to, "  sha256      %s\n", f.sha256);
}

json_t *
certtext_json(const X509 *cert)
{
	CLEANUP(buf) struct buf der = { 0 };
	CLEANUP(buf) struct buf pem = { 0 };
	json_t *object = json_object();
	struct facts f;
	struct err e;

	facts_of(cert, &f);
	(void)json_object_set_new(object, "subject", json_string(f.subject));
	(void)json_object_set_new(object, "issuer", json_string(f.issuer));
	(void)json_object_set_new(object, "serial", json_string(f.serial));
	(void)json_object_set_new(object, "names", json_string(f.names));
	(void)json_object_set_new(object, "usage", json_string(f.usage));
	(void)json_object_set_new(object, "not_before", json_string(f.not_before));
	(void)json_object_set_new(object, "not_after", json_string(f.not_after));
	(void)json_object_set_new(object, "key", json_string(f.key));
	(void)json_object_set_new(object, "ca", json_boolean(f.ca));
	(void)json_object_set_new(object, "sha256", json_string(f.sha256));
	if (x509_to_der(cert, &der, &e) == 0) {
		pem_encode(&pem, "CERTIFICATE", buf_bytes(&der));
		(void)json_object_set_new(object, "pem", json_string(buf_text(&pem)));
	}
	return object;
}

int
certtext_pem(X509 *first, STACK_OF(X509) *certs, struct buf *out, struct err *e)
{
	int i;

	for (i = first == NULL ? 0 : -1; i < sk_X509_num(certs); i++) {
		CLEANUP(buf) struct buf der = { 0 };
		X509 *cert = i < 0 ? first : sk_X509_value(certs, i);

		if (i >= 0 && cert == first)
			continue;
		if (x509_to_der(cert, &der, e) != 0)
			return -1;
		pem_encode(out, "CERTIFICATE", buf_bytes(&der));
	}
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "certificates: no memory") : 0;
}
