#define _GNU_SOURCE
#include "gateway/core/sightings.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAYS 4 /* assets that share a bucket */
#define NET_V4 3
#define NET_V6 6
#define PLACE_TEXT_MAX 32

struct place {
	uint8_t net[NET_V6];
	uint8_t len; /* of net: tells the family; 0: none */
	int64_t at_s;
};

struct trail {
	struct place here, there; /* the latest place, and the one before it */
	struct place back;        /* the same network as here, before there */
};

struct asset_seen {
	int64_t asset_id; /* 0: free */
	int64_t seen_s, told_s;
	/* By address family: a second one is a second way out of the same place. */
	struct trail four, six;
};

struct sightings {
	pthread_mutex_t lock;
	size_t buckets;
	struct asset_seen *seen;
};

int
sightings_new(size_t assets, struct sightings **out, struct err *e)
{
	struct sightings *s = calloc(1, sizeof *s);

	if (s != NULL) {
		s->buckets = assets / WAYS + 1;
		s->seen = calloc(s->buckets * WAYS, sizeof *s->seen);
	}
	if (s == NULL || s->seen == NULL) {
		free(s);
		return err_set(e, ERR_NOMEM, "no memory for sightings");
	}
	(void)pthread_mutex_init(&s->lock, NULL);
	*out = s;
	return 0;
}

void
sightings_free(struct sightings *s)
{
	if (s == NULL)
		return;
	(void)pthread_mutex_destroy(&s->lock);
	free(s->seen);
	free(s);
}

/* "192.0.2.7", "192.0.2.7:4711", "2001:db8::1", "[2001:db8::1]:4711", with a zone or without. */
static bool
place_of(const char *peer, struct place *out)
{
	char text[INET6_ADDRSTRLEN + 1];
	bool bracket = peer[0] == '[';
	const char *from = peer + (bracket ? 1 : 0), *colon = strchr(from, ':');
	size_t len = bracket ? strcspn(from, "]%") : strcspn(from, "%");
	struct in6_addr six;
	struct in_addr four;

	if (!bracket && colon != NULL && strchr(colon + 1, ':') == NULL)
		len = (size_t)(colon - from);
	if (len == 0 || len >= sizeof text)
		return false;
	memcpy(text, from, len);
	text[len] = '\0';
	*out = (struct place){ .len = 0 };
	if (inet_pton(AF_INET, text, &four) == 1) {
		memcpy(out->net, &four, NET_V4);
		out->len = NET_V4;
	} else if (inet_pton(AF_INET6, text, &six) == 1 && IN6_IS_ADDR_V4MAPPED(&six)) {
		memcpy(out->net, six.s6_addr + 12, NET_V4);
		out->len = NET_V4;
	} else if (inet_pton(AF_INET6, text, &six) == 1) {
		memcpy(out->net, &six, NET_V6);
		out->len = NET_V6;
	}
	return out->len != 0;
}

static void
place_text(const struct place *place, char out[PLACE_TEXT_MAX])
{
	char address[INET6_ADDRSTRLEN];
	uint8_t octets[16] = { 0 };

	memcpy(octets, place->net, place->len);
	if (inet_ntop(place->len == NET_V4 ? AF_INET : AF_INET6, octets, address, sizeof address) == NULL)
		address[0] = '\0';
	(void)snprintf(out, PLACE_TEXT_MAX, "%.20s/%d", address, place->len * 8);
}

static bool
same(const struct place *a, const struct place *b)
{
	return a->len == b->len && memcmp(a->net, b->net, a->len) == 0;
}

/* The asset's row, or a free one, or that of who was seen longest ago. */
static struct asset_seen *
row_of(struct sightings *s, int64_t asset_id)
{
	uint64_t mixed = (uint64_t)asset_id * UINT64_C(0x9e3779b97f4a7c15);
	struct asset_seen *bucket = &s->seen[(size_t)(mixed >> 20) % s->buckets * WAYS], *oldest = bucket;
	size_t i;

	for (i = 0; i < WAYS; i++) {
		if (bucket[i].asset_id == asset_id)
			return &bucket[i];
		if (bucket[i].asset_id == 0 || (oldest->asset_id != 0 && bucket[i].seen_s < oldest->seen_s))
			oldest = oldest->asset_id == 0 ? oldest : &bucket[i];
	}
	*oldest = (struct asset_seen){ .asset_id = asset_id };
	return oldest;
}

static bool
see(struct trail *trail, const struct place *now, int64_t window_s)
{
	if (!same(&trail->here, now)) {
		trail->back = same(&trail->there, now) ? trail->there : (struct place){ .len = 0 };
		trail->there = trail->here;
	}
	trail->here = *now;
	return trail->back.len != 0 && now->at_s - trail->back.at_s <= window_s;
}

bool
sightings_see(struct sightings *s, int64_t asset_id, const char *peer, int64_t now_s, int64_t window_s, char text[96],
	bool *tell)
{
	char here[PLACE_TEXT_MAX], there[PLACE_TEXT_MAX];
	struct asset_seen *row;
	struct trail *trail;
	struct place now;
	bool twice;

	text[0] = '\0';
	*tell = false;
	if (peer == NULL || asset_id == 0 || !place_of(peer, &now))
		return false;
	now.at_s = now_s;
	(void)pthread_mutex_lock(&s->lock);
	row = row_of(s, asset_id);
	row->seen_s = now_s;
	trail = now.len == NET_V4 ? &row->four : &row->six;
	twice = see(trail, &now, window_s);
	if (twice) {
		place_text(&trail->here, here);
		place_text(&trail->there, there);
		*tell = row->told_s == 0 || now_s - row->told_s > window_s;
		if (*tell)
			row->told_s = now_s;
	}
	(void)pthread_mutex_unlock(&s->lock);
	if (twice)
		(void)snprintf(text, 96, "in %s and %s by turns", here, there);
	return twice;
}
