#include "gateway/core/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "gateway/core/metrics_process.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum kind { COUNTER, GAUGE };

static const struct {
	const char *name;
	enum kind kind;
	const char *help;
} series[METRIC_COUNT] = {
	[METRIC_CONNECTIONS_OPEN] = { "enrolld_connections_open", GAUGE, "Connections that are open now." },
	[METRIC_CONNECTIONS_TOTAL] = { "enrolld_connections_total", COUNTER, "Connections accepted." },
	[METRIC_CONNECTIONS_REFUSED_TOTAL] = { "enrolld_connections_refused_total", COUNTER,
		"Connections refused because a limit was reached." },
	[METRIC_HANDSHAKES_FAILED_TOTAL] = { "enrolld_handshakes_failed_total", COUNTER,
		"TLS handshakes that failed or took too long." },
	[METRIC_REQUESTS_QUEUED] = { "enrolld_requests_queued", GAUGE, "Requests that wait for a worker now." },
	[METRIC_REQUESTS_REFUSED_TOTAL] = { "enrolld_requests_refused_total", COUNTER,
		"Requests answered 503 for want of a worker." },
	[METRIC_STORE_COMMITS_TOTAL] = { "enrolld_store_commits_total", COUNTER, "Transactions committed." },
	[METRIC_STORE_WRITES_TOTAL] = { "enrolld_store_writes_total", COUNTER,
		"Writes recorded; divided by the commits, how well these are shared." },
	[METRIC_RELOADS_TOTAL] = { "enrolld_reloads_total", COUNTER, "Configuration reloads that took effect." },
	[METRIC_RELOADS_FAILED_TOTAL] = { "enrolld_reloads_failed_total", COUNTER,
		"Configuration reloads that were refused." },
	[METRIC_AUTH_LOCKED_TOTAL] = { "enrolld_auth_locked_total", COUNTER,
		"Attempts refused because too many before had failed." },
	[METRIC_MDM_FAILED_TOTAL] = { "enrolld_mdm_calls_failed_total", COUNTER, "Calls to an MDM that brought no answer." },
	[METRIC_VERIFIER_FAILED_TOTAL] = { "enrolld_verifier_calls_failed_total", COUNTER,
		"Calls to a verifier of evidence that brought no answer." },
	[METRIC_NONCES_TOTAL] = { "enrolld_nonces_total", COUNTER, "Nonces given out for evidence." },
	[METRIC_CLONES_TOTAL] = { "enrolld_clones_total", COUNTER, "Requests that looked like a clone's." },
	[METRIC_OFFBOARDED_OWNERS_TOTAL] = { "enrolld_offboarded_owners_total", COUNTER, "Owners whose grace has ended." },
	[METRIC_OFFBOARDED_CERTIFICATES_TOTAL] = { "enrolld_offboarded_certificates_total", COUNTER,
		"Certificates revoked because their owner's grace has ended." },
	[METRIC_SWEEPS_FAILED_TOTAL] = { "enrolld_sweeps_failed_total", COUNTER,
		"Looks for what time has ended that the store did not take." },
	[METRIC_COAP_SESSIONS_OPEN] = { "enrolld_coap_sessions_open", GAUGE, "DTLS sessions that are open now." },
	[METRIC_COAP_HANDSHAKES_TOTAL] = { "enrolld_coap_handshakes_total", COUNTER, "DTLS handshakes that were finished." },
	[METRIC_COAP_HANDSHAKES_FAILED_TOTAL] = { "enrolld_coap_handshakes_failed_total", COUNTER,
		"DTLS handshakes that failed or took too long." },
	[METRIC_COAP_DUPLICATES_TOTAL] = { "enrolld_coap_duplicates_total", COUNTER, "CoAP messages that came again." },
	[METRIC_COAP_UPLOADS_DROPPED_TOTAL] = { "enrolld_coap_uploads_dropped_total", COUNTER,
		"Request bodies in blocks that were never complete." },
	[METRIC_COAP_REFUSED_TOTAL] = { "enrolld_coap_refused_total", COUNTER,
		"CoAP requests and sessions refused because a limit was reached." },
};

static atomic_llong values[METRIC_COUNT];

void
metric_add(enum metric metric, int64_t n)
{
	atomic_fetch_add_explicit(&values[metric], n, memory_order_relaxed);
}

void
metric_set(enum metric metric, int64_t value)
{
	atomic_store_explicit(&values[metric], value, memory_order_relaxed);
}

/* The last of each list stands for everything that is not in it. */
static const char *const protocols[] = { "est", "scep", "coap", "crl", "admin", "other" };
static const char *const operations[] = { "cacerts", "simpleenroll", "simplereenroll", "serverkeygen", "csrattrs",
	"nonce", "tpm-bind", "fullcmc", "GetCACaps", "GetCACert", "GetNextCACert", "PKIOperation", "PKCSReq", "RenewalReq",
	"CertPoll", "GetCert", "GetCRL", "crl", "core", "crts", "sen", "sren", "att", "skg", "skc", "other" };
static const int statuses[] = { 200, 202, 204, 205, 400, 401, 403, 404, 405, 406, 408, 413, 414, 415, 429, 431, 500, 501, 502,
	503, 505, 0 };

/* Upper bounds: a kept-alive decision takes a fraction of a millisecond, a slow CA seconds. */
static const struct {
	int64_t microseconds;
	const char *text;
} bounds[] = {
	{ 500, "0.0005" }, { 1000, "0.001" }, { 2500, "0.0025" }, { 5000, "0.005" }, { 10000, "0.01" },
	{ 25000, "0.025" }, { 50000, "0.05" }, { 100000, "0.1" }, { 250000, "0.25" }, { 500000, "0.5" },
	{ 1000000, "1" }, { 2500000, "2.5" }, { 5000000, "5" }, { 10000000, "10" }, { INT64_MAX, "+Inf" },
};

static atomic_llong requests[COUNT(protocols)][COUNT(operations)][COUNT(statuses)];
static struct {
	atomic_llong in_bucket[COUNT(bounds)]; /* each request is in one; rendering adds them up */
	atomic_llong microseconds;
} durations[COUNT(protocols)][COUNT(operations)];

static size_t
index_of(const char *const *names, size_t count, const char *name)
{
	size_t i;

	for (i = 0; i + 1 < count; i++)
		if (strcmp(names[i], name) == 0)
			break;
	return i;
}

void
metric_request(const char *protocol, const char *operation, int status, int64_t microseconds)
{
	size_t p = index_of(protocols, COUNT(protocols), protocol);
	size_t o = index_of(operations, COUNT(operations), operation);
	size_t s = 0, b = 0;

	while (s + 1 < COUNT(statuses) && statuses[s] != status)
		s++;
	while (microseconds > bounds[b].microseconds)
		b++;
	atomic_fetch_add_explicit(&requests[p][o][s], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&durations[p][o].in_bucket[b], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&durations[p][o].microseconds, microseconds, memory_order_relaxed);
}

/*
 * Words learnt at run time, up to a limit: afterwards everything new is
 * "other", the last. A word that stands there never changes, so readers
 * need no lock; the mutex is for learning.
 */
#define WORD_MAX 48
#define OUTCOMES_MAX 16
#define REASONS_MAX 64

struct words {
	char (*at)[WORD_MAX];
	size_t max; /* without "other" */
	atomic_size_t count;
	pthread_mutex_t lock;
};

static char outcome_texts[OUTCOMES_MAX][WORD_MAX], reason_texts[REASONS_MAX][WORD_MAX];
static struct words outcomes = { .at = outcome_texts, .max = OUTCOMES_MAX, .lock = PTHREAD_MUTEX_INITIALIZER };
static struct words reasons = { .at = reason_texts, .max = REASONS_MAX, .lock = PTHREAD_MUTEX_INITIALIZER };
static atomic_llong decisions[OUTCOMES_MAX + 1][REASONS_MAX + 1];

#define METHODS_MAX 8
static char method_texts[METHODS_MAX][WORD_MAX], rule_texts[REASONS_MAX][WORD_MAX];
static struct words methods = { .at = method_texts, .max = METHODS_MAX, .lock = PTHREAD_MUTEX_INITIALIZER };
static struct words rules = { .at = rule_texts, .max = REASONS_MAX, .lock = PTHREAD_MUTEX_INITIALIZER };
static atomic_llong attestations[METHODS_MAX + 1][2], denials[REASONS_MAX + 1];

static size_t
find_word(struct words *words, const char *word)
{
	size_t count = atomic_load_explicit(&words->count, memory_order_acquire), i;

	for (i = 0; i < count; i++)
		if (strncmp(words->at[i], word, WORD_MAX - 1) == 0)
			return i;
	return words->max;
}

static size_t
learn_word(struct words *words, const char *word)
{
	size_t i = find_word(words, word), count;

	if (i < words->max || atomic_load_explicit(&words->count, memory_order_acquire) == words->max)
		return i;
	(void)pthread_mutex_lock(&words->lock);
	i = find_word(words, word);
	count = atomic_load_explicit(&words->count, memory_order_relaxed);
	if (i == words->max && count < words->max) {
		(void)snprintf(words->at[count], WORD_MAX, "%s", word);
		atomic_store_explicit(&words->count, count + 1, memory_order_release);
		i = count;
	}
	(void)pthread_mutex_unlock(&words->lock);
	return i;
}

static const char *const fetches[] = { "cacerts", "crts", "getcacert", "getnextcacert", "other" };
static atomic_llong fetched[COUNT(fetches)][2];

void
metric_ca_fetch(const char *how, bool known)
{
	atomic_fetch_add_explicit(&fetched[index_of(fetches, COUNT(fetches), how)][known ? 1 : 0], 1, memory_order_relaxed);
}

void
metric_decision(const char *outcome, const char *reason)
{
	size_t o = learn_word(&outcomes, outcome), r = learn_word(&reasons, reason);

	atomic_fetch_add_explicit(&decisions[o][r], 1, memory_order_relaxed);
}

void
metric_attestation(const char *method, bool valid)
{
	atomic_fetch_add_explicit(&attestations[learn_word(&methods, method)][valid ? 1 : 0], 1, memory_order_relaxed);
}

void
metric_rule_denial(const char *rule)
{
	atomic_fetch_add_explicit(&denials[learn_word(&rules, rule)], 1, memory_order_relaxed);
}

void
metrics_put_head(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void
metrics_put_label(struct buf *out, const char *name, const char *value)
{
	buf_printf(out, "%s=\"", name);
	for (; *value != '\0'; value++) {
		if (*value == '\n')
			buf_append_text(out, "\\n");
		else if (*value == '"' || *value == '\\')
			buf_printf(out, "\\%c", *value);
		else
			buf_append_u8(out, (uint8_t)*value);
	}
	buf_append_text(out, "\"");
}

static void
render_requests(struct buf *out)
{
	char status[12] = "other";
	size_t p, o, s;

	metrics_put_head(out, "enrolld_requests_total", "counter", "Requests answered, by HTTP status or what it comes to.");
	for (p = 0; p < COUNT(protocols); p++)
		for (o = 0; o < COUNT(operations); o++)
			for (s = 0; s < COUNT(statuses); s++) {
				long long n = atomic_load_explicit(&requests[p][o][s], memory_order_relaxed);

				if (n == 0)
					continue;
				if (s + 1 < COUNT(statuses))
					(void)snprintf(status, sizeof status, "%d", statuses[s]);
				else
					(void)snprintf(status, sizeof status, "other");
				buf_printf(out,
					"enrolld_requests_total{protocol=\"%s\",operation=\"%s\",status=\"%s\"} "
					"%lld\n", protocols[p], operations[o], status, n);
			}
}

/* Buckets are read one after another while others count; their sum is the count, so the two always agree. */
static void
render_duration(struct buf *out, size_t p, size_t o)
{
	long long counts[COUNT(bounds)], total = 0, sum;
	size_t b;

	for (b = 0; b < COUNT(bounds); b++) {
		total += atomic_load_explicit(&durations[p][o].in_bucket[b], memory_order_relaxed);
		counts[b] = total;
	}
	if (total == 0)
		return;
	for (b = 0; b < COUNT(bounds); b++)
		buf_printf(out, "enrolld_request_seconds_bucket{protocol=\"%s\",operation=\"%s\",le=\"%s\"} %lld\n",
			protocols[p], operations[o], bounds[b].text, counts[b]);
	sum = atomic_load_explicit(&durations[p][o].microseconds, memory_order_relaxed);
	buf_printf(out, "enrolld_request_seconds_sum{protocol=\"%s\",operation=\"%s\"} %lld.%06lld\n", protocols[p],
		operations[o], sum / 1000000, sum % 1000000);
	buf_printf(out, "enrolld_request_seconds_count{protocol=\"%s\",operation=\"%s\"} %lld\n", protocols[p],
		operations[o], total);
}

static const char *
word_text(const struct words *words, size_t i)
{
	return i == words->max ? "other" : words->at[i];
}

static void
render_decisions(struct buf *out)
{
	size_t o, r;

	metrics_put_head(out, "enrolld_decisions_total", "counter", "Enrollment decisions, by outcome and reason code.");
	for (o = 0; o <= OUTCOMES_MAX; o++)
		for (r = 0; r <= REASONS_MAX; r++) {
			long long n = atomic_load_explicit(&decisions[o][r], memory_order_relaxed);

			if (n == 0)
				continue;
			buf_append_text(out, "enrolld_decisions_total{");
			metrics_put_label(out, "outcome", word_text(&outcomes, o));
			buf_append_text(out, ",");
			metrics_put_label(out, "reason", word_text(&reasons, r));
			buf_printf(out, "} %lld\n", n);
		}
}

static void
render_attestations(struct buf *out)
{
	size_t m;
	int valid;

	metrics_put_head(out, "enrolld_attestations_total", "counter", "Evidence that was judged, by method and verdict.");
	for (m = 0; m <= METHODS_MAX; m++)
		for (valid = 0; valid < 2; valid++) {
			long long n = atomic_load_explicit(&attestations[m][valid], memory_order_relaxed);

			if (n == 0)
				continue;
			buf_append_text(out, "enrolld_attestations_total{");
			metrics_put_label(out, "method", word_text(&methods, m));
			buf_printf(out, ",verdict=\"%s\"} %lld\n", valid ? "good" : "bad", n);
		}
}

static void
render_denials(struct buf *out)
{
	size_t r;

	metrics_put_head(out, "enrolld_rule_denials_total", "counter", "Requests denied by the operator's rules, by rule.");
	for (r = 0; r <= REASONS_MAX; r++) {
		long long n = atomic_load_explicit(&denials[r], memory_order_relaxed);

		if (n == 0)
			continue;
		buf_append_text(out, "enrolld_rule_denials_total{");
		metrics_put_label(out, "rule", word_text(&rules, r));
		buf_printf(out, "} %lld\n", n);
	}
}

static void
render_fetched(struct buf *out)
{
	size_t h;
	int known;

	metrics_put_head(out, "enrolld_ca_certificates_fetched_total", "counter",
		"CA certificates handed out, by how and whether a device we know proved itself.");
	for (h = 0; h < COUNT(fetches); h++)
		for (known = 0; known < 2; known++) {
			long long n = atomic_load_explicit(&fetched[h][known], memory_order_relaxed);

			if (n != 0)
				buf_printf(out, "enrolld_ca_certificates_fetched_total{how=\"%s\",known=\"%s\"} %lld\n", fetches[h],
					known ? "yes" : "no", n);
		}
}

void
metrics_render(struct buf *out)
{
	size_t i, p, o;

	for (i = 0; i < METRIC_COUNT; i++) {
		metrics_put_head(out, series[i].name, series[i].kind == GAUGE ? "gauge" : "counter", series[i].help);
		buf_printf(out, "%s %lld\n", series[i].name,
			(long long)atomic_load_explicit(&values[i], memory_order_relaxed));
	}
	render_requests(out);
	metrics_put_head(out, "enrolld_request_seconds", "histogram",
		"Time from a complete request to its answer, by operation.");
	for (p = 0; p < COUNT(protocols); p++)
		for (o = 0; o < COUNT(operations); o++)
			render_duration(out, p, o);
	render_decisions(out);
	render_attestations(out);
	render_denials(out);
	render_fetched(out);
	metrics_put_process(out);
}
