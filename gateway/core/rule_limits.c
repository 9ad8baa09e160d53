#include "gateway/core/rule_limits.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTS   64
#define CHAINS  4096
#define NAMES_MAX (2 * RULES_MAX) /* a configuration's, and those of the one before */

struct counter {
	char name[RULE_TEXT_MAX];
	struct counter *next;
	int64_t part_s;        /* how long a part is; the window has changed when this has */
	int64_t latest;        /* number of the newest part, since 1970 */
	int64_t count[PARTS + 1]; /* by number modulo: the window, and the part that is half out of it */
	int64_t total;
};

struct rule_limits {
	pthread_mutex_t lock;
	size_t names;
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

void
rule_limits_free(struct rule_limits *limits)
{
	struct counter *c, *next;
	size_t i;

	if (limits == NULL)
		return;
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
		c->latest = now_s / part_s;
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

void
rule_limits_give_back(struct rule_limits *limits, const struct policy_rule *rule, int64_t now_s)
{
	struct counter *c;
	int64_t part;

	if (!is_limited(limits, rule))
		return;
	(void)pthread_mutex_lock(&limits->lock);
	c = find(limits, rule->name);
	if (c != NULL && c->part_s > 0) {
		part = now_s / c->part_s;
		if (part > c->latest)
			part = c->latest;
		/* Where the window changed meanwhile it was counted as of then. */
		if (c->count[part % (PARTS + 1)] == 0)
			part = c->latest;
		if (c->latest - part <= PARTS && c->count[part % (PARTS + 1)] > 0) {
			c->count[part % (PARTS + 1)]--;
			c->total--;
		}
	}
	(void)pthread_mutex_unlock(&limits->lock);
}
