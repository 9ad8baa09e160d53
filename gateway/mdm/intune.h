/* intune.h - what intune.c and intune_access.c share. */
#ifndef GATEWAY_MDM_INTUNE_H
#define GATEWAY_MDM_INTUNE_H

#include "gateway/mdm/cache.h"
#include "gateway/mdm/mdm_internal.h"

struct intune {
	struct mdm common; /* first: a struct mdm is one of these */
	char *token_url, *client_id, *scope, *provider;
	char *discovery_url, *discovery_scope, *discovery_domain; /* discovery_url NULL: common.client's URL */
	bool allow_plain;
	struct mdm_cache token;           /* for the service */
	struct mdm_cache discovery_token; /* for Graph */
	struct mdm_cache endpoint;        /* the service's URL */
};

/* Fetches for the caches; arg is the struct intune. */
int intune_fetch_token(void *arg, int64_t ends_us, struct buf *out, int64_t *lifetime_s, struct err *e);
int intune_fetch_discovery_token(void *arg, int64_t ends_us, struct buf *out, int64_t *lifetime_s, struct err *e);
int intune_fetch_endpoint(void *arg, int64_t ends_us, struct buf *out, int64_t *lifetime_s, struct err *e);

/*
 * A call with an access token: "Authorization: Bearer ..." and "client-request-id". When
 * the answer is 401 the token is dropped and the call made once more with a new one.
 * headers: further ones, at most INTUNE_HEADERS_MAX. id: what Microsoft's support asks for.
 */
#define INTUNE_HEADERS_MAX 4
#define INTUNE_ID_MAX      37
MUST_USE int intune_call(struct intune *intune, struct mdm_cache *token, struct outbound_request *request, int64_t ends_us,
	struct outbound_answer *out, char id[INTUNE_ID_MAX], struct err *e);

#endif
