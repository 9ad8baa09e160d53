#include "gateway/core/rule_limits.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTS   64
#define CHAINS  4096
#define HELD_CHAINS 1024
#define NAMES_MAX (2 * RULES_MAX) /* a configuration's, and those of the one before */

struct counter {
	char name[RULE_TEXT_MAX];
	struct counter *next;
	int64_t part_s;        /* how long a part is; the window has changed when this has */
	int64_t since;         /* number of the part that holds all that came before the window changed */
	int64_t latest;        /* number of the newest part, since 1970 */
	int64_t count[PARTS + 1]; /* by number modulo: the window, and the part that is half out of it */
	int64_t total;
};

struct held {
	char asset[REG_TEXT_MAX], label[REG_TEXT_MAX];
	uint8_t csr_sha256[32];
	int64_t taken_s;
	struct held *next;
	size_t count;
	char names[][RULE_TEXT_MAX]; /* of the rules */
};

struct rule_limits {
	pthread_mutex_t lock;
	size_t names;
	size_t held_count;
	struct held *held[HELD_CHAINS]; /* by the first octets of csr_sha256 */
	struct counter *chains[CHAINS];
};

int
rule_limits_new(struct rule_limits **out, struct err *e)
{
	struct rule_limits *limits = calloc(1, sizeof *limits);

	if (limits == NULL)
		return err_set(e, ERR_NOMEM, "no memory for the limits of rules");
	(void)pthread_mutex_init(&limits->lock, NULL);
	*out = limits;
	return 0;
}

static void
free_held(struct rule_limits *limits)
{
	struct held *h, *next;
	size_t i;

	for (i = 0; i < HELD_CHAINS; i++)
		for (h = limits->held[i]; h != NULL; h = next) {
			next = h->next;
			free(h);
		}
}

void
rule_limits_free(struct rule_limits *limits)
{
	struct counter *c, *next;
	size_t i;

	if (limits == NULL)
		return;
	free_held(limits);
	for (i = 0; i < CHAINS; i++)
		for (c = limits->chains[i]; c != NULL; c = next) {
			next = c->next;
			free(c);
		}
	(void)pthread_mutex_destroy(&limits->lock);
	free(limits);
}

static size_t
chain_of(const char *name)
{
	uint32_t hash = 2166136261u; /* FNV-1a: names are the operator's own */

	for (; *name != '\0'; name++)
		hash = (hash ^ (unsigned char)*name) * 16777619u;
	return hash % CHAINS;
}

static struct counter *
find(struct rule_limits *limits, const char *name)
{
	struct counter *c = limits->chains[chain_of(name)];

	while (c != NULL && strcmp(c->name, name) != 0)
		c = c->next;
	return c;
}

/* NULL: the table is full, or there is no memory. */
static struct counter *
find_or_add(struct rule_limits *limits, const char *name)
{
	struct counter *c = find(limits, name), **chain = &limits->chains[chain_of(name)];

	if (c != NULL || limits->names == NAMES_MAX)
		return c;
	c = calloc(1, sizeof *c);
	if (c == NULL)
		return NULL;
	(void)snprintf(c->name, sizeof c->name, "%s", name);
	c->next = *chain;
	*chain = c;
	limits->names++;
	return c;
}

/* Forget what has left the window. A clock that was set back changes nothing until it has caught up. */
static void
advance(struct counter *c, const struct policy_rule *rule, int64_t now_s)
{
	int64_t part_s = (rule->per_s + PARTS - 1) / PARTS, part, i;

	if (c->part_s != part_s) {
		/* Another window: what was counted counts as of now. */
		i = c->total;
		memset(c->count, 0, sizeof c->count);
		c->part_s = part_s;
		c->latest = c->since = now_s / part_s;
		c->count[c->latest % (PARTS + 1)] = i;
		return;
	}
	part = now_s / part_s;
	if (part - c->latest > PARTS) {
		memset(c->count, 0, sizeof c->count);
		c->total = 0;
	} else
		for (i = c->latest + 1; i <= part; i++) {
			c->total -= c->count[i % (PARTS + 1)];
			c->count[i % (PARTS + 1)] = 0;
		}
	if (part > c->latest)
		c->latest = part;
}

static bool
is_limited(const struct rule_limits *limits, const struct policy_rule *rule)
{
	return limits != NULL && rule->count > 0 && rule->per_s > 0;
}

/* take: and count it. */
static bool
has_room(struct rule_limits *limits, const struct policy_rule *rule, int64_t now_s, int64_t take)
{
	struct counter *c;
	bool room = false;

	if (!is_limited(limits, rule))
		return true;
	(void)pthread_mutex_lock(&limits->lock);
	c = find_or_add(limits, rule->name);
	if (c != NULL) {
		advance(c, rule, now_s);
		room = c->total < rule->count;
	}
	if (room) {
		c->count[c->latest % (PARTS + 1)] += take;
		c->total += take;
	}
	(void)pthread_mutex_unlock(&limits->lock);
	return room;
}

bool
rule_limits_room(struct rule_limits *limits, const struct policy_rule *rule, int64_t now_s)
{
	return has_room(limits, rule, now_s, 0);
}

bool
rule_limits_take(struct rule_limits *limits, const struct policy_rule *rule, int64_t now_s)
{
	return has_room(limits, rule, now_s, 1);
}

/* Under lock. Where the window changed meanwhile it was counted as of then; what has left the window is not counted any more. */
static void
give_back(struct rule_limits *limits, const char *name, int64_t taken_s)
{
	struct counter *c = find(limits, name);
	int64_t part;

	if (c == NULL || c->part_s == 0)
		return;
	part = taken_s / c->part_s;
	if (part < c->since)
		part = c->since;
	if (part > c->latest)
		part = c->latest;
	if (c->latest - part <= PARTS && c->count[part % (PARTS + 1)] > 0) {
		c->count[part % (PARTS + 1)]--;
		c->total--;
	}
}

void
rule_limits_give_back(struct rule_limits *limits, const struct policy_rule *rule, int64_t now_s)
{
	if (!is_limited(limits, rule))
		return;
	(void)pthread_mutex_lock(&limits->lock);
	give_back(limits, rule->name, now_s);
	(void)pthread_mutex_unlock(&limits->lock);
}

static struct held **
held_chain(struct rule_limits *limits, const uint8_t csr_sha256[32])
{
	return &limits->held[(csr_sha256[0] * 256u + csr_sha256[1]) % HELD_CHAINS];
}

bool
rule_limits_hold(struct rule_limits *limits, const struct rule_limits_key *key, const struct policy_rule *const *rules,
	size_t count, int64_t now_s)
{
	struct held *h, **chain;

	if (limits == NULL || count == 0)
		return false;
	h = calloc(1, sizeof *h + count * sizeof h->names[0]);
	if (h == NULL)
		return false;
	(void)snprintf(h->asset, sizeof h->asset, "%s", key->asset);
	(void)snprintf(h->label, sizeof h->label, "%s", key->label);
	memcpy(h->csr_sha256, key->csr_sha256, sizeof h->csr_sha256);
	h->taken_s = now_s;
	for (; h->count < count; h->count++)
		(void)snprintf(h->names[h->count], sizeof h->names[0], "%s", rules[h->count]->name);
	(void)pthread_mutex_lock(&limits->lock);
	if (limits->held_count == LIMITS_HELD_MAX) {
		(void)pthread_mutex_unlock(&limits->lock);
		free(h);
		return false;
	}
	limits->held_count++;
	chain = held_chain(limits, h->csr_sha256);
	h->next = *chain;
	*chain = h;
	(void)pthread_mutex_unlock(&limits->lock);
	return true;
}

static bool
is_held_by(const struct held *h, const struct rule_limits_key *key)
{
	return memcmp(h->csr_sha256, key->csr_sha256, sizeof h->csr_sha256) == 0 && strcmp(h->asset, key->asset) == 0 &&
		strcmp(h->label, key->label) == 0;
}

void
rule_limits_settle(struct rule_limits *limits, const struct rule_limits_key *key, bool used)
{
	struct held **at, *h;
	size_t i;

	if (limits == NULL)
		return;
	(void)pthread_mutex_lock(&limits->lock);
	for (at = held_chain(limits, key->csr_sha256); *at != NULL && !is_held_by(*at, key); at = &(*at)->next)
		;
	h = *at;
	if (h != NULL) {
		*at = h->next;
		limits->held_count--;
		for (i = 0; i < h->count && !used; i++)
			give_back(limits, h->names[i], h->taken_s);
	}
	(void)pthread_mutex_unlock(&limits->lock);
	free(h);
}
