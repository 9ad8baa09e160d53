#include "scep/query.h"

#include "scep/internal.h"

static const struct {
	enum scep_operation operation;
	const char *name;
} operations[] = {
	{ SCEP_OP_GET_CA_CAPS, "GetCACaps" },
	{ SCEP_OP_GET_CA_CERT, "GetCACert" },
	{ SCEP_OP_GET_NEXT_CA_CERT, "GetNextCACert" },
	{ SCEP_OP_PKI_OPERATION, "PKIOperation" },
};

#define OPERATIONS (sizeof operations / sizeof operations[0])

const char *
scep_operation_name(enum scep_operation operation)
{
	size_t i;

	for (i = 0; i < OPERATIONS; i++)
		if (operations[i].operation == operation)
			return operations[i].name;
	return "";
}

static uint8_t
lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

bool
scep_same_but_case(struct bytes a, struct bytes b)
{
	size_t i;

	if (a.len != b.len)
		return false;
	for (i = 0; i < a.len; i++)
		if (lower(a.at[i]) != lower(b.at[i]))
			return false;
	return true;
}

static enum scep_operation
operation_of(struct bytes name)
{
	size_t i;

	for (i = 0; i < OPERATIONS; i++)
		if (bytes_equal_text(name, operations[i].name))
			return operations[i].operation;
	return SCEP_OP_NONE;
}

/* The values of the two parameters that count. */
struct parameters {
	struct bytes operation, message;
	bool has_operation, has_message;
};

static int
take_parameter(struct bytes parameter, struct parameters *out, struct err *e)
{
	struct cursor c = cursor_of(parameter);
	struct bytes name = cursor_until(&c, '='), value = bytes_of(c.at, cursor_left(&c));

	if (bytes_equal_text(name, "operation")) {
		if (out->has_operation)
			return err_set(e, ERR_MALFORMED, "the query names two operations");
		out->operation = value;
		out->has_operation = true;
	} else if (bytes_equal_text(name, "message")) {
		if (out->has_message)
			return err_set(e, ERR_MALFORMED, "the query holds two messages");
		out->message = value;
		out->has_message = true;
	}
	return 0;
}

static int
split(struct bytes query, struct parameters *out, struct err *e)
{
	struct cursor c = cursor_of(query);

	while (cursor_left(&c) > 0) {
		struct cursor at = c;
		struct bytes parameter = cursor_until(&c, '&');

		if (c.failed)
			parameter = bytes_of(at.at, cursor_left(&at));
		if (take_parameter(parameter, out, e) != 0)
			return -1;
	}
	return 0;
}

/*
 * What clients make of base64: base64url, "+" that arrived as a space, line
 * breaks, no padding. text gets it as RFC 4648, section 4 has it.
 */
static int
normalise(struct bytes value, struct buf *text, struct err *e)
{
	struct cursor c = cursor_of(value);

	while (cursor_left(&c) > 0) {
		uint8_t octet = cursor_u8(&c);

		if (octet == '%' && hex_decode(cursor_take(&c, 2), &octet, 1, e) != 0)
			return err_set(e, ERR_MALFORMED, "the message has a bad percent-encoding");
		if (octet == ' ' || octet == '-')
			octet = '+';
		else if (octet == '_')
			octet = '/';
		if (octet != '\r' && octet != '\n' && octet != '\t')
			buf_append_u8(text, octet);
	}
	while (text->len > 0 && text->at[text->len - 1] == '=')
		text->len--;
	if (text->len % 4 >= 2)
		buf_append(text, "==", 4 - text->len % 4);
	return 0;
}

static int
decode_message(const struct parameters *parameters, struct buf *message, struct err *e)
{
	CLEANUP(buf) struct buf text = { 0 };
	size_t mark = message->len;

	if (parameters->message.len == 0)
		return err_set(e, ERR_MALFORMED, "PKIOperation without a message");
	if (normalise(parameters->message, &text, e) != 0)
		return -1;
	if (buf_failed(&text))
		return err_set(e, ERR_NOMEM, "message: no memory");
	if (base64_decode(buf_bytes(&text), message, e) != 0) {
		message->len = mark;
		return -1;
	}
	return message->len > mark ? 0 : err_set(e, ERR_MALFORMED, "PKIOperation with an empty message");
}

int
scep_query_parse(struct bytes query, bool want_message, enum scep_operation *operation, struct buf *message,
	struct err *e)
{
	struct parameters parameters = { 0 };

	*operation = SCEP_OP_NONE;
	if (query.len > SCEP_QUERY_MAX)
		return err_set(e, ERR_LIMIT, "query of %zu octets; at most %d are allowed", query.len, SCEP_QUERY_MAX);
	if (split(query, &parameters, e) != 0)
		return -1;
	*operation = operation_of(parameters.operation);
	if (*operation == SCEP_OP_NONE)
		return err_set(e, ERR_UNSUPPORTED, "the query names no SCEP operation");
	return want_message && *operation == SCEP_OP_PKI_OPERATION ? decode_message(&parameters, message, e) : 0;
}

void
scep_query_write(struct buf *out, enum scep_operation operation, struct bytes message)
{
	CLEANUP(buf) struct buf text = { 0 };
	size_t i;

	buf_printf(out, "operation=%s", scep_operation_name(operation));
	if (message.len == 0)
		return;
	base64_encode(&text, message, 0);
	buf_append_text(out, "&message=");
	for (i = 0; i < text.len; i++) {
		uint8_t octet = text.at[i];

		/* Section 4.1: "may contain URI reserved characters; thus, it MUST be escaped". */
		if (octet == '+' || octet == '/' || octet == '=')
			buf_printf(out, "%%%02X", octet);
		else
			buf_append_u8(out, octet);
	}
	if (buf_failed(&text))
		out->failed = true;
}
