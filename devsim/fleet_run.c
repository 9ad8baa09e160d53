/*
 * The workers: epoll over lanes, a timer for those that wait for their turn.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/timefmt.h"
#include "devsim/fleet_lane.h"

#define SECOND_US   1000000
#define SCAN_US     200000 /* how often deadlines are looked at */
#define EVENTS_MAX  256
#define WATCH_NS    50000000
#define STACK_BYTES ((size_t)512 << 10)

struct worker {
	struct fleet *fleet;
	pthread_t thread;
	bool started;
	struct lane *lanes;
	size_t lane_count, active;
	int epoll, timer;
	int64_t armed_us; /* what the timer is set to; 0: nothing */
	struct fleet_stats stats;
	struct err err;
};

/* Every new socket is watched once, edge-triggered: a step always goes on until it would block. */
static void
watch_socket(struct worker *w, struct lane *lane)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = lane };

	if (lane->conn.fd < 0 || lane->watched == lane->conn.sockets)
		return;
	lane->watched = lane->conn.sockets;
	if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, lane->conn.fd, &event) != 0 && w->err.code == ERR_NONE)
		(void)err_set(&w->err, ERR_BUG, "epoll: %s", strerror(errno));
}

static void
arm_timer(struct worker *w, int64_t at_us)
{
	struct itimerspec when = { .it_value = { .tv_sec = at_us / SECOND_US, .tv_nsec = at_us % SECOND_US * 1000 } };

	if (w->armed_us == at_us)
		return;
	w->armed_us = at_us;
	(void)timerfd_settime(w->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void
after_step(struct worker *w, struct lane *lane)
{
	if (lane->state == LANE_FINISHED) {
		w->active--;
		return;
	}
	watch_socket(w, lane);
	if (lane->state == LANE_WAITING && (w->armed_us == 0 || lane->wake_us < w->armed_us))
		arm_timer(w, lane->wake_us);
}

/* Wake the lanes whose time has come; the timer then waits for the next of the others. */
static void
wake_lanes(struct worker *w)
{
	int64_t now_us = time_monotonic_us(), next_us = 0;
	uint64_t expirations;
	size_t i;

	(void)!read(w->timer, &expirations, sizeof expirations);
	w->armed_us = 0;
	for (i = 0; i < w->lane_count; i++) {
		struct lane *lane = &w->lanes[i];

		if (lane->state == LANE_WAITING && lane->wake_us <= now_us) {
			lane_wake(lane);
			after_step(w, lane);
		}
		if (lane->state == LANE_WAITING && (next_us == 0 || lane->wake_us < next_us))
			next_us = lane->wake_us;
	}
	arm_timer(w, next_us);
}

static void
expire_lanes(struct worker *w, int64_t now_us)
{
	bool stopped = atomic_load(&w->fleet->stop);
	size_t i;

	for (i = 0; i < w->lane_count; i++) {
		struct lane *lane = &w->lanes[i];
		bool wait_is_over = stopped && lane->state == LANE_WAITING;

		if (lane->state == LANE_FINISHED ||
		    (!wait_is_over && !conn_expire(&lane->conn, now_us) && !conn_due(&lane->conn, now_us)))
			continue;
		if (wait_is_over)
			lane_wake(lane);
		else
			lane_drive(lane);
		after_step(w, lane);
	}
}

static void
work(struct worker *w)
{
	struct epoll_event events[EVENTS_MAX];
	int64_t scan_us = 0, now_us;
	int n, i;

	while (w->active > 0 && w->err.code == ERR_NONE) {
		bool timer = false;

		n = epoll_wait(w->epoll, events, EVENTS_MAX, SCAN_US / 1000);
		for (i = 0; i < n; i++) {
			struct lane *lane = events[i].data.ptr;

			if (lane == NULL)
				timer = true;
			else if (lane->state == LANE_OPENING || lane->state == LANE_EXCHANGE) {
				lane_drive(lane);
				after_step(w, lane);
			}
		}
		if (timer)
			wake_lanes(w);
		now_us = time_monotonic_us();
		if (now_us >= scan_us) {
			expire_lanes(w, now_us);
			scan_us = now_us + SCAN_US;
		}
	}
}

static void *
worker_main(void *arg)
{
	struct worker *w = arg;
	size_t i;

	for (i = 0; i < w->lane_count; i++) {
		lane_start(&w->lanes[i]);
		after_step(w, &w->lanes[i]);
	}
	work(w);
	for (i = 0; i < w->lane_count && w->err.code == ERR_NONE; i++)
		w->err = w->lanes[i].err;
	atomic_fetch_sub(&w->fleet->running, 1);
	return NULL;
}

static int
worker_open(struct worker *w, struct fleet *fleet, size_t lane_count, struct err *e)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct lane *lanes = calloc(lane_count, sizeof *lanes);
	size_t i;

	if (lanes == NULL)
		return err_set(e, ERR_NOMEM, "workers: no memory");
	w->fleet = fleet;
	w->lanes = lanes;
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	w->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (w->epoll < 0 || w->timer < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->timer, &event) != 0)
		return err_set(e, ERR_BUG, "epoll: %s", strerror(errno));
	for (i = 0; i < lane_count; i++)
		lane_init(&w->lanes[i], fleet, &w->stats);
	w->lane_count = w->active = lane_count;
	return 0;
}

static void
worker_close(struct worker *w)
{
	size_t i;

	for (i = 0; i < w->lane_count; i++)
		lane_free(&w->lanes[i]);
	free(w->lanes);
	fleet_stats_free(&w->stats);
	if (w->epoll >= 0)
		(void)close(w->epoll);
	if (w->timer >= 0)
		(void)close(w->timer);
}

static int
start_workers(struct fleet *fleet, struct worker *workers, struct err *e)
{
	uint64_t threads = fleet->options.threads, i;
	pthread_attr_t attr;
	int rc = 0;

	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	atomic_store(&fleet->running, threads);
	for (i = 0; i < threads; i++) {
		if (rc == 0)
			rc = pthread_create(&workers[i].thread, &attr, worker_main, &workers[i]);
		workers[i].started = rc == 0;
		if (rc != 0)
			atomic_fetch_sub(&fleet->running, 1);
	}
	(void)pthread_attr_destroy(&attr);
	return rc == 0 ? 0 : err_set(e, ERR_BUG, "threads: %s", strerror(rc));
}

static double
seconds_of(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / SECOND_US;
}

static void
watch(struct fleet *fleet)
{
	struct timespec pause = { .tv_nsec = WATCH_NS };
	struct progress progress;

	progress_begin(&progress, stderr, fleet->options.quiet,
		fleet->options.op == FLEET_ENROLL ? "enrolling" : fleet->options.op == FLEET_REENROLL ? "renewing" :
		"asking", fleet->operations);
	while (atomic_load(&fleet->running) > 0) {
		(void)nanosleep(&pause, NULL);
		progress_update(&progress, atomic_load(&fleet->done));
	}
	progress_end(&progress, atomic_load(&fleet->done));
}

/* Starts the clock and lets everybody work; *e is the first thing that kept a worker from working. */
static int
run_workers(struct fleet *fleet, struct worker *workers, struct err *e)
{
	struct rusage before, after;
	uint64_t i;
	int rc;

	(void)getrusage(RUSAGE_SELF, &before);
	fleet->start_us = time_monotonic_us();
	fleet->stop_us = fleet->options.duration_s == 0 ? 0 : fleet->start_us + fleet->options.duration_s * SECOND_US;
	rc = start_workers(fleet, workers, e);
	if (rc != 0)
		atomic_store(&fleet->stop, true);
	watch(fleet);
	for (i = 0; i < fleet->options.threads; i++)
		if (workers[i].started)
			(void)pthread_join(workers[i].thread, NULL);
	fleet->elapsed_us = time_monotonic_us() - fleet->start_us;
	(void)getrusage(RUSAGE_SELF, &after);
	fleet->cpu_user_s = seconds_of(after.ru_utime) - seconds_of(before.ru_utime);
	fleet->cpu_system_s = seconds_of(after.ru_stime) - seconds_of(before.ru_stime);
	for (i = 0; i < fleet->options.threads && rc == 0; i++) {
		rc = fleet_stats_merge(&fleet->total, &workers[i].stats, e);
		if (rc == 0 && workers[i].err.code != ERR_NONE) {
			*e = workers[i].err;
			rc = -1;
		}
	}
	return rc;
}

int
fleet_run(struct fleet *fleet, struct err *e)
{
	uint64_t threads = fleet->options.threads, lanes = fleet->options.concurrency, i;
	struct worker *workers = calloc(threads, sizeof *workers);
	int rc = 0;

	if (workers == NULL)
		return err_set(e, ERR_NOMEM, "workers: no memory");
	for (i = 0; i < threads; i++)
		workers[i].epoll = workers[i].timer = -1;
	for (i = 0; i < threads && rc == 0; i++)
		rc = worker_open(&workers[i], fleet, lanes / threads + (i < lanes % threads ? 1 : 0), e);
	if (rc == 0)
		rc = run_workers(fleet, workers, e);
	for (i = 0; i < threads; i++)
		worker_close(&workers[i]);
	free(workers);
	return rc;
}
