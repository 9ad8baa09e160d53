#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/core/metrics.h"

/* The exposition; the caller frees the buffer. */
static const char *
render(struct buf *out)
{
	buf_clear(out);
	metrics_render(out);
	assert_false(buf_failed(out));
	return buf_text(out);
}

static void
expect_line(const char *line)
{
	CLEANUP(buf) struct buf out = { 0 };
	char wanted[256];

	(void)snprintf(wanted, sizeof wanted, "\n%s\n", line);
	if (strstr(render(&out), wanted) == NULL)
		fail_msg("no \"%s\" in:\n%s", line, buf_text(&out));
}

/* The value of a series, -1 when it is not there. */
static long long
value_of(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at == NULL ? -1 : atoll(at + strlen(name));
}

static void
metrics_counts_and_sets(void **state)
{
	(void)state;
	metric_add(METRIC_CONNECTIONS_TOTAL, 2);
	metric_add(METRIC_CONNECTIONS_TOTAL, 3);
	metric_set(METRIC_CONNECTIONS_OPEN, 7);
	metric_add(METRIC_CONNECTIONS_OPEN, -3);
	expect_line("enrolld_connections_total 5");
	expect_line("enrolld_connections_open 4");
	expect_line("# TYPE enrolld_connections_open gauge");
	expect_line("# TYPE enrolld_connections_total counter");
	expect_line("enrolld_reloads_failed_total 0");
}

static void
metrics_counts_requests_by_status_and_time(void **state)
{
	(void)state;
	metric_request("est", "simpleenroll", 200, 700);
	metric_request("est", "simpleenroll", 200, 1000);
	metric_request("est", "simpleenroll", 200, 30000000);
	metric_request("est", "simpleenroll", 202, 2000);
	expect_line("enrolld_requests_total{protocol=\"est\",operation=\"simpleenroll\",status=\"200\"} 3");
	expect_line("enrolld_requests_total{protocol=\"est\",operation=\"simpleenroll\",status=\"202\"} 1");
	expect_line("enrolld_request_seconds_bucket{protocol=\"est\",operation=\"simpleenroll\",le=\"0.0005\"} 0");
	expect_line("enrolld_request_seconds_bucket{protocol=\"est\",operation=\"simpleenroll\",le=\"0.001\"} 2");
	expect_line("enrolld_request_seconds_bucket{protocol=\"est\",operation=\"simpleenroll\",le=\"0.0025\"} 3");
	expect_line("enrolld_request_seconds_bucket{protocol=\"est\",operation=\"simpleenroll\",le=\"10\"} 3");
	expect_line("enrolld_request_seconds_bucket{protocol=\"est\",operation=\"simpleenroll\",le=\"+Inf\"} 4");
	expect_line("enrolld_request_seconds_count{protocol=\"est\",operation=\"simpleenroll\"} 4");
	expect_line("enrolld_request_seconds_sum{protocol=\"est\",operation=\"simpleenroll\"} 30.003700");
}

static void
metrics_know_the_words_and_codes_of_coap(void **state)
{
	static const char *const operations[] = { "core", "crts", "sen", "sren", "att", "skg", "skc", "nonce" };
	static const int codes[] = { 204, 205, 400, 401, 403, 404, 406, 413, 415, 500, 503 };
	char line[128];
	size_t o, c;

	(void)state;
	for (o = 0; o < sizeof operations / sizeof operations[0]; o++) {
		for (c = 0; c < sizeof codes / sizeof codes[0]; c++) {
			metric_request("coap", operations[o], codes[c], 10);
			(void)snprintf(line, sizeof line,
				"enrolld_requests_total{protocol=\"coap\",operation=\"%s\",status=\"%d\"} 1",
				operations[o], codes[c]);
			expect_line(line);
		}
		(void)snprintf(line, sizeof line,
			"enrolld_request_seconds_count{protocol=\"coap\",operation=\"%s\"} 11", operations[o]);
		expect_line(line);
	}
}

static void
metrics_call_unknown_words_other(void **state)
{
	(void)state;
	metric_request("gopher", "../../etc", 799, 10);
	expect_line("enrolld_requests_total{protocol=\"other\",operation=\"other\",status=\"other\"} 1");
}

static void
metrics_escape_label_values(void **state)
{
	(void)state;
	metric_decision("denied", "a\"b\\c\nd");
	expect_line("enrolld_decisions_total{outcome=\"denied\",reason=\"a\\\"b\\\\c\\nd\"} 1");
}

#define THREADS 4
#define ROUNDS 5000

static void *
decide_often(void *arg)
{
	char reason[16];
	int i;

	for (i = 0; i < ROUNDS; i++) {
		(void)snprintf(reason, sizeof reason, "rule.%d", i % 10);
		metric_decision(arg, reason);
	}
	return NULL;
}

static void
metrics_lose_no_decision_of_many_threads(void **state)
{
	static char outcome[] = "allowed";
	CLEANUP(buf) struct buf out = { 0 };
	pthread_t threads[THREADS];
	char name[80];
	int i;

	(void)state;
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, decide_often, outcome), 0);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	(void)render(&out);
	for (i = 0; i < 10; i++) {
		(void)snprintf(name, sizeof name, "\nenrolld_decisions_total{outcome=\"allowed\",reason=\"rule.%d\"}", i);
		assert_int_equal(value_of(buf_text(&out), name), THREADS * ROUNDS / 10);
	}
}

/* Runs last: it uses the reasons up. */
static void
metrics_bound_the_reasons(void **state)
{
	CLEANUP(buf) struct buf out = { 0 };
	char reason[200];
	const char *at;
	size_t series = 0;
	int i;

	(void)state;
	for (i = 0; i < 1000; i++) {
		(void)snprintf(reason, sizeof reason, "made.up.%d", i);
		metric_decision("denied", reason);
	}
	memset(reason, 'z', sizeof reason - 1);
	reason[sizeof reason - 1] = '\0';
	metric_decision("denied", reason);
	for (at = render(&out); (at = strstr(at, "\nenrolld_decisions_total{")) != NULL; at++)
		series++;
	assert_in_range(series, 50, 80);
	assert_true(value_of(buf_text(&out), "{outcome=\"denied\",reason=\"other\"}") > 900);
	assert_null(strstr(buf_text(&out), "zzz"));
}

static void
metrics_tell_about_the_process(void **state)
{
	CLEANUP(buf) struct buf out = { 0 };

	(void)state;
	assert_null(strstr(render(&out), "enrolld_build_info"));
	metrics_start("1.2.3", 1700000000);
	expect_line("enrolld_build_info{version=\"1.2.3\"} 1");
	expect_line("process_start_time_seconds 1700000000");
	(void)render(&out);
	assert_in_range(value_of(buf_text(&out), "\nprocess_open_fds"), 3, 1000);
	assert_true(value_of(buf_text(&out), "\nprocess_resident_memory_bytes") > 100000);
}

/* Every sample's family has its HELP and TYPE before it, once. */
static void
metrics_document_every_series(void **state)
{
	CLEANUP(buf) struct buf out = { 0 };
	char *line, *rest, family[128] = "";
	int families = 0;

	(void)state;
	(void)render(&out);
	rest = strdup(buf_text(&out));
	assert_non_null(rest);
	for (line = strtok(rest, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		if (strncmp(line, "# HELP ", 7) == 0) {
			assert_int_equal(sscanf(line, "# HELP %127s", family), 1);
			families++;
		} else if (strncmp(line, "# TYPE ", 7) == 0)
			assert_memory_equal(line + 7, family, strlen(family));
		else
			assert_memory_equal(line, family, strlen(family));
	}
	assert_true(families > METRIC_COUNT + 3);
	free(rest);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(metrics_counts_and_sets),
		cmocka_unit_test(metrics_counts_requests_by_status_and_time),
		cmocka_unit_test(metrics_know_the_words_and_codes_of_coap),
		cmocka_unit_test(metrics_call_unknown_words_other),
		cmocka_unit_test(metrics_escape_label_values),
		cmocka_unit_test(metrics_lose_no_decision_of_many_threads),
		cmocka_unit_test(metrics_tell_about_the_process),
		cmocka_unit_test(metrics_document_every_series),
		cmocka_unit_test(metrics_bound_the_reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
