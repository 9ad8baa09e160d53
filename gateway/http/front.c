#define _GNU_SOURCE
#include "gateway/http/front_internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "gateway/core/log.h"

#define ADDRESS_MAX 128

/* "[::1]:8443" or "192.0.2.1:8443" into host and port. */
static int
split_address(const char *text, char host[ADDRESS_MAX], char port[ADDRESS_MAX], struct err *e)
{
	const char *colon = strrchr(text, ':');
	struct bytes name;

	if (colon == NULL || colon == text)
		return err_set(e, ERR_UPSTREAM, "listen address \"%s\": write address:port", text);
	name = bytes_of(text, (size_t)(colon - text));
	if (name.at[0] == '[' && name.at[name.len - 1] == ']')
		name = bytes_of(name.at + 1, name.len - 2);
	if (text_copy(host, ADDRESS_MAX, name, "listen address", e) != 0)
		return -1;
	return text_copy(port, ADDRESS_MAX, bytes_of_text(colon + 1), "listen port", e);
}

static int
listen_error(const char *text, const char *why, struct err *e)
{
	return err_set(e, ERR_UPSTREAM, "cannot listen on %s: %s", text, why);
}

/* No SO_REUSEPORT: with it a forgotten older process would share the port, and nobody would be told. */
static int
listen_on(const struct addrinfo *info, int *out)
{
	int on = 1, fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
		(info->ai_family == AF_INET6 &&
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
		bind(fd, info->ai_addr, info->ai_addrlen) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
		int was = errno;

		(void)close(fd);
		errno = was;
		return -1;
	}
	*out = fd;
	return 0;
}

static int
open_listener(const char *text, int *listener, int *port, struct err *e)
{
	const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
		.ai_socktype = SOCK_STREAM };
	struct sockaddr_storage bound = { 0 };
	socklen_t len = sizeof bound;
	char host[ADDRESS_MAX], service[ADDRESS_MAX];
	struct addrinfo *info;
	int result;

	if (split_address(text, host, service, e) != 0)
		return -1;
	result = getaddrinfo(host, service, &hints, &info);
	if (result != 0)
		return listen_error(text, gai_strerror(result), e);
	result = listen_on(info, listener);
	freeaddrinfo(info);
	if (result != 0 || getsockname(*listener, (struct sockaddr *)&bound, &len) != 0)
		return listen_error(text, strerror(errno), e);
	*port = ntohs(((const struct sockaddr_in *)&bound)->sin_port);
	return 0;
}

static int
open_listeners(struct front *front, const struct front_settings *settings, struct err *e)
{
	size_t i, first = settings->listen_count, count = first + settings->listen_plain_count;

	front->listeners = calloc(count, sizeof *front->listeners);
	front->ports = calloc(count, sizeof *front->ports);
	if (front->listeners == NULL || front->ports == NULL)
		return err_set(e, ERR_NOMEM, "listeners: no memory");
	front->listen_count = count;
	front->tls_count = settings->tls ? first : 0;
	for (i = 0; i < count; i++)
		front->listeners[i] = -1;
	for (i = 0; i < count; i++)
		if (open_listener(i < first ? settings->listen[i] : settings->listen_plain[i - first],
			    &front->listeners[i], &front->ports[i], e) != 0)
			return -1;
	return 0;
}

/* The cores this process may use, as taskset and cgroups have it. */
static int
cores(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

static int
loops_wanted(const struct front_settings *settings)
{
	int count = settings->loops > 0 ? settings->loops : cores();

	if (count > settings->workers)
		count = settings->workers;
	return count < LOOPS_MAX ? count : LOOPS_MAX;
}

/* Each loop has its share of workers and queue: no lock between them. */
static int
open_loops(struct front *front, struct err *e)
{
	const struct front_settings *s = &front->settings;
	int i, count = loops_wanted(s);

	front->loops = calloc((size_t)count, sizeof *front->loops);
	if (front->loops == NULL)
		return err_set(e, ERR_NOMEM, "event loops: no memory");
	front->loop_count = count;
	atomic_init(&front->accepting, count);
	for (i = 0; i < count; i++)
		front->loops[i].wake_fd = -1;
	for (i = 0; i < count; i++)
		if (loop_open(&front->loops[i], front, s->workers / count + (i < s->workers % count),
			    s->queue_max / count + (i < s->queue_max % count), e) != 0)
			return -1;
	for (i = 0; i < count; i++)
		if (loop_run(&front->loops[i], e) != 0)
			return -1;
	return 0;
}

static int
check_settings(const struct front_settings *s, struct err *e)
{
	if (s->listen_count + s->listen_plain_count == 0)
		return err_set(e, ERR_UPSTREAM, "no address to listen on");
	if (s->workers < 1 || s->connections < 1 || s->connections_per_address < 1 || s->queue_max < 0 ||
		s->body_max < 0 || s->header_max < 1)
		return err_set(e, ERR_BUG, "front settings out of range");
	if (s->header_max > FRONT_HEADER_MAX)
		return err_set(e, ERR_LIMIT, "request headers of %d octets: at most %d can be served", s->header_max,
			FRONT_HEADER_MAX);
	return 0;
}

/* Wake every loop with the stop flag set, wait for them, and free everything. */
static void
front_close(struct front *front)
{
	const uint64_t one = 1;
	size_t l;
	int i;

	atomic_store(&front->stop, true);
	for (i = 0; i < front->loop_count; i++)
		if (front->loops[i].wake_fd >= 0 &&
			write(front->loops[i].wake_fd, &one, sizeof one) != (ssize_t)sizeof one)
			log_text(LOG_LEVEL_ERROR, "http", "waking an event loop: %s", strerror(errno));
	for (i = 0; i < front->loop_count; i++)
		loop_stop(&front->loops[i]);
	for (i = 0; i < front->loop_count; i++)
		loop_close(&front->loops[i]);
	for (l = 0; l < front->listen_count; l++)
		if (front->listeners[l] >= 0)
			(void)close(front->listeners[l]);
	free(front->loops);
	free(front->listeners);
	free(front->ports);
	peers_free(front->peers);
	SSL_CTX_free(front->tls);
	(void)pthread_mutex_destroy(&front->tls_lock);
	free(front);
}

int
front_start(const struct front_settings *settings, struct front **out, struct err *e)
{
	struct front *front;

	if (check_settings(settings, e) != 0)
		return -1;
	front = calloc(1, sizeof *front);
	if (front == NULL)
		return err_set(e, ERR_NOMEM, "front: no memory");
	front->settings = *settings;
	front->settings.listen = front->settings.listen_plain = NULL;
	front->settings.certificate = front->settings.key = NULL;
	front->settings.min_version = front->settings.groups = NULL;
	(void)pthread_mutex_init(&front->tls_lock, NULL);
	if ((settings->tls && tls_context_new(settings, &front->tls, e) != 0) ||
		peers_new((size_t)settings->connections, &front->peers, e) != 0 ||
		open_listeners(front, settings, e) != 0 || open_loops(front, e) != 0) {
		front_close(front);
		return -1;
	}
	*out = front;
	return 0;
}

int
front_port(const struct front *front, size_t index)
{
	return index < front->listen_count ? front->ports[index] : 0;
}

SSL_CTX *
front_tls_get(struct front *front)
{
	SSL_CTX *tls;

	(void)pthread_mutex_lock(&front->tls_lock);
	tls = front->tls;
	if (tls != NULL)
		(void)SSL_CTX_up_ref(tls);
	(void)pthread_mutex_unlock(&front->tls_lock);
	return tls;
}

int
front_reload_tls(struct front *front, const struct front_settings *settings, struct err *e)
{
	SSL_CTX *fresh, *old;

	if (!front->settings.tls)
		return 0;
	if (tls_context_new(settings, &fresh, e) != 0)
		return -1;
	(void)pthread_mutex_lock(&front->tls_lock);
	old = front->tls;
	front->tls = fresh;
	(void)pthread_mutex_unlock(&front->tls_lock);
	/* Handshakes that began with it hold references of their own. */
	SSL_CTX_free(old);
	return 0;
}

void
front_stop(struct front *front, int64_t grace_s)
{
	if (front == NULL)
		return;
	front->grace_s = grace_s;
	front_close(front);
}
