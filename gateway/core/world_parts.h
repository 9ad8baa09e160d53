/*
 * world_parts.h - what world_load() does for SCEP and for attestation. Inside gateway/core only.
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

/*
 * Roots, keys and verifier of an attester. Nothing is sent. out begins zero; on failure too it is the caller's to
 * clear. rules (NULL: none) and config must outlive it.
 */
MUST_USE int world_attester_load(const struct config_attester *config, const struct identity_rules *rules,
	struct world_attester *out, struct err *e);
void world_attester_clear(struct world_attester *attester);

/* Compile the rules, load the attesters, and work out what each label's rules may want. */
MUST_USE int world_policy_load(struct world *world, struct err *e);
void world_policy_clear(struct world *world);

/* What /csrattrs answers for a label; empty when it asks for nothing. After world_policy_load(). */
MUST_USE int world_csrattrs_load(const struct world *world, const struct config_label *label, struct buf *out,
	struct err *e);

/*
 * CA certificates of a trust group, for handing out. certs is in the order of config->cas and borrowed; so is what is added to
 * out, each certificate once.
 */
struct group_certs {
	const STACK_OF(X509) *chain; /* issuing certificate first; these may be NULL */
	const STACK_OF(X509) *next, *cross;
};
/* Appends all of more, which may be NULL and is freed, to *certs, which is made when it is NULL. false: no memory. */
MUST_USE bool certs_take_all(STACK_OF(X509) **certs, STACK_OF(X509) *more);
/* Everything a device of this CA may need: its chain, what comes, what was, the rest of the group, cross certificates. */
MUST_USE int group_cacerts(const struct config *config, const struct group_certs *certs, size_t ca, STACK_OF(X509) *out,
	struct err *e);
/* What comes, with the cross certificates; nothing when nothing does. */
MUST_USE int group_next(const struct config *config, const struct group_certs *certs, size_t ca, STACK_OF(X509) *out,
	struct err *e);
/* The entry that succeeds it; config->ca_count: none. */
size_t group_successor(const struct config *config, size_t ca);

/* What all CAs hand out; they are open, and their own certificates loaded. */
MUST_USE int world_group_load(struct world *world, struct err *e);

/* The octets that key-wrap keys are derived from (keygen.master) into an empty buffer; "" is none. */
MUST_USE int world_master_load(const char *source, struct buf *out, struct err *e);

/* The certificates in this order as a certs-only message (est/body.h), appended. */
MUST_USE int world_certs_encode(const STACK_OF(X509) *certs, struct buf *out, struct err *e);

#endif
