/*
 * issuer_resolve.h - an operator's word that ends an intent without a certificate. With one: issuer_resolve(), issuer.h.
 */
#ifndef GATEWAY_CORE_ISSUER_RESOLVE_H
#define GATEWAY_CORE_ISSUER_RESOLVE_H

#include "gateway/core/issuer.h"

/*
 * Given up: its request is denied, what a rule's limit counted is given back, and whoever waits for it is told. So is the MDM that vouched for the
 * device, in this thread, when nobody waits: that takes the time of a call, and is not tried again.
 *
 * row: the intent as it was found; end: to INTENT_FAILED. 0 with *done: whether it was, or had just come to another end; or -1 *e, nothing changed.
 */
MUST_USE int issuer_give_up(struct gateway *gateway, const struct world *world, const struct intent_row *row, const struct intent_end *end,
	bool *done, struct err *e);

#endif
