/* scep_up.h - what the files of the SCEP connector share (RFC 8894, the client's side). Inside gateway/ca only. */
#ifndef GATEWAY_CA_SCEP_UP_H
#define GATEWAY_CA_SCEP_UP_H

#include <pthread.h>

#include "gateway/ca/remote.h"
#include "scep/build.h"
#include "scep/message.h"
#include "scep/query.h"

/* What GetCACaps and GetCACert said. Certificates are counted references: each call has its own. */
struct scep_peer {
	STACK_OF(X509) *certs; /* those that lead to the configured chain: whose answers are believed */
	X509 *recipient;       /* the one of them that requests are encrypted to; borrowed from certs */
	unsigned digest, cipher;
	int64_t fetched_s;
	int64_t retry_s;       /* of a server that does not say, and wants to be left alone so long; 0: it names no time */
};
void scep_peer_free(struct scep_peer *peer);

struct ca {
	struct remote remote;
	char *url;
	char *identifier;      /* message of GetCACert and GetCACaps; NULL: none */
	unsigned allowed;      /* algorithms of requests */
	unsigned believed;     /* algorithms of answers */
	pthread_mutex_t lock;  /* guards what follows */
	bool locked;           /* there is a lock */
	X509 *own;             /* who signs our messages; made at the first request when none is configured */
	EVP_PKEY *key;
	struct scep_peer peer; /* certs NULL: not asked yet */
};

/*
 * The server as it was asked lately, asked now when that is too long ago. *out is the caller's: scep_peer_free().
 * ERR_UPSTREAM: it cannot be had, or is not the one that is configured; nothing was requested.
 */
MUST_USE int scep_peer_get(struct ca *ca, int64_t now_s, struct scep_peer *out, struct err *e);

/* Who we are: ca->own and ca->key are there from now on, and never change. */
MUST_USE int scep_identity(struct ca *ca, int64_t now_s, struct err *e);

#endif
