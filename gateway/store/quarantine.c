#include "gateway/store/sqlite_internal.h"

/* Quarantine by the gateway itself. */

struct quarantine_write {
	int64_t asset_id;
	const char *reason;
	int64_t now_s;
	bool done;
};

/*
 * What is lost, stolen or retired stays so: from quarantine one operator could
 * bring it back into use, and its alarm would fall silent.
 */
static bool
may_quarantine(enum asset_state from)
{
	struct err ignored;

	return !state_locked(from) && asset_state_move(from, ASSET_QUARANTINED, &ignored) == 0;
}

static int
quarantine_job(struct tx *tx, void *arg, struct err *e)
{
	struct quarantine_write *w = arg;
	CLEANUP(buf) struct buf detail = {0};
	struct state_change change = {
		.asset_id = w->asset_id,
		.to = ASSET_QUARANTINED,
		.reason = w->reason,
		.actor = "enrolld",
		.now_s = w->now_s,
	};
	struct asset_brief asset;
	int64_t held = 0, lifted;

	if (lookup_asset_by_id(tx, w->asset_id, &asset, e) != 0)
		return -1;
	change.from = asset.state;
	w->done = may_quarantine(asset.state);
	if (w->done && state_apply(tx, &change, &held, &lifted, e) != 0)
		return -1;
	json_open(&detail);
	json_text(&detail, w->done ? "from" : "stays", asset_state_name(asset.state));
	json_text(&detail, "reason", w->reason);
	json_int(&detail, "held", held);
	json_close(&detail);
	return store_append(tx, w->now_s, "enrolld", w->done ? "asset.quarantined" : "asset.not_quarantined", asset.tag,
		&detail, e);
}

int
sqlite_asset_quarantine(struct store *store, int64_t asset_id, const char *reason, int64_t now_s, struct err *e)
{
	struct quarantine_write write = {asset_id, reason, now_s, false};

	if (store_write(store, quarantine_job, &write, e) != 0)
		return -1;
	return write.done;
}
