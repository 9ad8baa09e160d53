/*
 * coapc_exchange.h - one CoAP request and its whole answer: retransmission (RFC 7252, section 4.2),
 * piggybacked and separate responses (5.2), Block1 and Block2 (RFC 7959).
 *
 * Pure: datagrams and the time go in, datagrams come out. One request is under
 * way at a time (NSTART 1), every message with a token of its own.
 */
#ifndef DEVSIM_COAPC_EXCHANGE_H
#define DEVSIM_COAPC_EXCHANGE_H

#include "devsim/coapc_message.h"

#define COAPC_ACK_TIMEOUT_US 2000000 /* RFC 7252, section 4.8 */
#define COAPC_MAX_RETRANSMIT 4
#define COAPC_BODY_MAX       ((size_t)1 << 20) /* octets of an answer; more is ERR_LIMIT */
#define COAPC_MAX_AGE_S      60  /* of a response without the option (section 5.10.5) */

struct coapc_request {
	int code;                /* COAPC_GET or COAPC_POST */
	const char *path;        /* "/.well-known/est/sen"; begins with "/" */
	const char *query;       /* NULL: none */
	int content_format;      /* -1: none */
	int accept;              /* -1: none */
	struct bytes body;
	uint8_t szx;             /* size of blocks, to be sent and asked for */
};

struct coapc_answer {
	int code;                /* 0: there was none yet */
	int content_format;      /* -1: none */
	int64_t max_age_s;       /* -1: none */
	struct buf body;
	bool separate;           /* it came after an empty acknowledgement */
	uint64_t blocks;         /* messages it came in */
};

enum coapc_state {
	COAPC_IDLE,
	COAPC_RUNNING,
	COAPC_DONE,    /* the answer is there */
	COAPC_FAILED,  /* err: ERR_UPSTREAM no answer, ERR_MALFORMED not CoAP, ERR_LIMIT too big, ERR_NOMEM */
};

struct coapc_exchange {
	/* Set by the caller after coapc_exchange_init(). */
	int64_t ack_timeout_us;
	void (*trace)(void *arg, const char *mark, struct bytes message); /* NULL: none */
	void *trace_arg;

	/* For the caller to read. */
	enum coapc_state state;
	struct coapc_answer answer;
	struct err err;
	uint64_t sent, retransmitted, received, ignored; /* messages, since coapc_exchange_init() */

	/* The machine's own. */
	uint64_t random;
	uint16_t next_id;
	int code;
	char *path, *query;
	int content_format, accept;
	struct buf body;          /* of the request */
	size_t offset;            /* octets of it that the server has acknowledged */
	size_t length;            /* octets of it in the message under way */
	uint8_t szx;              /* of Block1 */
	uint8_t szx2;             /* of Block2 */
	bool ask_block2;          /* name a size in the request */
	uint32_t block2;          /* the number that is being fetched */
	uint8_t etag[COAPC_ETAG_MAX];
	size_t etag_len;
	struct buf message;       /* under way */
	uint16_t id;
	uint64_t token;
	bool to_send, acked;
	unsigned transmissions;
	int64_t timeout_us, timer_us;
	struct buf reply;         /* an acknowledgement or a reset to be sent */
	uint16_t seen[8];         /* confirmable responses that were taken: their repetitions are only acknowledged */
	size_t seen_count;
};

/* seed: any number; message ids, tokens and the jitter of timeouts follow from it. */
void coapc_exchange_init(struct coapc_exchange *x, uint64_t seed);
void coapc_exchange_free(struct coapc_exchange *x); /* the struct itself stays the caller's */
/* The transport is another from now on: what was under way is forgotten, the answer stays. */
void coapc_exchange_reset(struct coapc_exchange *x);

/* Begin a request, which is copied. Forgets the last answer. The state is COAPC_RUNNING, or COAPC_FAILED for want of memory. */
void coapc_exchange_begin(struct coapc_exchange *x, const struct coapc_request *request);
/* The next datagram to send, valid until the next call of any function here; len 0: none. Starts its timer. */
struct bytes coapc_exchange_output(struct coapc_exchange *x, int64_t now_us);
/* A datagram came; also good in COAPC_DONE and COAPC_IDLE, when there may be repetitions to acknowledge. */
void coapc_exchange_input(struct coapc_exchange *x, struct bytes in);
/* When coapc_exchange_tick() wants to be called; 0: not at all. */
int64_t coapc_exchange_timer_us(const struct coapc_exchange *x);
void coapc_exchange_tick(struct coapc_exchange *x, int64_t now_us);

#endif
