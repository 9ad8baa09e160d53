/*
 * What a run amounted to: text for people, JSON for programs.
 */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/table.h"
#include "base/timefmt.h"
#include "devsim/devsim.h"
#include "devsim/files.h"
#include "devsim/fleet_protocol.h"

static const char *const op_names[] = { "enroll", "reenroll", "cacerts" };

static const struct {
	const char *key, *title;
	double fraction;
} quantiles[] = {
	{ "p50", "p50", 0.5 },
	{ "p90", "p90", 0.9 },
	{ "p99", "p99", 0.99 },
	{ "p99_9", "p99.9", 0.999 },
};

#define QUANTILES (sizeof quantiles / sizeof quantiles[0])

static double
ms_of(uint64_t us)
{
	return (double)us / 1000;
}

static double
elapsed_s(const struct fleet *fleet)
{
	return (double)fleet->elapsed_us / 1000000;
}

static uint64_t
done_of(const struct fleet_stats *s)
{
	return s->ok + s->pending + s->refused + s->failed;
}

static double
rate_of(const struct fleet *fleet)
{
	return fleet->elapsed_us == 0 ? 0 : (double)done_of(&fleet->total) / elapsed_s(fleet);
}

/* Open loop: operations that were due before the end and never begun, because every lane was busy. */
static uint64_t
not_started(const struct fleet *fleet)
{
	int64_t open_us = fleet->elapsed_us;
	uint64_t due;

	if (fleet->options.rate <= 0 || atomic_load(&fleet->stop))
		return 0;
	if (fleet->stop_us != 0 && fleet->stop_us - fleet->start_us < open_us)
		open_us = fleet->stop_us - fleet->start_us;
	due = (uint64_t)(fleet->options.rate * (double)open_us / 1000000);
	if (fleet->operations != 0 && due > fleet->operations)
		due = fleet->operations;
	return due > done_of(&fleet->total) ? due - done_of(&fleet->total) : 0;
}

static void
put_count(json_t *object, const char *key, uint64_t value)
{
	(void)json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void
put_real(json_t *object, const char *key, double value)
{
	(void)json_object_set_new(object, key, json_real(value));
}

static json_t *
histogram_json(const struct histogram *h)
{
	json_t *object = json_object();
	size_t i;

	put_count(object, "count", h->count);
	put_real(object, "min", ms_of(h->min_us));
	put_real(object, "mean", histogram_mean(h) / 1000);
	for (i = 0; i < QUANTILES; i++)
		put_real(object, quantiles[i].key, ms_of(histogram_quantile(h, quantiles[i].fraction)));
	put_real(object, "max", ms_of(h->max_us));
	return object;
}

static json_t *
options_json(const struct fleet *fleet)
{
	const struct fleet_options *o = &fleet->options;
	static const char *const versions[] = { "any", "1.2", "1.3" };
	json_t *object = json_object();

	(void)json_object_set_new(object, "protocol", json_string(fleet->protocol->name));
	(void)json_object_set_new(object, "operation", json_string(op_names[o->op]));
	(void)json_object_set_new(object, "url", json_string(o->client.url));
	(void)json_object_set_new(object, "label", json_string(o->client.label));
	(void)json_object_set_new(object, "tls", json_string(versions[o->client.tls.version]));
	put_count(object, "devices", fleet->device_count);
	put_count(object, "concurrency", o->concurrency);
	put_count(object, "threads", o->threads);
	put_count(object, "keep_alive", o->keep_alive);
	put_real(object, "rate", o->rate);
	put_count(object, "duration_s", (uint64_t)o->duration_s);
	(void)json_object_set_new(object, "binding", json_boolean(o->bind));
	return object;
}

static json_t *
errors_json(const struct fleet_stats *s)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < s->error_count; i++) {
		json_t *row = json_object();

		(void)json_object_set_new(row, "what", json_string(s->errors[i].text));
		put_count(row, "count", s->errors[i].count);
		(void)json_array_append_new(list, row);
	}
	return list;
}

static json_t *
seconds_json(const struct fleet *fleet)
{
	json_t *list = json_array();
	size_t last = (size_t)(fleet->elapsed_us / 1000000) + 1, i;

	for (i = 0; i < last && i < fleet->total.second_count; i++)
		(void)json_array_append_new(list, json_integer((json_int_t)fleet->total.seconds[i]));
	return list;
}

static json_t *
held_json(const struct fleet *fleet)
{
	json_t *object = json_object();

	put_count(object, "idle", fleet->options.hold_idle);
	put_count(object, "slow", fleet->options.slow);
	put_count(object, "at_start", fleet->held_at_start);
	put_count(object, "least", fleet->held_least);
	put_count(object, "closed_by_server", fleet->held_closed);
	put_count(object, "failed_to_open", fleet->held_failed);
	return object;
}

static json_t *
report_json(const struct fleet *fleet)
{
	const struct fleet_stats *s = &fleet->total;
	json_t *root = json_object(), *cpu = json_object();

	(void)json_object_set_new(root, "devsim", json_string(DEVSIM_VERSION));
	(void)json_object_set_new(root, "options", options_json(fleet));
	put_real(root, "elapsed_s", elapsed_s(fleet));
	put_count(root, "done", done_of(s));
	put_count(root, "ok", s->ok);
	put_count(root, "pending", s->pending);
	put_count(root, "refused", s->refused);
	put_count(root, "failed", s->failed);
	put_count(root, "not_started", not_started(fleet));
	put_real(root, "rate_per_s", rate_of(fleet));
	(void)json_object_set_new(root, "latency_ms", histogram_json(&s->latency));
	(void)json_object_set_new(root, "handshake_ms", histogram_json(&s->handshake));
	(void)json_object_set_new(root, "errors", errors_json(s));
	(void)json_object_set_new(root, "per_second", seconds_json(fleet));
	put_count(root, "connections", s->connections);
	put_count(root, "reopened", s->reopened);
	put_count(root, "retried", s->retried);
	put_count(root, "late_requests", s->late_requests);
	if (fleet->target.url.coap) {
		put_count(root, "messages", s->messages);
		put_count(root, "retransmissions", s->retransmissions);
	}
	if (fleet->link != NULL)
		(void)json_object_set_new(root, "link", link_json(&fleet->link_stats));
	put_real(cpu, "user_s", fleet->cpu_user_s);
	put_real(cpu, "system_s", fleet->cpu_system_s);
	put_real(cpu, "prepare_s", fleet->prepare_s);
	(void)json_object_set_new(root, "cpu", cpu);
	if (fleet->options.hold_idle + fleet->options.slow > 0)
		(void)json_object_set_new(root, "held", held_json(fleet));
	return root;
}

static int
print_latencies(const struct fleet *fleet, struct err *e)
{
	static const struct table_column columns[] = { { "milliseconds", TABLE_LEFT, 0 }, { "min", TABLE_RIGHT, 0 },
		{ "mean", TABLE_RIGHT, 0 }, { "p50", TABLE_RIGHT, 0 }, { "p90", TABLE_RIGHT, 0 },
		{ "p99", TABLE_RIGHT, 0 }, { "p99.9", TABLE_RIGHT, 0 }, { "max", TABLE_RIGHT, 0 } };
	CLEANUP(table) struct table *table = table_new(columns, sizeof columns / sizeof columns[0]);
	const struct histogram *both[] = { &fleet->total.latency, &fleet->total.handshake };
	const char *const names[] = { "operation", fleet->target.url.coap ? "DTLS" :
		fleet->tls != NULL ? "connect + TLS" : "connect" };
	size_t i, k;

	if (table == NULL)
		return err_set(e, ERR_NOMEM, "report: no memory");
	for (i = 0; i < 2; i++) {
		if (both[i]->count == 0)
			continue;
		table_cell(table, names[i]);
		table_cellf(table, "%.2f", ms_of(both[i]->min_us));
		table_cellf(table, "%.2f", histogram_mean(both[i]) / 1000);
		for (k = 0; k < QUANTILES; k++)
			table_cellf(table, "%.2f", ms_of(histogram_quantile(both[i], quantiles[k].fraction)));
		table_cellf(table, "%.2f", ms_of(both[i]->max_us));
	}
	return table_print(table, stdout, e);
}

static int
print_errors(const struct fleet_stats *s, struct err *e)
{
	static const struct table_column columns[] = { { "count", TABLE_RIGHT, 0 }, { "not issued because", TABLE_LEFT, 0 } };
	CLEANUP(table) struct table *table = table_new(columns, 2);
	size_t i;

	if (s->error_count == 0)
		return 0;
	if (table == NULL)
		return err_set(e, ERR_NOMEM, "report: no memory");
	for (i = 0; i < s->error_count; i++) {
		table_cellf(table, "%llu", (unsigned long long)s->errors[i].count);
		table_cell(table, s->errors[i].text);
	}
	(void)fputc('\n', stdout);
	return table_print(table, stdout, e);
}

static int
report_text(const struct fleet *fleet, struct err *e)
{
	const struct fleet_stats *s = &fleet->total;
	uint64_t missed = not_started(fleet);

	(void)printf("%s %s: %llu ok, %llu pending, %llu refused, %llu failed in %.2f s: %.1f/s\n",
		fleet->protocol->name, op_names[fleet->options.op], (unsigned long long)s->ok, (unsigned long long)s->pending,
		(unsigned long long)s->refused, (unsigned long long)s->failed, elapsed_s(fleet), rate_of(fleet));
	(void)printf("%llu connections; own CPU time %.2f s user, %.2f s system, after %.2f s of preparation\n",
		(unsigned long long)s->connections, fleet->cpu_user_s, fleet->cpu_system_s, fleet->prepare_s);
	if (missed > 0)
		(void)printf("%llu operations were due and never begun: every connection was busy\n",
			(unsigned long long)missed);
	if (s->late_requests > 0)
		(void)printf("%llu requests were made during the run (--pool was too small)\n",
			(unsigned long long)s->late_requests);
	if (s->reopened + s->retried > 0)
		(void)printf("%llu connections closed by the server were opened again, %llu attempts repeated\n",
			(unsigned long long)s->reopened, (unsigned long long)s->retried);
	if (fleet->target.url.coap)
		(void)printf("%llu confirmable messages, %llu of them repetitions\n", (unsigned long long)s->messages,
			(unsigned long long)s->retransmissions);
	if (fleet->link != NULL)
		link_print(&fleet->link_stats, stdout);
	if (fleet->options.hold_idle + fleet->options.slow > 0)
		(void)printf("held: %llu at the start, never less than %llu; %llu closed by the server, %llu not opened\n",
			(unsigned long long)fleet->held_at_start, (unsigned long long)fleet->held_least,
			(unsigned long long)fleet->held_closed, (unsigned long long)fleet->held_failed);
	(void)fputc('\n', stdout);
	return print_latencies(fleet, e) != 0 ? -1 : print_errors(s, e);
}

int
fleet_report(const struct fleet *fleet, struct err *e)
{
	json_t *root = report_json(fleet);
	char *text = json_dumps(root, JSON_INDENT(2));
	int rc = 0;

	json_decref(root);
	if (text == NULL)
		return err_set(e, ERR_NOMEM, "report: no memory");
	if (fleet->options.json)
		(void)printf("%s\n", text);
	else
		rc = report_text(fleet, e);
	if (rc == 0 && fleet->options.report != NULL)
		rc = file_write(fleet->options.report, bytes_of_text(text), FILE_MODE_PUBLIC, e);
	free(text);
	return rc;
}
