#include "devsim/fleet.h"

#include <stdlib.h>
#include <string.h>

/* "refused by policy (request 17)": the number is another each time, what happened is not. */
static void
cut_number(char *text)
{
	char *at = strstr(text, " (request ");

	if (at != NULL)
		*at = '\0';
}

void
fleet_stats_error(struct fleet_stats *stats, const char *text)
{
	char kind[sizeof stats->errors[0].text];
	size_t i;

	(void)snprintf(kind, sizeof kind, "%s", text);
	cut_number(kind);
	for (i = 0; i < stats->error_count; i++)
		if (strcmp(stats->errors[i].text, kind) == 0)
			break;
	/* The last row takes everything that finds no room. */
	if (i == FLEET_ERRORS_MAX) {
		i--;
		(void)snprintf(stats->errors[i].text, sizeof stats->errors[i].text, "others");
	} else if (i == stats->error_count) {
		stats->error_count++;
		memcpy(stats->errors[i].text, kind, sizeof kind);
	}
	stats->errors[i].count++;
}

void
fleet_stats_second(struct fleet_stats *stats, int64_t since_start_us)
{
	size_t second = since_start_us < 0 ? 0 : (size_t)(since_start_us / 1000000);
	size_t want = stats->second_count == 0 ? 64 : stats->second_count;
	uint32_t *grown;

	if (second >= FLEET_SECONDS_MAX)
		return;
	if (second >= stats->second_count) {
		while (want <= second)
			want *= 2;
		grown = realloc(stats->seconds, want * sizeof *grown);
		if (grown == NULL)
			return;
		memset(grown + stats->second_count, 0, (want - stats->second_count) * sizeof *grown);
		stats->seconds = grown;
		stats->second_count = want;
	}
	stats->seconds[second]++;
}

static int
kept_grow(struct fleet_stats *stats, size_t count, struct err *e)
{
	struct kept *grown = realloc(stats->kept, count * sizeof *grown);

	if (grown == NULL)
		return err_set(e, ERR_NOMEM, "issued certificates: no memory");
	stats->kept = grown;
	return 0;
}

int
fleet_stats_keep(struct fleet_stats *stats, struct kept *kept, struct err *e)
{
	size_t n = stats->kept_count;

	/* The array doubles whenever its length is a power of two. */
	if ((n & (n - 1)) == 0 && kept_grow(stats, n == 0 ? 1 : 2 * n, e) != 0)
		return -1;
	stats->kept[stats->kept_count++] = *kept;
	*kept = (struct kept){ 0 };
	return 0;
}

static void
merge_errors(struct fleet_stats *to, const struct fleet_stats *from)
{
	size_t i, k;

	for (i = 0; i < from->error_count; i++) {
		if (from->errors[i].count == 0)
			continue;
		fleet_stats_error(to, from->errors[i].text);
		for (k = 0; k < to->error_count; k++)
			if (strcmp(to->errors[k].text, from->errors[i].text) == 0)
				to->errors[k].count += from->errors[i].count - 1;
	}
}

int
fleet_stats_merge(struct fleet_stats *to, struct fleet_stats *from, struct err *e)
{
	size_t i;

	histogram_merge(&to->latency, &from->latency);
	histogram_merge(&to->handshake, &from->handshake);
	to->ok += from->ok;
	to->pending += from->pending;
	to->refused += from->refused;
	to->failed += from->failed;
	to->connections += from->connections;
	to->reopened += from->reopened;
	to->retried += from->retried;
	to->late_requests += from->late_requests;
	to->messages += from->messages;
	to->retransmissions += from->retransmissions;
	merge_errors(to, from);
	for (i = 0; i < from->second_count; i++)
		if (from->seconds[i] != 0) {
			fleet_stats_second(to, (int64_t)i * 1000000);
			if (i < to->second_count)
				to->seconds[i] += from->seconds[i] - 1;
		}
	for (i = 0; i < from->kept_count; i++)
		if (fleet_stats_keep(to, &from->kept[i], e) != 0)
			return -1;
	return 0;
}

void
fleet_stats_free(struct fleet_stats *stats)
{
	size_t i;

	for (i = 0; i < stats->kept_count; i++) {
		EVP_PKEY_free(stats->kept[i].key);
		buf_free(&stats->kept[i].der);
	}
	free(stats->kept);
	free(stats->seconds);
	*stats = (struct fleet_stats){ 0 };
}
