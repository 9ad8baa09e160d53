#include "coap/message.h"

#include <string.h>

#include "coap/formats.h"

/* RFC 7252, section 5.10, and RFC 7959, section 2.1. */
enum {
	OPTION_URI_HOST = 3,
	OPTION_URI_PORT = 7,
	OPTION_URI_PATH = 11,
	OPTION_CONTENT_FORMAT = 12,
	OPTION_URI_QUERY = 15,
	OPTION_ACCEPT = 17,
	OPTION_BLOCK2 = 23,
	OPTION_BLOCK1 = 27,
};

#define SEGMENTS_MAX 16

struct parser {
	struct coaps_message *out;
	struct bytes segments[SEGMENTS_MAX];
	size_t segment_count;
	size_t query_len;
	bool query_cut;
};

/* RFC 7252, section 5.4.6: the lowest bit says that who does not understand it must refuse. */
static bool
is_critical(uint16_t number)
{
	return (number & 1) != 0;
}

static bool
is_repeatable(uint16_t number)
{
	return number == OPTION_URI_PATH || number == OPTION_URI_QUERY;
}

/* RFC 7252, section 3.2; at most two octets here. False: too long. */
static bool
read_format(struct bytes value, int *out)
{
	struct cursor c = cursor_of(value);
	int number = 0;

	if (value.len > 2)
		return false;
	while (cursor_left(&c) > 0)
		number = number << 8 | cursor_u8(&c);
	*out = number;
	return true;
}

static void
add_query(struct parser *p, struct bytes value)
{
	char *query = p->out->query;
	size_t joint = p->query_len > 0 ? 1 : 0;

	if (p->query_len + joint + value.len > COAPS_QUERY_MAX || (value.len > 0 && memchr(value.at, 0, value.len))) {
		p->query_cut = true;
		return;
	}
	if (joint > 0)
		query[p->query_len++] = '&';
	if (value.len > 0)
		memcpy(query + p->query_len, value.at, value.len);
	p->query_len += value.len;
	query[p->query_len] = '\0';
}

/* 0: taken; -1: not understood. Code 400 instead of 402 where the option is known and its value is not possible. */
static int
take_option(struct parser *p, const struct coaps_option *option, int *code, struct err *e)
{
	struct coaps_message *out = p->out;

	switch (option->number) {
	case OPTION_URI_HOST:
	case OPTION_URI_PORT:
		return 0; /* there is one virtual server */
	case OPTION_URI_PATH:
		if (p->segment_count == SEGMENTS_MAX) {
			*code = 404;
			return err_set(e, ERR_UNSUPPORTED, "a path of more than %d segments", SEGMENTS_MAX);
		}
		p->segments[p->segment_count++] = option->value;
		return 0;
	case OPTION_URI_QUERY:
		add_query(p, option->value);
		return 0;
	case OPTION_CONTENT_FORMAT:
		return read_format(option->value, &out->content_format) ? 0
			: err_set(e, ERR_MALFORMED, "a Content-Format of %zu octets", option->value.len);
	case OPTION_ACCEPT:
		return read_format(option->value, &out->accept) ? 0
			: err_set(e, ERR_MALFORMED, "an Accept of %zu octets", option->value.len);
	case OPTION_BLOCK1:
		*code = 400;
		out->has_block1 = true;
		return coaps_block_decode(option->value, &out->block1, e);
	case OPTION_BLOCK2:
		*code = 400;
		out->has_block2 = true;
		return coaps_block_decode(option->value, &out->block2, e);
	default:
		/* If-Match and If-None-Match among them: nothing here has a condition to check. */
		return is_critical(option->number) ? err_set(e, ERR_UNSUPPORTED, "option %u", option->number) : 0;
	}
}

/* RFC 9148, section 4.5: 2.05 answers GET, 2.04 answers POST. A nonce is given to both. */
static bool
takes(enum coaps_op op, int method)
{
	bool fetches = op == COAPS_OP_NONE || op == COAPS_OP_CRTS || op == COAPS_OP_ATT;

	if (op == COAPS_OP_NONCE)
		return method == COAPS_GET || method == COAPS_POST;
	return method == (fetches ? COAPS_GET : COAPS_POST);
}

static int
find_target(const struct parser *p, int method, const char *const *roots, size_t root_count, int *code, struct err *e)
{
	struct coaps_target *target = &p->out->target;

	if (p->segment_count == 2 && bytes_equal_text(p->segments[0], ".well-known") &&
	    bytes_equal_text(p->segments[1], "core")) {
		target->op = COAPS_OP_NONE;
	} else {
		*code = 404;
		if (coaps_path_parse(p->segments, p->segment_count, roots, root_count, &target->op, target->label, e) != 0)
			return -1;
	}
	*code = 405;
	if (!takes(target->op, method))
		return err_set(e, ERR_UNSUPPORTED, "the path is for %s", target->op == COAPS_OP_NONCE ? "GET and POST" :
			takes(target->op, COAPS_GET) ? "GET" : "POST");
	target->method = method;
	return 0;
}

/* What cannot be together in one request. */
static int
check_blocks(const struct coaps_message *m, int *code, struct err *e)
{
	*code = 400;
	/* RFC 7959, section 2.1: "Block1 is useful with the payload-bearing POST and PUT requests". */
	if (m->has_block1 && m->target.method != COAPS_POST)
		return err_set(e, ERR_MALFORMED, "Block1 in a GET");
	if (m->has_block1 && m->has_block2 && m->block2.num > 0)
		return err_set(e, ERR_MALFORMED, "blocks of both bodies at once");
	return 0;
}

int
coaps_message_parse(int method, const struct coaps_option *options, size_t count, const char *const *roots,
	size_t root_count, struct coaps_message *out, int *code, struct err *e)
{
	struct parser parser = { .out = out };
	size_t i;

	out->target = (struct coaps_target){ 0 };
	out->content_format = out->accept = COAPS_FORMAT_NONE;
	out->has_block1 = out->has_block2 = false;
	out->query[0] = '\0';
	*code = 402;
	if (count > COAPS_OPTIONS_MAX)
		return err_set(e, ERR_LIMIT, "more than %d options", COAPS_OPTIONS_MAX);
	for (i = 0; i < count; i++) {
		bool again = i > 0 && options[i].number == options[i - 1].number && !is_repeatable(options[i].number);

		/*
		 * RFC 7252, section 5.4.5: "each supernumerary option occurrence that appears subsequently in
		 * the message MUST be treated like an unrecognized option".
		 */
		*code = 402;
		if (again && is_critical(options[i].number))
			return err_set(e, ERR_MALFORMED, "option %u more than once", options[i].number);
		if (!again && take_option(&parser, &options[i], code, e) != 0)
			return -1;
	}
	if (find_target(&parser, method, roots, root_count, code, e) != 0)
		return -1;
	*code = 400;
	if (parser.query_cut && out->target.op == COAPS_OP_NONE)
		return err_set(e, ERR_LIMIT, "a query of more than %d octets, or with a NUL", COAPS_QUERY_MAX);
	return check_blocks(out, code, e);
}
