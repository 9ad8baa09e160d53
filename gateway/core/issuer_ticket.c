/* What others ask of the issuer: to be told of an end, and how the CAs are. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/core/issuer_internal.h"

struct timespec
issuer_monotonic(int64_t in_ms)
{
	struct timespec at;

	(void)clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += in_ms / 1000;
	at.tv_nsec += in_ms % 1000 * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	return at;
}

void
issuer_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(cond, &attr);
	(void)pthread_condattr_destroy(&attr);
}

struct lane *
issuer_lane(const struct issuer *issuer, const char *ca)
{
	size_t i;

	for (i = 0; i < issuer->lane_count; i++)
		if (strcmp(issuer->lanes[i]->ca, ca) == 0)
			return issuer->lanes[i];
	return NULL;
}

struct issuer_ticket *
issuer_ticket_new(struct issuer *issuer, const uint8_t csr_sha256[32])
{
	struct issuer_ticket *ticket = calloc(1, sizeof *ticket);

	if (ticket == NULL)
		return NULL;
	ticket->issuer = issuer;
	issuer_cond_init(&ticket->news);
	memcpy(ticket->csr_sha256, csr_sha256, sizeof ticket->csr_sha256);
	(void)pthread_mutex_lock(&issuer->lock);
	ticket->next = issuer->tickets;
	issuer->tickets = ticket;
	(void)pthread_mutex_unlock(&issuer->lock);
	return ticket;
}

/* Under lock. */
static bool
is_pointless(const struct issuer *issuer, const char *ca)
{
	const struct lane *lane = issuer_lane(issuer, ca);

	return issuer->stopping || lane == NULL || ca_guard_state(lane->guard) != GUARD_CLOSED ||
		issuer->waiting >= issuer->settings.waiters_max;
}

bool
issuer_ticket_wait(struct issuer_ticket *ticket, const char *ca, int64_t request_id, int64_t wait_ms)
{
	struct issuer *issuer = ticket->issuer;
	bool told;
	int rc = 0;

	if (!ticket->waited)
		ticket->until = issuer_monotonic(wait_ms);
	ticket->waited = true;
	(void)pthread_mutex_lock(&issuer->lock);
	if (!ticket->told && !is_pointless(issuer, ca)) {
		issuer->waiting++;
		ticket->request_id = request_id;
		while (!ticket->told && !issuer->stopping && rc != ETIMEDOUT)
			rc = pthread_cond_timedwait(&ticket->news, &issuer->lock, &ticket->until);
		ticket->request_id = 0;
		issuer->waiting--;
	}
	told = ticket->told;
	ticket->told = false;
	ticket->was_told = ticket->was_told || told;
	(void)pthread_mutex_unlock(&issuer->lock);
	return told;
}

bool
issuer_ticket_take(struct issuer_ticket *ticket, struct buf *cert, char ca[REG_TEXT_MAX])
{
	bool there;

	(void)pthread_mutex_lock(&ticket->issuer->lock);
	there = ticket->cert.len != 0;
	if (there) {
		buf_free(cert);
		*cert = ticket->cert;
		ticket->cert = (struct buf){ 0 };
		memcpy(ca, ticket->ca, REG_TEXT_MAX);
	}
	(void)pthread_mutex_unlock(&ticket->issuer->lock);
	return there;
}

/* Without memory to copy it there is the store to ask, too. */
static void
hand_over(struct issuer_ticket *ticket, const struct issuer_job *job)
{
	buf_append_bytes(&ticket->cert, buf_bytes(&job->given));
	if (buf_failed(&ticket->cert))
		buf_free(&ticket->cert);
	(void)snprintf(ticket->ca, sizeof ticket->ca, "%s", job->given_by);
}

void
issuer_tell(struct issuer *issuer, struct issuer_job *job)
{
	struct issuer_ticket *ticket;

	job->untold = job->vouched && (job->refused || job->given.len != 0);
	for (ticket = issuer->tickets; ticket != NULL; ticket = ticket->next) {
		if (memcmp(ticket->csr_sha256, job->csr_sha256, sizeof ticket->csr_sha256) != 0)
			continue;
		if (job->given.len != 0 && ticket->request_id == job->request_id && ticket->cert.len == 0)
			hand_over(ticket, job);
		if (ticket->request_id == job->request_id && (ticket->cert.len != 0 || job->refused)) {
			ticket->asker = true;
			job->untold = false;
		}
		ticket->told = true;
		(void)pthread_cond_signal(&ticket->news);
	}
}

bool
issuer_ticket_told(const struct issuer_ticket *ticket)
{
	return ticket->was_told;
}

bool
issuer_ticket_is_asker(const struct issuer_ticket *ticket)
{
	return ticket->asker;
}

void
issuer_ticket_free(struct issuer_ticket *ticket)
{
	struct issuer_ticket **at;

	if (ticket == NULL)
		return;
	(void)pthread_mutex_lock(&ticket->issuer->lock);
	for (at = &ticket->issuer->tickets; *at != ticket; at = &(*at)->next)
		;
	*at = ticket->next;
	(void)pthread_mutex_unlock(&ticket->issuer->lock);
	(void)pthread_cond_destroy(&ticket->news);
	buf_free(&ticket->cert);
	free(ticket);
}

bool
issuer_guard_state(struct issuer *issuer, const char *ca, enum guard_state *out)
{
	const struct lane *lane;

	if (issuer == NULL)
		return false;
	(void)pthread_mutex_lock(&issuer->lock);
	lane = issuer_lane(issuer, ca);
	(void)pthread_mutex_unlock(&issuer->lock);
	if (lane == NULL)
		return false;
	*out = ca_guard_state(lane->guard); /* lanes stay until the issuer stops */
	return true;
}

void
issuer_count_failover(struct issuer *issuer, const char *from, const char *to, size_t count)
{
	struct lane *lane, *other;

	(void)pthread_mutex_lock(&issuer->lock);
	lane = issuer_lane(issuer, from);
	other = issuer_lane(issuer, to);
	if (lane != NULL && other != NULL)
		lane->failovers[other->number] += (int64_t)count;
	(void)pthread_mutex_unlock(&issuer->lock);
}

static const char *const outcomes[CALL_COUNT] = {
	[CALL_ISSUED] = "issued",
	[CALL_WAITING] = "waiting",
	[CALL_REFUSED] = "refused",
	[CALL_UNAVAILABLE] = "unavailable",
	[CALL_UNKNOWN] = "unknown",
	[CALL_ABSENT] = "absent",
	[CALL_QUARANTINED] = "quarantined",
	[CALL_UNKNOWN_ISSUER] = "unknown_issuer",
	[CALL_REVOKED] = "revoked",
	[CALL_REVOKE_FAILED] = "revoke_failed",
	[CALL_HELD] = "held",
	[CALL_RELEASED] = "released",
};

/* One lane's figures; names are configuration's: letters, digits, "-", "_" and ".". */
struct figures {
	char ca[REG_TEXT_MAX];
	enum guard_state guard;
	int64_t calls[CALL_COUNT], failovers[LANES_MAX];
	struct intent_counts counts;
};

static size_t
take_figures(struct issuer *issuer, struct figures *out)
{
	size_t count, i;

	(void)pthread_mutex_lock(&issuer->lock);
	count = issuer->lane_count;
	for (i = 0; i < count; i++) {
		memcpy(out[i].ca, issuer->lanes[i]->ca, sizeof out[i].ca);
		out[i].guard = ca_guard_state(issuer->lanes[i]->guard);
		memcpy(out[i].calls, issuer->lanes[i]->calls, sizeof out[i].calls);
		memcpy(out[i].failovers, issuer->lanes[i]->failovers, sizeof out[i].failovers);
	}
	(void)pthread_mutex_unlock(&issuer->lock);
	return count;
}

static void
count_intents(const struct gateway *gateway, struct figures *figures, size_t count)
{
	struct store_read *read = NULL;
	struct err e;
	size_t i;

	if (gateway->store_ops->read_begin(gateway->store, &read, &e) != 0)
		return;
	for (i = 0; i < count; i++)
		if (gateway->store_ops->intents->counts(read, figures[i].ca, &figures[i].counts, &e) != 0)
			break;
	gateway->store_ops->read_end(read);
}

#define HEAD(name, type, help) "# HELP enrolld_ca_" name " " help "\n# TYPE enrolld_ca_" name " " type "\n"

static void
render(const struct figures *figures, size_t count, struct buf *out)
{
	size_t i, k;

	buf_append_text(out, HEAD("breaker_state", "gauge", "Breaker of a CA elsewhere: 0 closed, 1 half-open, 2 open."));
	for (i = 0; i < count; i++)
		buf_printf(out, "enrolld_ca_breaker_state{ca=\"%s\"} %d\n", figures[i].ca, (int)figures[i].guard);
	buf_append_text(out, HEAD("intents", "gauge", "What a CA elsewhere is asked for now, by state."));
	for (i = 0; i < count; i++)
		for (k = 0; k <= INTENT_UNKNOWN; k++)
			buf_printf(out, "enrolld_ca_intents{ca=\"%s\",state=\"%s\"} %lld\n", figures[i].ca,
				intent_state_name((enum intent_state)k), (long long)figures[i].counts.in_state[k]);
	buf_append_text(out, HEAD("revocations_waiting", "gauge", "Revocations that a CA elsewhere has not been told."));
	for (i = 0; i < count; i++)
		buf_printf(out, "enrolld_ca_revocations_waiting{ca=\"%s\"} %lld\n", figures[i].ca,
			(long long)figures[i].counts.revocations);
	buf_append_text(out, HEAD("holds_waiting", "gauge", "Holds and their ends that a CA elsewhere has not been told."));
	for (i = 0; i < count; i++)
		buf_printf(out, "enrolld_ca_holds_waiting{ca=\"%s\"} %lld\n", figures[i].ca,
			(long long)(figures[i].counts.holds + figures[i].counts.releases));
	buf_append_text(out, HEAD("unheld", "gauge", "Certificates on hold here whose CA cannot hold them."));
	for (i = 0; i < count; i++)
		buf_printf(out, "enrolld_ca_unheld{ca=\"%s\"} %lld\n", figures[i].ca, (long long)figures[i].counts.unheld);
	buf_append_text(out, HEAD("calls_total", "counter", "Calls to a CA elsewhere, by what came of them."));
	for (i = 0; i < count; i++)
		for (k = 0; k < CALL_COUNT; k++)
			buf_printf(out, "enrolld_ca_calls_total{ca=\"%s\",outcome=\"%s\"} %lld\n", figures[i].ca,
				outcomes[k], (long long)figures[i].calls[k]);
	buf_append_text(out, HEAD("failovers_total", "counter", "What another CA of the group was asked for instead."));
	for (i = 0; i < count; i++)
		for (k = 0; k < count; k++)
			if (figures[i].failovers[k] != 0)
				buf_printf(out, "enrolld_ca_failovers_total{from=\"%s\",to=\"%s\"} %lld\n", figures[i].ca, figures[k].ca,
					(long long)figures[i].failovers[k]);
}

void
issuer_metrics(struct issuer *issuer, struct buf *out)
{
	struct figures *figures;
	size_t count;

	if (issuer == NULL)
		return;
	figures = calloc(LANES_MAX, sizeof *figures);
	if (figures == NULL)
		return;
	count = take_figures(issuer, figures);
	if (count != 0) {
		count_intents(issuer->settings.gateway, figures, count);
		render(figures, count, out);
	}
	free(figures);
}
