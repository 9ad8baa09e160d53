/*
 * How far a trust group is with its next generation: see rollover.h.
 *
 * Only certificates that have not ended are read, by the index certificate_expiry: those issued one after another
 * end one after another, so the table is read nearly in its own order. Assets are counted in sets of one bit for each
 * id, for SQLite would sort them.
 */
#include "gateway/store/sqlite_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/jsontext.h"

#define SET_IDS_MAX ((int64_t)1 << 31) /* 256 MiB of bits; ids of assets are given one after another */

struct set { /* of assets' ids */
	uint64_t *bits;
	size_t words;
	int64_t count;
};

static void
set_free(struct set *set)
{
	free(set->bits);
}

static bool
set_has(const struct set *set, int64_t id)
{
	size_t word = (size_t)id / 64;

	return id >= 0 && word < set->words && (set->bits[word] >> (id % 64) & 1) != 0;
}

static int
set_add(struct set *set, int64_t id, struct err *e)
{
	size_t word = (size_t)id / 64, words;
	uint64_t *bits;

	if (id < 0 || id >= SET_IDS_MAX)
		return err_set(e, ERR_LIMIT, "an asset's number is past %lld", (long long)SET_IDS_MAX);
	if (word >= set->words) {
		words = word + word / 2 + 1024;
		bits = realloc(set->bits, words * sizeof *bits);
		if (bits == NULL)
			return err_set(e, ERR_NOMEM, "counting assets");
		memset(bits + set->words, 0, (words - set->words) * sizeof *bits);
		set->bits = bits;
		set->words = words;
	}
	if (!set_has(set, id)) {
		set->bits[word] |= (uint64_t)1 << (id % 64);
		set->count++;
	}
	return 0;
}

/* The work of one report. */
struct tally {
	struct rollover_generation *at;
	size_t count;
	struct set holders[ROLLOVER_GENERATIONS_MAX]; /* of each one's certificates */
	struct set knowers[ROLLOVER_GENERATIONS_MAX]; /* of each one, among all */
	struct set all;                               /* holders of any */
};

static void
tally_free(struct tally *t)
{
	size_t i;

	for (i = 0; i < ROLLOVER_GENERATIONS_MAX; i++) {
		set_free(&t->holders[i]);
		set_free(&t->knowers[i]);
	}
	set_free(&t->all);
	free(t);
}

DEFINE_CLEANUP(tally, struct tally *, tally_free);

/*
 * RFC 5280, section 3.3: "An entry MUST NOT be removed from the CRL until it appears on one regularly scheduled CRL issued
 * beyond the revoked certificate's validity period." So a generation lasts as long as what is revoked or on hold, too.
 */
static int
count_one(struct tally *t, const char *ca, int64_t asset_id, int64_t not_after_s, bool valid, struct err *e)
{
	size_t i = 0;

	while (i < t->count && strcmp(t->at[i].ca, ca) != 0)
		i++;
	if (i == t->count)
		return 0;
	if (not_after_s > t->at[i].last_end_s)
		t->at[i].last_end_s = not_after_s;
	if (!valid)
		return 0;
	t->at[i].certificates++;
	return set_add(&t->holders[i], asset_id, e) != 0 ? -1 : set_add(&t->all, asset_id, e);
}

static int
count_certificates(struct store_read *read, struct tally *t, int64_t now_s, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT ca, asset_id, not_after_s, status FROM certificate INDEXED BY certificate_expiry WHERE not_after_s > ?1");
	int rc;

	query_int(&q, now_s);
	while ((rc = query_row(&q, e)) == 1) {
		const char *ca = query_get0_text(&q);
		int64_t asset_id = query_get_int(&q), not_after_s = query_get_int(&q);

		if (count_one(t, ca, asset_id, not_after_s, query_get_int(&q) == CERT_VALID, e) != 0)
			return -1;
	}
	return rc;
}

/* Bundles are few, as many as there were sets of CA certificates; by each one's certificates there would be an index for nothing. */
static int
count_knowers(struct store_read *read, struct tally *t, size_t i, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT asset_id FROM trust_seen WHERE bundle_id IN (SELECT bundle_id FROM bundle_cert WHERE cert_sha256 = ?1)");
	int rc;

	query_sha256(&q, t->at[i].top);
	while ((rc = query_row(&q, e)) == 1) {
		int64_t asset_id = query_get_int(&q);

		if (set_has(&t->all, asset_id) && set_add(&t->knowers[i], asset_id, e) != 0)
			return -1;
	}
	return rc;
}

int
rollover_count(struct store_read *read, struct rollover_generation *at, size_t count, int64_t now_s, int64_t *devices,
	struct err *e)
{
	CLEANUP(tally) struct tally *t = NULL;
	size_t i;

	if (count > ROLLOVER_GENERATIONS_MAX)
		return err_set(e, ERR_LIMIT, "a group of %zu CAs; at most %d", count, ROLLOVER_GENERATIONS_MAX);
	t = calloc(1, sizeof *t);
	if (t == NULL)
		return err_set(e, ERR_NOMEM, "counting certificates");
	t->at = at;
	t->count = count;
	for (i = 0; i < count; i++)
		at[i].certificates = at[i].devices = at[i].know = at[i].last_end_s = 0;
	if (count_certificates(read, t, now_s, e) != 0)
		return -1;
	for (i = 0; i < count; i++) {
		if (count_knowers(read, t, i, e) != 0)
			return -1;
		at[i].devices = t->holders[i].count;
		at[i].know = t->knowers[i].count;
	}
	*devices = t->all.count;
	return 0;
}

/* The certificate that a list goes on behind: 0, or -1. */
static int
find_end(struct store_read *read, int64_t id, int64_t *not_after_s, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn, "SELECT not_after_s FROM certificate WHERE id = ?1");
	int rc;

	query_int(&q, id);
	rc = query_row(&q, e);
	if (rc == 1)
		*not_after_s = query_get_int(&q);
	return rc < 0 ? -1 : 0;
}

/* Since when the asset has a bundle with this certificate; 0: it has none. */
static int
find_knows(struct store_read *read, int64_t asset_id, const uint8_t cert_sha256[32], int64_t *at_s, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn,
		"SELECT min(s.at_s) FROM trust_seen s WHERE s.asset_id = ?1 AND EXISTS"
		" (SELECT 1 FROM bundle_cert c WHERE c.bundle_id = s.bundle_id AND c.cert_sha256 = ?2)");

	query_int(&q, asset_id);
	query_sha256(&q, cert_sha256);
	if (query_row(&q, e) != 1)
		return -1;
	*at_s = query_get_int(&q);
	return 0;
}

static const struct rollover_late *
late_of(const struct rollover_behind_filter *filter, const char *ca)
{
	size_t i;

	for (i = 0; i + 1 < filter->late_count; i++)
		if (strcmp(filter->late[i].ca, ca) == 0)
			break;
	return &filter->late[i];
}

/* A newer one of the same asset and label is found through its requests; see schema.c. */
#define BEHIND_TEXT \
	"SELECT c.id, c.asset_id, a.tag, o.name, c.serial, c.label, c.ca, c.not_after_s" \
	" FROM certificate c INDEXED BY certificate_expiry" \
	" CROSS JOIN asset a ON a.id = c.asset_id CROSS JOIN owner o ON o.id = a.owner_id" \
	" WHERE c.not_after_s > ?1 AND (c.not_after_s, c.id) > (?2, ?3) AND c.status = 0" \
	" AND c.ca IN (SELECT value FROM json_each(?4)) AND NOT EXISTS" \
	" (SELECT 1 FROM request r CROSS JOIN certificate n ON n.id = r.cert_id WHERE r.asset_id = c.asset_id" \
	" AND r.label = c.label AND n.id > c.id AND n.status = 0 AND n.not_after_s > ?1)" \
	" ORDER BY c.not_after_s, c.id LIMIT ?5"

static int
list_behind(struct store_read *read, const struct rollover_behind_filter *filter, const char *names, int64_t after_end_s,
	rollover_behind_cb cb, void *arg, struct err *e)
{
	CLEANUP(query) struct query q = query_of(&read->conn, BEHIND_TEXT);
	struct rollover_behind row;
	int64_t asset_id;
	int rc;

	query_int(&q, filter->now_s);
	query_int(&q, after_end_s);
	query_int(&q, filter->after_id);
	query_text(&q, names);
	query_int(&q, filter->limit > 0 ? filter->limit : STORE_LIST_DEFAULT);
	while ((rc = query_row(&q, e)) == 1) {
		row.id = query_get_int(&q);
		asset_id = query_get_int(&q);
		query_get_text(&q, row.asset_tag, sizeof row.asset_tag);
		query_get_text(&q, row.owner, sizeof row.owner);
		query_get_text(&q, row.serial, sizeof row.serial);
		query_get_text(&q, row.label, sizeof row.label);
		query_get_text(&q, row.ca, sizeof row.ca);
		row.not_after_s = query_get_int(&q);
		if (find_knows(read, asset_id, late_of(filter, row.ca)->newest, &row.knows_s, e) != 0)
			return -1;
		if (!cb(arg, &row))
			return 0;
	}
	return rc;
}

int
rollover_behind_list(struct store_read *read, const struct rollover_behind_filter *filter, rollover_behind_cb cb, void *arg,
	struct err *e)
{
	CLEANUP(buf) struct buf names = {0};
	int64_t after_end_s = 0;
	size_t i;

	if (filter->late_count == 0)
		return 0;
	if (filter->late_count > ROLLOVER_GENERATIONS_MAX)
		return err_set(e, ERR_LIMIT, "a group of %zu CAs; at most %d", filter->late_count, ROLLOVER_GENERATIONS_MAX);
	if (filter->after_id != 0 && find_end(read, filter->after_id, &after_end_s, e) != 0)
		return -1;
	buf_append_text(&names, "[");
	for (i = 0; i < filter->late_count; i++) {
		buf_append_text(&names, i == 0 ? "" : ",");
		json_put_text(&names, filter->late[i].ca);
	}
	buf_append_text(&names, "]");
	if (buf_failed(&names))
		return err_set(e, ERR_NOMEM, "listing who is behind");
	return list_behind(read, filter, buf_text(&names), after_end_s, cb, arg, e);
}
