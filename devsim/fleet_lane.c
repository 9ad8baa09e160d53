#include "devsim/fleet_lane.h"

#include "base/timefmt.h"
#include "devsim/fleet_protocol.h"

#define SECOND_US      1000000
#define BACKOFF_US     100000
#define BACKOFF_MAX_US 2000000

void
lane_init(struct lane *lane, struct fleet *fleet, struct fleet_stats *stats)
{
	*lane = (struct lane){ .fleet = fleet, .stats = stats, .state = LANE_WAITING };
	conn_init(&lane->conn, &fleet->target, fleet->tls);
	lane->conn.coap.ack_timeout_us = coapc_ack_timeout_us(&fleet->options.client.coap);
}

void
lane_free(struct lane *lane)
{
	conn_free(&lane->conn);
	prepared_free(&lane->late);
}

static int64_t
deadline_us(const struct lane *lane)
{
	return time_monotonic_us() + lane->fleet->options.client.timeout_s * SECOND_US;
}

static void
finish(struct lane *lane)
{
	lane->stats->messages += lane->conn.coap.sent;
	lane->stats->retransmissions += lane->conn.coap.retransmitted;
	conn_close(&lane->conn);
	lane->state = LANE_FINISHED;
}

/* The next operation of the batch, or the first of the next batch; false: there is none left. */
static bool
take_operation(struct lane *lane)
{
	struct fleet *fleet = lane->fleet;
	uint64_t per_batch = fleet->options.keep_alive;

	if (lane->in_batch && lane->step + 1 < per_batch)
		lane->step++;
	else {
		if (lane->in_batch)
			conn_close(&lane->conn);
		lane->batch = atomic_fetch_add(&fleet->next_batch, 1);
		lane->step = 0;
		lane->in_batch = true;
		lane->device = fleet->device_count == 0 ? 0 : (size_t)(lane->batch % fleet->device_count);
	}
	lane->operation = lane->batch * per_batch + lane->step;
	lane->attempts = 0;
	lane->reopened = false;
	return fleet->operations == 0 || lane->operation < fleet->operations;
}

static void
open_connection(struct lane *lane)
{
	const struct fleet *fleet = lane->fleet;

	lane->state = LANE_OPENING;
	lane->opened_us = time_monotonic_us();
	conn_open(&lane->conn, fleet->device_count == 0 || !fleet->protocol->client_certificate ? NULL :
		&fleet->devices[lane->device], deadline_us(lane));
}

static void
count_done(struct lane *lane)
{
	int64_t now_us = time_monotonic_us();

	histogram_add(&lane->stats->latency, now_us - lane->intended_us);
	fleet_stats_second(lane->stats, now_us - lane->fleet->start_us);
	atomic_fetch_add_explicit(&lane->fleet->done, 1, memory_order_relaxed);
}

/* The request of this operation: from the pool, or made now. NULL: it could not be made. */
static struct prepared *
take_request(struct lane *lane, struct err *e)
{
	struct fleet *fleet = lane->fleet;
	CLEANUP(buf) struct buf binding_text = { 0 };
	struct prepared *p = &lane->late;
	struct est_binding binding;

	if (lane->operation < fleet->pool_count)
		p = &fleet->pool[lane->operation];
	else if (!lane->reopened) {
		prepared_free(&lane->late);
		lane->stats->late_requests++;
	}
	if (fleet->options.bind) {
		tls_binding(lane->conn.ssl, &binding);
		est_binding_text(&binding, &binding_text);
	} else if (p->body.len != 0)
		return p;
	return fleet->protocol->make(fleet, lane->device, buf_text(&binding_text), p, e) == 0 ? p : NULL;
}

static void
send_request(struct lane *lane)
{
	const struct fleet *fleet = lane->fleet;
	const struct prepared *prepared = NULL;

	if (fleet->options.op != FLEET_CACERTS) {
		prepared = take_request(lane, &lane->conn.err);
		if (prepared == NULL) {
			lane->conn.state = CONN_BROKEN;
			return;
		}
	}
	fleet->protocol->write(fleet, prepared, lane->step + 1 == fleet->options.keep_alive, &lane->conn);
	lane->state = LANE_EXCHANGE;
	conn_send(&lane->conn, deadline_us(lane));
}

static void
keep_certificate(struct lane *lane, struct prepared *prepared, struct buf *der)
{
	struct kept kept = { .device = lane->device, .key = prepared->key, .der = *der };

	if (lane->fleet->options.out == NULL || lane->fleet->options.op == FLEET_CACERTS)
		return;
	if (fleet_stats_keep(lane->stats, &kept, &lane->err) != 0)
		return;
	prepared->key = NULL;
	*der = (struct buf){ 0 };
}

static void
judge_answer(struct lane *lane)
{
	const struct fleet *fleet = lane->fleet;
	struct prepared *prepared = lane->operation < fleet->pool_count ? &fleet->pool[lane->operation] : &lane->late;
	CLEANUP(buf) struct buf issued = { 0 };
	struct err e = { 0 };

	count_done(lane);
	switch (fleet->protocol->judge(fleet, lane->device, prepared, &lane->conn, &issued, &e)) {
	case FLEET_OK:
		lane->stats->ok++;
		keep_certificate(lane, prepared, &issued);
		return;
	case FLEET_PENDING:
		lane->stats->pending++;
		break;
	case FLEET_REFUSED:
		lane->stats->refused++;
		break;
	case FLEET_FAILED:
		lane->stats->failed++;
		break;
	}
	fleet_stats_error(lane->stats, e.text);
}

/* What to do about a broken connection; false: the operation has failed. */
static bool
try_again(struct lane *lane)
{
	int64_t backoff_us = BACKOFF_US;
	uint64_t i;

	/* RFC 9112, section 9.3.1: a kept connection may be closed by the server at any time. */
	if (lane->state == LANE_EXCHANGE && conn_stale(&lane->conn) && !lane->reopened) {
		lane->reopened = true;
		lane->stats->reopened++;
		open_connection(lane);
		return true;
	}
	if (lane->conn.connected || lane->attempts == lane->fleet->options.client.retries)
		return false;
	for (i = 0; i < lane->attempts && backoff_us < BACKOFF_MAX_US; i++)
		backoff_us *= 2;
	lane->attempts++;
	lane->stats->retried++;
	lane->state = LANE_WAITING;
	lane->wake_us = time_monotonic_us() + backoff_us;
	return true;
}

static void
begin_operation(struct lane *lane)
{
	if (conn_reusable(&lane->conn))
		send_request(lane);
	else
		open_connection(lane);
}

/* The next operation; its turn may be now or at wake_us, or there is none. */
static void
next_operation(struct lane *lane)
{
	struct fleet *fleet = lane->fleet;
	int64_t now_us = time_monotonic_us();
	double rate = fleet->options.rate;

	if (lane->err.code != ERR_NONE || atomic_load(&fleet->stop) ||
	    (fleet->stop_us != 0 && now_us >= fleet->stop_us) || !take_operation(lane)) {
		finish(lane);
		return;
	}
	lane->intended_us = now_us;
	if (rate > 0) {
		uint64_t ticket = atomic_fetch_add(&fleet->next_ticket, 1);

		lane->intended_us = fleet->start_us + (int64_t)((double)ticket * SECOND_US / rate);
	}
	if (lane->intended_us > now_us) {
		lane->state = LANE_WAITING;
		lane->wake_us = lane->intended_us;
	} else
		begin_operation(lane);
}

/* The connection broke or answered: count it, then go on. */
static void
end_operation(struct lane *lane)
{
	if (lane->conn.state == CONN_ANSWERED)
		judge_answer(lane);
	else {
		count_done(lane);
		lane->stats->failed++;
		fleet_stats_error(lane->stats, lane->conn.err.text);
	}
	next_operation(lane);
}

void
lane_drive(struct lane *lane)
{
	while (lane->state == LANE_OPENING || lane->state == LANE_EXCHANGE) {
		(void)conn_step(&lane->conn);
		if (lane->conn.state == CONN_READY) {
			histogram_add(&lane->stats->handshake, lane->conn.ready_us - lane->opened_us);
			lane->stats->connections++;
			send_request(lane);
		} else if (lane->conn.state == CONN_ANSWERED)
			end_operation(lane);
		else if (lane->conn.state == CONN_BROKEN) {
			if (!try_again(lane))
				end_operation(lane);
		} else
			return;
	}
}

void
lane_start(struct lane *lane)
{
	next_operation(lane);
	lane_drive(lane);
}

void
lane_wake(struct lane *lane)
{
	if (lane->fleet->stop_us != 0 && lane->attempts == 0 && lane->wake_us >= lane->fleet->stop_us)
		finish(lane);
	else if (atomic_load(&lane->fleet->stop))
		finish(lane);
	else
		begin_operation(lane);
	lane_drive(lane);
}
