#define _GNU_SOURCE
#include "devsim/link.h"

static const char *const ways[] = { "up", "down" };

static int
loopback(const char *port, struct addrinfo **out, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV | AI_NUMERICHOST };
	int rc = getaddrinfo("127.0.0.1", port, &hints, out);

	return rc == 0 ? 0 : err_set(e, ERR_BUG, "proxy: %s", gai_strerror(rc));
}

int
link_open(struct target *target, const struct lossy *lossy, FILE *trace, struct proxy **out, struct err *e)
{
	struct addrinfo *listen = NULL;
	char port[8];
	int rc;

	if (loopback("0", &listen, e) != 0)
		return -1;
	rc = proxy_start(lossy, listen, target->addresses, trace, out, e);
	freeaddrinfo(listen);
	if (rc != 0)
		return -1;
	(void)snprintf(port, sizeof port, "%d", proxy_port(*out));
	return loopback(port, &target->through, e);
}

static uint64_t
total(const uint64_t counts[LOSSY_FATES])
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < LOSSY_FATES; i++)
		sum += counts[i];
	return sum;
}

void
link_print(const struct proxy_stats *stats, FILE *to)
{
	unsigned way;

	for (way = 0; way < 2; way++) {
		const uint64_t *n = stats->datagrams[way];

		(void)fprintf(to, "link %s: %llu datagrams, %llu dropped, %llu duplicated, %llu reordered, %llu too long\n",
			ways[way], (unsigned long long)total(n), (unsigned long long)n[LOSSY_DROP],
			(unsigned long long)n[LOSSY_DUPLICATE], (unsigned long long)n[LOSSY_LATE],
			(unsigned long long)n[LOSSY_TOO_LONG]);
	}
}

json_t *
link_json(const struct proxy_stats *stats)
{
	json_t *root = json_object();
	unsigned way, fate;

	(void)json_object_set_new(root, "flows", json_integer((json_int_t)stats->flows));
	for (way = 0; way < 2; way++) {
		json_t *counts = json_object();

		(void)json_object_set_new(counts, "datagrams", json_integer((json_int_t)total(stats->datagrams[way])));
		for (fate = LOSSY_DROP; fate < LOSSY_FATES; fate++)
			(void)json_object_set_new(counts, lossy_fate_names[fate],
				json_integer((json_int_t)stats->datagrams[way][fate]));
		(void)json_object_set_new(root, ways[way], counts);
	}
	return root;
}
