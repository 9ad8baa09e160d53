#include <string.h>

#include "base/der.h"
#include "base/tlv.h"
#include "scep/read.h"

/* AlgorithmIdentifier of an RSA signature: parameters absent or NULL (RFC 3279, section 2.2.1; RFC 4055, section 5). */
static const EVP_MD *
digest_of(struct bytes algorithm)
{
	static const uint8_t null[] = { 0x05, 0 };
	struct bytes contents, oid;

	if (!tlv_take(&algorithm, DER_SEQUENCE, &contents, NULL) || !tlv_take(&contents, DER_OID, &oid, NULL) ||
	    (contents.len != 0 && !bytes_equal(contents, bytes_of(null, sizeof null))))
		return NULL;
	return scep_signature_digest(oid);
}

/* Certificate (RFC 5280, section 4.1). */
static bool
take_outer(struct bytes der, struct scep_plain *out, struct bytes *tbs, struct bytes *algorithm)
{
	struct bytes outer, string;

	if (!tlv_take(&der, DER_SEQUENCE, &outer, NULL) || der.len != 0 ||
	    !tlv_take(&outer, DER_SEQUENCE, tbs, &out->tbs) || !tlv_take(&outer, DER_SEQUENCE, NULL, algorithm) ||
	    !tlv_take(&outer, DER_BIT_STRING, &string, NULL) || outer.len != 0 || string.len < 2 || string.at[0] != 0)
		return false;
	out->signature = bytes_of(string.at + 1, string.len - 1);
	out->digest = digest_of(*algorithm);
	return out->digest != NULL;
}

/* What may follow the key: unique identifiers and extensions. Each at most once, in order. */
static bool
is_end(struct bytes rest)
{
	(void)tlv_take(&rest, DER_CONTEXT(1), NULL, NULL);
	(void)tlv_take(&rest, DER_CONTEXT(2), NULL, NULL);
	(void)tlv_take(&rest, DER_CONTEXT_CONS(3), NULL, NULL);
	return rest.len == 0;
}

bool
scep_plain_read(struct bytes der, struct scep_plain *out)
{
	struct scep_plain plain = { 0 };
	struct bytes tbs, outer_algorithm, algorithm, subject;

	if (!take_outer(der, &plain, &tbs, &outer_algorithm))
		return false;
	(void)tlv_take(&tbs, DER_CONTEXT_CONS(0), NULL, NULL); /* version 1 has none */
	if (!tlv_take(&tbs, DER_INTEGER, NULL, &plain.serial) || !tlv_take(&tbs, DER_SEQUENCE, NULL, &algorithm) ||
	    !tlv_take(&tbs, DER_SEQUENCE, NULL, &plain.name) || !tlv_take(&tbs, DER_SEQUENCE, NULL, NULL) ||
	    !tlv_take(&tbs, DER_SEQUENCE, NULL, &subject) || !tlv_take(&tbs, DER_SEQUENCE, NULL, &plain.spki) ||
	    !is_end(tbs) || !bytes_equal(plain.name, subject) || !bytes_equal(algorithm, outer_algorithm))
		return false;
	*out = plain;
	return true;
}
