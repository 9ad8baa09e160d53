#include "gateway/http/peers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ossl.h"

struct place {
	uint64_t address; /* 0: free */
	int count;
};

/* Open addressing, never more than half full. */
struct peers {
	pthread_mutex_t lock;
	uint64_t seed; /* so that a peer cannot aim for collisions */
	size_t mask;
	struct place *places;
};

int
peers_new(size_t connections, struct peers **out, struct err *e)
{
	struct peers *peers = calloc(1, sizeof *peers);
	size_t size = 64;

	while (size < connections * 2)
		size *= 2;
	if (peers != NULL)
		peers->places = calloc(size, sizeof *peers->places);
	if (peers == NULL || peers->places == NULL) {
		free(peers);
		return err_set(e, ERR_NOMEM, "table of addresses: no memory");
	}
	peers->mask = size - 1;
	(void)pthread_mutex_init(&peers->lock, NULL);
	if (random_octets((uint8_t *)&peers->seed, sizeof peers->seed, e) != 0) {
		peers_free(peers);
		return -1;
	}
	*out = peers;
	return 0;
}

void
peers_free(struct peers *peers)
{
	if (peers == NULL)
		return;
	(void)pthread_mutex_destroy(&peers->lock);
	free(peers->places);
	free(peers);
}

/* The IPv4 address of an AF_INET or IPv4-mapped sockaddr. */
static bool
is_v4(const struct sockaddr_storage *address, struct in_addr *out)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

	if (address->ss_family == AF_INET) {
		*out = ((const struct sockaddr_in *)address)->sin_addr;
		return true;
	}
	if (address->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		return false;
	memcpy(out, in6->sin6_addr.s6_addr + 12, sizeof *out);
	return true;
}

struct peer_key
peer_key_of(const struct sockaddr_storage *address)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
	struct peer_key key = { 0 };
	struct in_addr v4;
	size_t i;

	/* 0:1::/32 holds no unicast addresses, so the two kinds never meet. */
	if (is_v4(address, &v4))
		key.address = (uint64_t)1 << 32 | ntohl(v4.s_addr);
	else if (address->ss_family == AF_INET6)
		for (i = 0; i < sizeof key.address; i++)
			key.address = key.address << 8 | in6->sin6_addr.s6_addr[i];
	if (key.address == 0)
		key.address = UINT64_MAX; /* ::1 and the like */
	return key;
}

void
peer_text(const struct sockaddr_storage *address, bool with_port, char *out, size_t size)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
	char text[INET6_ADDRSTRLEN] = "?";
	struct in_addr v4;
	bool four = is_v4(address, &v4);
	unsigned port = ntohs(in6->sin6_port); /* at the same place in both kinds */

	if (four)
		(void)inet_ntop(AF_INET, &v4, text, sizeof text);
	else if (address->ss_family == AF_INET6)
		(void)inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
	if (!with_port)
		(void)snprintf(out, size, "%s", text);
	else
		(void)snprintf(out, size, four ? "%s:%u" : "[%s]:%u", text, port);
}

/* The finalizer of splitmix64, seeded. */
static size_t
home_of(const struct peers *peers, uint64_t address)
{
	uint64_t x = address ^ peers->seed;

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return (size_t)(x ^ x >> 31) & peers->mask;
}

static size_t
find(const struct peers *peers, uint64_t address)
{
	size_t at = home_of(peers, address);

	while (peers->places[at].address != 0 && peers->places[at].address != address)
		at = (at + 1) & peers->mask;
	return at;
}

bool
peers_enter(struct peers *peers, struct peer_key key, int max)
{
	struct place *place;
	bool entered;

	(void)pthread_mutex_lock(&peers->lock);
	place = &peers->places[find(peers, key.address)];
	entered = place->count < max;
	if (entered) {
		place->address = key.address;
		place->count++;
	}
	(void)pthread_mutex_unlock(&peers->lock);
	return entered;
}

/* Take a place out and move up those that had to go past it. */
static void
remove_place(struct peers *peers, size_t hole)
{
	size_t at = hole;

	for (;;) {
		size_t home;

		at = (at + 1) & peers->mask;
		if (peers->places[at].address == 0)
			break;
		home = home_of(peers, peers->places[at].address);
		if (((at - home) & peers->mask) < ((at - hole) & peers->mask))
			continue;
		peers->places[hole] = peers->places[at];
		hole = at;
	}
	peers->places[hole] = (struct place){ 0 };
}

void
peers_leave(struct peers *peers, struct peer_key key)
{
	size_t at;

	(void)pthread_mutex_lock(&peers->lock);
	at = find(peers, key.address);
	if (peers->places[at].count > 0 && --peers->places[at].count == 0)
		remove_place(peers, at);
	(void)pthread_mutex_unlock(&peers->lock);
}
