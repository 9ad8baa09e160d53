/* The kept-alive connections to CivetWeb: one request at a time each, first come first served. */
#include "gateway/http/front_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/core/log.h"
#include "gateway/core/metrics.h"

#define REFUSAL_STATUS 400 /* and beyond */

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_failed(evutil_socket_t fd, short what, void *arg);

void
backend_init(struct backend *backend, struct front_loop *loop)
{
	*backend = (struct backend){ .loop = loop, .fd = -1 };
	(void)event_assign(&backend->failed, loop->base, -1, 0, on_failed, backend);
	SLIST_INSERT_HEAD(&loop->idle_backends, backend, idle);
}

/* Starts connecting; what is sent waits until that is done. */
static bool
open_socket(struct backend *backend)
{
	struct front_loop *loop = backend->loop;
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)loop->front->settings.backend_port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS) {
		(void)close(fd);
		return false;
	}
	backend->fd = fd;
	(void)event_assign(&backend->readable, loop->base, fd, EV_READ | EV_PERSIST, on_readable, backend);
	(void)event_assign(&backend->writable, loop->base, fd, EV_WRITE, on_writable, backend);
	(void)event_add(&backend->readable, NULL);
	return true;
}

void
backend_open_idle(struct backend *backend)
{
	if (backend->fd < 0 && !open_socket(backend))
		log_rare(LOG_LEVEL_WARN, "http", "the worker side cannot be reached");
}

static void
close_socket(struct backend *backend)
{
	if (backend->fd < 0)
		return;
	(void)event_del(&backend->readable);
	(void)event_del(&backend->writable);
	(void)close(backend->fd);
	backend->fd = -1;
}

void
backend_close(struct backend *backend)
{
	close_socket(backend);
	(void)event_del(&backend->failed);
	facts_remove(backend->handle);
	backend->handle[0] = '\0';
	buf_free_secret(&backend->out);
	buf_free_secret(&backend->in);
}

/* Requests carry secrets, and answers may carry private keys. */
static void
wipe(struct buf *b)
{
	if (b->at != NULL)
		OPENSSL_cleanse(b->at, b->len);
	buf_clear(b);
}

/* Give a backend the request of conn. */
static void
start(struct backend *backend, struct conn *conn)
{
	const struct conn_facts *facts = conn_facts_of(conn);
	struct buf *out = &backend->out;
	struct err e;

	conn->state = CONN_BUSY;
	backend->conn = conn;
	backend->out_at = 0;
	backend->head_read = false;
	backend->handle[0] = '\0';
	if (facts == NULL || facts_register(facts, backend->handle, &e) != 0)
		out->failed = true;
	buf_append(out, conn->head.at, conn->line_len);
	buf_printf(out, FRONT_HANDLE_HEADER ": %s\r\nContent-Length: %zu\r\n", backend->handle, conn->content.len);
	buf_append(out, conn->head.at + conn->line_len, conn->head.len - conn->line_len);
	buf_append_bytes(out, buf_bytes(&conn->content));
	if (buf_failed(&conn->head))
		out->failed = true;
}

/* The request is over, one way or the other: the connection is free for the next in the queue. */
static struct conn *
detach(struct backend *backend)
{
	struct conn *conn = backend->conn;

	facts_remove(backend->handle);
	backend->handle[0] = '\0';
	(void)event_del(&backend->failed);
	wipe(&backend->in);
	wipe(&backend->out);
	backend->conn = NULL;
	SLIST_INSERT_HEAD(&backend->loop->idle_backends, backend, idle);
	return conn;
}

/* Returns what send(2) does, opening the connection when it is not. */
static ssize_t
send_some(struct backend *backend)
{
	const struct buf *out = &backend->out;
	ssize_t n;

	if (backend->fd < 0 && !open_socket(backend))
		return -1;
	n = send(backend->fd, out->at + backend->out_at, out->len - backend->out_at, MSG_NOSIGNAL);
	if (n >= 0 || errno == EAGAIN || backend->out_at != 0)
		return n;
	/* CivetWeb had closed the idle connection and took not one octet: a new one is no retry. */
	close_socket(backend);
	if (!open_socket(backend))
		return -1;
	return send(backend->fd, out->at, out->len, MSG_NOSIGNAL);
}

static void
send_rest(struct backend *backend)
{
	while (!buf_failed(&backend->out) && backend->out_at < backend->out.len) {
		ssize_t n = send_some(backend);

		if (n < 0 && errno == EAGAIN) {
			(void)event_add(&backend->writable, NULL);
			return;
		}
		if (n < 0) {
			backend->failure = "the request could not be handed on";
			event_active(&backend->failed, EV_TIMEOUT, 0);
			return;
		}
		backend->out_at += (size_t)n;
	}
	if (buf_failed(&backend->out)) {
		backend->failure = "no memory";
		event_active(&backend->failed, EV_TIMEOUT, 0);
	}
}

static void
serve_queue(struct front_loop *loop)
{
	struct conn *conn = TAILQ_FIRST(&loop->queue);
	struct backend *backend = SLIST_FIRST(&loop->idle_backends);

	if (conn == NULL || backend == NULL)
		return;
	TAILQ_REMOVE(&loop->queue, conn, queue);
	loop->queued--;
	metric_add(METRIC_REQUESTS_QUEUED, -1);
	SLIST_REMOVE_HEAD(&loop->idle_backends, idle);
	start(backend, conn);
	send_rest(backend);
}

/* A request that may have been begun is never sent again: the client decides. */
static void
fail(struct backend *backend, const char *text)
{
	struct front_loop *loop = backend->loop;
	struct conn *conn;

	log_rare(LOG_LEVEL_WARN, "http", "the worker side gave no answer: %s", text);
	close_socket(backend);
	conn = detach(backend);
	conn_answer_text(conn, 502, text, false);
	serve_queue(loop);
	conn_advance(conn);
}

static void
finish(struct backend *backend, bool keep)
{
	struct front_loop *loop = backend->loop;
	struct conn *conn;

	if (!keep)
		close_socket(backend);
	conn_answered(backend->conn, &backend->head, buf_bytes(&backend->in));
	conn = detach(backend);
	serve_queue(loop);
	conn_advance(conn);
}

/* 1: the answer is complete, 0: more is to come, -1: it never will be. */
static int
progress(struct backend *backend)
{
	struct answer_head *head = &backend->head;
	int found;

	if (buf_failed(&backend->in))
		return -1;
	if (!backend->head_read) {
		found = answer_head_read(buf_bytes(&backend->in), backend->conn->is_head, head);
		if (found <= 0)
			return found;
		backend->head_read = true;
	}
	if (head->framing == ANSWER_TO_EOF)
		return backend->in.len > ANSWER_BODY_MAX ? -1 : 0;
	if (backend->in.len > head->head_len + head->length)
		return -1;
	return backend->in.len == head->head_len + head->length ? 1 : 0;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct backend *backend = arg;
	ssize_t n = recv(fd, backend->loop->scratch, READ_SIZE, 0);
	bool keep;
	int done;

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (backend->conn == NULL) {
		/* Idle: CivetWeb closed it, or said something nobody asked for. */
		close_socket(backend);
		return;
	}
	if (n <= 0) {
		if (n == 0 && backend->head_read && backend->head.framing == ANSWER_TO_EOF)
			finish(backend, false);
		else
			fail(backend, "the worker closed the connection");
		return;
	}
	buf_append(&backend->in, backend->loop->scratch, (size_t)n);
	done = progress(backend);
	if (done < 0)
		fail(backend, "the worker's answer cannot be understood");
	else if (done > 0) {
		/* An answer before the whole request went out leaves the framing behind. After a refusal CivetWeb may
		 * close without having said so, and the next request would be lost in that connection: unless the
		 * answer promises that it goes on. */
		keep = !backend->head.close && (backend->head.status < REFUSAL_STATUS || backend->head.keep) &&
			backend->out_at == backend->out.len;
		finish(backend, keep);
	}
}

static void
on_failed(evutil_socket_t fd, short what, void *arg)
{
	struct backend *backend = arg;

	(void)fd;
	(void)what;
	fail(backend, backend->failure);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	send_rest(arg);
}

void
backend_submit(struct conn *conn)
{
	struct front_loop *loop = conn->loop;
	struct backend *backend = SLIST_FIRST(&loop->idle_backends);

	if (backend != NULL) {
		SLIST_REMOVE_HEAD(&loop->idle_backends, idle);
		start(backend, conn);
		send_rest(backend);
		return;
	}
	if (loop->queued >= loop->queue_max) {
		metric_add(METRIC_REQUESTS_REFUSED_TOTAL, 1);
		log_rare(LOG_LEVEL_WARN, "http", "no worker and no place in the queue: answering 503");
		conn_answer_text(conn, 503, "busy", false);
		return;
	}
	conn->state = CONN_QUEUED;
	TAILQ_INSERT_TAIL(&loop->queue, conn, queue);
	loop->queued++;
	metric_add(METRIC_REQUESTS_QUEUED, 1);
	conn_deadline(conn, CONN_QUEUED);
}
