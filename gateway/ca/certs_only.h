/* certs_only.h - what EST and SCEP answer with. Inside gateway/ca only. */
#ifndef GATEWAY_CA_CERTS_ONLY_H
#define GATEWAY_CA_CERTS_ONLY_H

#include "gateway/ca/remote.h"

/*
 * The certificate of a certs-only message (RFC 5272, section 4.1) that has the request's key, into *out: one alone
 * belongs there, and some servers add its issuers. Another one of the key is the answer's second. 0; 1 when this is no such message (ERR_UPSTREAM in *e);
 * -1: ERR_DENIED when all of them are of other keys.
 */
int certs_only_take(const struct remote *remote, struct bytes der, const struct ca_request *request,
	struct ca_answer *out, struct err *e);

#endif
