#include "coap/formats.h"

#include <string.h>

static const struct {
	enum coaps_op op;
	const char *name;
} operations[] = {
	{ COAPS_OP_CRTS, "crts" },
	{ COAPS_OP_SEN, "sen" },
	{ COAPS_OP_SREN, "sren" },
	{ COAPS_OP_ATT, "att" },
	{ COAPS_OP_SKG, "skg" },
	{ COAPS_OP_SKC, "skc" },
	{ COAPS_OP_NONCE, "nonce" },
};

#define OPERATIONS (sizeof operations / sizeof operations[0])

/* RFC 9148, section 4.1: "The server MUST support the default /.well-known/est root resource." */
static const char default_root[] = "/.well-known/est";

const char *
coaps_op_name(enum coaps_op op)
{
	size_t i;

	for (i = 0; i < OPERATIONS; i++)
		if (operations[i].op == op)
			return operations[i].name;
	return "";
}

static enum coaps_op
op_of(struct bytes name)
{
	size_t i;

	for (i = 0; i < OPERATIONS; i++)
		if (bytes_equal_text(name, operations[i].name))
			return operations[i].op;
	return COAPS_OP_NONE;
}

/* RFC 3986, section 2.3: what a label may be made of, the same as over HTTPS. */
static bool
is_unreserved(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
		c == '.' || c == '_' || c == '~';
}

static bool
is_label(struct bytes segment)
{
	size_t i;

	if (segment.len == 0 || segment.len > EST_LABEL_MAX)
		return false;
	for (i = 0; i < segment.len; i++)
		if (!is_unreserved(segment.at[i]))
			return false;
	/* RFC 7030, section 3.2.2: "the CA label MUST NOT be the same as any defined operation path segment". */
	return op_of(segment) == COAPS_OP_NONE && est_op_of(segment) == EST_OP_NONE &&
		!bytes_equal_text(segment, "fullcmc") && !bytes_equal_text(segment, ".") &&
		!bytes_equal_text(segment, "..");
}

/* How many segments the root has when the path begins with all of them, else 0. */
static size_t
root_length(const char *root, const struct bytes *segments, size_t count)
{
	struct cursor c = cursor_of(bytes_of_text(root));
	size_t n = 0;

	if (cursor_u8(&c) != '/')
		return 0;
	while (cursor_left(&c) > 0) {
		const uint8_t *slash = memchr(c.at, '/', cursor_left(&c));
		size_t len = slash == NULL ? cursor_left(&c) : (size_t)(slash - c.at);

		if (n == count || !bytes_equal(cursor_take(&c, len), segments[n]))
			return 0;
		n++;
		(void)cursor_take(&c, cursor_left(&c) > 0 ? 1 : 0);
	}
	return n;
}

int
coaps_path_parse(const struct bytes *segments, size_t count, const char *const *roots, size_t root_count,
	enum coaps_op *op, char label[EST_LABEL_MAX + 1], struct err *e)
{
	size_t under = root_length(default_root, segments, count);
	enum coaps_op found;
	size_t i;

	/* The longest root wins, so that one root may lie below another. */
	for (i = 0; i < root_count; i++) {
		size_t n = root_length(roots[i], segments, count);

		if (n > under)
			under = n;
	}
	if (under == 0)
		return err_set(e, ERR_UNSUPPORTED, "the path lies below no EST root");
	if (count - under != 1 && count - under != 2)
		return err_set(e, ERR_UNSUPPORTED, "the path has %zu segments below its root", count - under);
	found = op_of(segments[count - 1]);
	if (found == COAPS_OP_NONE)
		return err_set(e, ERR_UNSUPPORTED, "the path names no EST operation");
	if (count - under == 2 && !is_label(segments[under]))
		return err_set(e, ERR_UNSUPPORTED, "the path holds no possible label");
	memset(label, 0, EST_LABEL_MAX + 1);
	if (count - under == 2)
		memcpy(label, segments[under].at, segments[under].len);
	*op = found;
	return 0;
}
