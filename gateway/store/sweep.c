#include "gateway/store/sqlite_internal.h"

/* What time has ended. Small steps, so that nobody's enrollment waits behind a large one. */

#define SWEEP_ROWS 200 /* of each kind in one call */

struct sweep {
	int64_t now_s;
	struct offboard_report report;
	bool more;
};

static int
sweep_job(struct tx *tx, void *arg, struct err *e)
{
	struct sweep *s = arg;
	int64_t before = sqlite3_total_changes64(tx->conn->db);
	int transfers, places, keys;

	s->report = (struct offboard_report){0};
	if (transfer_expire(tx, s->now_s, SWEEP_ROWS, &transfers, e) != 0 ||
		offboard_step(tx, s->now_s, SWEEP_ROWS, &s->report, &s->more, e) != 0 ||
		quota_sweep(tx, s->now_s, SWEEP_ROWS, &places, e) != 0 ||
		ak_sweep(tx, s->now_s, SWEEP_ROWS, &keys, e) != 0)
		return -1;
	s->report.transfers = transfers;
	s->more = s->more || transfers == SWEEP_ROWS || places == SWEEP_ROWS || keys == SWEEP_ROWS;
	/* Nearly always there is nothing, which is not worth a commit. */
	return sqlite3_total_changes64(tx->conn->db) == before ? JOB_UNDO : 0;
}

int
sqlite_sweep(struct store *store, int64_t now_s, struct offboard_report *report, bool *more, struct err *e)
{
	struct sweep sweep = {.now_s = now_s};

	if (store_write(store, sweep_job, &sweep, e) != 0)
		return -1;
	*report = sweep.report;
	*more = sweep.more;
	return 0;
}
