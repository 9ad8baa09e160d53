/*
 * From one CA to another of its trust group: who is asked instead of one that does not answer, and what goes there. See issuer.h
 * for the rule that keeps this from going in circles.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/core/issuer_internal.h"
#include "gateway/core/log.h"

#define MOVES_MAX 256 /* in one transaction */
#define PAGE      1000

/* The label's CA, then its failover. NULL: past the end. */
static const char *
name_at(const struct config_ca *front, size_t at)
{
	if (at == 0)
		return front->name;
	return at <= front->failover_count ? front->failover[at - 1] : NULL;
}

/* The first one of the list, from here on, that answers and may stand in. */
static const char *
first_up(struct issuer *issuer, const struct world *world, const struct config_ca *front, size_t from)
{
	enum guard_state guard;
	const char *name;
	size_t i;

	for (i = from; (name = name_at(front, i)) != NULL; i++)
		if (config_ca(world->config, name) != NULL && world_same_group(world, front->name, name) &&
		    issuer_guard_state(issuer, name, &guard) && guard == GUARD_CLOSED)
			return name;
	return NULL;
}

const char *
issuer_choose(struct issuer *issuer, const struct world *world, const struct config_label *label)
{
	const struct config_ca *front = config_ca(world->config, label->ca);
	const char *name = front == NULL ? NULL : first_up(issuer, world, front, 0);

	return name == NULL ? label->ca : name;
}

static bool
is_gone(const struct world *world, const char *ca)
{
	return config_ca(world->config, ca) == NULL || !world_ca_of(world, ca)->ops->remote;
}

/* Where this one goes to; NULL: it stays. */
static const char *
target_of(struct issuer *issuer, const struct world *world, const struct intent_row *row)
{
	const struct config_label *label = config_label(world->config, row->label);
	const struct config_ca *front = label == NULL ? NULL : config_ca(world->config, label->ca);
	const char *name, *to;
	enum guard_state guard;
	size_t i;

	if (row->state != INTENT_OPEN || front == NULL)
		return NULL;
	if (is_gone(world, row->ca)) {
		/* What the label says now is what an operator wants of it. */
		to = first_up(issuer, world, front, 0);
		return to != NULL ? to : issuer_guard_state(issuer, front->name, &guard) ? front->name : NULL;
	}
	if (!world_same_group(world, front->name, row->ca))
		return NULL;
	for (i = 0; (name = name_at(front, i)) != NULL && strcmp(name, row->ca) != 0; i++)
		;
	/* One that is not in the list, since the label has another CA by now, begins at its front. */
	return first_up(issuer, world, front, name == NULL ? 0 : i + 1);
}

struct moving {
	struct issuer *issuer;
	const struct world *world;
	const char *from;          /* NULL: the first of those that are gone, then only its */
	char gone[INTENT_NAME_MAX];
	struct intent_moved list[MOVES_MAX];
	size_t count;
	size_t seen;
	int64_t last_id;
};

static bool
take_row(void *arg, const struct intent_row *row)
{
	struct moving *m = arg;
	const char *to;

	m->seen++;
	m->last_id = row->id;
	if (m->from == NULL ? !is_gone(m->world, row->ca) : strcmp(m->from, row->ca) != 0)
		return true;
	to = target_of(m->issuer, m->world, row);
	if (to != NULL) {
		if (m->from == NULL) {
			(void)snprintf(m->gone, sizeof m->gone, "%s", row->ca);
			m->from = m->gone;
		}
		m->list[m->count].id = row->id;
		(void)snprintf(m->list[m->count++].to, INTENT_NAME_MAX, "%.79s", to);
	}
	return m->count < MOVES_MAX;
}

/* Fills the list from the rows past last_id. 1: there may be more past it, 0: there are not, -1. */
static int
collect(struct moving *m, const char *ca, struct err *e)
{
	const struct gateway *gateway = m->issuer->settings.gateway;
	struct intent_filter filter = { .ca = ca, .after_id = m->last_id, .active = true, .limit = PAGE };
	struct store_read *read = NULL;
	int result;

	m->count = m->seen = 0;
	if (gateway->store_ops->read_begin(gateway->store, &read, e) != 0)
		return -1;
	result = gateway->store_ops->intents->list(read, &filter, take_row, m, e);
	gateway->store_ops->read_end(read);
	if (result != 0)
		return -1;
	return m->seen == PAGE || m->count == MOVES_MAX;
}

static void
tell_lane(struct moving *m, const char *to, size_t count, const char *why)
{
	log_text(LOG_LEVEL_WARN, "ca", "%s: %s: %zu open requests go to %s", m->from, why, count, to);
	issuer_count_failover(m->issuer, m->from, to, count);
	issuer_wake(m->issuer, to);
}

/* Each lane once. */
static void
tell_lanes(struct moving *m, const char *why)
{
	size_t i, k, count;

	for (i = 0; i < m->count; i++) {
		for (k = i, count = 0; k < m->count; k++)
			if (m->list[k].moved && strcmp(m->list[k].to, m->list[i].to) == 0) {
				count++;
				m->list[k].moved = false;
			}
		if (count != 0)
			tell_lane(m, m->list[i].to, count, why);
	}
}

/* The count, or -1. */
static int64_t
move_all(struct moving *m, const char *ca, const char *why, struct err *e)
{
	const struct gateway *gateway = m->issuer->settings.gateway;
	int64_t total = 0;
	int more = 1;

	while (more == 1) {
		struct intent_move move = { .list = m->list, .why = why, .now_s = issuer_now(m->issuer) };
		size_t moved = 0;

		more = collect(m, ca, e);
		move.from = m->from;
		move.count = m->count;
		if (more < 0 || (m->count != 0 && gateway->store_ops->intents->move(gateway->store, &move, &moved, e) != 0))
			return -1;
		if (moved != 0)
			tell_lanes(m, why);
		total += (int64_t)moved;
	}
	return total;
}

/* Another one, whoever it may stand in for. */
static bool
somebody_answers(struct issuer *issuer, const char *from)
{
	bool found = false;
	size_t i;

	(void)pthread_mutex_lock(&issuer->lock);
	for (i = 0; i < issuer->lane_count && !found; i++)
		found = strcmp(issuer->lanes[i]->ca, from) != 0 && ca_guard_state(issuer->lanes[i]->guard) == GUARD_CLOSED;
	(void)pthread_mutex_unlock(&issuer->lock);
	return found;
}

int64_t
issuer_fail_over(struct issuer *issuer, const struct world *world, const char *from, struct err *e)
{
	struct moving *m;
	int64_t total;
	size_t i;

	for (i = 0; i < world->config->ca_count && world->config->cas[i].failover_count == 0; i++)
		;
	/* Each new request comes by here while a CA is down: what is open is not read when nobody could have it. */
	if (i == world->config->ca_count || (!is_gone(world, from) && !somebody_answers(issuer, from)))
		return 0;
	m = calloc(1, sizeof *m);
	if (m == NULL)
		return err_set(e, ERR_NOMEM, "no memory to ask other CAs");
	m->issuer = issuer;
	m->world = world;
	m->from = from;
	total = move_all(m, from, "it does not answer", e);
	free(m);
	return total;
}

int
issuer_rehome(struct issuer *issuer, const struct world *world, struct err *e)
{
	struct moving *m = calloc(1, sizeof *m);
	int64_t total;

	if (m == NULL)
		return err_set(e, ERR_NOMEM, "no memory to ask other CAs");
	m->issuer = issuer;
	m->world = world;
	do {
		m->from = NULL;
		m->last_id = 0;
		total = move_all(m, NULL, "it is not in the configuration any more", e);
	} while (total > 0);
	free(m);
	return total < 0 ? -1 : 0;
}
