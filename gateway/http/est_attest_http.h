/*
 * est_attest_http.h - the EST operations that come before evidence: /nonce and /tpm-bind. See README.md.
 */
#ifndef GATEWAY_HTTP_EST_ATTEST_HTTP_H
#define GATEWAY_HTTP_EST_ATTEST_HTTP_H

#include "gateway/http/exchange.h"

int est_nonce_handle(struct exchange *x);
int est_tpm_bind_handle(struct exchange *x);

#endif
