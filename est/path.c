#include "est/path.h"

#include <string.h>

/* RFC 7030, section 3.2.2: "/.well-known/est", then perhaps one segment of the server's choice. */
static const char prefix[] = "/.well-known/est/";

static const struct {
	enum est_op op;
	const char *name;
	const char *method;
} operations[] = {
	{ EST_OP_CACERTS, "cacerts", "GET" },
	{ EST_OP_SIMPLEENROLL, "simpleenroll", "POST" },
	{ EST_OP_SIMPLEREENROLL, "simplereenroll", "POST" },
	{ EST_OP_SERVERKEYGEN, "serverkeygen", "POST" },
	{ EST_OP_CSRATTRS, "csrattrs", "GET" },
	{ EST_OP_NONCE, "nonce", "POST" },
	{ EST_OP_TPM_BIND, "tpm-bind", "POST" },
};

#define OPERATIONS (sizeof operations / sizeof operations[0])

const char *
est_op_name(enum est_op op)
{
	size_t i;

	for (i = 0; i < OPERATIONS; i++)
		if (operations[i].op == op)
			return operations[i].name;
	return "";
}

enum est_op
est_op_of(struct bytes name)
{
	size_t i;

	for (i = 0; i < OPERATIONS; i++)
		if (bytes_equal_text(name, operations[i].name))
			return operations[i].op;
	return EST_OP_NONE;
}

const char *
est_op_method(enum est_op op)
{
	size_t i;

	for (i = 0; i < OPERATIONS; i++)
		if (operations[i].op == op)
			return operations[i].method;
	return "";
}

/* RFC 3986, section 2.3. */
static bool
is_unreserved(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
		c == '.' || c == '_' || c == '~';
}

/* The next character of a label, percent-decoded; 0 when none belongs there. */
static uint8_t
label_octet(struct cursor *c)
{
	uint8_t octet = cursor_u8(c);
	struct bytes digits;
	struct err ignored;

	if (octet == '%') {
		digits = cursor_take(c, 2);
		if (hex_decode(digits, &octet, 1, &ignored) != 0)
			return 0;
	}
	return is_unreserved(octet) ? octet : 0;
}

static bool
read_label(struct bytes segment, char out[EST_LABEL_MAX + 1])
{
	struct cursor c = cursor_of(segment);
	struct bytes label;
	size_t n = 0;

	while (cursor_left(&c) > 0) {
		uint8_t octet = label_octet(&c);

		if (octet == 0 || n == EST_LABEL_MAX)
			return false;
		out[n++] = (char)octet;
	}
	out[n] = '\0';
	label = bytes_of(out, n);
	/* RFC 7030, section 3.2.2: "the CA label MUST NOT be the same as any defined operation path segment". */
	return n > 0 && est_op_of(label) == EST_OP_NONE && !bytes_equal_text(label, "fullcmc") &&
		!bytes_equal_text(label, ".") && !bytes_equal_text(label, "..");
}

int
est_path_parse(struct bytes path, struct est_route *out, struct err *e)
{
	struct est_route route = { 0 };
	struct cursor c = cursor_of(path);
	struct bytes start = cursor_take(&c, sizeof prefix - 1);
	struct bytes first, last;

	if (!bytes_equal_text(start, prefix))
		return err_set(e, ERR_UNSUPPORTED, "the path does not start with %s", prefix);
	last = bytes_of(c.at, cursor_left(&c));
	first = cursor_until(&c, '/');
	if (!c.failed) {
		if (!read_label(first, route.label))
			return err_set(e, ERR_UNSUPPORTED, "the path holds no possible label");
		last = bytes_of(c.at, cursor_left(&c));
	}
	route.op = est_op_of(last);
	if (route.op == EST_OP_NONE)
		return err_set(e, ERR_UNSUPPORTED, "the path names no EST operation");
	*out = route;
	return 0;
}
