#include "scep/query.h"

#include "scep/internal.h"

/* What a keyword says besides algorithms. */
#define POST    (1u << 16)
#define RENEWAL (1u << 17)
#define NEXT    (1u << 18)

/*
 * RFC 8894, section 3.5.2, and SHA-384, without which strongSwan's pki does
 * not go on. A keyword is written when all it says is true.
 */
static const struct {
	const char *keyword;
	unsigned says;
} keywords[] = {
	{ "AES", SCEP_AES128 },
	{ "DES3", SCEP_3DES },
	{ "GetNextCACert", NEXT },
	{ "POSTPKIOperation", POST },
	{ "Renewal", RENEWAL },
	{ "SCEPStandard", SCEP_AES128 | SCEP_SHA256 | POST },
	{ "SHA-1", SCEP_SHA1 },
	{ "SHA-256", SCEP_SHA256 },
	{ "SHA-384", SCEP_SHA384 },
	{ "SHA-512", SCEP_SHA512 },
};

#define KEYWORDS (sizeof keywords / sizeof keywords[0])

void
scep_caps_write(struct buf *out, unsigned allowed, bool renewal, bool next)
{
	unsigned true_here = (allowed & (SCEP_DIGESTS | SCEP_CIPHERS)) | POST | (renewal ? RENEWAL : 0) |
		(next ? NEXT : 0);
	size_t i;

	for (i = 0; i < KEYWORDS; i++)
		if ((keywords[i].says & ~true_here) == 0)
			buf_printf(out, "%s\n", keywords[i].keyword);
}

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static unsigned
line_says(struct bytes line)
{
	size_t i;

	while (line.len > 0 && is_blank(line.at[line.len - 1]))
		line.len--;
	while (line.len > 0 && is_blank(line.at[0]))
		line = bytes_of(line.at + 1, line.len - 1);
	/* "clients SHOULD ignore the text case when processing this message" */
	for (i = 0; i < KEYWORDS; i++)
		if (scep_same_but_case(line, bytes_of_text(keywords[i].keyword)))
			return keywords[i].says;
	return 0;
}

void
scep_caps_parse(struct bytes text, struct scep_caps *out)
{
	struct cursor c = cursor_of(text);
	unsigned says = 0;

	while (cursor_left(&c) > 0) {
		struct cursor at = c;
		struct bytes line = cursor_until(&c, '\n');

		if (c.failed)
			line = bytes_of(at.at, cursor_left(&at));
		says |= line_says(line);
	}
	*out = (struct scep_caps){
		.algorithms = says & (SCEP_DIGESTS | SCEP_CIPHERS),
		.post = (says & POST) != 0,
		.renewal = (says & RENEWAL) != 0,
		.next = (says & NEXT) != 0,
	};
}
