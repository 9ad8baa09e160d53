#include "gateway/store/import_internal.h"

#include <string.h>

/* A line beside the asset that it is about: what stays, what differs, what the audit says of it. */

static void
keep_text(const struct import_record *rec, unsigned column, char *out, const char *present)
{
	if ((rec->absent & column) != 0)
		memcpy(out, present, REG_TEXT_MAX);
}

void
import_merge(struct import_record *rec, const struct asset *found)
{
	struct asset *asset = &rec->asset;

	keep_text(rec, IMPORT_MANUFACTURER, asset->manufacturer, found->manufacturer);
	keep_text(rec, IMPORT_MODEL, asset->model, found->model);
	keep_text(rec, IMPORT_SERIAL, asset->serial, found->serial);
	keep_text(rec, IMPORT_CLASS, asset->class_name, found->class_name);
	keep_text(rec, IMPORT_SITE, asset->site, found->site);
	keep_text(rec, IMPORT_HOSTNAME, asset->hostname, found->hostname);
	if ((rec->absent & IMPORT_HOLDING) != 0)
		asset->holding = found->holding;
	if ((rec->absent & IMPORT_TIER) != 0)
		asset->tier = found->tier;
	/* A key is its source's: the two stay together. Without a key the source is who wrote last. */
	if ((rec->absent & IMPORT_SOURCE) != 0 && (rec->absent & IMPORT_SOURCE_KEY) != 0 &&
		found->source_key[0] != '\0') {
		memcpy(asset->source, found->source, sizeof asset->source);
		memcpy(asset->source_key, found->source_key, sizeof asset->source_key);
	}
}

bool
import_same_identity(const struct asset *a, const struct asset *b)
{
	return strcmp(a->tag, b->tag) == 0 && strcmp(a->manufacturer, b->manufacturer) == 0 &&
		strcmp(a->serial, b->serial) == 0;
}

/* Rules and profiles read these. */
static bool
same_judged(const struct asset *a, const struct asset *b)
{
	return strcmp(a->model, b->model) == 0 && strcmp(a->class_name, b->class_name) == 0 &&
		strcmp(a->site, b->site) == 0 && a->holding == b->holding && a->tier == b->tier;
}

bool
import_same_fields(const struct asset *a, const struct asset *b)
{
	return import_same_identity(a, b) && same_judged(a, b) && strcmp(a->hostname, b->hostname) == 0 &&
		strcmp(a->source, b->source) == 0 && strcmp(a->source_key, b->source_key) == 0;
}

static void
put_changed(struct buf *b, const char *key, const char *was_key, const char *now, const char *was)
{
	if (strcmp(now, was) == 0)
		return;
	json_text(b, key, now);
	json_text(b, was_key, was);
}

static void
put_judged(struct buf *b, const struct asset *now, const struct asset *was)
{
	put_changed(b, "model", "model_was", now->model, was->model);
	put_changed(b, "class", "class_was", now->class_name, was->class_name);
	put_changed(b, "site", "site_was", now->site, was->site);
	put_changed(b, "holding", "holding_was", asset_holding_name(now->holding), asset_holding_name(was->holding));
	if (now->tier == was->tier)
		return;
	json_int(b, "tier", now->tier);
	json_int(b, "tier_was", was->tier);
}

static int
put_owner(struct tx *tx, struct buf *b, const struct import_change *change, struct err *e)
{
	struct owner old;

	if (change->owner_id == change->found->owner_id)
		return 0;
	if (lookup_owner_by_id(tx, change->found->owner_id, &old, e) != 0)
		return -1;
	json_text(b, "old_owner", old.name);
	json_text(b, "new_owner", change->rec->owner);
	transfer_json_ended(b, &change->ended);
	return 0;
}

/* The rest is in the batch's own row. New assets leave none: they hold nothing yet, and a first import has a million. */
int
import_append_change(struct tx *tx, const struct import_change *change, struct err *e)
{
	const struct asset *now = &change->rec->asset, *was = change->found;
	CLEANUP(buf) struct buf detail = {0};

	if (!change->anchors && !change->moves && change->owner_id == was->owner_id && import_same_identity(now, was) &&
		same_judged(now, was))
		return 0;
	json_open(&detail);
	json_text(&detail, "import", change->job->source);
	json_int(&detail, "line", change->rec->line);
	if (change->moves) {
		json_text(&detail, "from", asset_state_name(was->state));
		json_text(&detail, "to", asset_state_name(now->state));
	}
	if (put_owner(tx, &detail, change, e) != 0)
		return -1;
	if (!import_same_identity(now, was))
		json_text(&detail, "was", was->tag);
	put_judged(&detail, now, was);
	if (change->anchors)
		json_int(&detail, "anchors_replaced", (int64_t)change->rec->anchor_count);
	json_close(&detail);
	return store_append(tx, change->job->now_s, change->job->actor, "asset.import", now->tag, &detail, e);
}
