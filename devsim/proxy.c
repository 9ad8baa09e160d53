#define _GNU_SOURCE
#include "devsim/proxy.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/timefmt.h"

#define BUCKETS       4096
#define EVENTS_MAX    64
#define DATAGRAM_MAX  65536
#define DATAGRAMS_RUN 64 /* of one socket before the others have their turn */
#define SERVERS_MAX   8
#define SOCKET_BYTES  (4 << 20)
#define SECOND_US     1000000
#define SWEEP_US      (60 * (int64_t)SECOND_US)

struct address {
	struct sockaddr_storage at;
	socklen_t len;
};

struct late;

struct flow {
	struct flow *next; /* of its bucket */
	uint64_t number;
	struct address client;
	int fd;            /* towards the server */
	int64_t used_us;
	uint64_t count[2]; /* datagrams so far, each way */
	struct late *late[2];
};

/* A datagram that waits to be passed by another; its flow may have sent it on, or have gone, when its time comes. */
struct late {
	struct late *next;
	struct flow *flow; /* NULL: nothing to do any more */
	unsigned direction;
	int64_t due_us;
	size_t len;
	uint8_t octets[];
};

struct proxy {
	struct lossy lossy;
	struct address servers[SERVERS_MAX];
	size_t server_count, server;
	bool heard;        /* from the server: it is where we think it is */
	FILE *trace;
	int fd, stop, epoll, port;
	pthread_t thread;
	bool started;
	struct flow *buckets[BUCKETS];
	size_t flow_count;
	struct late *first, **last;
	int64_t sweep_us;
	atomic_uint_fast64_t flows, counts[2][LOSSY_FATES];
	uint8_t datagram[DATAGRAM_MAX];
};

/* --- flows ---------------------------------------------------------------- */

static size_t
bucket_of(const struct address *a)
{
	const uint8_t *octets = (const uint8_t *)&a->at;
	uint32_t hash = 2166136261; /* FNV-1a */
	socklen_t i;

	for (i = 0; i < a->len; i++)
		hash = (hash ^ octets[i]) * 16777619;
	return hash % BUCKETS;
}

static void
flow_free(struct flow *flow)
{
	unsigned d;

	for (d = 0; d < 2; d++)
		if (flow->late[d] != NULL)
			flow->late[d]->flow = NULL;
	if (flow->fd >= 0)
		(void)close(flow->fd);
	free(flow);
}

static void
sweep(struct proxy *p, int64_t before_us)
{
	size_t i;

	for (i = 0; i < BUCKETS; i++) {
		struct flow **at = &p->buckets[i];

		while (*at != NULL) {
			struct flow *flow = *at;

			if (flow->used_us >= before_us) {
				at = &flow->next;
				continue;
			}
			*at = flow->next;
			flow_free(flow);
			p->flow_count--;
		}
	}
}

/* A socket that is connected to the server, watched by epoll. */
static int
open_upstream(struct proxy *p, struct flow *flow)
{
	const struct address *server = &p->servers[p->server];
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = flow };
	int fd = socket(server->at.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0 && (connect(fd, (const struct sockaddr *)&server->at, server->len) != 0 ||
		epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &event) != 0)) {
		(void)close(fd);
		fd = -1;
	}
	return fd;
}

static struct flow *
flow_of(struct proxy *p, const struct address *client)
{
	size_t bucket = bucket_of(client);
	struct flow *flow;

	for (flow = p->buckets[bucket]; flow != NULL; flow = flow->next)
		if (flow->client.len == client->len && memcmp(&flow->client.at, &client->at, client->len) == 0)
			return flow;
	if (p->flow_count == PROXY_FLOWS_MAX)
		return NULL;
	flow = calloc(1, sizeof *flow);
	if (flow == NULL)
		return NULL;
	flow->client = *client;
	flow->number = atomic_fetch_add(&p->flows, 1);
	flow->fd = open_upstream(p, flow);
	flow->next = p->buckets[bucket];
	p->buckets[bucket] = flow;
	p->flow_count++;
	return flow;
}

/* --- datagrams ------------------------------------------------------------ */

/* Nobody listens there: the next address, if the server was never heard and there is one. */
static void
upstream_refused(struct proxy *p, struct flow *flow)
{
	if (p->heard || p->server + 1 >= p->server_count)
		return;
	p->server++;
	(void)close(flow->fd);
	flow->fd = open_upstream(p, flow);
}

static void
forward(struct proxy *p, struct flow *flow, unsigned direction, const uint8_t *octets, size_t len)
{
	if (direction == LOSSY_DOWN)
		(void)sendto(p->fd, octets, len, 0, (const struct sockaddr *)&flow->client.at, flow->client.len);
	else if (flow->fd >= 0 && send(flow->fd, octets, len, 0) < 0 && errno == ECONNREFUSED)
		upstream_refused(p, flow);
}

static void
release_late(struct proxy *p, struct flow *flow, unsigned direction)
{
	struct late *late = flow->late[direction];

	if (late == NULL)
		return;
	flow->late[direction] = NULL;
	late->flow = NULL;
	forward(p, flow, direction, late->octets, late->len);
}

static void
hold(struct proxy *p, struct flow *flow, unsigned direction, const uint8_t *octets, size_t len)
{
	struct late *late = malloc(sizeof *late + len);

	release_late(p, flow, direction);
	if (late == NULL) {
		forward(p, flow, direction, octets, len);
		return;
	}
	*late = (struct late){ .flow = flow, .direction = direction, .len = len,
		.due_us = time_monotonic_us() + (int64_t)PROXY_LATE_MS * 1000 };
	memcpy(late->octets, octets, len);
	flow->late[direction] = late;
	/* All wait equally long, so the list is in the order of their times. */
	*p->last = late;
	p->last = &late->next;
}

static void
pass(struct proxy *p, struct flow *flow, unsigned direction, size_t len)
{
	enum lossy_fate fate = lossy_decide(&p->lossy, flow->number, direction, flow->count[direction]++, len);

	atomic_fetch_add(&p->counts[direction][fate], 1);
	if (p->trace != NULL)
		(void)fprintf(p->trace, "* link: flow %llu %s datagram %llu, %zu octets: %s\n",
			(unsigned long long)flow->number, direction == LOSSY_UP ? "up" : "down",
			(unsigned long long)flow->count[direction] - 1, len, lossy_fate_names[fate]);
	switch (fate) {
	case LOSSY_LATE:
		hold(p, flow, direction, p->datagram, len);
		return;
	case LOSSY_DUPLICATE:
		forward(p, flow, direction, p->datagram, len);
		break;
	case LOSSY_PASS:
		break;
	case LOSSY_DROP:
	case LOSSY_TOO_LONG:
	case LOSSY_FATES:
		return;
	}
	forward(p, flow, direction, p->datagram, len);
	release_late(p, flow, direction);
}

static void
from_clients(struct proxy *p)
{
	unsigned i;

	for (i = 0; i < DATAGRAMS_RUN; i++) {
		struct address client = { .len = sizeof client.at };
		ssize_t n = recvfrom(p->fd, p->datagram, sizeof p->datagram, 0, (struct sockaddr *)&client.at, &client.len);
		struct flow *flow = n < 0 ? NULL : flow_of(p, &client);

		if (n < 0 && errno != EINTR && errno != ECONNREFUSED)
			return;
		if (flow == NULL)
			continue;
		flow->used_us = time_monotonic_us();
		pass(p, flow, LOSSY_UP, (size_t)n);
	}
}

static void
from_server(struct proxy *p, struct flow *flow)
{
	unsigned i;

	for (i = 0; i < DATAGRAMS_RUN && flow->fd >= 0; i++) {
		ssize_t n = recv(flow->fd, p->datagram, sizeof p->datagram, 0);

		if (n < 0 && errno == ECONNREFUSED)
			upstream_refused(p, flow);
		if (n < 0)
			return;
		p->heard = true;
		flow->used_us = time_monotonic_us();
		pass(p, flow, LOSSY_DOWN, (size_t)n);
	}
}

/* --- the thread ----------------------------------------------------------- */

/* Those that nothing has passed in time; returns how long to wait for the next one, in milliseconds. */
static int
release_due(struct proxy *p)
{
	int64_t now_us = time_monotonic_us();

	while (p->first != NULL && (p->first->flow == NULL || p->first->due_us <= now_us)) {
		struct late *late = p->first;

		if (late->flow != NULL)
			release_late(p, late->flow, late->direction);
		p->first = late->next;
		if (p->first == NULL)
			p->last = &p->first;
		free(late);
	}
	if (now_us >= p->sweep_us) {
		sweep(p, now_us - (int64_t)PROXY_IDLE_S * SECOND_US);
		p->sweep_us = now_us + SWEEP_US;
	}
	return p->first == NULL ? (int)(SWEEP_US / 1000) : (int)((p->first->due_us - now_us) / 1000) + 1;
}

static void *
proxy_main_loop(void *arg)
{
	struct proxy *p = arg;
	struct epoll_event events[EVENTS_MAX];

	for (;;) {
		int n = epoll_wait(p->epoll, events, EVENTS_MAX, release_due(p)), i;

		for (i = 0; i < n; i++) {
			if (events[i].data.ptr == &p->stop)
				return NULL;
			if (events[i].data.ptr == p)
				from_clients(p);
			else
				from_server(p, events[i].data.ptr);
		}
	}
}

static int
bind_first(struct proxy *p, const struct addrinfo *listen, struct err *e)
{
	struct sockaddr_storage at = { 0 };
	socklen_t len = sizeof at;
	int bytes = SOCKET_BYTES;

	for (; listen != NULL && p->fd < 0; listen = listen->ai_next) {
		p->fd = socket(listen->ai_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (p->fd >= 0 && bind(p->fd, listen->ai_addr, listen->ai_addrlen) != 0) {
			(void)close(p->fd);
			p->fd = -1;
		}
	}
	if (p->fd < 0 || getsockname(p->fd, (struct sockaddr *)&at, &len) != 0)
		return err_set(e, ERR_UPSTREAM, "proxy: cannot listen: %s", strerror(errno));
	(void)setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
	p->port = ntohs(at.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)&at)->sin6_port :
		((const struct sockaddr_in *)&at)->sin_port);
	return 0;
}

static int
open_all(struct proxy *p, const struct addrinfo *listen, const struct addrinfo *to, struct err *e)
{
	struct epoll_event clients = { .events = EPOLLIN, .data.ptr = p }, stop = { .events = EPOLLIN, .data.ptr = &p->stop };

	for (; to != NULL && p->server_count < SERVERS_MAX; to = to->ai_next) {
		struct address *server = &p->servers[p->server_count++];

		memcpy(&server->at, to->ai_addr, to->ai_addrlen);
		server->len = to->ai_addrlen;
	}
	if (bind_first(p, listen, e) != 0)
		return -1;
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	p->stop = eventfd(0, EFD_CLOEXEC);
	if (p->epoll < 0 || p->stop < 0 || epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->fd, &clients) != 0 ||
	    epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->stop, &stop) != 0 ||
	    pthread_create(&p->thread, NULL, proxy_main_loop, p) != 0)
		return err_set(e, ERR_BUG, "proxy: %s", strerror(errno));
	p->started = true;
	return 0;
}

int
proxy_start(const struct lossy *lossy, const struct addrinfo *listen, const struct addrinfo *to, FILE *trace,
	struct proxy **out, struct err *e)
{
	struct proxy *p = calloc(1, sizeof *p);

	if (p == NULL)
		return err_set(e, ERR_NOMEM, "proxy: no memory");
	p->lossy = *lossy;
	p->trace = trace;
	p->fd = p->stop = p->epoll = -1;
	p->last = &p->first;
	if (open_all(p, listen, to, e) != 0) {
		proxy_stop(p);
		return -1;
	}
	*out = p;
	return 0;
}

int
proxy_port(const struct proxy *proxy)
{
	return proxy->port;
}

void
proxy_stats(struct proxy *proxy, struct proxy_stats *out)
{
	unsigned d, f;

	out->flows = atomic_load(&proxy->flows);
	for (d = 0; d < 2; d++)
		for (f = 0; f < LOSSY_FATES; f++)
			out->datagrams[d][f] = atomic_load(&proxy->counts[d][f]);
}

void
proxy_stop(struct proxy *proxy)
{
	uint64_t one = 1;

	if (proxy == NULL)
		return;
	if (proxy->started) {
		(void)!write(proxy->stop, &one, sizeof one);
		(void)pthread_join(proxy->thread, NULL);
	}
	sweep(proxy, INT64_MAX);
	while (proxy->first != NULL) {
		struct late *late = proxy->first;

		proxy->first = late->next;
		free(late);
	}
	if (proxy->fd >= 0)
		(void)close(proxy->fd);
	if (proxy->stop >= 0)
		(void)close(proxy->stop);
	if (proxy->epoll >= 0)
		(void)close(proxy->epoll);
	free(proxy);
}
