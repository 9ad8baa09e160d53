#include "devsim/csr.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "base/der.h"
#include "devsim/keys.h"

#define OID_CHALLENGE_PASSWORD "1.2.840.113549.1.9.7"
#define OID_EXTENSION_REQUEST  "1.2.840.113549.1.9.14"
#define OID_SMIME_CAPABILITIES "1.2.840.113549.1.9.15"
#define OID_DECRYPT_KEY_ID     "1.2.840.113549.1.9.16.2.37" /* RFC 4108, section 2.2.5 */
#define OID_ASYM_DECRYPT_KEY   "1.2.840.113549.1.9.16.2.54" /* RFC 7030, section 4.4.1.2 */
#define OID_ATTESTATION        "1.2.840.113549.1.9.16.2.59" /* draft-ietf-lamps-csr-attestation */
#define OID_AES256_CBC         "2.16.840.1.101.3.4.1.42"
#define OID_SUBJECT_ALT_NAME   "2.5.29.17"
#define OID_BASIC_CONSTRAINTS  "2.5.29.19"
#define OID_KEY_USAGE          "2.5.29.15"

#define ATTRIBUTES_MAX 8
#define RDN_MAX        16
#define RDN_VALUE_MAX  256
#define SIGNATURE_MAX  2048

#define GENERAL_NAME_EMAIL 1
#define GENERAL_NAME_DNS   2
#define GENERAL_NAME_URI   6
#define GENERAL_NAME_IP    7

/* Each attribute in a buffer of its own, for DER sorts the elements of a SET OF. */
struct attributes {
	struct buf at[ATTRIBUTES_MAX];
	size_t count;
};

static void
attributes_auto(struct attributes *a)
{
	while (a->count > 0)
		buf_free(&a->at[--a->count]);
}

static struct buf *
attribute_begin(struct attributes *a, const char *oid, size_t mark[2])
{
	struct buf *b = &a->at[a->count++];

	mark[0] = der_begin(b, DER_SEQUENCE);
	der_put_oid(b, oid);
	mark[1] = der_begin(b, DER_SET);
	return b;
}

static void
attribute_end(struct buf *b, const size_t mark[2])
{
	der_end(b, mark[1]);
	der_end(b, mark[0]);
}

static void
put_attribute(struct attributes *a, const char *oid, uint8_t tag, struct bytes value)
{
	size_t mark[2];
	struct buf *b = attribute_begin(a, oid, mark);

	der_put(b, tag, value);
	attribute_end(b, mark);
}

static void
put_extension(struct buf *b, const char *oid, bool critical, struct bytes value)
{
	size_t mark = der_begin(b, DER_SEQUENCE);

	der_put_oid(b, oid);
	if (critical)
		der_put_bool(b, 1);
	der_put(b, DER_OCTET_STRING, value);
	der_end(b, mark);
}

static void
put_extensions(struct attributes *a, const struct csr_spec *spec)
{
	static const uint8_t ca_true[] = { 0x30, 0x03, 0x01, 0x01, 0xff };
	static const uint8_t key_cert_sign[] = { 0x03, 0x02, 0x01, 0x06 };
	size_t mark[2], list;
	struct buf *b;

	if (!spec->ask_ca && spec->alt_names.len == 0)
		return;
	b = attribute_begin(a, OID_EXTENSION_REQUEST, mark);
	list = der_begin(b, DER_SEQUENCE);
	if (spec->alt_names.len != 0)
		put_extension(b, OID_SUBJECT_ALT_NAME, false, spec->alt_names);
	if (spec->ask_ca) {
		put_extension(b, OID_BASIC_CONSTRAINTS, true, bytes_of(ca_true, sizeof ca_true));
		put_extension(b, OID_KEY_USAGE, true, bytes_of(key_cert_sign, sizeof key_cert_sign));
	}
	der_end(b, list);
	attribute_end(b, mark);
}

static void
put_evidence(struct attributes *a, struct bytes evidence)
{
	size_t mark[2];
	struct buf *b = attribute_begin(a, OID_ATTESTATION, mark);

	buf_append_bytes(b, evidence);
	attribute_end(b, mark);
}

/* RFC 7030, section 4.4.1: SMIMECapabilities says what the client can decrypt. */
static void
put_capabilities(struct attributes *a)
{
	size_t mark[2], list, one;
	struct buf *b = attribute_begin(a, OID_SMIME_CAPABILITIES, mark);

	list = der_begin(b, DER_SEQUENCE);
	one = der_begin(b, DER_SEQUENCE);
	der_put_oid(b, OID_AES256_CBC);
	der_end(b, one);
	der_end(b, list);
	attribute_end(b, mark);
}

static bool
is_printable_string(const char *text)
{
	return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?") ==
		strlen(text);
}

static int
by_octets(const void *a, const void *b)
{
	const struct buf *x = a, *y = b;
	int order = memcmp(x->at, y->at, x->len < y->len ? x->len : y->len);

	return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

static int
put_attributes(struct buf *info, const struct csr_spec *spec, struct err *e)
{
	CLEANUP(attributes) struct attributes a = { 0 };
	size_t mark, i;

	if (spec->challenge != NULL && spec->challenge[0] != '\0')
		put_attribute(&a, OID_CHALLENGE_PASSWORD,
			is_printable_string(spec->challenge) ? DER_PRINTABLE_STRING : DER_UTF8_STRING,
			bytes_of_text(spec->challenge));
	put_extensions(&a, spec);
	if (spec->decrypt_key_id.len != 0)
		put_attribute(&a, OID_DECRYPT_KEY_ID, DER_OCTET_STRING, spec->decrypt_key_id);
	if (spec->asym_decrypt_key_id.len != 0)
		put_attribute(&a, OID_ASYM_DECRYPT_KEY, DER_OCTET_STRING, spec->asym_decrypt_key_id);
	if (spec->decrypt_key_id.len != 0 || spec->asym_decrypt_key_id.len != 0)
		put_capabilities(&a);
	if (spec->evidence.len != 0)
		put_evidence(&a, spec->evidence);
	for (i = 0; i < a.count; i++)
		if (buf_failed(&a.at[i]))
			return err_set(e, ERR_NOMEM, "request: no memory");
	qsort(a.at, a.count, sizeof a.at[0], by_octets);
	mark = der_begin(info, DER_CONTEXT_CONS(0));
	for (i = 0; i < a.count; i++)
		buf_append_bytes(info, buf_bytes(&a.at[i]));
	der_end(info, mark);
	return 0;
}

static int
put_info(struct buf *info, const struct csr_spec *spec, const EVP_PKEY *key, struct err *e)
{
	static const uint8_t version = 0;
	size_t mark = der_begin(info, DER_SEQUENCE), name;

	der_put(info, DER_INTEGER, bytes_of(&version, 1));
	if (spec->subject.len != 0)
		buf_append_bytes(info, spec->subject);
	else {
		name = der_begin(info, DER_SEQUENCE);
		der_end(info, name);
	}
	if (key_spki(key, info, e) != 0 || put_attributes(info, spec, e) != 0)
		return -1;
	der_end(info, mark);
	return 0;
}

struct signer {
	const char *oid;
	const EVP_MD *digest;
	bool null_parameters; /* RFC 3279: with RSA; RFC 5758, section 3.2: absent with ECDSA */
};

static struct signer
signer_of(EVP_PKEY *key)
{
	if (EVP_PKEY_is_a(key, "RSA"))
		return (struct signer){ "1.2.840.113549.1.1.11", ossl_sha256(), true };
	if (EVP_PKEY_get_bits(key) > 384)
		return (struct signer){ "1.2.840.10045.4.3.4", ossl_sha512(), false };
	if (EVP_PKEY_get_bits(key) > 256)
		return (struct signer){ "1.2.840.10045.4.3.3", ossl_sha384(), false };
	return (struct signer){ "1.2.840.10045.4.3.2", ossl_sha256(), false };
}

static int
put_signature(struct buf *out, struct bytes info, EVP_PKEY *key, struct err *e)
{
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	struct signer signer = signer_of(key);
	uint8_t signature[SIGNATURE_MAX + 1] = { 0 }; /* the first octet: no unused bits */
	size_t len = SIGNATURE_MAX, mark;

	if (ctx == NULL || EVP_DigestSignInit(ctx, NULL, signer.digest, NULL, key) != 1 ||
	    EVP_DigestSign(ctx, signature + 1, &len, info.at, info.len) != 1)
		return err_ossl(e, ERR_BUG, "signing the request");
	mark = der_begin(out, DER_SEQUENCE);
	der_put_oid(out, signer.oid);
	if (signer.null_parameters)
		der_put(out, 0x05, bytes_of(NULL, 0));
	der_end(out, mark);
	der_put(out, DER_BIT_STRING, bytes_of(signature, len + 1));
	return 0;
}

int
csr_build(const struct csr_spec *spec, EVP_PKEY *key, struct buf *out, struct err *e)
{
	CLEANUP(buf) struct buf info = { 0 };
	size_t mark;

	if (put_info(&info, spec, key, e) != 0)
		return -1;
	mark = der_begin(out, DER_SEQUENCE);
	buf_append_bytes(out, buf_bytes(&info));
	if (put_signature(out, buf_bytes(&info), key, e) != 0)
		return -1;
	der_end(out, mark);
	if (buf_failed(&info) || buf_failed(out))
		return err_set(e, ERR_NOMEM, "request: no memory");
	return 0;
}

/* One "TYPE=value" from *at, value unescaped; *at then points behind the comma or at the end. */
static int
next_rdn(const char **at, char type[32], char value[RDN_VALUE_MAX], struct err *e)
{
	size_t len = strcspn(*at, "=,"), n = 0;
	const char *p = *at + len;

	if (*p != '=' || len == 0 || len >= 32)
		return err_set(e, ERR_MALFORMED, "subject: \"%.60s\" does not read TYPE=value", *at);
	memcpy(type, *at, len);
	type[len] = '\0';
	for (p++; *p != '\0' && *p != ','; p++) {
		if (*p == '\\' && p[1] != '\0')
			p++;
		if (n + 1 == RDN_VALUE_MAX)
			return err_set(e, ERR_LIMIT, "subject: %s is longer than %d octets", type, RDN_VALUE_MAX - 1);
		value[n++] = *p;
	}
	value[n] = '\0';
	*at = *p == ',' ? p + 1 : p;
	return 0;
}

int
csr_subject(const char *text, struct buf *out, struct err *e)
{
	CLEANUP(X509_NAME) X509_NAME *name = X509_NAME_new();
	uint8_t *der = NULL;
	int len, count = 0;

	if (name == NULL)
		return err_set(e, ERR_NOMEM, "subject: no memory");
	while (*text != '\0') {
		char type[32], value[RDN_VALUE_MAX];

		if (++count > RDN_MAX)
			return err_set(e, ERR_LIMIT, "subject: more than %d parts", RDN_MAX);
		if (next_rdn(&text, type, value, e) != 0)
			return -1;
		/* RFC 4514, section 2.1: the text begins with the last part of the sequence, so each goes in front. */
		if (X509_NAME_add_entry_by_txt(name, type, MBSTRING_UTF8, (const uint8_t *)value, -1, 0, 0) != 1) {
			ERR_clear_error();
			return err_set(e, ERR_MALFORMED, "subject: %s=%.60s is refused by OpenSSL", type, value);
		}
	}
	len = i2d_X509_NAME(name, &der);
	if (len <= 0)
		return err_ossl(e, ERR_BUG, "subject");
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	return 0;
}

static int
put_ip(struct buf *out, const char *text, struct err *e)
{
	uint8_t address[16];

	if (inet_pton(AF_INET, text, address) == 1)
		der_put(out, DER_CONTEXT(GENERAL_NAME_IP), bytes_of(address, 4));
	else if (inet_pton(AF_INET6, text, address) == 1)
		der_put(out, DER_CONTEXT(GENERAL_NAME_IP), bytes_of(address, 16));
	else
		return err_set(e, ERR_MALFORMED, "name \"ip:%.60s\" is no address", text);
	return 0;
}

static int
put_alt_name(struct buf *out, const char *text, struct err *e)
{
	static const struct {
		const char *prefix;
		uint8_t tag;
	} kinds[] = { { "dns:", GENERAL_NAME_DNS }, { "uri:", GENERAL_NAME_URI }, { "email:", GENERAL_NAME_EMAIL } };
	size_t i;

	if (strncmp(text, "ip:", 3) == 0)
		return put_ip(out, text + 3, e);
	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		size_t len = strlen(kinds[i].prefix);

		if (strncmp(text, kinds[i].prefix, len) == 0) {
			der_put(out, DER_CONTEXT(kinds[i].tag), bytes_of_text(text + len));
			return 0;
		}
	}
	return err_set(e, ERR_MALFORMED, "name \"%.60s\" begins with none of dns: ip: uri: email:", text);
}

int
csr_alt_names(const char *const *names, size_t count, struct buf *out, struct err *e)
{
	size_t mark = der_begin(out, DER_SEQUENCE), i;

	for (i = 0; i < count; i++)
		if (put_alt_name(out, names[i], e) != 0)
			return -1;
	der_end(out, mark);
	return 0;
}

int
csr_names_of(const X509 *cert, struct buf *subject, struct buf *alt_names, struct err *e)
{
	int at = X509_get_ext_by_NID(cert, NID_subject_alt_name, -1);
	uint8_t *der = NULL;
	int len = i2d_X509_NAME(X509_get_subject_name(cert), &der);
	const ASN1_OCTET_STRING *value;

	if (len <= 0)
		return err_ossl(e, ERR_MALFORMED, "subject of the certificate");
	buf_append(subject, der, (size_t)len);
	OPENSSL_free(der);
	if (at < 0)
		return 0;
	value = X509_EXTENSION_get_data(X509_get_ext(cert, at));
	buf_append(alt_names, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
	return 0;
}
