#include "gateway/ca/tbs.h"

#include <string.h>

#include "base/rsa.h"

#define URL_MAX 1024

#define DER_NULL 0x05
#define SERIAL_TIME_OCTETS 5

/* SubjectPublicKeyInfo up to the key's own octets (RFC 5480, section 2; RFC 8410, section 4). */
static const uint8_t p256_head[] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d,
	0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00 };
static const uint8_t p384_head[] = { 0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d,
	0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00 };
static const uint8_t ed25519_head[] = { 0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03,
	0x21, 0x00 };

static const struct key_form {
	enum key_kind kind;
	const uint8_t *head;
	size_t head_len, len;
} forms[] = {
	{ KEY_EC_P256, p256_head, sizeof p256_head, sizeof p256_head + 65 },
	{ KEY_EC_P384, p384_head, sizeof p384_head, sizeof p384_head + 97 },
	{ KEY_ED25519, ed25519_head, sizeof ed25519_head, sizeof ed25519_head + 32 },
};

/*
 * The slow way, for keys of other kinds and in other spellings. The octets go into a certificate
 * as they are, so they must be what a DER encoder would write: OpenSSL's own
 * encoding of the key is the measure.
 */
static int
contents_decoded(struct bytes spki, enum key_kind kind, struct buf *scratch, struct bytes *out, struct err *e)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	X509_PUBKEY *wrapped = NULL;
	const uint8_t *point = NULL;
	uint8_t *again = NULL;
	struct key_facts facts;
	int len, point_len = 0;
	bool same;

	if (key_from_spki(spki, &key, &facts, e) != 0)
		return -1;
	if (facts.kind != kind || facts.weak != NULL)
		return err_set(e, ERR_BUG, "the key to certify is %s",
			facts.weak != NULL ? facts.weak : "not of the kind that was approved");
	len = i2d_PUBKEY(key, &again);
	same = len > 0 && bytes_equal(bytes_of(again, (size_t)len), spki);
	OPENSSL_free(again);
	if (!same)
		return err_set(e, ERR_MALFORMED, "the public key is not in DER");
	if (X509_PUBKEY_set(&wrapped, key) != 1)
		return err_ossl(e, ERR_NOMEM, "public key");
	if (X509_PUBKEY_get0_param(NULL, &point, &point_len, NULL, wrapped) == 1)
		buf_append(scratch, point, (size_t)point_len);
	X509_PUBKEY_free(wrapped);
	if (buf_failed(scratch) || scratch->len == 0)
		return err_set(e, ERR_NOMEM, "public key: no memory");
	*out = buf_bytes(scratch);
	return 0;
}

int
spki_contents(struct bytes spki, enum key_kind kind, struct buf *scratch, struct bytes *out, struct err *e)
{
	struct key_facts facts = { 0 };
	size_t i;

	for (i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		const struct key_form *f = &forms[i];

		if (f->kind == kind && spki.len == f->len && memcmp(spki.at, f->head, f->head_len) == 0) {
			*out = bytes_of(spki.at + f->head_len, f->len - f->head_len);
			return 0;
		}
	}
	if (kind == KEY_RSA && rsa_public_look(spki, out, &facts) && facts.weak == NULL)
		return 0;
	return contents_decoded(spki, kind, scratch, out, e);
}

int
tbs_key_id(struct bytes public_key, uint8_t out[CA_KEY_ID_OCTETS], struct err *e)
{
	uint8_t digest[32];

	if (sha256(public_key, digest, e) != 0)
		return -1;
	memcpy(out, digest, CA_KEY_ID_OCTETS);
	return 0;
}

int
tbs_serial(int64_t now_s, uint8_t out[CA_SERIAL_OCTETS], struct err *e)
{
	uint64_t time = (uint64_t)now_s;
	size_t i;

	for (i = 0; i < SERIAL_TIME_OCTETS; i++)
		out[i] = (uint8_t)(time >> 8 * (SERIAL_TIME_OCTETS - 1 - i));
	out[0] = (uint8_t)((out[0] & 0x3f) | 0x40);
	return random_octets(out + SERIAL_TIME_OCTETS, CA_SERIAL_OCTETS - SERIAL_TIME_OCTETS, e);
}

/* Extension ::= SEQUENCE { extnID, critical DEFAULT FALSE, extnValue OCTET STRING } */
struct extension {
	size_t whole, value;
};

static struct extension
extension_begin(struct buf *b, const char *oid, bool critical)
{
	struct extension x;

	x.whole = der_begin(b, DER_SEQUENCE);
	der_put_oid(b, oid);
	if (critical)
		der_put_bool(b, 1);
	x.value = der_begin(b, DER_OCTET_STRING);
	return x;
}

static void
extension_end(struct buf *b, struct extension x)
{
	der_end(b, x.value);
	der_end(b, x.whole);
}

static int
check_url(const char *url, const char *what, struct err *e)
{
	const char *p;

	if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
		return err_set(e, ERR_MALFORMED, "%s \"%.100s\" is not an http URL", what, url);
	for (p = url; *p != '\0'; p++)
		if (*p <= 0x20 || *p >= 0x7f)
			return err_set(e, ERR_MALFORMED, "%s holds a space or a character that is not ASCII", what);
	if (p - url > URL_MAX)
		return err_set(e, ERR_LIMIT, "%s is longer than %d octets", what, URL_MAX);
	return 0;
}

/* CRLDistributionPoints with one fullName (RFC 5280, section 4.2.1.13). */
static void
put_crl_point(struct buf *b, const char *url)
{
	struct extension x = extension_begin(b, "2.5.29.31", false);
	size_t points = der_begin(b, DER_SEQUENCE), point = der_begin(b, DER_SEQUENCE);
	size_t name = der_begin(b, DER_CONTEXT_CONS(0)), full = der_begin(b, DER_CONTEXT_CONS(0));

	der_put(b, DER_CONTEXT(6), bytes_of_text(url));
	der_end(b, full);
	der_end(b, name);
	der_end(b, point);
	der_end(b, points);
	extension_end(b, x);
}

static void
put_access(struct buf *b, const char *method, const char *url)
{
	size_t access = der_begin(b, DER_SEQUENCE);

	der_put_oid(b, method);
	der_put(b, DER_CONTEXT(6), bytes_of_text(url));
	der_end(b, access);
}

/* AuthorityInfoAccessSyntax (RFC 5280, section 4.2.2.1). */
static void
put_authority_access(struct buf *b, const char *ocsp_url, const char *issuer_url)
{
	struct extension x = extension_begin(b, "1.3.6.1.5.5.7.1.1", false);
	size_t list = der_begin(b, DER_SEQUENCE);

	if (ocsp_url != NULL)
		put_access(b, "1.3.6.1.5.5.7.48.1", ocsp_url);
	if (issuer_url != NULL)
		put_access(b, "1.3.6.1.5.5.7.48.2", issuer_url);
	der_end(b, list);
	extension_end(b, x);
}

static void
put_authority_key_id(struct buf *b, struct bytes key_id)
{
	struct extension x = extension_begin(b, "2.5.29.35", false);
	size_t value = der_begin(b, DER_SEQUENCE);

	der_put(b, DER_CONTEXT(0), key_id);
	der_end(b, value);
	extension_end(b, x);
}

static int
common_extensions(struct tbs_common *common, X509 *issuer, const struct ca_settings *settings, struct err *e)
{
	struct buf *b = &common->extensions;
	const ASN1_OCTET_STRING *key_id = X509_get0_subject_key_id(issuer);

	if (key_id == NULL || ASN1_STRING_length(key_id) <= 0)
		return err_set(e, ERR_MALFORMED, "the issuing certificate has no subjectKeyIdentifier "
			"(RFC 5280, section 4.2.1.2, requires it of CAs)");
	if ((settings->crl_url != NULL && check_url(settings->crl_url, "crl_url", e) != 0) ||
	    (settings->ocsp_url != NULL && check_url(settings->ocsp_url, "ocsp_url", e) != 0) ||
	    (settings->issuer_url != NULL && check_url(settings->issuer_url, "issuer_url", e) != 0))
		return -1;
	put_authority_key_id(&common->key_id,
		bytes_of(ASN1_STRING_get0_data(key_id), (size_t)ASN1_STRING_length(key_id)));
	buf_append_bytes(b, buf_bytes(&common->key_id));
	if (settings->crl_url != NULL)
		put_crl_point(b, settings->crl_url);
	if (settings->ocsp_url != NULL || settings->issuer_url != NULL)
		put_authority_access(b, settings->ocsp_url, settings->issuer_url);
	return 0;
}

static int
common_signature(struct buf *b, X509 *issuer, struct err *e)
{
	size_t algorithm = der_begin(b, DER_SEQUENCE);
	struct key_facts facts;

	key_facts_of(X509_get0_pubkey(issuer), &facts);
	if (facts.kind == KEY_RSA) {
		der_put_oid(b, "1.2.840.113549.1.1.11"); /* sha256WithRSAEncryption */
		der_put(b, DER_NULL, bytes_of(NULL, 0)); /* RFC 4055, section 5: parameters MUST be NULL */
	} else if (facts.kind == KEY_EC_P256)
		der_put_oid(b, "1.2.840.10045.4.3.2"); /* ecdsa-with-SHA256 */
	else if (facts.kind == KEY_EC_P384)
		der_put_oid(b, "1.2.840.10045.4.3.3"); /* ecdsa-with-SHA384 */
	else
		return err_set(e, ERR_UNSUPPORTED, "issuing key is neither EC P-256, P-384 nor RSA");
	der_end(b, algorithm);
	return 0;
}

int
tbs_common_make(struct tbs_common *common, X509 *issuer, const struct ca_settings *settings, struct err *e)
{
	const X509_NAME *name = X509_get_subject_name(issuer);
	const uint8_t *der = NULL;
	size_t len = 0;

	if (common_signature(&common->signature, issuer, e) != 0 ||
	    common_extensions(common, issuer, settings, e) != 0)
		return -1;
	/* The very octets of the issuing certificate: relying parties may compare names octet by octet. */
	if (X509_NAME_get0_der(name, &der, &len) != 1)
		return err_ossl(e, ERR_NOMEM, "issuer name");
	buf_append(&common->issuer, der, len);
	if (buf_failed(&common->signature) || buf_failed(&common->extensions) || buf_failed(&common->issuer) ||
	    buf_failed(&common->key_id))
		return err_set(e, ERR_NOMEM, "certificate parts: no memory");
	return 0;
}

void
tbs_common_free(struct tbs_common *common)
{
	buf_free(&common->signature);
	buf_free(&common->issuer);
	buf_free(&common->key_id);
	buf_free(&common->extensions);
}

static void
put_subject(struct buf *b, const struct cert_spec *spec)
{
	size_t name = der_begin(b, DER_SEQUENCE), i;

	for (i = 0; i < spec->rdn_count; i++) {
		const char *oid = spec->rdns[i].oid, *value = spec->rdns[i].value;
		size_t rdn = der_begin(b, DER_SET), pair = der_begin(b, DER_SEQUENCE);

		der_put_oid(b, oid);
		der_put(b, spec_string_tag(oid, value), bytes_of_text(value));
		der_end(b, pair);
		der_end(b, rdn);
	}
	der_end(b, name);
}

static void
put_general_name(struct buf *b, enum spec_san_type type, const char *value)
{
	uint8_t address[16];

	switch (type) {
	case SPEC_SAN_EMAIL:
		der_put(b, DER_CONTEXT(1), bytes_of_text(value));
		return;
	case SPEC_SAN_DNS:
		der_put(b, DER_CONTEXT(2), bytes_of_text(value));
		return;
	case SPEC_SAN_URI:
		der_put(b, DER_CONTEXT(6), bytes_of_text(value));
		return;
	case SPEC_SAN_IP:
		der_put(b, DER_CONTEXT(7), bytes_of(address, spec_address(value, address)));
		return;
	}
	b->failed = true;
}

/* RFC 5280, section 4.2.1.6: critical when the subject is empty. */
static void
put_alt_names(struct buf *b, const struct cert_spec *spec)
{
	struct extension x = extension_begin(b, "2.5.29.17", spec->rdn_count == 0);
	size_t names = der_begin(b, DER_SEQUENCE), i;

	for (i = 0; i < spec->san_count; i++)
		put_general_name(b, spec->sans[i].type, spec->sans[i].value);
	der_end(b, names);
	extension_end(b, x);
}

/* A named bit list: bit 0 is the top bit, and DER leaves out trailing zero bits (X.690, section 11.2.2). */
static void
put_key_usage(struct buf *b, unsigned usage)
{
	struct extension x = extension_begin(b, "2.5.29.15", true);
	uint8_t octets[2] = { 0, 0 };
	unsigned bit;

	for (bit = 0; bit < 8; bit++)
		if ((usage & 1u << bit) != 0) {
			octets[1] |= (uint8_t)(0x80u >> bit);
			octets[0] = (uint8_t)(7 - bit);
		}
	der_put(b, DER_BIT_STRING, bytes_of(octets, sizeof octets));
	extension_end(b, x);
}

static void
put_extended_key_usage(struct buf *b, const struct cert_spec *spec)
{
	struct extension x = extension_begin(b, "2.5.29.37", false);
	size_t list = der_begin(b, DER_SEQUENCE), i;

	for (i = 0; i < spec->eku_count; i++)
		der_put_oid(b, spec->eku[i]);
	der_end(b, list);
	extension_end(b, x);
}

static void
put_extensions(struct buf *b, const struct tbs_common *common, const struct ca_request *request,
	struct bytes key_id)
{
	size_t outer = der_begin(b, DER_CONTEXT_CONS(3)), list = der_begin(b, DER_SEQUENCE);
	struct extension x = extension_begin(b, "2.5.29.19", true);

	der_put(b, DER_SEQUENCE, bytes_of(NULL, 0)); /* BasicConstraints: cA is FALSE by default */
	extension_end(b, x);
	put_key_usage(b, spec_usage(request->spec, request->key_kind));
	if (request->spec->eku_count != 0)
		put_extended_key_usage(b, request->spec);
	x = extension_begin(b, "2.5.29.14", false);
	der_put(b, DER_OCTET_STRING, key_id);
	extension_end(b, x);
	if (request->spec->san_count != 0)
		put_alt_names(b, request->spec);
	buf_append_bytes(b, buf_bytes(&common->extensions));
	der_end(b, list);
	der_end(b, outer);
}

int
tbs_put(struct buf *out, const struct tbs_common *common, const struct ca_request *request,
	const struct tbs_choice *choice, struct err *e)
{
	static const uint8_t version_3[] = { DER_CONTEXT_CONS(0), 3, DER_INTEGER, 1, 2 };
	CLEANUP(buf) struct buf scratch = { 0 };
	uint8_t key_id[CA_KEY_ID_OCTETS];
	struct bytes key = { 0 };
	size_t tbs, validity;

	if (spki_contents(request->spki, request->key_kind, &scratch, &key, e) != 0 ||
	    tbs_key_id(key, key_id, e) != 0)
		return -1;
	tbs = der_begin(out, DER_SEQUENCE);
	buf_append(out, version_3, sizeof version_3);
	der_put_integer(out, bytes_of(choice->serial, sizeof choice->serial));
	buf_append_bytes(out, buf_bytes(&common->signature));
	buf_append_bytes(out, buf_bytes(&common->issuer));
	validity = der_begin(out, DER_SEQUENCE);
	der_put_time(out, choice->not_before_s);
	der_put_time(out, choice->not_after_s);
	der_end(out, validity);
	put_subject(out, request->spec);
	buf_append_bytes(out, request->spki);
	put_extensions(out, common, request, bytes_of(key_id, sizeof key_id));
	der_end(out, tbs);
	if (buf_failed(out))
		return err_set(e, ERR_BUG, "the certificate cannot be encoded");
	return 0;
}
