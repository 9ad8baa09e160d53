/*
 * coapc_message.h - CoAP messages (RFC 7252, section 3) and their options, as a client reads and writes them. Pure.
 *
 * The prefix of the client is coapc_: coap_ is libcoap's, coaps_ the server's in coap/. Nothing but
 * the paths' names and the multipart body is shared with that server: so each is a witness against the other.
 */
#ifndef DEVSIM_COAPC_MESSAGE_H
#define DEVSIM_COAPC_MESSAGE_H

#include <stdio.h>

#include "base/bytes.h"

#define COAPC_TOKEN_MAX   8
#define COAPC_ETAG_MAX    8
#define COAPC_SZX_MAX     6     /* blocks of 1024 octets; 7 is reserved */
#define COAPC_MESSAGE_MAX 16384 /* octets; what a DTLS record holds */

enum coapc_type { COAPC_CON, COAPC_NON, COAPC_ACK, COAPC_RST };

/* Codes as decimals: class times 100 and detail, 205 is 2.05. */
#define COAPC_EMPTY     0
#define COAPC_GET       1
#define COAPC_POST      2
#define COAPC_CHANGED   204
#define COAPC_CONTENT   205
#define COAPC_CONTINUE  231
#define COAPC_TOO_LARGE 413

/* RFC 7252, section 5.10; RFC 7959, sections 2.1 and 4. */
enum coapc_option {
	COAPC_URI_HOST = 3,
	COAPC_ETAG = 4,
	COAPC_URI_PORT = 7,
	COAPC_URI_PATH = 11,
	COAPC_CONTENT_FORMAT = 12,
	COAPC_MAX_AGE = 14,
	COAPC_URI_QUERY = 15,
	COAPC_ACCEPT = 17,
	COAPC_BLOCK2 = 23,
	COAPC_BLOCK1 = 27,
	COAPC_SIZE2 = 28,
	COAPC_SIZE1 = 60,
};

struct coapc_block {
	uint32_t num;
	bool more;
	uint8_t szx;
};
size_t coapc_block_size(uint8_t szx); /* 16 to 1024 octets */

/* --- reading ------------------------------------------------------------- */

/* Borrows from the octets it was decoded from. */
struct coapc_message {
	enum coapc_type type;
	int code;
	uint16_t id;
	uint8_t token[COAPC_TOKEN_MAX];
	size_t token_len;
	struct bytes options, payload;

	/* The options of responses that a client knows. */
	int content_format;      /* -1: absent */
	int64_t max_age_s;       /* -1: absent */
	struct bytes etag;
	bool has_block1, has_block2;
	struct coapc_block block1, block2;
	unsigned critical;       /* number of a critical option that a response should not have; 0: none */
};

/* ERR_MALFORMED: "message format error" (section 3). */
MUST_USE int coapc_message_decode(struct bytes in, struct coapc_message *out, struct err *e);

/* Walks over options; *number starts as 0. False: there is no more. Only for options of a decoded message. */
bool coapc_option_next(struct cursor *c, unsigned *number, struct bytes *value);

/* --- writing ------------------------------------------------------------- */

/* Header and token, appended. */
void coapc_write_head(struct buf *out, enum coapc_type type, int code, uint16_t id, struct bytes token);
/* Options in the order of their numbers; *last starts as 0. */
void coapc_write_option(struct buf *out, unsigned *last, unsigned number, struct bytes value);
void coapc_write_uint(struct buf *out, unsigned *last, unsigned number, uint32_t value);
void coapc_write_block(struct buf *out, unsigned *last, unsigned number, const struct coapc_block *block);
/* The marker and the payload; nothing when it is empty. */
void coapc_write_payload(struct buf *out, struct bytes payload);

/* --- for people ---------------------------------------------------------- */

/* "> CON 0.02 POST id 7 /est/sen Content-Format 286, Block1 0/1/256; 256 octets" and a newline. */
void coapc_message_print(FILE *to, const char *mark, struct bytes message);
/* "2.05"; out holds COAPC_CODE_TEXT octets. */
#define COAPC_CODE_TEXT 8
void coapc_code_text(int code, char out[COAPC_CODE_TEXT]);

#endif
