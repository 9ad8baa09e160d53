/*
 * exchange.h - one session's exchanges as a state machine: requests in, what to do out.
 *
 * Knows duplicates by message id (RFC 7252, section 4.2), puts Block1 bodies
 * together, serves Block2 slices of the last answer, and remembers what was
 * answered. Pure: no libcoap, no I/O; time comes in. Belongs to one thread.
 */
#ifndef COAP_EXCHANGE_H
#define COAP_EXCHANGE_H

#include "coap/message.h"

#define COAPS_PAST_MAX       8      /* messages a session remembers, those under way included */
#define COAPS_RUNNING_MAX    4      /* requests of one session that run at a time; more is 5.03 */
#define COAPS_UPLOADS_MAX    2      /* bodies one session sends at a time; the older one gives way */
#define COAPS_PAST_MS        247000 /* RFC 7252, section 4.8.2: EXCHANGE_LIFETIME */
#define COAPS_SECRET_MS      60000  /* a private key's last block; RFC 7252, section 4.8.2: "MAX_TRANSMIT_SPAN" is 45 s */
#define COAPS_UPLOAD_IDLE_MS 60000  /* a body whose next block does not come is dropped */
#define COAPS_ANSWER_IDLE_MS 60000  /* an answer whose next block is not asked for is dropped */
#define COAPS_BUSY_MAX_AGE_S 5      /* of a 5.03 that is ours */
#define COAPS_LATE_MAX_AGE_S 10     /* of a 5.03 because the answer takes long */

/* The largest header: 4, token 8, Content-Format 3, Max-Age 5, Block2 4, Block1 5, Size1 6, payload marker 1. */
#define COAPS_HEADER_MAX 36

struct coaps_exchange;

struct coaps_exchange_limits {
	size_t body_max;
	size_t message_max; /* octets of a CoAP message that we send; at least COAPS_HEADER_MAX + 16 */
};

/* A message to send. The payload is the exchange's, until its next call. */
struct coaps_reply {
	enum { COAPS_SEND_ACK, COAPS_SEND_CON, COAPS_SEND_NON } as;
	uint16_t id; /* of the request; a message of its own (CON, NON) takes a new one */
	uint8_t token[COAPS_TOKEN_MAX];
	size_t token_len;
	int code; /* 205, ...; 0: an empty acknowledgement */
	int content_format;
	int64_t max_age_s; /* as in struct coaps_answer */
	bool has_block1, has_block2, has_size1;
	struct coaps_block block1, block2;
	uint32_t size1;
	struct bytes payload;
};

/* A whole request to run. */
struct coaps_run {
	uint32_t ticket; /* for coaps_exchange_answer() */
	int content_format, accept;
	struct buf body; /* the caller's */
};

enum coaps_step {
	COAPS_STEP_NOTHING,   /* drop it */
	COAPS_STEP_REPLY,     /* send *reply */
	COAPS_STEP_REPLAY,    /* the same, for a duplicate */
	COAPS_STEP_DUPLICATE, /* a duplicate that gets nothing */
	COAPS_STEP_RUN,       /* run *run, then coaps_exchange_answer() */
};

/* NULL: no memory. */
struct coaps_exchange *coaps_exchange_new(const struct coaps_exchange_limits *limits);
void coaps_exchange_free(struct coaps_exchange *x); /* NULL is allowed; everything is overwritten */

enum coaps_step coaps_exchange_feed(struct coaps_exchange *x, const struct coaps_message *message, int64_t now_ms,
	struct coaps_reply *reply, struct coaps_run *run);
/*
 * The answer to what ran. Takes answer->body over, and empties it. False: the ticket is
 * unknown, and nothing is to be sent.
 */
bool coaps_exchange_answer(struct coaps_exchange *x, uint32_t ticket, struct coaps_answer *answer, int64_t now_ms,
	struct coaps_reply *reply);
/* It takes longer: the empty acknowledgement to send. False: none is due (non-confirmable, or sent already). */
bool coaps_exchange_delay(struct coaps_exchange *x, uint32_t ticket, struct coaps_reply *reply);

/* Drops what is too old; returns how many uploads that were not complete. */
size_t coaps_exchange_expire(struct coaps_exchange *x, int64_t now_ms);
/* Drops bodies on their way in and out, to make room; returns the same. */
size_t coaps_exchange_forget(struct coaps_exchange *x);
size_t coaps_exchange_held(const struct coaps_exchange *x); /* octets of such bodies */
int64_t coaps_exchange_touched_ms(const struct coaps_exchange *x); /* the last message */
void coaps_exchange_touch(struct coaps_exchange *x, int64_t now_ms);
/* A body on its way was touched at or after since_ms. */
bool coaps_exchange_moving(const struct coaps_exchange *x, int64_t since_ms);

#endif
