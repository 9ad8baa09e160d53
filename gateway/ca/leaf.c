#include "gateway/ca/leaf.h"

#include <openssl/asn1t.h>

#define LEAF_MAX 65536 /* octets; the largest sensible certificate has a tenth */

DECLARE_ASN1_ITEM(LEAF_TBS)
DECLARE_ASN1_ITEM(LEAF)

ASN1_SEQUENCE_enc(LEAF_TBS, enc, 0) = {
	ASN1_EXP_OPT(LEAF_TBS, version, ASN1_INTEGER, 0),
	ASN1_SIMPLE(LEAF_TBS, serial, ASN1_INTEGER),
	ASN1_SIMPLE(LEAF_TBS, signature, X509_ALGOR),
	ASN1_SIMPLE(LEAF_TBS, issuer, ASN1_ANY),
	ASN1_SIMPLE(LEAF_TBS, validity, X509_VAL),
	ASN1_SIMPLE(LEAF_TBS, subject, X509_NAME),
	ASN1_SIMPLE(LEAF_TBS, key, ASN1_ANY),
	ASN1_IMP_OPT(LEAF_TBS, issuer_uid, ASN1_BIT_STRING, 1),
	ASN1_IMP_OPT(LEAF_TBS, subject_uid, ASN1_BIT_STRING, 2),
	ASN1_EXP_SEQUENCE_OF_OPT(LEAF_TBS, extensions, X509_EXTENSION, 3),
} ASN1_SEQUENCE_END_enc(LEAF_TBS, LEAF_TBS)

ASN1_SEQUENCE(LEAF) = {
	ASN1_SIMPLE(LEAF, tbs, LEAF_TBS),
	ASN1_SIMPLE(LEAF, algorithm, X509_ALGOR),
	ASN1_SIMPLE(LEAF, signature, ASN1_BIT_STRING),
} ASN1_SEQUENCE_END(LEAF)

int
leaf_parse(struct bytes der, LEAF **out, struct err *e)
{
	CLEANUP(leaf) LEAF *leaf = NULL;
	const uint8_t *p = der.at;

	if (der.len == 0 || der.len > LEAF_MAX)
		return err_set(e, ERR_MALFORMED, "certificate of %zu octets", der.len);
	leaf = (LEAF *)ASN1_item_d2i(NULL, &p, (long)der.len, ASN1_ITEM_rptr(LEAF));
	if (leaf == NULL)
		return err_ossl(e, ERR_MALFORMED, "certificate");
	if (p != der.at + der.len)
		return err_set(e, ERR_MALFORMED, "%td octets after the certificate", der.at + der.len - p);
	*out = leaf;
	leaf = NULL;
	return 0;
}

struct bytes
leaf_octets(const ASN1_TYPE *any)
{
	if (any->type != V_ASN1_SEQUENCE)
		return bytes_of(NULL, 0);
	return bytes_of(ASN1_STRING_get0_data(any->value.sequence), (size_t)ASN1_STRING_length(any->value.sequence));
}

bool
leaf_has_key(const LEAF *leaf, struct bytes spki)
{
	struct bytes found = leaf_octets(leaf->tbs->key);

	return found.len != 0 && bytes_equal(found, spki);
}

int
leaf_encode(const LEAF *leaf, struct buf *out, struct err *e)
{
	uint8_t *der = NULL;
	int len = ASN1_item_i2d((const ASN1_VALUE *)leaf, &der, ASN1_ITEM_rptr(LEAF));

	if (len > 0)
		buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	return len > 0 && !buf_failed(out) ? 0 : err_ossl(e, ERR_NOMEM, "certificate");
}

void
leaf_free(LEAF *leaf)
{
	ASN1_item_free((ASN1_VALUE *)leaf, ASN1_ITEM_rptr(LEAF));
}
