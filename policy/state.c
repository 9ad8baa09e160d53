#include "policy/record.h"

#include <stdio.h>
#include <string.h>

static const struct state_rules rules[ASSET_STATES] = {
	[ASSET_ORDERED] = { .renewal = RENEWAL_NO },
	[ASSET_SHIPPED] = { .renewal = RENEWAL_NO },
	[ASSET_IN_STOCK] = { .enroll_staging = true, .renewal = RENEWAL_NO },
	[ASSET_STAGED] = { .enroll = true, .renewal = RENEWAL_YES },
	[ASSET_DEPLOYED] = { .enroll = true, .renewal = RENEWAL_YES },
	[ASSET_REPAIR] = { .renewal = RENEWAL_GRACE },
	[ASSET_QUARANTINED] = { .renewal = RENEWAL_NO, .on_entry = ENTRY_HOLD },
	/* The old owner's, until the new one accepts; accepting moves the asset on. An offer gives nothing that the
	   asset did not have: its prior state has to allow a renewal too (decide_asset.c). */
	[ASSET_TRANSFER_PENDING] = { .renewal = RENEWAL_YES },
	[ASSET_LOST] = { .renewal = RENEWAL_NO, .on_entry = ENTRY_REVOKE, .alert = true },
	[ASSET_STOLEN] = { .renewal = RENEWAL_NO, .on_entry = ENTRY_REVOKE, .alert = true },
	[ASSET_DECOMMISSIONED] = { .renewal = RENEWAL_NO, .on_entry = ENTRY_REVOKE, .tombstone = true },
	[ASSET_DISPOSED] = { .renewal = RENEWAL_NO, .on_entry = ENTRY_REVOKE, .tombstone = true },
};

#define TO(state) (1u << ASSET_##state)

/*
 * An asset that was out of sight (lost, stolen) comes back through quarantine:
 * a person looks at it before it holds a certificate again. A stolen one may also go
 * straight to where it was; either way takes a second operator.
 *
 * A transfer ends, accepted or not, before anything else becomes of the asset; both ends are the
 * transfer's own and no move of an operator's. What cannot wait is that it is lost,
 * stolen or not to be trusted.
 */
static const unsigned moves[ASSET_STATES] = {
	[ASSET_ORDERED] = TO(SHIPPED) | TO(IN_STOCK) | TO(DECOMMISSIONED),
	[ASSET_SHIPPED] = TO(IN_STOCK) | TO(STAGED) | TO(QUARANTINED) | TO(LOST) | TO(STOLEN) |
		TO(DECOMMISSIONED),
	[ASSET_IN_STOCK] = TO(STAGED) | TO(REPAIR) | TO(QUARANTINED) | TO(TRANSFER_PENDING) | TO(LOST) |
		TO(STOLEN) | TO(DECOMMISSIONED),
	[ASSET_STAGED] = TO(IN_STOCK) | TO(DEPLOYED) | TO(REPAIR) | TO(QUARANTINED) | TO(TRANSFER_PENDING) |
		TO(LOST) | TO(STOLEN) | TO(DECOMMISSIONED),
	[ASSET_DEPLOYED] = TO(IN_STOCK) | TO(STAGED) | TO(REPAIR) | TO(QUARANTINED) |
		TO(TRANSFER_PENDING) | TO(LOST) | TO(STOLEN) | TO(DECOMMISSIONED),
	[ASSET_REPAIR] = TO(IN_STOCK) | TO(STAGED) | TO(DEPLOYED) | TO(QUARANTINED) | TO(LOST) |
		TO(STOLEN) | TO(DECOMMISSIONED),
	[ASSET_QUARANTINED] = TO(IN_STOCK) | TO(STAGED) | TO(DEPLOYED) | TO(REPAIR) | TO(LOST) |
		TO(STOLEN) | TO(DECOMMISSIONED),
	[ASSET_TRANSFER_PENDING] = TO(QUARANTINED) | TO(LOST) | TO(STOLEN),
	[ASSET_LOST] = TO(QUARANTINED) | TO(STOLEN) | TO(DECOMMISSIONED),
	[ASSET_STOLEN] = TO(DEPLOYED) | TO(QUARANTINED) | TO(DECOMMISSIONED),
	[ASSET_DECOMMISSIONED] = TO(DISPOSED),
	[ASSET_DISPOSED] = 0,
};

const struct state_rules *
asset_state_rules(enum asset_state state)
{
	static const struct state_rules nothing = { .renewal = RENEWAL_NO };

	return (unsigned)state < ASSET_STATES ? &rules[state] : &nothing;
}

#define TARGETS_TEXT_MAX 160

static void
targets_text(enum asset_state from, char out[TARGETS_TEXT_MAX])
{
	size_t n = 0;
	unsigned to;

	(void)snprintf(out, TARGETS_TEXT_MAX, "nothing; it is final");
	for (to = 0; to < ASSET_STATES; to++)
		if ((moves[from] & 1u << to) != 0 && n < TARGETS_TEXT_MAX)
			n += (size_t)snprintf(out + n, TARGETS_TEXT_MAX - n, "%s%s", n == 0 ? "" : ", ",
				asset_state_name((enum asset_state)to));
}

int
asset_state_move(enum asset_state from, enum asset_state to, struct err *e)
{
	char targets[TARGETS_TEXT_MAX];

	if ((unsigned)from >= ASSET_STATES || (unsigned)to >= ASSET_STATES)
		return err_set(e, ERR_DENIED, "an unknown state");
	if ((moves[from] & 1u << to) != 0)
		return 0;
	targets_text(from, targets);
	if (from == to)
		return err_set(e, ERR_DENIED, "the asset is %s already; from there it may become: %s",
			asset_state_name(from), targets);
	return err_set(e, ERR_DENIED, "an asset that is %s cannot become %s; allowed: %s", asset_state_name(from),
		asset_state_name(to), targets);
}

/* Whatever the table comes to allow: only its end leaves a stolen asset out of use. */
bool
asset_state_move_four_eyes(enum asset_state from, enum asset_state to)
{
	return from == ASSET_STOLEN && to != ASSET_STOLEN && to != ASSET_DECOMMISSIONED && to != ASSET_DISPOSED;
}
