/*
 * est_coap.h - EST over CoAP (RFC 9148) in the gateway: the listener of coap/ and the one pipeline, joined.
 */
#ifndef GATEWAY_COAP_EST_COAP_H
#define GATEWAY_COAP_EST_COAP_H

#include "coap/coaps.h"
#include "gateway/core/world.h"

struct est_coap;

/* Listens where the world's configuration says; *out stays NULL when it names no address. ERR_UPSTREAM says why not. */
MUST_USE int est_coap_start(struct gateway *gateway, const struct world *world, struct est_coap **out, struct err *e);
/* The certificate and key of another world, for new sessions. NULL is allowed. */
MUST_USE int est_coap_reload(struct est_coap *coap, const struct world *world, struct err *e);
/* NULL is allowed in all of these. */
void est_coap_stop(struct est_coap *coap, int64_t grace_s);
int est_coap_port(const struct est_coap *coap, size_t index);
/* Sets the metrics of CoAP; arg is the struct est_coap. For struct gateway's refresh_metrics. */
void est_coap_metrics(void *arg);

/* The handler of coaps_settings; arg is the struct gateway. Told apart so that tests call it without a network. */
void est_coap_handle(void *arg, const struct coaps_request *request, struct coaps_answer *answer);

#endif
