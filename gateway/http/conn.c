/* One client connection's life: handshake, request, answer, and again; or the end. */
#include "gateway/http/front_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/core/log.h"
#include "gateway/core/metrics.h"

static const struct timeval *
deadline_of(const struct conn *conn, enum conn_state state)
{
	const struct deadlines *d = &conn->loop->deadlines;

	switch (state) {
	case CONN_HANDSHAKE:
		return d->handshake;
	case CONN_IDLE:
		return d->idle;
	case CONN_HEAD:
		return d->header;
	case CONN_QUEUED:
		return d->queue;
	case CONN_BODY:
	case CONN_ANSWER: /* taking an answer may last as long as sending a request */
		return d->body;
	case CONN_LINGER:
		return d->linger;
	case CONN_BUSY:
		break;
	}
	return NULL;
}

/* Absolute: armed once for each visit of a state, so that octets trickling in do not put it off. */
void
conn_deadline(struct conn *conn, enum conn_state state)
{
	if (conn->timer_for == state)
		return;
	conn->timer_for = state;
	(void)event_add(&conn->timer, deadline_of(conn, state));
}

static void
start_idling(struct conn *conn)
{
	conn->state = CONN_IDLE;
	conn->timer_for = CONN_BUSY; /* none armed for what comes */
}

static void
read_on(struct conn *conn)
{
	if (!conn->reading)
		conn->reading = event_add(&conn->readable, NULL) == 0;
}

/* The answer is taken, or never will be. */
static void
drop_answer(struct conn *conn)
{
	(void)atomic_fetch_sub(&conn->loop->front->long_answers, conn->counted);
	conn->counted = 0;
	buf_free_secret(&conn->out);
}

void
conn_free(struct conn *conn)
{
	struct front_loop *loop = conn->loop;

	if (conn->state == CONN_QUEUED) {
		TAILQ_REMOVE(&loop->queue, conn, queue);
		loop->queued--;
		metric_add(METRIC_REQUESTS_QUEUED, -1);
	}
	TAILQ_REMOVE(&loop->conns, conn, all);
	(void)event_del(&conn->readable);
	(void)event_del(&conn->writable);
	(void)event_del(&conn->timer);
	SSL_free(conn->ssl);
	(void)close(conn->fd);
	front_facts_put(conn->facts);
	buf_free_secret(&conn->in);
	buf_free_secret(&conn->head);
	buf_free_secret(&conn->content);
	drop_answer(conn);
	peers_leave(loop->front->peers, conn->peer);
	(void)atomic_fetch_sub(&loop->front->open, 1);
	loop->open--;
	metric_add(METRIC_CONNECTIONS_OPEN, -1);
	free(conn);
	loop_conn_gone(loop);
}

static void
start_answer(struct conn *conn, bool close_it)
{
	conn->close_after = close_it || !conn->persists || conn->loop->stopping;
	buf_clear(&conn->out);
	conn->out_at = 0;
	conn->state = CONN_ANSWER;
}

static enum answer_connection
connection_after(const struct conn *conn)
{
	if (conn->close_after)
		return ANSWER_CLOSE;
	return conn->http10 ? ANSWER_KEEP_1_0 : ANSWER_KEEP;
}

void
conn_answer_text(struct conn *conn, int status, const char *text, bool close_it)
{
	start_answer(conn, close_it);
	answer_text(status, text, status == 503 ? BUSY_RETRY_AFTER_S : 0, conn->is_head, connection_after(conn),
		&conn->out);
}

void
conn_answered(struct conn *conn, const struct answer_head *head, struct bytes answer)
{
	atomic_size_t *total = &conn->loop->front->long_answers;

	/* A short question may have a long answer; who asks often and takes none must not fill the memory. */
	if (answer.len >= LONG_ANSWER && atomic_fetch_add(total, answer.len) + answer.len > LONG_ANSWERS_MAX) {
		(void)atomic_fetch_sub(total, answer.len);
		metric_add(METRIC_REQUESTS_REFUSED_TOTAL, 1);
		log_rare(LOG_LEVEL_WARN, "http", "long answers that nobody takes: answering 503");
		conn_answer_text(conn, 503, "busy", false);
		return;
	}
	conn->counted = answer.len >= LONG_ANSWER ? answer.len : 0;
	start_answer(conn, false);
	answer_copy(head, answer, connection_after(conn), &conn->out);
	if (buf_failed(&conn->out))
		conn_answer_text(conn, 503, "no memory", true);
}

/* Everything is said; wait for the client to have read it, for closing now could reset what is under way. */
static void
linger(struct conn *conn)
{
	wire_finish(conn);
	drop_answer(conn);
	buf_free_secret(&conn->in);
	conn->state = CONN_LINGER;
	conn_deadline(conn, CONN_LINGER);
	read_on(conn);
}

/* true: the answer is out. */
static bool
flush(struct conn *conn)
{
	while (conn->out_at < conn->out.len) {
		ssize_t n = wire_write(conn, conn->out.at + conn->out_at, conn->out.len - conn->out_at);

		if (n == WIRE_AGAIN) {
			(void)event_add(&conn->writable, NULL);
			conn_deadline(conn, CONN_ANSWER);
			return false;
		}
		if (n <= 0) {
			conn_free(conn);
			return false;
		}
		conn->out_at += (size_t)n;
	}
	if (conn->close_after) {
		linger(conn);
		return false;
	}
	/* An idle connection keeps no buffers: there may be thousands. */
	drop_answer(conn);
	buf_free_secret(&conn->content);
	buf_free_secret(&conn->head);
	if (conn->in.len == 0)
		buf_free_secret(&conn->in);
	start_idling(conn);
	return true;
}

/* Read once. true: something came. */
static bool
fill(struct conn *conn)
{
	uint8_t *scratch = conn->loop->scratch;
	ssize_t n = wire_read(conn, scratch, READ_SIZE);

	if (n > 0) {
		buf_append(&conn->in, scratch, (size_t)n);
		if (!buf_failed(&conn->in))
			return true;
	} else if (n == WIRE_AGAIN) {
		conn_deadline(conn, conn->state);
		read_on(conn);
		return false;
	} else if (n == WIRE_END)
		wire_finish(conn);
	conn_free(conn);
	return false;
}

/* true: the handshake is over. */
static bool
shake(struct conn *conn)
{
	int result = wire_handshake(conn);

	if (result == 1) {
		start_idling(conn);
		return true;
	}
	if (result == WIRE_BROKEN) {
		metric_add(METRIC_HANDSHAKES_FAILED_TOTAL, 1);
		conn_free(conn);
	}
	return false;
}

/* Until something has to be waited for; conn may be gone afterwards. */
static void
run(struct conn *conn, bool readable)
{
	for (;;) {
		switch (conn->state) {
		case CONN_HANDSHAKE:
			if (!shake(conn))
				return;
			/* The request may be there; if not, this read lets libssl give its buffer back. */
			readable = true;
			break;
		case CONN_IDLE:
		case CONN_HEAD:
		case CONN_BODY:
			if (conn_parse(conn))
				break;
			if (!readable && !wire_has_more(conn)) {
				conn_deadline(conn, conn->state);
				read_on(conn);
				return;
			}
			readable = false;
			if (!fill(conn))
				return;
			break;
		case CONN_ANSWER:
			if (!flush(conn))
				return;
			break;
		case CONN_QUEUED:
		case CONN_BUSY:
		case CONN_LINGER:
			return;
		}
	}
}

void
conn_advance(struct conn *conn)
{
	run(conn, false);
}

/* What still comes is thrown away, within limits. */
static void
drain(struct conn *conn)
{
	ssize_t n = recv(conn->fd, conn->loop->scratch, READ_SIZE, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	conn->drained += n > 0 ? (size_t)n : 0;
	if (n <= 0 || conn->drained > LINGER_OCTETS_MAX)
		conn_free(conn);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;

	(void)fd;
	(void)what;
	switch (conn->state) {
	case CONN_LINGER:
		drain(conn);
		break;
	case CONN_QUEUED:
	case CONN_BUSY:
	case CONN_ANSWER:
		/* The next request waits in the kernel until this one is answered. */
		(void)event_del(&conn->readable);
		conn->reading = false;
		break;
	case CONN_HANDSHAKE:
	case CONN_IDLE:
	case CONN_HEAD:
	case CONN_BODY:
		run(conn, true);
		break;
	}
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	run(arg, true);
}

static void
time_out(struct conn *conn, int status, const char *text, bool close_it)
{
	conn_answer_text(conn, status, text, close_it);
	run(conn, false);
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;

	(void)fd;
	(void)what;
	if (conn->timer_for != conn->state)
		return; /* it was armed for a state long left */
	switch (conn->state) {
	case CONN_HEAD:
		time_out(conn, 408, "the request header took too long", true);
		break;
	case CONN_BODY:
		time_out(conn, 408, "the request body took too long", true);
		break;
	case CONN_QUEUED:
		TAILQ_REMOVE(&conn->loop->queue, conn, queue);
		conn->loop->queued--;
		metric_add(METRIC_REQUESTS_QUEUED, -1);
		metric_add(METRIC_REQUESTS_REFUSED_TOTAL, 1);
		time_out(conn, 503, "busy", false);
		break;
	case CONN_HANDSHAKE:
		metric_add(METRIC_HANDSHAKES_FAILED_TOTAL, 1);
		conn_free(conn);
		break;
	case CONN_IDLE:
		wire_finish(conn);
		conn_free(conn);
		break;
	case CONN_ANSWER:
	case CONN_LINGER:
		conn_free(conn);
		break;
	case CONN_BUSY: /* has no deadline: the handler's own calls have */
		break;
	}
}

void
conn_begin(struct front_loop *loop, int fd, const struct sockaddr_storage *address, struct peer_key peer, bool tls)
{
	struct conn *conn = calloc(1, sizeof *conn);

	if (conn == NULL) {
		(void)close(fd);
		peers_leave(loop->front->peers, peer);
		(void)atomic_fetch_sub(&loop->front->open, 1);
		return;
	}
	conn->loop = loop;
	conn->fd = fd;
	conn->peer = peer;
	conn->address = *address;
	(void)event_assign(&conn->readable, loop->base, fd, EV_READ | EV_PERSIST, on_readable, conn);
	(void)event_assign(&conn->writable, loop->base, fd, EV_WRITE, on_writable, conn);
	(void)event_assign(&conn->timer, loop->base, -1, 0, on_deadline, conn);
	TAILQ_INSERT_TAIL(&loop->conns, conn, all);
	loop->open++;
	metric_add(METRIC_CONNECTIONS_OPEN, 1);
	metric_add(METRIC_CONNECTIONS_TOTAL, 1);
	start_idling(conn);
	if (tls)
		conn->state = CONN_HANDSHAKE;
	conn_deadline(conn, conn->state);
	read_on(conn);
}

void
conn_stopping(struct conn *conn)
{
	uint8_t octet;

	/* A request that has already arrived is served; the event that tells of it comes next. */
	if (conn->state != CONN_IDLE || wire_has_more(conn) ||
		recv(conn->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
		return;
	wire_finish(conn);
	conn_free(conn);
}

const struct conn_facts *
conn_facts_of(struct conn *conn)
{
	struct sockaddr_storage address = { 0 };
	socklen_t len = sizeof address;
	struct conn_facts *facts;
	struct err e;

	if (conn->facts != NULL)
		return conn->facts;
	facts = facts_new();
	if (facts == NULL)
		return NULL;
	peer_text(&conn->address, false, facts->peer, sizeof facts->peer);
	(void)getsockname(conn->fd, (struct sockaddr *)&address, &len);
	peer_text(&address, true, facts->local, sizeof facts->local);
	if (conn->ssl != NULL && tls_facts(conn->ssl, facts, &e) != 0) {
		log_rare(LOG_LEVEL_ERROR, "http", "%s: %s", facts->peer, e.text);
		front_facts_put(facts);
		return NULL;
	}
	conn->facts = facts;
	return facts;
}
