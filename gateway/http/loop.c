/* One event loop: its thread, its share of the backends, accepting, and stopping. */
#define _GNU_SOURCE
#include "gateway/http/front_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/core/log.h"
#include "gateway/core/metrics.h"

/* Both limits count before anything is read: a refused connection costs one accept. */
static bool
admit(struct front *front, struct peer_key key)
{
	if (atomic_fetch_add(&front->open, 1) < front->settings.connections) {
		if (peers_enter(front->peers, key, front->settings.connections_per_address))
			return true;
	}
	(void)atomic_fetch_sub(&front->open, 1);
	metric_add(METRIC_CONNECTIONS_REFUSED_TOTAL, 1);
	return false;
}

static void
pause_accepting(struct front_loop *loop)
{
	static const struct timeval pause = { .tv_usec = ACCEPT_PAUSE_MS * 1000 };
	size_t i;

	log_rare(LOG_LEVEL_ERROR, "http", "cannot accept connections: %s", strerror(errno));
	for (i = 0; i < loop->front->listen_count; i++)
		(void)event_del(&loop->accepts[i].event);
	(void)event_add(&loop->accept_pause, &pause);
}

static void
on_accept_again(evutil_socket_t fd, short what, void *arg)
{
	struct front_loop *loop = arg;
	size_t i;

	(void)fd;
	(void)what;
	if (loop->stopping)
		return;
	for (i = 0; i < loop->front->listen_count; i++)
		(void)event_add(&loop->accepts[i].event, NULL);
}

/* false: nothing more to accept for now. */
static bool
accept_one(struct front_loop *loop, size_t listener)
{
	struct sockaddr_storage address = { 0 };
	socklen_t len = sizeof address;
	int on = 1, fd = accept4(loop->front->listeners[listener], (struct sockaddr *)&address, &len,
			    SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct peer_key key;
	char peer[64];

	if (fd < 0) {
		if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO)
			return true;
		if (errno != EAGAIN && errno != EWOULDBLOCK)
			pause_accepting(loop);
		return false;
	}
	key = peer_key_of(&address);
	if (!admit(loop->front, key)) {
		(void)close(fd);
		peer_text(&address, false, peer, sizeof peer);
		log_rare(LOG_LEVEL_WARN, "http", "%s: too many connections", peer);
		return true;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	conn_begin(loop, fd, &address, key, listener < loop->front->tls_count);
	return true;
}

static void
on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	const struct acceptor *acceptor = arg;
	struct front_loop *loop = acceptor->loop;
	/* All loops watch the same sockets; one that holds more than its share leaves the rest to the others. */
	bool ahead = loop->open > atomic_load(&loop->front->open) / loop->front->loop_count;
	int i;

	(void)fd;
	(void)what;
	for (i = ahead ? ACCEPT_BATCH - 1 : 0; i < ACCEPT_BATCH; i++)
		if (!accept_one(loop, acceptor->listener))
			break;
}

/*
 * What the kernel has accepted already is served, and no more than that, or a
 * crowd could put the end off; then the sockets close, once no loop watches them.
 */
static void
stop_accepting(struct front_loop *loop)
{
	struct front *front = loop->front;
	size_t i;
	int taken;

	for (i = 0; i < front->listen_count; i++) {
		for (taken = 0; taken < LISTEN_BACKLOG && accept_one(loop, i); taken++)
			continue;
		(void)event_del(&loop->accepts[i].event);
	}
	(void)event_del(&loop->accept_pause);
	if (atomic_fetch_sub(&front->accepting, 1) != 1)
		return;
	for (i = 0; i < front->listen_count; i++) {
		(void)close(front->listeners[i]);
		front->listeners[i] = -1;
	}
}

static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct front_loop *loop = arg;
	struct timeval grace = { 0 };
	struct conn *conn, *next;

	(void)fd;
	(void)what;
	(void)event_del(&loop->wake);
	if (!atomic_load(&loop->front->stop))
		return;
	grace.tv_sec = (time_t)loop->front->grace_s;
	for (conn = TAILQ_FIRST(&loop->conns); conn != NULL; conn = next) {
		next = TAILQ_NEXT(conn, all);
		conn_stopping(conn);
	}
	stop_accepting(loop);
	loop->stopping = true;
	(void)event_add(&loop->grace, &grace);
	loop_conn_gone(loop);
}

static void
on_grace_over(evutil_socket_t fd, short what, void *arg)
{
	struct front_loop *loop = arg;

	(void)fd;
	(void)what;
	if (loop->open != 0)
		log_text(LOG_LEVEL_WARN, "http", "%d connections were not done when the time to stop was over", loop->open);
	(void)event_base_loopbreak(loop->base);
}

void
loop_conn_gone(struct front_loop *loop)
{
	if (loop->stopping && TAILQ_EMPTY(&loop->conns))
		(void)event_base_loopbreak(loop->base);
}

/* Everyone with the same deadline shares one queue: arming costs the same for 10 connections and 10,000. */
static const struct timeval *
queue_of(struct front_loop *loop, int64_t seconds)
{
	struct timeval duration = { .tv_sec = seconds < 1 ? 1 : (time_t)seconds };

	return event_base_init_common_timeout(loop->base, &duration);
}

static int
open_base(struct front_loop *loop, struct err *e)
{
	struct event_config *config = event_config_new();
	const struct front_settings *s = &loop->front->settings;

	/* Only the loop's own thread touches it; others wake it by the eventfd. */
	if (config != NULL && event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0)
		loop->base = event_base_new_with_config(config);
	if (config != NULL)
		event_config_free(config);
	if (loop->base == NULL)
		return err_set(e, ERR_NOMEM, "event loop: %s", strerror(errno));
	loop->deadlines = (struct deadlines){ queue_of(loop, s->handshake_s), queue_of(loop, s->header_s),
		queue_of(loop, s->body_s), queue_of(loop, s->idle_s), queue_of(loop, s->queue_age_s),
		queue_of(loop, LINGER_S) };
	return 0;
}

int
loop_open(struct front_loop *loop, struct front *front, int workers, int queue_max, struct err *e)
{
	size_t i;
	int b;

	loop->front = front;
	loop->queue_max = queue_max;
	loop->backend_count = workers;
	TAILQ_INIT(&loop->conns);
	TAILQ_INIT(&loop->queue);
	SLIST_INIT(&loop->idle_backends);
	loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	loop->accepts = calloc(front->listen_count, sizeof *loop->accepts);
	loop->backends = calloc((size_t)workers, sizeof *loop->backends);
	if (loop->wake_fd < 0 || loop->accepts == NULL || loop->backends == NULL)
		return err_set(e, ERR_NOMEM, "event loop: %s", strerror(errno));
	if (open_base(loop, e) != 0)
		return -1;
	(void)event_assign(&loop->wake, loop->base, loop->wake_fd, EV_READ | EV_PERSIST, on_wake, loop);
	(void)event_assign(&loop->accept_pause, loop->base, -1, 0, on_accept_again, loop);
	(void)event_assign(&loop->grace, loop->base, -1, 0, on_grace_over, loop);
	(void)event_add(&loop->wake, NULL);
	for (i = 0; i < front->listen_count; i++) {
		struct acceptor *acceptor = &loop->accepts[i];

		*acceptor = (struct acceptor){ .loop = loop, .listener = i };
		(void)event_assign(&acceptor->event, loop->base, front->listeners[i], EV_READ | EV_PERSIST,
			on_acceptable, acceptor);
		(void)event_add(&acceptor->event, NULL);
	}
	for (b = 0; b < workers; b++) {
		backend_init(&loop->backends[b], loop);
		backend_open_idle(&loop->backends[b]);
	}
	return 0;
}

static void *
loop_main(void *arg)
{
	struct front_loop *loop = arg;

	(void)event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

int
loop_run(struct front_loop *loop, struct err *e)
{
	sigset_t all, before;
	int result;

	/* Signals are the main thread's; and libssl's write(2) may raise SIGPIPE. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	result = pthread_create(&loop->thread, NULL, loop_main, loop);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result != 0)
		return err_set(e, ERR_NOMEM, "thread: %s", strerror(result));
	loop->started = true;
	(void)pthread_setname_np(loop->thread, "front");
	return 0;
}

void
loop_stop(struct front_loop *loop)
{
	if (loop->started)
		(void)pthread_join(loop->thread, NULL);
	loop->started = false;
}

void
loop_close(struct front_loop *loop)
{
	int b;

	if (loop->base == NULL) {
		if (loop->wake_fd >= 0)
			(void)close(loop->wake_fd);
		free(loop->accepts);
		free(loop->backends);
		return;
	}
	for (b = 0; b < loop->backend_count; b++)
		backend_close(&loop->backends[b]);
	while (!TAILQ_EMPTY(&loop->conns))
		conn_free(TAILQ_FIRST(&loop->conns));
	event_base_free(loop->base);
	(void)close(loop->wake_fd);
	free(loop->accepts);
	free(loop->backends);
}
