/*
 * context.h - what the files around libcoap share: a context with its thread, its sessions, what they wait for.
 *
 * One thread owns a context and everything below it, except what is marked.
 */
#ifndef COAP_CONTEXT_H
#define COAP_CONTEXT_H

#include <pthread.h>
#include <stdatomic.h>

#include <coap3/coap.h>

#include "coap/bind.h"
#include "coap/dtls.h"
#include "coap/exchange.h"
#include "coap/pool.h"

#define COAPS_CONTEXTS_MAX 64
#define COAPS_HELD_MAX     ((size_t)16 << 20) /* octets of bodies under way, per context; then the stalest go */
#define COAPS_SWEEP_MS     5000
#define COAPS_DRAIN_MS     3000  /* while stopping, a body that did not move for so long is abandoned */
#define COAPS_RECORD_MAX   37    /* octets DTLS adds with AES-GCM: header 13, nonce 8, tag 16; CCM_8 adds 29 */
#define COAPS_RECEIVE_MAX  1472  /* octets of a datagram that libcoap receives (COAP_RXBUFFER_SIZE) */
#define COAPS_MTU_MIN      256
/*
 * Times a flight of a handshake is sent again, after 1, 2, 4, ... seconds: a minute in all. libcoap's own four times are half
 * a minute, which one in three hundred handshakes exceeds where 15 % of the datagrams are lost.
 */
#define COAPS_FLIGHTS_MAX  5
#define COAPS_LIVELY_MS    1000  /* a connection that spoke so lately is not given up for a new ClientHello */

/* What all contexts of a server share. Any thread. */
struct coaps_common {
	struct coaps_settings settings; /* its pointers are ours */
	struct coaps_pool *pool;
	pthread_mutex_t policy_lock;
	struct coaps_policy *policy; /* under policy_lock */
	atomic_bool stopping;
	_Atomic int64_t stop_began_ms, stop_by_ms;
	_Atomic int64_t sessions, handshakes, handshakes_failed, requests, duplicates, uploads_dropped, refused_full;
	_Atomic int64_t superseded;
};

struct coaps_slot;
struct coaps_job;

/* The last ClientHello that came where a connection is already. */
struct coaps_hello {
	struct coaps_slot *slot; /* NULL: none */
	bool again; /* the next read of the connection's BIO gets it once more */
	size_t len;
	uint8_t octets[COAPS_RECEIVE_MAX];
};

struct coaps_context {
	struct coaps_common *common;
	coap_context_t *coap;
	int epoll, wake; /* wake: an eventfd that any thread may write */
	pthread_t thread;
	bool running; /* the thread exists */

	pthread_mutex_t done_lock;
	struct coaps_work *done; /* under done_lock: answered, in no order */

	struct coaps_slot *slots;         /* DTLS connections, handshakes included */
	int slot_count;
	struct coaps_job *jobs, *jobs_end; /* under way, the oldest first */
	struct coaps_job *waiting;         /* the oldest that may need an empty acknowledgement */
	struct coaps_job *hopeful;         /* the oldest that has not been told to ask again */
	size_t held;
	int64_t sweep_ms;
	struct coaps_hello hello;
};

/* One DTLS connection: lives as long as its SSL. */
struct coaps_slot {
	struct coaps_slot *before, *after;
	struct coaps_context *context;
	SSL *ssl;
	coap_session_t *session; /* NULL during the handshake */
	struct coaps_identity *identity;
	struct coaps_exchange *exchange;
	size_t held;
	int jobs;
	int64_t answered_ms; /* when the last job was */
};

/* A request under way. */
struct coaps_job {
	struct coaps_work work; /* first: the pool knows only this */
	struct coaps_job *before, *after;
	struct coaps_context *context;
	struct coaps_slot *slot; /* NULL: the connection has ended, and nobody waits */
	coap_session_t *session; /* referenced; NULL with the slot */
	struct coaps_identity *identity;
	struct buf body;
	char query[COAPS_QUERY_MAX + 1];
	uint32_t ticket;
	int64_t since_ms;
	bool late; /* its client has been told to ask again */
};

int64_t coaps_now_ms(void);

/* context.c. The addresses have ports. */
MUST_USE int coaps_context_new(struct coaps_common *common, const struct coaps_address *listen, size_t count,
	struct coaps_context **out, struct err *e);
MUST_USE int coaps_context_start(struct coaps_context *context, struct err *e);
void coaps_context_wake(struct coaps_context *context); /* any thread */
void coaps_context_join(struct coaps_context *context);
void coaps_context_free(struct coaps_context *context); /* after its thread and the pool's; NULL is allowed */

/* session.c */
MUST_USE int coaps_sessions_setup(struct coaps_context *context, struct err *e);
/* Keeps the sum of what the session holds, and drops the stalest bodies above COAPS_HELD_MAX. */
void coaps_slot_account(struct coaps_slot *slot);
void coaps_slot_end(struct coaps_slot *slot); /* and with it the connection */
/* A message that is certainly the peer's came after since_ms. */
bool coaps_slot_said_something(const struct coaps_slot *slot, int64_t since_ms);
void coaps_sessions_sweep(struct coaps_context *context, int64_t now_ms);
bool coaps_sessions_moving(const struct coaps_context *context, int64_t now_ms);

/* hello.c */
void coaps_hello_watch(struct coaps_slot *slot);
/* After libcoap's turn: a device that proves to be at the address takes its old connection's place. */
void coaps_hello_consider(struct coaps_context *context, int64_t now_ms);

/* request.c */
MUST_USE int coaps_requests_setup(struct coaps_context *context, struct err *e);

/* jobs.c */
/* False: the queue is full. The body is taken either way. */
MUST_USE bool coaps_job_begin(struct coaps_slot *slot, const struct coaps_message *message, struct coaps_run *run,
	int64_t now_ms);
void coaps_job_done(struct coaps_work *work); /* a worker's thread */
void coaps_jobs_deliver(struct coaps_context *context, int64_t now_ms);
/* The same request of the same peer takes long already: another worker would be no quicker. */
bool coaps_job_is_known(const struct coaps_slot *slot, const struct coaps_message *message, struct bytes body);
/* Sends empty acknowledgements and 5.03 that are due; returns when the next one is, or INT64_MAX. */
int64_t coaps_jobs_delay(struct coaps_context *context, int64_t now_ms);
void coaps_jobs_forget_slot(struct coaps_context *context, const struct coaps_slot *slot);
void coaps_jobs_free(struct coaps_context *context);
void coaps_reply_send(struct coaps_slot *slot, const struct coaps_reply *reply);

/* log.c. Once, before any thread: libcoap's log handler is the process's. */
void coaps_log_setup(void);
/* What libcoap says on this thread goes there; NULL: nowhere. */
void coaps_log_to(void (*log)(int level, const char *text));

#endif
