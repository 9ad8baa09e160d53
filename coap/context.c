#include "coap/context.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <openssl/err.h>

#include "base/timefmt.h"

int64_t
coaps_now_ms(void)
{
	return time_monotonic_us() / 1000;
}

/* libcoap's own epoll set stays its own: it takes every event in it for one of its sockets. */
static int
make_loop(struct coaps_context *context, struct err *e)
{
	struct epoll_event event = { .events = EPOLLIN };
	int fd = coap_context_get_coap_fd(context->coap);

	context->epoll = epoll_create1(EPOLL_CLOEXEC);
	context->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd == -1)
		return err_set(e, ERR_UPSTREAM, "libcoap was built without epoll");
	if (context->epoll == -1 || context->wake == -1)
		return err_set(e, ERR_UPSTREAM, "CoAP event loop: %s", strerror(errno));
	event.data.fd = fd;
	if (epoll_ctl(context->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		return err_set(e, ERR_UPSTREAM, "CoAP event loop: %s", strerror(errno));
	event.data.fd = context->wake;
	if (epoll_ctl(context->epoll, EPOLL_CTL_ADD, context->wake, &event) != 0)
		return err_set(e, ERR_UPSTREAM, "CoAP event loop: %s", strerror(errno));
	return 0;
}

static int
listen_at(struct coaps_context *context, const struct coaps_address *listen, size_t count, struct err *e)
{
	size_t i;

	for (i = 0; i < count; i++) {
		coap_endpoint_t *endpoint;
		coap_address_t address;

		coap_address_init(&address);
		address.size = listen[i].size;
		memcpy(&address.addr, &listen[i].as, listen[i].size);
		errno = 0;
		coaps_bind_shared(true);
		endpoint = coap_new_endpoint(context->coap, &address, COAP_PROTO_DTLS);
		coaps_bind_shared(false);
		if (endpoint == NULL)
			return err_set(e, ERR_UPSTREAM, "UDP port %d: %s", coaps_address_port(&listen[i]),
				errno == 0 ? "no endpoint" : strerror(errno));
		/*
		 * For what comes: libcoap discards datagrams of more. What goes is cut by settings.mtu, in the
		 * policy (handshake) and in the exchange (blocks).
		 */
		coap_endpoint_set_default_mtu(endpoint, COAPS_RECEIVE_MAX);
	}
	return 0;
}

int
coaps_context_new(struct coaps_common *common, const struct coaps_address *listen, size_t count,
	struct coaps_context **out, struct err *e)
{
	struct coaps_context *context = calloc(1, sizeof *context);

	if (context == NULL)
		return err_set(e, ERR_NOMEM, "CoAP context");
	context->common = common;
	context->epoll = context->wake = -1;
	(void)pthread_mutex_init(&context->done_lock, NULL);
	context->coap = coap_new_context(NULL);
	if (context->coap == NULL) {
		coaps_context_free(context);
		return err_set(e, ERR_UPSTREAM, "libcoap makes no context");
	}
	coap_set_app_data(context->coap, context);
	if (coaps_sessions_setup(context, e) != 0 || coaps_requests_setup(context, e) != 0 ||
	    listen_at(context, listen, count, e) != 0 || make_loop(context, e) != 0) {
		coaps_context_free(context);
		return -1;
	}
	*out = context;
	return 0;
}

void
coaps_context_wake(struct coaps_context *context)
{
	const uint64_t one = 1;
	ssize_t written = write(context->wake, &one, sizeof one);

	/* Full means that it is about to wake anyway. */
	(void)written;
}

static void
wait_for_events(struct coaps_context *context, int64_t until_ms, int64_t now_ms)
{
	struct epoll_event events[2];
	int64_t left_ms = until_ms - now_ms;
	uint64_t count;
	int n, i;

	n = epoll_wait(context->epoll, events, 2, left_ms < 0 ? 0 : left_ms > COAPS_SWEEP_MS ? COAPS_SWEEP_MS : (int)left_ms);
	for (i = 0; i < n; i++)
		if (events[i].data.fd == context->wake && read(context->wake, &count, sizeof count) < 0)
			return;
}

/* Our separate answers have been taken; a client that has vanished is not waited for. */
static bool
acknowledged(struct coaps_context *context, int64_t now_ms)
{
	return coap_can_exit(context->coap) == 1 ||
		now_ms >= atomic_load(&context->common->stop_began_ms) + COAPS_DRAIN_MS;
}

/* Nothing is under way any more, or time is up. */
static bool
is_drained(struct coaps_context *context, int64_t now_ms)
{
	const struct coaps_common *common = context->common;

	if (!atomic_load(&common->stopping))
		return false;
	return now_ms >= atomic_load(&common->stop_by_ms) ||
		(context->jobs == NULL && acknowledged(context, now_ms) && !coaps_sessions_moving(context, now_ms));
}

/* While stopping, what has to be looked at again soon although no event tells. */
static int64_t
wake_by(const struct coaps_context *context, int64_t delay_ms, int64_t now_ms)
{
	int64_t by_ms = context->sweep_ms + COAPS_SWEEP_MS;

	if (delay_ms < by_ms)
		by_ms = delay_ms;
	if (atomic_load(&context->common->stopping) && now_ms + 50 < by_ms)
		by_ms = now_ms + 50;
	return by_ms;
}

static void *
run(void *arg)
{
	struct coaps_context *context = arg;
	int64_t now_ms = coaps_now_ms();
	int64_t delay_ms = INT64_MAX;

	coaps_log_to(context->common->settings.log);
	context->sweep_ms = now_ms;
	while (!is_drained(context, now_ms)) {
		wait_for_events(context, wake_by(context, delay_ms, now_ms), now_ms);
		coaps_jobs_deliver(context, coaps_now_ms());
		/* A left-over error would be taken for that of the next connection. */
		ERR_clear_error();
		(void)coap_io_process(context->coap, COAP_IO_NO_WAIT);
		now_ms = coaps_now_ms();
		coaps_hello_consider(context, now_ms);
		delay_ms = coaps_jobs_delay(context, now_ms);
		if (now_ms - context->sweep_ms < COAPS_SWEEP_MS)
			continue;
		context->sweep_ms = now_ms;
		coaps_sessions_sweep(context, now_ms);
	}
	coaps_log_to(NULL);
	return NULL;
}

int
coaps_context_start(struct coaps_context *context, struct err *e)
{
	int failed = pthread_create(&context->thread, NULL, run, context);

	if (failed != 0)
		return err_set(e, ERR_UPSTREAM, "CoAP thread: %s", strerror(failed));
	context->running = true;
	return 0;
}

void
coaps_context_join(struct coaps_context *context)
{
	if (!context->running)
		return;
	(void)pthread_join(context->thread, NULL);
	context->running = false;
}

void
coaps_context_free(struct coaps_context *context)
{
	if (context == NULL)
		return;
	/* libcoap insists that nobody refers to a session. */
	coaps_jobs_free(context);
	coap_free_context(context->coap);
	if (context->epoll != -1)
		(void)close(context->epoll);
	if (context->wake != -1)
		(void)close(context->wake);
	(void)pthread_mutex_destroy(&context->done_lock);
	free(context);
}
