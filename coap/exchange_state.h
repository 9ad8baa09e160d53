/*
 * exchange_state.h - what a session's state machine remembers; only exchange.c and exchange_state.c look inside.
 */
#ifndef COAP_EXCHANGE_STATE_H
#define COAP_EXCHANGE_STATE_H

#include "coap/exchange.h"

enum coaps_past_state {
	PAST_FREE = 0,
	PAST_RUNNING,
	PAST_DELAYED,  /* running, and its empty acknowledgement is out */
	PAST_ANSWERED, /* reply is what was sent */
	PAST_SEPARATE, /* answered by a message of its own: a duplicate gets the empty acknowledgement */
};

/* A message that was seen. */
struct coaps_past {
	enum coaps_past_state state;
	uint32_t ticket;
	int64_t at_ms;
	bool confirmable, has_block1, has_block2;
	bool ran; /* a POST that was carried out: its duplicate must not be */
	bool secret; /* the payload is of a private key: overwritten as soon as nobody needs it */
	size_t offset; /* of the payload in its body */
	struct coaps_block block1, block2;
	struct coaps_target target;
	int accept;
	struct coaps_reply reply; /* id and token from the beginning */
	struct buf payload;
};

struct coaps_exchange_upload {
	struct coaps_upload *blocks; /* NULL: free */
	struct coaps_target target;
	int content_format, accept;
	int64_t at_ms;
};

/* The last answer that is longer than one block. */
struct coaps_exchange_download {
	bool present, secret;
	struct coaps_target target;
	int accept;
	int code;
	int content_format;
	int64_t max_age_s;
	int64_t at_ms;
	struct buf body;
};

struct coaps_exchange {
	struct coaps_exchange_limits limits;
	struct coaps_past past[COAPS_PAST_MAX];
	struct coaps_exchange_upload uploads[COAPS_UPLOADS_MAX];
	struct coaps_exchange_download download;
	uint32_t next_ticket;
	int64_t touched_ms;
};

void coaps_past_drop(struct coaps_past *past);
bool coaps_target_equal(const struct coaps_target *a, const struct coaps_target *b);
/* Overwrites the secret blocks of the same answer that come before past's. */
void coaps_exchange_wipe(struct coaps_exchange *x, const struct coaps_past *past);
/* Overwrites secrets that went out as messages of their own, or that nobody can be asking for any more. */
void coaps_exchange_wipe_sent(struct coaps_exchange *x, int64_t now_ms);
bool coaps_past_running(const struct coaps_past *past);
void coaps_exchange_upload_drop(struct coaps_exchange_upload *upload);
void coaps_exchange_download_drop(struct coaps_exchange_download *download);

#endif
