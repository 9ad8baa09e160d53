#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devsim/link.h"

#define WAIT_MS 10000 /* for what comes; nothing waits this long unless it failed */

/* A server's socket, and a client's that is connected to the proxy between them. */
struct line {
	int server, client;
	struct target target;
	struct proxy *proxy;
	struct sockaddr_in behind; /* the client, as the server sees it */
};

static void
line_auto(struct line *l)
{
	proxy_stop(l->proxy);
	target_close(&l->target);
	(void)close(l->server);
	(void)close(l->client);
}

static int
loopback_socket(uint16_t *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	*port = ntohs(at.sin_port);
	return fd;
}

static void
line_open(struct line *l, const char *text)
{
	struct url url;
	struct lossy lossy;
	char where[64];
	uint16_t port;
	struct err e;

	*l = (struct line){ 0 };
	l->server = loopback_socket(&port);
	l->client = loopback_socket(&(uint16_t){ 0 });
	(void)snprintf(where, sizeof where, "coaps://127.0.0.1:%u", (unsigned)port);
	assert_int_equal(url_parse_as(URL_COAP, where, &url, &e), 0);
	assert_int_equal(lossy_parse(text, &lossy, &e), 0);
	assert_int_equal(target_open(&l->target, &url, &e), 0);
	assert_int_equal(link_open(&l->target, &lossy, NULL, &l->proxy, &e), 0);
	assert_int_equal(connect(l->client, l->target.through->ai_addr, l->target.through->ai_addrlen), 0);
}

static void
say(const struct line *l, const char *text)
{
	assert_int_equal(send(l->client, text, strlen(text), 0), strlen(text));
}

/* What comes next at the server; it answers to there afterwards. */
static const char *
hear(struct line *l)
{
	static char text[2000];
	struct pollfd p = { .fd = l->server, .events = POLLIN };
	socklen_t len = sizeof l->behind;
	ssize_t n;

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	n = recvfrom(l->server, text, sizeof text - 1, 0, (struct sockaddr *)&l->behind, &len);
	assert_true(n >= 0);
	text[n] = '\0';
	return text;
}

static void
proxy_carries_datagrams_both_ways_and_keeps_clients_apart(void **state)
{
	CLEANUP(line) struct line l;
	int other;
	struct sockaddr_in first;
	struct proxy_stats stats;
	char text[16] = "";

	(void)state;
	line_open(&l, "");
	other = loopback_socket(&(uint16_t){ 0 });
	say(&l, "one");
	assert_string_equal(hear(&l), "one");
	first = l.behind;
	assert_int_equal(sendto(other, "two", 3, 0, l.target.through->ai_addr, l.target.through->ai_addrlen), 3);
	assert_string_equal(hear(&l), "two");
	assert_true(l.behind.sin_port != first.sin_port);
	assert_int_equal(sendto(l.server, "for two", 7, 0, (struct sockaddr *)&l.behind, sizeof l.behind), 7);
	assert_int_equal(sendto(l.server, "for one", 7, 0, (struct sockaddr *)&first, sizeof first), 7);
	assert_int_equal(recv(l.client, text, sizeof text, 0), 7);
	assert_memory_equal(text, "for one", 7);
	assert_int_equal(recv(other, text, sizeof text, 0), 7);
	assert_memory_equal(text, "for two", 7);
	proxy_stats(l.proxy, &stats);
	assert_int_equal(stats.flows, 2);
	assert_int_equal(stats.datagrams[LOSSY_UP][LOSSY_PASS], 2);
	assert_int_equal(stats.datagrams[LOSSY_DOWN][LOSSY_PASS], 2);
	(void)close(other);
}

static void
proxy_duplicates(void **state)
{
	CLEANUP(line) struct line l;

	(void)state;
	line_open(&l, "dup=100");
	say(&l, "one");
	say(&l, "two");
	assert_string_equal(hear(&l), "one");
	assert_string_equal(hear(&l), "one");
	assert_string_equal(hear(&l), "two");
	assert_string_equal(hear(&l), "two");
}

static void
proxy_lets_the_next_datagram_pass_a_late_one(void **state)
{
	CLEANUP(line) struct line l;
	struct lossy lossy = { .reorder = 50, .seed = 1 };
	char text[64];

	(void)state;
	/* A seed whose first datagram is late and whose second is not. */
	while (lossy_decide(&lossy, 0, LOSSY_UP, 0, 1) != LOSSY_LATE || lossy_decide(&lossy, 0, LOSSY_UP, 1, 1) != LOSSY_PASS)
		lossy.seed++;
	(void)snprintf(text, sizeof text, "reorder=50,seed=%llu", (unsigned long long)lossy.seed);
	line_open(&l, text);
	say(&l, "0");
	say(&l, "1");
	assert_string_equal(hear(&l), "1");
	assert_string_equal(hear(&l), "0");
}

static void
proxy_delivers_a_late_datagram_that_nothing_passes(void **state)
{
	CLEANUP(line) struct line l;

	(void)state;
	line_open(&l, "reorder=100");
	say(&l, "alone");
	assert_string_equal(hear(&l), "alone");
}

/* The same seed loses the same datagrams, whatever the time: what arrives is what the dice say. */
static void
proxy_loses_what_the_seed_says(void **state)
{
	const struct lossy lossy = { .drop = 40, .seed = 11, .mtu = 64 };
	CLEANUP(line) struct line l;
	struct proxy_stats stats;
	unsigned lost = 0, n;
	char text[80];

	(void)state;
	line_open(&l, "drop=40,seed=11,mtu=64");
	for (n = 0; n < 50; n++) {
		(void)snprintf(text, sizeof text, "%u", n);
		say(&l, text);
		if (lossy_decide(&lossy, 0, LOSSY_UP, n, strlen(text)) == LOSSY_PASS)
			assert_string_equal(hear(&l), text);
		else
			lost++;
	}
	(void)memset(text, 'x', sizeof text);
	assert_int_equal(send(l.client, text, sizeof text, 0), sizeof text);
	/* Something that arrives after all of them says that they were dealt with. */
	for (n = 51; lossy_decide(&lossy, 0, LOSSY_UP, n, 1) != LOSSY_PASS; n++)
		say(&l, "y");
	say(&l, "z");
	assert_string_equal(hear(&l), "z");
	proxy_stats(l.proxy, &stats);
	assert_int_equal(stats.datagrams[LOSSY_UP][LOSSY_DROP], lost + n - 51);
	assert_int_equal(stats.datagrams[LOSSY_UP][LOSSY_TOO_LONG], 1);
	assert_in_range(lost, 10, 30);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(proxy_carries_datagrams_both_ways_and_keeps_clients_apart),
		cmocka_unit_test(proxy_duplicates),
		cmocka_unit_test(proxy_lets_the_next_datagram_pass_a_late_one),
		cmocka_unit_test(proxy_delivers_a_late_datagram_that_nothing_passes),
		cmocka_unit_test(proxy_loses_what_the_seed_says),
	};

	return cmocka_run_group_tests_name("devsim/proxy", tests, NULL, NULL);
}
