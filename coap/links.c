#include "coap/formats.h"

#include <stdio.h>
#include <string.h>

/* RFC 9148, section 4.1, the example of a discovery response; a nonce has no resource type that is registered. */
static const struct {
	enum coaps_op op;
	const char *type, *formats;
	bool quoted;
} links[] = {
	{ COAPS_OP_CRTS, "ace.est.crts", "281 287", true },
	{ COAPS_OP_SEN, "ace.est.sen", "281 287", true },
	{ COAPS_OP_SREN, "ace.est.sren", "281 287", true },
	{ COAPS_OP_ATT, "ace.est.att", "285", false },
	{ COAPS_OP_SKG, "ace.est.skg", "62", false },
	{ COAPS_OP_SKC, "ace.est.skc", "62", false },
	{ COAPS_OP_NONCE, "", "60", false },
};

#define LINKS (sizeof links / sizeof links[0])

static const char default_root[] = "/.well-known/est";

struct link_text {
	char target[COAPS_ROOT_MAX + EST_LABEL_MAX + 8];
	const char *type, *formats;
};

/* RFC 6690, section 4.1: a pattern that ends in "*" matches every value with that prefix. */
static bool
pattern_matches(struct bytes pattern, struct bytes value)
{
	if (pattern.len > 0 && pattern.at[pattern.len - 1] == '*') {
		pattern.len--;
		if (value.len < pattern.len)
			return false;
		value.len = pattern.len;
	}
	return bytes_equal(pattern, value);
}

/* RFC 6690, section 4.1: of values separated by blanks, one has to match. */
static bool
any_matches(struct bytes pattern, const char *values)
{
	while (*values != '\0') {
		size_t len = strcspn(values, " ");

		if (pattern_matches(pattern, bytes_of(values, len)))
			return true;
		values += len;
		values += strspn(values, " ");
	}
	return false;
}

static bool
one_filter_passes(struct bytes filter, const struct link_text *link)
{
	const uint8_t *equals = filter.len == 0 ? NULL : memchr(filter.at, '=', filter.len);
	struct bytes name, pattern;

	if (equals == NULL)
		return false;
	name = bytes_of(filter.at, (size_t)(equals - filter.at));
	pattern = bytes_of(equals + 1, filter.len - name.len - 1);
	if (bytes_equal_text(name, "href"))
		return pattern_matches(pattern, bytes_of_text(link->target));
	if (bytes_equal_text(name, "rt"))
		return any_matches(pattern, link->type);
	if (bytes_equal_text(name, "ct"))
		return any_matches(pattern, link->formats);
	return false;
}

static bool
passes(struct bytes query, const struct link_text *link)
{
	while (query.len > 0) {
		const uint8_t *ampersand = memchr(query.at, '&', query.len);
		size_t len = ampersand == NULL ? query.len : (size_t)(ampersand - query.at);

		if (!one_filter_passes(bytes_of(query.at, len), link))
			return false;
		if (ampersand == NULL)
			return true;
		query = bytes_of(query.at + len + 1, query.len - len - 1);
	}
	return true;
}

static void
put_link(struct buf *out, const struct link_text *link, bool first, bool quoted)
{
	const char *quote = quoted ? "\"" : "";

	buf_printf(out, "%s<%s>", first ? "" : ",", link->target);
	if (link->type[0] != '\0')
		buf_printf(out, ";rt=\"%s\"", link->type);
	buf_printf(out, ";ct=%s%s%s", quote, link->formats, quote);
}

/* Appends the links below one root for one label; false when the payload is full. */
static bool
write_offer(struct buf *out, size_t start, const char *root, const struct coaps_offer *offer, struct bytes query)
{
	struct link_text link;
	size_t i;

	for (i = 0; i < LINKS; i++) {
		size_t before = out->len;

		if ((offer->ops >> links[i].op & 1) == 0)
			continue;
		(void)snprintf(link.target, sizeof link.target, "%s%s%s/%s", root, offer->label[0] == '\0' ? "" : "/",
			offer->label, coaps_op_name(links[i].op));
		link.type = links[i].type;
		link.formats = links[i].formats;
		if (!passes(query, &link))
			continue;
		put_link(out, &link, before == start, links[i].quoted);
		if (out->len - start > COAPS_BODY_MAX) {
			out->len = before;
			return false;
		}
	}
	return true;
}

void
coaps_links_write(struct buf *out, const char *const *roots, size_t root_count, const struct coaps_offer *offers,
	size_t offer_count, struct bytes query)
{
	size_t start = out->len;
	size_t r, i;

	for (r = 0; r <= root_count; r++) {
		const char *root = r < root_count ? roots[r] : default_root;

		for (i = 0; i < offer_count; i++)
			if (!write_offer(out, start, root, &offers[i], query))
				return;
	}
}
