/*
 * chain.h - the certificates of a CA as configured: the issuing one and those above it. Inside gateway/ca only.
 */
#ifndef GATEWAY_CA_CHAIN_H
#define GATEWAY_CA_CHAIN_H

#include "gateway/ca/ca.h"

/* settings' certificate, then its chain; *out is the caller's. ERR_MALFORMED, ERR_UPSTREAM name the file. */
MUST_USE int ca_chain_load(const struct ca_settings *settings, STACK_OF(X509) **out, struct err *e);
/* CA certificates that may sign, each the issuer of the one before it, up to a self-signed root; no dates. ERR_MALFORMED */
MUST_USE int ca_chain_check(STACK_OF(X509) *chain, struct err *e);

#endif
