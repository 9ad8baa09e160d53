/*
 * metrics.h - counters, gauges and one histogram kind, in Prometheus text form.
 *
 * Labels are bounded: operations, outcomes, reasons and configured names,
 * never a device. Updating is lock-free; rendering walks the table.
 */
#ifndef GATEWAY_CORE_METRICS_H
#define GATEWAY_CORE_METRICS_H

#include <stdint.h>

#include "base/bytes.h"

/* Every series there is; names and help texts are in one table in metrics.c. */
enum metric {
	METRIC_CONNECTIONS_OPEN,       /* gauge */
	METRIC_CONNECTIONS_TOTAL,
	METRIC_CONNECTIONS_REFUSED_TOTAL, /* limits reached */
	METRIC_HANDSHAKES_FAILED_TOTAL,
	METRIC_REQUESTS_QUEUED,        /* gauge: waiting for a worker */
	METRIC_REQUESTS_REFUSED_TOTAL, /* 503 for want of a worker */
	METRIC_STORE_COMMITS_TOTAL,
	METRIC_STORE_WRITES_TOTAL,
	METRIC_RELOADS_TOTAL,
	METRIC_RELOADS_FAILED_TOTAL,
	METRIC_AUTH_LOCKED_TOTAL,      /* attempts refused because too many failed */
	METRIC_MDM_FAILED_TOTAL,       /* calls that brought no answer */
	METRIC_VERIFIER_FAILED_TOTAL,  /* the same, to a verifier of evidence */
	METRIC_NONCES_TOTAL,           /* given out */
	METRIC_CLONES_TOTAL,           /* requests that looked like a clone's */
	METRIC_OFFBOARDED_OWNERS_TOTAL, /* whose grace ended */
	METRIC_OFFBOARDED_CERTIFICATES_TOTAL, /* revoked for it */
	METRIC_SWEEPS_FAILED_TOTAL,
	METRIC_COAP_SESSIONS_OPEN,     /* gauge */
	METRIC_COAP_HANDSHAKES_TOTAL,
	METRIC_COAP_HANDSHAKES_FAILED_TOTAL,
	METRIC_COAP_DUPLICATES_TOTAL,  /* requests that came again */
	METRIC_COAP_UPLOADS_DROPPED_TOTAL,
	METRIC_COAP_REFUSED_TOTAL,     /* 5.03 for want of a worker or a session */
	METRIC_COUNT
};

void metric_add(enum metric metric, int64_t n);
void metric_set(enum metric metric, int64_t value);

/* enrolld_requests_total{protocol,operation,status} and enrolld_request_seconds; unknown texts count as "other". */
void metric_request(const char *protocol, const char *operation, int status, int64_t microseconds);
/* enrolld_decisions_total{outcome,reason}. */
void metric_decision(const char *outcome, const char *reason);

/* enrolld_attestations_total{method,verdict}: evidence that was judged. */
void metric_attestation(const char *method, bool valid);
/* enrolld_rule_denials_total{rule}; past 64 names "other". */
void metric_rule_denial(const char *rule);

/* enrolld_ca_certificates_fetched_total{how,known}: known is a device that proved itself. Unknown texts count as "other". */
void metric_ca_fetch(const char *how, bool known);

/* Once at start, before any thread: enrolld_build_info and process_start_time_seconds. Not called: left out. */
void metrics_start(const char *version, int64_t now_s);

/* The whole exposition (text format 0.0.4), appended to out. */
void metrics_render(struct buf *out);

#endif
