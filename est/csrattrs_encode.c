#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/objects.h>

#include "base/der.h"
#include "base/text.h"
#include "est/csrattrs_template.h"

#define OID_RSA         "1.2.840.113549.1.1.1"
#define OID_EC          "1.2.840.10045.2.1"
#define OID_ED25519     "1.3.101.112"
#define OID_EXTENSIONS  "1.2.840.113549.1.9.14"
#define OID_KEY_USAGE   "2.5.29.15"
#define OID_ALT_NAME    "2.5.29.17"
#define OID_EKU         "2.5.29.37"
#define KEY_USAGE_BITS  9
#define TEXT_OCTETS_MAX 1024 /* of one value of the subject */

/* The caller's OIDs may come from a configuration. */
static int
put_oid(struct buf *out, const char *dotted, struct err *e)
{
	CLEANUP(ASN1_OBJECT) ASN1_OBJECT *object = OBJ_txt2obj(dotted, 1);
	char canonical[128] = "";

	if (object != NULL)
		(void)OBJ_obj2txt(canonical, sizeof canonical, object, 1);
	ERR_clear_error();
	if (canonical[0] == '\0' || strcmp(canonical, dotted) != 0)
		return err_set(e, ERR_MALFORMED, "\"%.60s\" is not a dotted OID", dotted);
	der_put_oid(out, dotted);
	return 0;
}

/* X.520: countries, serial numbers and domain components have a string type of their own. */
static uint8_t
text_tag(const char *oid)
{
	if (strcmp(oid, "2.5.4.6") == 0 || strcmp(oid, "2.5.4.5") == 0)
		return DER_PRINTABLE_STRING;
	if (strcmp(oid, "0.9.2342.19200300.100.1.25") == 0 || strcmp(oid, "1.2.840.113549.1.9.1") == 0)
		return DER_IA5_STRING;
	return DER_UTF8_STRING;
}

/* SingleAttributeTemplate ::= SEQUENCE { type, value OPTIONAL }, alone in its SET. */
static int
put_rdn(struct buf *out, const struct est_template_rdn *rdn, struct err *e)
{
	size_t set = der_begin(out, DER_SET), pair = der_begin(out, DER_SEQUENCE);

	if (put_oid(out, rdn->oid, e) != 0)
		return -1;
	if (rdn->value != NULL) {
		struct bytes text = bytes_of_text(rdn->value);

		if (text.len == 0 || text.len > TEXT_OCTETS_MAX || !text_is_clean(text))
			return err_set(e, ERR_MALFORMED, "the value of %s is empty, too long or not clean", rdn->oid);
		der_put(out, text_tag(rdn->oid), text);
	}
	der_end(out, pair);
	der_end(out, set);
	return 0;
}

static int
put_subject(struct buf *out, const struct est_csr_template *template, struct err *e)
{
	size_t mark, i;

	/* Section 3.4: the subject is absent where nothing is demanded of it. */
	if (template->subject_count == 0)
		return 0;
	mark = der_begin(out, DER_SEQUENCE);
	for (i = 0; i < template->subject_count; i++)
		if (put_rdn(out, &template->subject[i], e) != 0)
			return -1;
	der_end(out, mark);
	return 0;
}

/* RFC 9908, section 3.4: a "placeholder public key value of the desired RSA modulus length". */
static int
put_rsa_placeholder(struct buf *out, int bits, struct err *e)
{
	static const uint8_t exponent[] = { 0x01, 0x00, 0x01 };
	uint8_t modulus[RSA_BITS_MAX / 8] = { 0 };
	size_t octets = ((size_t)bits + 7) / 8, string, key;

	if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
		return err_set(e, ERR_MALFORMED, "RSA keys of %d bits cannot be asked for", bits);
	modulus[0] = (uint8_t)(1u << (bits - 1) % 8);
	modulus[octets - 1] |= 0x01;
	string = der_begin(out, DER_BIT_STRING);
	buf_append_u8(out, 0);
	key = der_begin(out, DER_SEQUENCE);
	der_put_integer(out, bytes_of(modulus, octets));
	der_put_integer(out, bytes_of(exponent, sizeof exponent));
	der_end(out, key);
	der_end(out, string);
	return 0;
}

static void
put_algorithm(struct buf *out, const char *algorithm, const char *curve)
{
	size_t mark = der_begin(out, DER_SEQUENCE);

	der_put_oid(out, algorithm);
	if (curve != NULL)
		der_put_oid(out, curve);
	else if (strcmp(algorithm, OID_RSA) == 0)
		buf_append(out, "\x05\x00", 2); /* RFC 3279, section 2.3.1: "The parameters field MUST have ASN.1 type NULL" */
	der_end(out, mark);
}

/* SubjectPublicKeyInfoTemplate ::= SEQUENCE { algorithm, subjectPublicKey BIT STRING OPTIONAL }, [0] IMPLICIT */
static int
put_key(struct buf *out, const struct est_csr_template *template, struct err *e)
{
	size_t mark;

	if (template->key == KEY_OTHER)
		return 0;
	mark = der_begin(out, DER_CONTEXT_CONS(0));
	switch (template->key) {
	case KEY_RSA:
		put_algorithm(out, OID_RSA, NULL);
		if (template->rsa_bits != 0 && put_rsa_placeholder(out, template->rsa_bits, e) != 0)
			return -1;
		break;
	case KEY_EC_P256:
		put_algorithm(out, OID_EC, "1.2.840.10045.3.1.7");
		break;
	case KEY_EC_P384:
		put_algorithm(out, OID_EC, "1.3.132.0.34");
		break;
	case KEY_EC_P521:
		put_algorithm(out, OID_EC, "1.3.132.0.35");
		break;
	case KEY_ED25519:
		put_algorithm(out, OID_ED25519, NULL);
		break;
	case KEY_OTHER:
		return err_set(e, ERR_BUG, "no kind of key");
	}
	der_end(out, mark);
	return 0;
}

/* ExtensionTemplate ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING OPTIONAL } */
static int
put_extension(struct buf *out, const char *oid, bool critical, const struct buf *value, struct err *e)
{
	size_t mark = der_begin(out, DER_SEQUENCE);

	if (put_oid(out, oid, e) != 0)
		return -1;
	if (critical)
		der_put_bool(out, 1);
	if (value != NULL)
		der_put(out, DER_OCTET_STRING, buf_bytes(value));
	der_end(out, mark);
	return 0;
}

static int
put_key_usage(struct buf *out, unsigned bits, struct err *e)
{
	CLEANUP(buf) struct buf value = { 0 };
	uint8_t octets[2] = { 0 };
	size_t mark, i, last = 0;

	if (bits == 0)
		return 0;
	if (bits >= 1u << KEY_USAGE_BITS)
		return err_set(e, ERR_MALFORMED, "unknown key usage");
	for (i = 0; i < KEY_USAGE_BITS; i++)
		if ((bits & 1u << i) != 0) {
			octets[i / 8] |= (uint8_t)(0x80 >> i % 8);
			last = i;
		}
	/* X.690, section 11.2.2: no trailing zero bits in a named bit list. */
	mark = der_begin(&value, DER_BIT_STRING);
	buf_append_u8(&value, (uint8_t)(7 - last % 8));
	buf_append(&value, octets, last / 8 + 1);
	der_end(&value, mark);
	return put_extension(out, OID_KEY_USAGE, true, &value, e);
}

static int
put_eku(struct buf *out, const struct est_csr_template *template, struct err *e)
{
	CLEANUP(buf) struct buf value = { 0 };
	size_t mark, i;

	if (template->eku_count == 0)
		return 0;
	mark = der_begin(&value, DER_SEQUENCE);
	for (i = 0; i < template->eku_count; i++)
		if (put_oid(&value, template->eku[i], e) != 0)
			return -1;
	der_end(&value, mark);
	return put_extension(out, OID_EKU, false, &value, e);
}

/* RFC 9908, section 3.4: a partly filled GeneralName, "iPAddress" with an empty OCTET STRING say, is for the client to fill in. */
static int
put_alt_names(struct buf *out, unsigned kinds, struct err *e)
{
	static const struct {
		unsigned kind;
		uint8_t tag;
	} names[] = { { EST_SAN_EMAIL, DER_CONTEXT(1) }, { EST_SAN_DNS, DER_CONTEXT(2) },
		{ EST_SAN_URI, DER_CONTEXT(6) }, { EST_SAN_IP, DER_CONTEXT(7) } };
	CLEANUP(buf) struct buf value = { 0 };
	size_t mark, i;

	if (kinds == 0)
		return 0;
	mark = der_begin(&value, DER_SEQUENCE);
	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		if ((kinds & names[i].kind) != 0)
			der_put(&value, names[i].tag, bytes_of(NULL, 0));
	der_end(&value, mark);
	return put_extension(out, OID_ALT_NAME, false, &value, e);
}

/*
 * RFC 9908, section 3.4: fully specified extensions stand in one extensionRequest;
 * as soon as one is partial, all of them stand in one extensionReqTemplate.
 */
static int
put_extensions(struct buf *out, const struct est_csr_template *template, struct err *e)
{
	bool partial = template->sans != 0 || template->extension_count > 0;
	size_t attribute, set, list, i;

	if (!partial && template->key_usage == 0 && template->eku_count == 0)
		return 0;
	attribute = der_begin(out, DER_SEQUENCE);
	der_put_oid(out, partial ? EST_OID_EXTENSION_TEMPLATE : OID_EXTENSIONS);
	set = der_begin(out, DER_SET);
	list = der_begin(out, DER_SEQUENCE);
	if (put_key_usage(out, template->key_usage, e) != 0 || put_eku(out, template, e) != 0 ||
	    put_alt_names(out, template->sans, e) != 0)
		return -1;
	for (i = 0; i < template->extension_count; i++)
		if (put_extension(out, template->extensions[i], false, NULL, e) != 0)
			return -1;
	der_end(out, list);
	der_end(out, set);
	der_end(out, attribute);
	return 0;
}

static int
by_octets(const void *a, const void *b)
{
	const struct bytes *x = a, *y = b;
	int order = memcmp(x->at, y->at, x->len < y->len ? x->len : y->len);

	return order != 0 ? order : x->len < y->len ? -1 : x->len > y->len;
}

/* Each attribute into pieces; where each one ends into ends. The values are the client's: an empty SET. */
static int
put_pieces(const struct est_csr_template *template, struct buf *pieces, size_t *ends, size_t *count, struct err *e)
{
	size_t i, n = 0;

	if (put_extensions(pieces, template, e) != 0)
		return -1;
	if (pieces->len > 0)
		ends[n++] = pieces->len;
	for (i = 0; i < template->attribute_count; i++) {
		size_t mark = der_begin(pieces, DER_SEQUENCE);

		if (put_oid(pieces, template->attributes[i], e) != 0)
			return -1;
		der_put(pieces, DER_SET, bytes_of(NULL, 0));
		der_end(pieces, mark);
		ends[n++] = pieces->len;
	}
	*count = n;
	return 0;
}

/* [1] IMPLICIT SET OF Attribute: X.690, section 11.6 wants them in ascending order. It is there even when empty. */
static int
put_attributes(struct buf *out, const struct est_csr_template *template, struct err *e)
{
	CLEANUP(buf) struct buf pieces = { 0 };
	struct bytes sorted[EST_TEMPLATE_LIST_MAX + 1];
	size_t ends[EST_TEMPLATE_LIST_MAX + 1], count = 0, at = 0, mark, i;

	if (put_pieces(template, &pieces, ends, &count, e) != 0)
		return -1;
	if (buf_failed(&pieces))
		return err_set(e, ERR_NOMEM, "attributes: no memory");
	for (i = 0; i < count; i++) {
		sorted[i] = bytes_of(pieces.at + at, ends[i] - at);
		at = ends[i];
	}
	qsort(sorted, count, sizeof sorted[0], by_octets);
	mark = der_begin(out, DER_CONTEXT_CONS(1));
	for (i = 0; i < count; i++)
		buf_append_bytes(out, sorted[i]);
	der_end(out, mark);
	return 0;
}

static int
check_counts(const struct est_csr_template *template, struct err *e)
{
	if (template->subject_count > EST_TEMPLATE_LIST_MAX || template->eku_count > EST_TEMPLATE_LIST_MAX ||
	    template->extension_count > EST_TEMPLATE_LIST_MAX || template->attribute_count > EST_TEMPLATE_LIST_MAX)
		return err_set(e, ERR_LIMIT, "a list of more than %d", EST_TEMPLATE_LIST_MAX);
	return 0;
}

int
csrattrs_template_put(const struct est_csr_template *template, struct buf *out, struct err *e)
{
	static const uint8_t version = 0; /* section 3.4: the version is v1, which PKCS #10 writes as 0 */
	size_t attribute = der_begin(out, DER_SEQUENCE), set, info;

	if (check_counts(template, e) != 0)
		return err_prefix(e, "template");
	der_put_oid(out, EST_OID_REQUEST_TEMPLATE);
	set = der_begin(out, DER_SET);
	info = der_begin(out, DER_SEQUENCE);
	der_put(out, DER_INTEGER, bytes_of(&version, 1));
	if (put_subject(out, template, e) != 0 || put_key(out, template, e) != 0 ||
	    put_attributes(out, template, e) != 0)
		return err_prefix(e, "template");
	der_end(out, info);
	der_end(out, set);
	der_end(out, attribute);
	return 0;
}
