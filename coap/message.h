/*
 * message.h - what a CoAP request asks for (RFC 7252, sections 5.4 and 5.10): options in, one struct out. Pure.
 */
#ifndef COAP_MESSAGE_H
#define COAP_MESSAGE_H

#include "coap/blockwise.h"

#define COAPS_OPTIONS_MAX 48  /* of one request; more is 4.02 */
#define COAPS_QUERY_MAX   255 /* of a discovery, its parts joined by "&" */
#define COAPS_TOKEN_MAX   8   /* RFC 7252, section 3 */

#define COAPS_GET  1
#define COAPS_POST 2

/* An option as received. */
struct coaps_option {
	uint16_t number;
	struct bytes value;
};

/* What a request is about: blocks of one body agree in it. */
struct coaps_target {
	int method;       /* COAPS_GET or COAPS_POST */
	enum coaps_op op; /* COAPS_OP_NONE: /.well-known/core */
	char label[EST_LABEL_MAX + 1];
};

struct coaps_message {
	/* Set by the caller. */
	bool confirmable;
	uint16_t id;
	uint8_t token[COAPS_TOKEN_MAX];
	size_t token_len;
	struct bytes payload; /* borrowed */

	/* Set by coaps_message_parse(). */
	struct coaps_target target;
	int content_format, accept; /* COAPS_FORMAT_NONE: absent */
	bool has_block1, has_block2;
	struct coaps_block block1, block2;
	char query[COAPS_QUERY_MAX + 1]; /* of a discovery */
};

/*
 * method is the code's detail (0.01 is 1). On failure *code is what to answer (402, 404, 405, ...), the
 * text is for the diagnostic payload, and the rest of *out is undefined.
 */
MUST_USE int coaps_message_parse(int method, const struct coaps_option *options, size_t count,
	const char *const *roots, size_t root_count, struct coaps_message *out, int *code, struct err *e);

#endif
