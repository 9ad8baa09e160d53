/*
 * world_parts.h - what world_load() does for SCEP. Inside gateway/core only.
 */
#ifndef GATEWAY_CORE_WORLD_PARTS_H
#define GATEWAY_CORE_WORLD_PARTS_H

#include "gateway/core/world.h"

/* These fill *out, which begins zero; on failure too it is the caller's to clear. */
MUST_USE int world_ra_load(const struct config_ra *config, struct world_ra *out, struct err *e);
void world_ra_clear(struct world_ra *ra);

/* Open an MDM connector as configured; *out is the caller's, by (*ops)->close. Nothing is sent. */
MUST_USE int world_mdm_open(const struct config_mdm *config, const struct mdm_ops **ops, struct mdm **out,
	struct err *e);

/* The constant answers of one label, from world's CAs and RAs, which are loaded; nothing for a label without SCEP. */
MUST_USE int world_scep_load(const struct world *world, const struct config_label *label, struct world_scep *out,
	struct err *e);
void world_scep_clear(struct world_scep *scep);

/* The certificates in this order as a certs-only message (est/body.h), appended. */
MUST_USE int world_certs_encode(const STACK_OF(X509) *certs, struct buf *out, struct err *e);

#endif
