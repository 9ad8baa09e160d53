#include "scep/read.h"

/* What ASN1_get_object() returns beside V_ASN1_CONSTRUCTED. */
#define HEADER_BAD        0x80
#define HEADER_INDEFINITE 0x01

/* One value we are inside of. */
struct level {
	const uint8_t *end;
	bool open; /* of indefinite length: end-of-contents octets end it, end is only how far it may go */
};

struct header {
	const uint8_t *contents;
	long len;
	int tag, class;
	bool constructed, indefinite;
};

static int
read_header(const uint8_t *at, const uint8_t *end, struct header *out, struct err *e)
{
	const uint8_t *p = at;
	int flags = ASN1_get_object(&p, &out->len, &out->tag, &out->class, end - at);

	if ((flags & HEADER_BAD) != 0)
		return err_ossl(e, ERR_MALFORMED, "not BER");
	out->contents = p;
	out->constructed = (flags & V_ASN1_CONSTRUCTED) != 0;
	out->indefinite = (flags & HEADER_INDEFINITE) != 0;
	return 0;
}

static bool
ends_contents(const struct header *h)
{
	return h->tag == V_ASN1_EOC && h->class == V_ASN1_UNIVERSAL;
}

int
scep_scan(struct bytes ber, struct err *e)
{
	struct level levels[SCEP_DEPTH_MAX + 1];
	const uint8_t *p = ber.at;
	struct header h = { 0 };
	size_t depth = 0;

	if (ber.len == 0)
		return err_set(e, ERR_MALFORMED, "not BER: empty");
	if (ber.len > SCEP_MESSAGE_MAX)
		return err_set(e, ERR_LIMIT, "%zu octets; at most %d are allowed", ber.len, SCEP_MESSAGE_MAX);
	levels[0] = (struct level){ .end = ber.at + ber.len };
	do {
		if (read_header(p, levels[depth].end, &h, e) != 0)
			return -1;
		p = h.contents;
		if (ends_contents(&h)) {
			if (!levels[depth].open || h.constructed || h.len != 0)
				return err_set(e, ERR_MALFORMED, "not BER: end-of-contents octets");
			depth--;
		} else if (h.constructed) {
			if (depth++ == SCEP_DEPTH_MAX)
				return err_set(e, ERR_LIMIT, "nested deeper than %d", SCEP_DEPTH_MAX);
			levels[depth].open = h.indefinite;
			levels[depth].end = h.indefinite ? levels[depth - 1].end : p + h.len;
		} else
			p += h.len;
		while (depth > 0 && !levels[depth].open && p == levels[depth].end)
			depth--;
	} while (depth > 0);
	if (p != levels[0].end)
		return err_set(e, ERR_MALFORMED, "%td octets after the end", levels[0].end - p);
	return 0;
}
