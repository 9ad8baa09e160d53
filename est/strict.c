#include "est/strict.h"

#include <openssl/asn1.h>

#include "base/ossl.h"

/* What ASN1_get_object() returns beside V_ASN1_CONSTRUCTED. */
#define HEADER_BAD        0x80
#define HEADER_INDEFINITE 0x01

struct element {
	const uint8_t *at; /* contents */
	const uint8_t *end;
	int tag;
	int class;
	bool constructed;
};

static int
check_universal(const struct element *v, struct err *e)
{
	bool nests = v->tag == V_ASN1_SEQUENCE || v->tag == V_ASN1_SET;

	if (v->tag == V_ASN1_EOC)
		return err_set(e, ERR_MALFORMED, "not DER: end-of-contents octets");
	if (v->constructed != nests)
		return err_set(e, ERR_MALFORMED, "not DER: type %d is %s", v->tag,
			v->constructed ? "constructed" : "primitive");
	if (v->tag == V_ASN1_BOOLEAN &&
	    (v->end - v->at != 1 || (v->at[0] != 0x00 && v->at[0] != 0xff)))
		return err_set(e, ERR_MALFORMED, "not DER: a boolean that is neither 00 nor FF");
	return 0;
}

static int
read_element(const uint8_t *at, const uint8_t *end, struct element *out, struct err *e)
{
	const uint8_t *p = at;
	long len = 0;
	int flags = ASN1_get_object(&p, &len, &out->tag, &out->class, end - at);

	if ((flags & HEADER_BAD) != 0)
		return err_ossl(e, ERR_MALFORMED, "not DER");
	if ((flags & HEADER_INDEFINITE) != 0)
		return err_set(e, ERR_MALFORMED, "not DER: indefinite length");
	out->constructed = (flags & V_ASN1_CONSTRUCTED) != 0;
	if (ASN1_object_size(out->constructed, (int)len, out->tag) != p - at + len)
		return err_set(e, ERR_MALFORMED, "not DER: a tag or length is not minimal");
	out->at = p;
	out->end = p + len;
	return out->class == V_ASN1_UNIVERSAL ? check_universal(out, e) : 0;
}

int
est_der_check(struct bytes der, struct err *e)
{
	const uint8_t *ends[EST_DER_DEPTH_MAX];
	const uint8_t *p = der.at;
	struct element v = { 0 };
	size_t depth = 0;

	if (der.len == 0 || der.len > BUF_MAX)
		return err_set(e, ERR_MALFORMED, "not DER: %zu octets", der.len);
	ends[0] = der.at + der.len;
	do {
		if (read_element(p, ends[depth], &v, e) != 0)
			return -1;
		if (depth == 0 && v.end != ends[0])
			return err_set(e, ERR_MALFORMED, "%td octets after the end", ends[0] - v.end);
		p = v.end;
		if (v.constructed) {
			if (++depth == EST_DER_DEPTH_MAX)
				return err_set(e, ERR_LIMIT, "nested deeper than %d", EST_DER_DEPTH_MAX);
			ends[depth] = v.end;
			p = v.at;
		}
		while (depth > 0 && p == ends[depth])
			depth--;
	} while (depth > 0);
	return 0;
}
