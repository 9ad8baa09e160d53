/*
 * rollover.h - generations of CAs: which of them issues, and which devices know which.
 *
 * A generation is one entry of cas; those of one group follow each other by succeeds. A device that fetches the CA
 * certificates over a connection it proves itself on is remembered with what it got; a fetch by nobody we know is
 * counted alone.
 */
#ifndef GATEWAY_CORE_ROLLOVER_H
#define GATEWAY_CORE_ROLLOVER_H

#include "gateway/core/world.h"

enum rollover_fetch { FETCH_CACERTS = 0, FETCH_CRTS, FETCH_GETCACERT, FETCH_GETNEXTCACERT };
const char *rollover_fetch_name(enum rollover_fetch what); /* "cacerts", ... */

/*
 * The CA certificates of this label were handed out. client_cert: what the peer proved possession of; NULL: nothing. Only a
 * certificate that was issued here and is not revoked tells whose device it is. Never fails: what cannot be recorded is
 * logged. A write only when the asset was not known to have this very bundle. SCEP's answers are not such a bundle: counted alone.
 */
void rollover_fetched(struct gateway *gateway, const struct world *world, const struct config_label *label,
	enum rollover_fetch what, X509 *client_cert, int64_t now_s);

/* Before a world is in force: the store learns what each CA hands out. For world_enter(). */
MUST_USE int rollover_enter(const struct gateway *gateway, const struct world *world, int64_t now_s, struct err *e);

enum rollover_role {
	ROLLOVER_ISSUING,  /* a label names it */
	ROLLOVER_PREVIOUS, /* none does, but one names what follows it, be it over several */
	ROLLOVER_NEXT,     /* it follows one that a label names, and is not issued from yet */
	ROLLOVER_STANDBY,  /* anything else, a stand-in for example */
};
const char *rollover_role_name(enum rollover_role role);
enum rollover_role rollover_role(const struct config *config, const struct config_ca *ca);
/* The newest generation that follows this one and issues by now; NULL: there is none, certificates of this one are not behind. */
const struct config_ca *rollover_newest(const struct config *config, const struct config_ca *ca);

/* SHA-256 of the certificate that ends the CA's chain: a device that has that knows this generation. */
MUST_USE int rollover_top(const struct world *world, const struct config_ca *ca, uint8_t out[32], struct err *e);

#endif
