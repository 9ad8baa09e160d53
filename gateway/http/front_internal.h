/*
 * front_internal.h - the front's own structures: loops, connections, backends.
 *
 * A loop, its connections and its backends belong to one thread; nobody else
 * touches them. What loops share is in struct front: atomics, the table of
 * addresses and the TLS context, which has a lock.
 */
#ifndef GATEWAY_HTTP_FRONT_INTERNAL_H
#define GATEWAY_HTTP_FRONT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "gateway/http/answer.h"
#include "gateway/http/facts.h"
#include "gateway/http/front.h"
#include "gateway/http/peers.h"
#include "gateway/http/tls.h"

#define READ_SIZE 16384            /* one TLS record */
#define ACCEPT_BATCH 16
#define ACCEPT_PAUSE_MS 100        /* when out of file descriptors */
#define LINGER_S 2                 /* how long the client may take to read its last answer */
#define LINGER_OCTETS_MAX (1 << 20)
#define BUSY_RETRY_AFTER_S 5
#define SILENCE_OCTETS_MAX (32 * 1024) /* of TLS records without data: one whole record is half of that */
#define LISTEN_BACKLOG 4096
#define LONG_ANSWER (256 * 1024)          /* octets from which an answer is counted, as revocation lists are */
#define LONG_ANSWERS_MAX ((size_t)64 << 20) /* of those that clients have not taken yet; past it they get 503 */
#define LOOPS_MAX 64

enum conn_state {
	CONN_HANDSHAKE,
	CONN_IDLE,   /* between requests: not one octet of the next */
	CONN_HEAD,
	CONN_BODY,
	CONN_QUEUED, /* complete, waiting for a backend */
	CONN_BUSY,   /* a backend works on it */
	CONN_ANSWER, /* the answer is being written */
	CONN_LINGER, /* all is said; waiting for the client to close */
};

struct conn {
	TAILQ_ENTRY(conn) all, queue;
	struct front_loop *loop;
	struct peer_key peer;
	struct sockaddr_storage address; /* as accepted: a socket that was reset no longer tells */
	struct event readable, writable, timer;
	int fd;
	enum conn_state state;
	enum conn_state timer_for; /* the state the timer was armed in */
	bool reading;     /* readable is armed */
	bool broken;      /* the transport failed: say nothing more */
	bool close_after; /* the answer under way is the last */
	bool persists;    /* the client wants more after this request */
	bool http10, is_head;
	int requests;
	SSL *ssl;         /* NULL: plain, or not one octet yet */
	bool may_read;    /* libssl has not read from the socket in this turn */
	uint64_t heard;   /* octets read from the socket when data came last */
	const struct conn_facts *facts; /* NULL before the first request */
	struct buf in;    /* received and not yet used */
	size_t scanned, drained;
	size_t target_max; /* of the request whose head arrives; 0: not asked yet */
	struct buf head;  /* rebuilt, for the backend */
	size_t line_len;
	struct http_body body;
	struct buf content;
	struct buf out;
	size_t out_at;
	size_t counted;   /* octets of out that are in front's long_answers */
};

TAILQ_HEAD(conn_list, conn);

/* One kept-alive connection to CivetWeb. */
struct backend {
	SLIST_ENTRY(backend) idle;
	struct front_loop *loop;
	int fd;            /* -1: not open */
	struct event readable, writable;
	struct event failed; /* made active when sending failed: the caller's connection is in use just then */
	const char *failure;
	struct conn *conn; /* NULL: idle */
	char handle[FACTS_HANDLE_SIZE];
	struct buf out;
	size_t out_at;
	struct buf in;
	struct answer_head head;
	bool head_read;
};

/* The deadlines of a connection, as libevent's constant-time queues. */
struct deadlines {
	const struct timeval *handshake, *header, *body, *idle, *queue, *linger;
};

/* One loop watches one listener. */
struct acceptor {
	struct event event;
	struct front_loop *loop;
	size_t listener;
};

struct front_loop {
	struct front *front;
	pthread_t thread;
	bool started;
	struct event_base *base;
	int wake_fd;
	struct event wake, accept_pause, grace;
	struct acceptor *accepts; /* one for each listener */
	struct deadlines deadlines;
	struct conn_list conns, queue;
	int open, queued, queue_max;
	struct backend *backends;
	int backend_count;
	SLIST_HEAD(backend_list, backend) idle_backends;
	bool stopping;
	uint8_t scratch[READ_SIZE];
};

struct front {
	struct front_settings settings; /* without its pointers */
	pthread_mutex_t tls_lock;
	SSL_CTX *tls;
	int *listeners, *ports;
	size_t listen_count;
	size_t tls_count;     /* the first so many listeners speak TLS, the others do not */
	struct peers *peers;
	struct front_loop *loops;
	int loop_count;
	atomic_int open;      /* connections of all loops */
	atomic_size_t long_answers; /* octets of long answers not taken yet */
	atomic_int accepting; /* loops that still accept */
	atomic_bool stop;
	int64_t grace_s;      /* written before stop is */
};

/* loop.c */
MUST_USE int loop_open(struct front_loop *loop, struct front *front, int workers, int queue_max, struct err *e);
MUST_USE int loop_run(struct front_loop *loop, struct err *e); /* starts the thread */
void loop_stop(struct front_loop *loop); /* joins the thread */
void loop_close(struct front_loop *loop);
/* Called when a connection is gone: a stopping loop ends with its last one. */
void loop_conn_gone(struct front_loop *loop);

/* front.c: the present TLS context with a reference of the caller's; NULL: plain. */
SSL_CTX *front_tls_get(struct front *front);

/* conn.c */
void conn_begin(struct front_loop *loop, int fd, const struct sockaddr_storage *address, struct peer_key peer,
	bool tls);
void conn_free(struct conn *conn);
/* Go on: the answer in conn->out is ready, or a backend is free. */
void conn_advance(struct conn *conn);
/* The front's own answer, into conn->out. */
void conn_answer_text(struct conn *conn, int status, const char *text, bool close);
/* The backend's answer is complete. */
void conn_answered(struct conn *conn, const struct answer_head *head, struct bytes answer);
/* A stop began: close what is idle, let the rest finish. */
void conn_stopping(struct conn *conn);
/* The state changed to one with a deadline of its own. */
void conn_deadline(struct conn *conn, enum conn_state state);
/* Facts of the connection, made on first use. NULL: no memory. */
const struct conn_facts *conn_facts_of(struct conn *conn);

/* conn_request.c: parse what is in conn->in. The state says what came of it; true: something did. */
bool conn_parse(struct conn *conn);

/* wire.c: octets to and from the client. */
enum { WIRE_END = 0, WIRE_AGAIN = -1, WIRE_BROKEN = -2 };
/* 1: the handshake is complete, else WIRE_AGAIN or WIRE_BROKEN. */
int wire_handshake(struct conn *conn);
ssize_t wire_read(struct conn *conn, uint8_t *out, size_t size); /* octets, or WIRE_* */
ssize_t wire_write(struct conn *conn, const uint8_t *at, size_t len);
bool wire_has_more(const struct conn *conn); /* read from the socket, not yet given out */
void wire_finish(struct conn *conn);         /* close_notify and FIN: nothing more will be said */

/* backend.c */
void backend_init(struct backend *backend, struct front_loop *loop);
void backend_open_idle(struct backend *backend); /* best effort, at start */
void backend_close(struct backend *backend);
/* Hand the complete request to a backend, to the queue, or refuse it; sets conn->state. */
void backend_submit(struct conn *conn);

#endif
