/*
 * Connections that are held while others work: idle ones do nothing after the
 * handshake, slow ones send one octet of a request head a second. One that the
 * server closes is counted and opened again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>

#include "base/timefmt.h"
#include "devsim/fleet.h"

#define SECOND_US   1000000
#define EVENTS_MAX  256
#define OPENING_MAX 64 /* handshakes at a time */
#define TICK_MS     50
#define START_MAX_S 120
#define STACK_BYTES ((size_t)512 << 10)

static const char slow_head[] = "GET " URL_EST_BASE "/cacerts HTTP/1.1\r\nHost: slow\r\nX-Slow: ";

struct held {
	struct conn conn;
	bool slow, ready, opening;
	uint64_t watched; /* conn.sockets when epoll was last asked to watch */
	size_t sent;
};

struct fleet_hold {
	struct fleet *fleet;
	pthread_t thread;
	struct held *at;
	size_t count, opening, ready;
	size_t cursor;            /* where the search for something to open goes on */
	int epoll;
	atomic_bool stop, settled;
	uint64_t closed, failed, least;
	bool measuring;
};

static void
lose(struct fleet_hold *hold, struct held *h)
{
	if (h->ready) {
		hold->ready--;
		hold->closed++;
	} else
		hold->failed++;
	if (h->opening)
		hold->opening--;
	h->ready = h->opening = false;
	conn_close(&h->conn);
}

/* A broken connection is given up; a socket that is new is watched, edge-triggered. */
static void
settle(struct fleet_hold *hold, struct held *h)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = h };
	bool watched = h->watched == h->conn.sockets;

	h->watched = h->conn.sockets;
	if (h->conn.state == CONN_BROKEN ||
	    (!watched && epoll_ctl(hold->epoll, EPOLL_CTL_ADD, h->conn.fd, &event) != 0))
		lose(hold, h);
}

static void
open_one(struct fleet_hold *hold, struct held *h)
{
	/* RFC 9148, section 4: over CoAP "the client MUST be authenticated for all functions". */
	const struct fleet *fleet = hold->fleet;
	const struct device *device = fleet->target.url.coap && fleet->device_count > 0 ?
		&fleet->devices[(size_t)(h - hold->at) % fleet->device_count] : NULL;

	conn_open(&h->conn, device, time_monotonic_us() + hold->fleet->options.client.timeout_s * SECOND_US);
	h->opening = true;
	h->sent = 0;
	hold->opening++;
	settle(hold, h);
}

static void
open_more(struct fleet_hold *hold)
{
	size_t i;

	for (i = 0; i < hold->count && hold->opening < OPENING_MAX; i++) {
		struct held *h = &hold->at[hold->cursor];

		if (!h->ready && !h->opening)
			open_one(hold, h);
		hold->cursor = (hold->cursor + 1) % hold->count;
	}
}

/* Data from the server is not expected; the end of the connection may come at any time. */
static bool
still_there(struct held *h)
{
	uint8_t octets[512];
	int n, reason;

	do {
		ERR_clear_error();
		n = SSL_read(h->conn.ssl, octets, sizeof octets);
	} while (n > 0);
	reason = SSL_get_error(h->conn.ssl, n);
	ERR_clear_error();
	return reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE;
}

static void
drive(struct fleet_hold *hold, struct held *h)
{
	if (h->ready) {
		if (!still_there(h))
			lose(hold, h);
		return;
	}
	if (!h->opening)
		return;
	(void)conn_step(&h->conn);
	if (h->conn.state == CONN_READY) {
		h->ready = true;
		h->opening = false;
		hold->opening--;
		hold->ready++;
	}
	settle(hold, h);
}

static void
drip(struct fleet_hold *hold)
{
	size_t i;

	for (i = 0; i < hold->count; i++) {
		struct held *h = &hold->at[i];
		char octet = h->sent < sizeof slow_head - 1 ? slow_head[h->sent] : 'x';

		if (!h->slow || !h->ready)
			continue;
		ERR_clear_error();
		if (SSL_write(h->conn.ssl, &octet, 1) == 1)
			h->sent++;
		else
			lose(hold, h);
	}
}

static void
expire(struct fleet_hold *hold, int64_t now_us)
{
	size_t i;

	for (i = 0; i < hold->count; i++) {
		struct held *h = &hold->at[i];

		if (h->opening && conn_expire(&h->conn, now_us))
			lose(hold, h);
		else if (h->opening && conn_due(&h->conn, now_us))
			drive(hold, h);
	}
}

static void *
hold_main(void *arg)
{
	struct fleet_hold *hold = arg;
	struct epoll_event events[EVENTS_MAX];
	int64_t tick_us = 0, give_up_us = time_monotonic_us() + (int64_t)START_MAX_S * SECOND_US;

	while (!atomic_load(&hold->stop)) {
		int64_t now_us = time_monotonic_us();
		int n, i;

		open_more(hold);
		n = epoll_wait(hold->epoll, events, EVENTS_MAX, TICK_MS);
		for (i = 0; i < n; i++)
			drive(hold, events[i].data.ptr);
		if (now_us >= tick_us) {
			drip(hold);
			expire(hold, now_us);
			tick_us = now_us + SECOND_US;
		}
		if (!hold->measuring && (hold->ready == hold->count || now_us >= give_up_us)) {
			hold->measuring = true;
			hold->fleet->held_at_start = hold->least = hold->ready;
			hold->closed = hold->failed = 0;
			atomic_store(&hold->settled, true);
		}
		if (hold->measuring && hold->ready < hold->least)
			hold->least = hold->ready;
	}
	return NULL;
}

static void
hold_free(struct fleet_hold *hold)
{
	size_t i;

	for (i = 0; hold->at != NULL && i < hold->count; i++)
		conn_free(&hold->at[i].conn);
	if (hold->epoll >= 0)
		(void)close(hold->epoll);
	free(hold->at);
	free(hold);
}

/* Until all are open, or it is clear that they will not be. */
static void
wait_settled(struct fleet_hold *hold)
{
	struct timespec pause = { .tv_nsec = TICK_MS * 1000000 };
	struct progress progress;

	progress_begin(&progress, stderr, hold->fleet->options.quiet, "opening held connections", 0);
	while (!atomic_load(&hold->settled) && !atomic_load(&hold->fleet->stop))
		(void)nanosleep(&pause, NULL);
	progress_end(&progress, hold->fleet->held_at_start);
}

int
fleet_hold_start(struct fleet *fleet, struct fleet_hold **out, struct err *e)
{
	size_t count = (size_t)(fleet->options.hold_idle + fleet->options.slow), i;
	struct fleet_hold *hold;
	pthread_attr_t attr;
	int rc;

	*out = NULL;
	if (count == 0)
		return 0;
	hold = calloc(1, sizeof *hold);
	if (hold == NULL)
		return err_set(e, ERR_NOMEM, "held connections: no memory");
	hold->fleet = fleet;
	hold->count = count;
	hold->epoll = epoll_create1(EPOLL_CLOEXEC);
	hold->at = calloc(count, sizeof *hold->at);
	if (hold->epoll < 0 || hold->at == NULL) {
		hold_free(hold);
		return err_set(e, ERR_NOMEM, "held connections: no memory");
	}
	for (i = 0; i < count; i++) {
		conn_init(&hold->at[i].conn, &fleet->target, fleet->tls);
		hold->at[i].slow = i < fleet->options.slow;
	}
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	rc = pthread_create(&hold->thread, &attr, hold_main, hold);
	(void)pthread_attr_destroy(&attr);
	if (rc != 0) {
		hold_free(hold);
		return err_set(e, ERR_BUG, "threads: %s", strerror(rc));
	}
	wait_settled(hold);
	*out = hold;
	return 0;
}

void
fleet_hold_stop(struct fleet_hold *hold, struct fleet *fleet)
{
	if (hold == NULL)
		return;
	atomic_store(&hold->stop, true);
	(void)pthread_join(hold->thread, NULL);
	fleet->held_least = hold->least;
	fleet->held_closed = hold->closed;
	fleet->held_failed = hold->failed;
	hold_free(hold);
}
