#define _DEFAULT_SOURCE
/*
 * Revocation lists of our own CAs, from the store. One is signed for many
 * askers: a list that is not older than CRL_FRESH_S is given again.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "gateway/core/enroll.h"

#define CRL_FRESH_S 30
#define CRL_PAGE    1000

struct crl_copy {
	SLIST_ENTRY(crl_copy) next;
	char ca[REG_TEXT_MAX];
	int64_t made_s;
	struct buf der;
};

struct crl_cache {
	pthread_mutex_t lock; /* held while one is made, so that it is made once */
	SLIST_HEAD(crl_copies, crl_copy) copies;
};

int
crl_cache_new(struct crl_cache **out, struct err *e)
{
	struct crl_cache *cache = calloc(1, sizeof *cache);

	if (cache == NULL)
		return err_set(e, ERR_NOMEM, "no memory for revocation lists");
	(void)pthread_mutex_init(&cache->lock, NULL);
	*out = cache;
	return 0;
}

void
crl_cache_free(struct crl_cache *cache)
{
	struct crl_copy *copy;

	if (cache == NULL)
		return;
	while ((copy = SLIST_FIRST(&cache->copies)) != NULL) {
		SLIST_REMOVE_HEAD(&cache->copies, next);
		buf_free(&copy->der);
		free(copy);
	}
	(void)pthread_mutex_destroy(&cache->lock);
	free(cache);
}

struct gathering {
	struct ca_revoked *rows;
	size_t count, room;
	size_t page;     /* rows of the page being read */
	int64_t last_id;
	bool failed;
};

/* Room for one more. The rows stay the gathering's, whatever comes of it. */
static bool
make_room(struct gathering *g)
{
	size_t room = g->room == 0 ? 64 : g->room * 2;
	struct ca_revoked *rows;

	if (g->count < g->room)
		return true;
	rows = reallocarray(g->rows, room, sizeof *rows);
	if (rows != NULL) {
		g->rows = rows;
		g->room = room;
	}
	return rows != NULL;
}

static bool
gather(void *arg, const struct cert_row *row)
{
	struct gathering *g = arg;

	g->failed = !make_room(g);
	if (g->failed)
		return false;
	g->rows[g->count] = (struct ca_revoked){ .revoked_s = row->revoked_s, .held = row->status == CERT_HELD };
	(void)snprintf(g->rows[g->count].serial, sizeof g->rows[g->count].serial, "%s", row->serial);
	g->count++;
	g->page++;
	g->last_id = row->id;
	return true;
}

/*
 * RFC 5280, section 3.3: "An entry MUST NOT be removed from the CRL until it appears on
 * one regularly scheduled CRL issued beyond the revoked certificate's validity period."
 */
static int
gather_status(struct gateway *gateway, struct store_read *read, struct cert_filter filter, struct gathering *g,
	struct err *e)
{
	do {
		g->page = 0;
		if (gateway->store_ops->cert_list(read, &filter, gather, g, e) != 0)
			return -1;
		if (g->failed)
			return err_set(e, ERR_NOMEM, "no memory for %zu revoked certificates", g->count);
		filter.after_id = g->last_id;
	} while (g->page == CRL_PAGE);
	return 0;
}

static int
make(struct gateway *gateway, const struct world_ca *ca, const struct config_ca *config, int64_t now_s, struct buf *out,
	struct err *e)
{
	struct cert_filter filter = { .limit = CRL_PAGE, .ca = config->name,
		.expires_after_s = now_s - config->crl_lifetime_s };
	struct gathering g = { 0 };
	struct store_read *read = NULL;
	int result = gateway->store_ops->read_begin(gateway->store, &read, e);

	filter.status = CERT_REVOKED;
	if (result == 0)
		result = gather_status(gateway, read, filter, &g, e);
	filter.status = CERT_HELD;
	if (result == 0)
		result = gather_status(gateway, read, filter, &g, e);
	gateway->store_ops->read_end(read);
	/* RFC 5280, section 5.2.3: the number grows; one list a second at most is made, and clocks go forward. */
	if (result == 0)
		result = ca->ops->crl(ca->ca, g.rows, g.count, now_s, now_s, now_s + config->crl_lifetime_s, out, e);
	free(g.rows);
	return result;
}

/* The place of this CA's copy, which may be empty; NULL: no memory. */
static struct crl_copy *
copy_of(struct crl_cache *cache, const char *ca)
{
	struct crl_copy *copy;

	SLIST_FOREACH(copy, &cache->copies, next)
		if (strcmp(copy->ca, ca) == 0)
			return copy;
	copy = calloc(1, sizeof *copy);
	if (copy == NULL)
		return NULL;
	(void)snprintf(copy->ca, sizeof copy->ca, "%s", ca);
	SLIST_INSERT_HEAD(&cache->copies, copy, next);
	return copy;
}

static int
from_cache(struct gateway *gateway, const struct world_ca *ca, const struct config_ca *config, int64_t now_s,
	struct buf *out, struct err *e)
{
	struct crl_copy *copy = copy_of(gateway->crls, config->name);
	struct buf fresh = { 0 };

	if (copy == NULL)
		return err_set(e, ERR_NOMEM, "no memory for a revocation list");
	if (copy->der.len == 0 || now_s >= copy->made_s + CRL_FRESH_S || now_s < copy->made_s) {
		if (make(gateway, ca, config, now_s, &fresh, e) != 0) {
			buf_free(&fresh);
			return -1;
		}
		buf_free(&copy->der);
		copy->der = fresh;
		copy->made_s = now_s;
	}
	buf_append_bytes(out, buf_bytes(&copy->der));
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for a revocation list") : 0;
}

int
enroll_crl(struct gateway *gateway, const struct world *world, const char *ca_name, int64_t now_s, struct buf *out,
	struct err *e)
{
	const struct config_ca *config = config_ca(world->config, ca_name);
	const struct world_ca *ca = config == NULL ? NULL : world_ca_of(world, ca_name);
	int result;

	if (ca == NULL || ca->ops->crl == NULL)
		return err_set(e, ERR_UNSUPPORTED, "no CA here makes that revocation list");
	if (gateway->crls == NULL)
		return make(gateway, ca, config, now_s, out, e);
	(void)pthread_mutex_lock(&gateway->crls->lock);
	result = from_cache(gateway, ca, config, now_s, out, e);
	(void)pthread_mutex_unlock(&gateway->crls->lock);
	return result;
}
