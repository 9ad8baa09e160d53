#include "est/csr.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/asn1t.h>
#include <openssl/err.h>

#include "est/proof.h"
#include "est/strict.h"

/*
 * d2i_X509_REQ() would decode the key through OpenSSL 3.0's decoder chain,
 * which costs more than verifying the signature. So the request has templates
 * of its own that keep the two parts whose octets matter as octets: what is
 * signed, and the key. (The macros want type names, hence the typedefs.)
 */
typedef struct {
	ASN1_STRING *info; /* the signed octets */
	X509_ALGOR *algorithm;
	ASN1_BIT_STRING *signature;
} CSR_OUTER;

ASN1_SEQUENCE(CSR_OUTER) = {
	ASN1_SIMPLE(CSR_OUTER, info, ASN1_SEQUENCE),
	ASN1_SIMPLE(CSR_OUTER, algorithm, X509_ALGOR),
	ASN1_SIMPLE(CSR_OUTER, signature, ASN1_BIT_STRING),
} static_ASN1_SEQUENCE_END(CSR_OUTER)

typedef struct {
	ASN1_INTEGER *version;
	X509_NAME *subject;
	ASN1_STRING *spki; /* SubjectPublicKeyInfo as octets */
	STACK_OF(X509_ATTRIBUTE) *attributes;
} CSR_INFO;

/* RFC 2986, section 4.1 does not make the attributes optional; encoders that leave them out exist. */
ASN1_SEQUENCE(CSR_INFO) = {
	ASN1_SIMPLE(CSR_INFO, version, ASN1_INTEGER),
	ASN1_SIMPLE(CSR_INFO, subject, X509_NAME),
	ASN1_SIMPLE(CSR_INFO, spki, ASN1_SEQUENCE),
	ASN1_IMP_SET_OF_OPT(CSR_INFO, attributes, X509_ATTRIBUTE, 0),
} static_ASN1_SEQUENCE_END(CSR_INFO)

static void
outer_free(CSR_OUTER *outer)
{
	ASN1_item_free((ASN1_VALUE *)outer, ASN1_ITEM_rptr(CSR_OUTER));
}
DEFINE_CLEANUP(outer, CSR_OUTER *, outer_free);

struct est_csr_source {
	uint8_t *der;
	CSR_INFO *info;
	uint8_t *linking;  /* estIdentityLinking, UTF-8 */
	uint8_t *password; /* challengePassword, UTF-8 */
};

void
est_csr_free(struct est_csr *csr)
{
	if (csr == NULL)
		return;
	EVP_PKEY_free(csr->key);
	extension_stack_free(csr->extensions);
	if (csr->source != NULL) {
		ASN1_item_free((ASN1_VALUE *)csr->source->info, ASN1_ITEM_rptr(CSR_INFO));
		OPENSSL_free(csr->source->linking);
		OPENSSL_free(csr->source->password);
		free(csr->source->der);
		free(csr->source);
	}
	free(csr);
}

/* Gives the request its source and its copy of the octets. */
static bool
keep_octets(struct est_csr *csr, struct bytes der)
{
	csr->source = calloc(1, sizeof *csr->source);
	if (csr->source == NULL)
		return false;
	csr->source->der = malloc(der.len);
	if (csr->source->der == NULL)
		return false;
	memcpy(csr->source->der, der.at, der.len);
	csr->der = bytes_of(csr->source->der, der.len);
	return true;
}

static struct bytes
string_bytes(const ASN1_STRING *s)
{
	return bytes_of(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
}

/* RFC 2985, section 5.4.1: a DirectoryString; IA5String is what some clients send. */
static int
text_value(const ASN1_TYPE *value, uint8_t **out, struct bytes *text, struct err *e)
{
	uint8_t *utf8 = NULL;
	int len = -1;

	switch (value->type) {
	case V_ASN1_PRINTABLESTRING:
	case V_ASN1_UTF8STRING:
	case V_ASN1_IA5STRING:
	case V_ASN1_T61STRING:
	case V_ASN1_BMPSTRING:
	case V_ASN1_UNIVERSALSTRING:
		len = ASN1_STRING_to_UTF8(&utf8, value->value.asn1_string);
		break;
	default:
		break;
	}
	*out = utf8;
	if (len < 0) {
		ERR_clear_error();
		return err_set(e, ERR_MALFORMED, "its value is not a character string");
	}
	if (len == 0)
		return err_set(e, ERR_MALFORMED, "its value is empty");
	if (len > EST_CHALLENGE_MAX)
		return err_set(e, ERR_LIMIT, "%d octets long; at most %d are allowed", len, EST_CHALLENGE_MAX);
	*text = bytes_of(utf8, (size_t)len);
	return 0;
}

static int
take_linking(struct est_csr *csr, const ASN1_TYPE *value, struct err *e)
{
	return text_value(value, &csr->source->linking, &csr->challenge, e);
}

static int
take_password(struct est_csr *csr, const ASN1_TYPE *value, struct err *e)
{
	struct bytes text = { 0 };

	if (text_value(value, &csr->source->password, &text, e) != 0)
		return -1;
	/* RFC 7894, section 4: clients may send both, for servers that know the old one only. */
	if (csr->source->linking == NULL)
		csr->challenge = text;
	return 0;
}

/* An empty identifier must not look like an absent one: the key would be sent in the clear. */
static int
key_id_value(const ASN1_TYPE *value, struct bytes *out, struct err *e)
{
	struct bytes id;

	if (value->type != V_ASN1_OCTET_STRING)
		return err_set(e, ERR_MALFORMED, "its value is not an OCTET STRING");
	id = string_bytes(value->value.octet_string);
	if (id.len == 0)
		return err_set(e, ERR_MALFORMED, "its value is empty");
	if (id.len > EST_KEY_ID_MAX)
		return err_set(e, ERR_LIMIT, "%zu octets long; at most %d are allowed", id.len, EST_KEY_ID_MAX);
	*out = id;
	return 0;
}

static int
take_decrypt_key_id(struct est_csr *csr, const ASN1_TYPE *value, struct err *e)
{
	return key_id_value(value, &csr->decrypt_key_id, e);
}

static int
take_asym_decrypt_key_id(struct est_csr *csr, const ASN1_TYPE *value, struct err *e)
{
	return key_id_value(value, &csr->asym_decrypt_key_id, e);
}

/* RFC 5280, section 4.2: "MUST NOT include more than one instance of a particular extension". */
static int
check_extensions(const STACK_OF(X509_EXTENSION) *extensions, struct err *e)
{
	int i, n = sk_X509_EXTENSION_num(extensions);

	if (n > EST_CSR_EXTENSIONS_MAX)
		return err_set(e, ERR_LIMIT, "%d extensions; at most %d are allowed", n,
			EST_CSR_EXTENSIONS_MAX);
	for (i = 0; i < n; i++) {
		const ASN1_OBJECT *oid = X509_EXTENSION_get_object(sk_X509_EXTENSION_value(extensions, i));

		if (X509v3_get_ext_by_OBJ(extensions, oid, -1) != i)
			return err_set(e, ERR_MALFORMED, "an extension stands there twice");
	}
	return 0;
}

/* What it says is for policy/attest to read; here it is one AttestationBundle, a SEQUENCE. */
static int
take_attestation(struct est_csr *csr, const ASN1_TYPE *value, struct err *e)
{
	if (value->type != V_ASN1_SEQUENCE)
		return err_set(e, ERR_MALFORMED, "its value is not a SEQUENCE");
	csr->attestation = string_bytes(value->value.sequence);
	return 0;
}

static int
take_extensions(struct est_csr *csr, const ASN1_TYPE *value, struct err *e)
{
	CLEANUP(extension_stack) STACK_OF(X509_EXTENSION) *extensions = NULL;
	struct bytes der;
	const uint8_t *p;

	if (csr->extensions != NULL)
		return err_set(e, ERR_MALFORMED, "both forms of it are present");
	if (value->type != V_ASN1_SEQUENCE)
		return err_set(e, ERR_MALFORMED, "its value is not a SEQUENCE");
	der = string_bytes(value->value.sequence);
	p = der.at;
	extensions = (STACK_OF(X509_EXTENSION) *)ASN1_item_d2i(NULL, &p, (long)der.len,
		ASN1_ITEM_rptr(X509_EXTENSIONS));
	if (extensions == NULL || p != der.at + der.len)
		return err_ossl(e, ERR_MALFORMED, "extensions");
	if (check_extensions(extensions, e) != 0)
		return -1;
	csr->extensions = extensions;
	extensions = NULL;
	return 0;
}

#define PKCS9 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09 /* 1.2.840.113549.1.9 */

/* The attributes this project reads, each with exactly one value. The rest is left alone. */
static const struct attribute_kind {
	uint8_t oid[12];
	size_t oid_len;
	const char *name;
	int (*take)(struct est_csr *csr, const ASN1_TYPE *value, struct err *e);
} kinds[] = {
	{ { PKCS9, 0x07 }, 9, "challengePassword", take_password },
	{ { PKCS9, 0x0e }, 9, "extensionRequest", take_extensions },
	/* 1.3.6.1.4.1.311.2.1.14: the same from Windows clients */
	{ { 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x0e }, 10, "extensionRequest (Microsoft)",
		take_extensions },
	{ { PKCS9, 0x10, 0x02, 0x25 }, 11, "decryptKeyIdentifier", take_decrypt_key_id },
	{ { PKCS9, 0x10, 0x02, 0x36 }, 11, "asymmetricDecryptKeyIdentifier", take_asym_decrypt_key_id },
	{ { PKCS9, 0x10, 0x02, 0x3a }, 11, "estIdentityLinking", take_linking },
	{ { PKCS9, 0x10, 0x02, 0x3b }, 11, "attestation", take_attestation },
};

#define KINDS (sizeof kinds / sizeof kinds[0])

static size_t
kind_of(const ASN1_OBJECT *oid)
{
	struct bytes is = bytes_of(OBJ_get0_data(oid), OBJ_length(oid));
	size_t i;

	for (i = 0; i < KINDS; i++)
		if (bytes_equal(is, bytes_of(kinds[i].oid, kinds[i].oid_len)))
			break;
	return i;
}

static int
take_attribute(struct est_csr *csr, X509_ATTRIBUTE *attribute, unsigned *seen, struct err *e)
{
	size_t kind = kind_of(X509_ATTRIBUTE_get0_object(attribute));

	if (kind == KINDS)
		return 0;
	if ((*seen & 1u << kind) != 0)
		return err_set(e, ERR_MALFORMED, "%s stands there twice", kinds[kind].name);
	*seen |= 1u << kind;
	if (X509_ATTRIBUTE_count(attribute) != 1)
		return err_set(e, ERR_MALFORMED, "%s has %d values; it must have one", kinds[kind].name,
			X509_ATTRIBUTE_count(attribute));
	if (kinds[kind].take(csr, X509_ATTRIBUTE_get0_type(attribute, 0), e) != 0)
		return err_prefix(e, "%s", kinds[kind].name);
	return 0;
}

static int
take_attributes(struct est_csr *csr, struct err *e)
{
	const STACK_OF(X509_ATTRIBUTE) *attributes = csr->source->info->attributes;
	unsigned seen = 0;
	int i, n = sk_X509_ATTRIBUTE_num(attributes); /* -1 when there are none */

	if (n > EST_CSR_ATTRS_MAX)
		return err_set(e, ERR_LIMIT, "%d attributes; at most %d are allowed", n, EST_CSR_ATTRS_MAX);
	for (i = 0; i < n; i++)
		if (take_attribute(csr, sk_X509_ATTRIBUTE_value(attributes, i), &seen, e) != 0)
			return -1;
	return 0;
}

static int
take_info(struct est_csr *csr, const ASN1_STRING *octets, struct err *e)
{
	struct bytes der = string_bytes(octets);
	const uint8_t *p = der.at;
	CSR_INFO *info;

	info = (CSR_INFO *)ASN1_item_d2i(NULL, &p, (long)der.len, ASN1_ITEM_rptr(CSR_INFO));
	csr->source->info = info;
	if (info == NULL || p != der.at + der.len)
		return err_ossl(e, ERR_MALFORMED, "CertificationRequestInfo");
	if (ASN1_INTEGER_get(info->version) != 0)
		return err_set(e, ERR_MALFORMED, "PKCS#10 request of a version other than 0");
	csr->subject = info->subject;
	csr->spki = string_bytes(info->spki);
	return take_attributes(csr, e);
}

static enum est_proof_rule
proof_rule(enum est_csr_mode mode)
{
	switch (mode) {
	case EST_CSR_PROVEN_SHA1:
		return EST_PROOF_SHA1;
	case EST_CSR_PROVEN_MD5:
		return EST_PROOF_MD5;
	case EST_CSR_PROVEN:
	case EST_CSR_IGNORE_KEY:
	case EST_CSR_STORED:
		break;
	}
	return EST_PROOF_SHA2;
}

static int
prove(struct est_csr *csr, const CSR_OUTER *outer, enum est_csr_mode mode, const struct rsa_public *known,
	struct err *e)
{
	CLEANUP(rsa_public) struct rsa_public *own = NULL;
	struct est_proof_key key = { 0 };

	/* The low three bits of flags count the unused bits of the last octet. */
	if ((outer->signature->flags & 0x07) != 0)
		return err_set(e, ERR_MALFORMED, "signature is not a whole number of octets");
	/* OpenSSL's key takes as long to make as the signature to verify. PSS needs one. */
	if (OBJ_obj2nid(outer->algorithm->algorithm) != NID_rsassaPss) {
		if (!rsa_public_is(known, csr->spki))
			known = own = rsa_public_new(csr->spki);
		key.rsa = known;
	}
	if (key.rsa != NULL)
		csr->facts = *rsa_public_facts(key.rsa);
	else if (key_from_spki(csr->spki, &csr->key, &csr->facts, e) != 0)
		return -1;
	key.key = csr->key;
	key.kind = csr->facts.kind;
	if (mode != EST_CSR_STORED && est_proof_check(string_bytes(outer->info), outer->algorithm, string_bytes(outer->signature), &key,
		    proof_rule(mode), e) != 0)
		return -1;
	return sha256(csr->spki, csr->spki_sha256, e);
}

int
est_csr_parse(struct bytes der, enum est_csr_mode mode, struct est_csr **out, struct err *e)
{
	return est_csr_parse_known(der, mode, NULL, out, e);
}

int
est_csr_parse_known(struct bytes der, enum est_csr_mode mode, const struct rsa_public *known, struct est_csr **out,
	struct err *e)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	CLEANUP(outer) CSR_OUTER *outer = NULL;
	const uint8_t *p = der.at;

	if (der.len > EST_CSR_MAX)
		return err_set(e, ERR_LIMIT, "request of %zu octets; at most %d are allowed", der.len,
			EST_CSR_MAX);
	if (est_der_check(der, e) != 0)
		return err_prefix(e, "PKCS#10 request");
	csr = calloc(1, sizeof *csr);
	if (csr == NULL || !keep_octets(csr, der))
		return err_set(e, ERR_NOMEM, "request: no memory");
	outer = (CSR_OUTER *)ASN1_item_d2i(NULL, &p, (long)der.len, ASN1_ITEM_rptr(CSR_OUTER));
	if (outer == NULL || p != der.at + der.len)
		return err_ossl(e, ERR_MALFORMED, "PKCS#10 request");
	if (take_info(csr, outer->info, e) != 0)
		return -1;
	if (mode != EST_CSR_IGNORE_KEY && prove(csr, outer, mode, known, e) != 0)
		return -1;
	if (sha256(csr->der, csr->sha256, e) != 0)
		return -1;
	*out = csr;
	csr = NULL;
	return 0;
}

int
est_csr_alt_names(const struct est_csr *csr, GENERAL_NAMES **out, struct err *e)
{
	CLEANUP(GENERAL_NAMES) GENERAL_NAMES *names = NULL;
	int at = X509v3_get_ext_by_NID(csr->extensions, NID_subject_alt_name, -1);
	struct bytes der;
	const uint8_t *p;

	if (at < 0) {
		*out = NULL;
		return 0;
	}
	if (X509v3_get_ext_by_NID(csr->extensions, NID_subject_alt_name, at) >= 0)
		return err_set(e, ERR_MALFORMED, "subjectAltName stands there twice");
	der = string_bytes(X509_EXTENSION_get_data(sk_X509_EXTENSION_value(csr->extensions, at)));
	p = der.at;
	names = d2i_GENERAL_NAMES(NULL, &p, (long)der.len);
	if (names == NULL || p != der.at + der.len)
		return err_ossl(e, ERR_MALFORMED, "subjectAltName");
	*out = names;
	names = NULL;
	return 0;
}
