/*
 * vault_token.h - the token a Vault or OpenBao is called with. Inside gateway/ca only.
 *
 * One token is kept and shared. It is made again, or renewed, when two thirds of its lease are over; the one clock
 * read here is the monotonic one. Whoever finds none logs in while the others wait.
 */
#ifndef GATEWAY_CA_VAULT_TOKEN_H
#define GATEWAY_CA_VAULT_TOKEN_H

#include <pthread.h>

#include "gateway/ca/remote.h"

#define VAULT_TOKEN_MAX 4096 /* octets; service tokens have about 100, batch tokens about 200 more */

enum vault_auth { VAULT_TOKEN = 0, VAULT_APPROLE, VAULT_CERT };

struct vault_token {
	struct remote *remote;
	enum vault_auth auth;
	char *secret_file; /* auth TOKEN: read anew when the token does not work, since agents write it anew */
	char *role;        /* role_id, or the name of the certificate role (NULL: whichever fits) */
	pthread_mutex_t lock; /* guards what follows */
	struct buf value;     /* empty: none */
	bool renewable;
	int64_t renew_us;     /* when to get the next one; 0: never */
	int64_t ends_us;      /* when it is of no use any more; 0: never */
	uint64_t round;       /* names the value */
};

/* settings: auth, user, secret_file. What was opened stays for vault_token_close(). */
MUST_USE int vault_token_open(struct vault_token *token, struct remote *remote, const struct ca_settings *settings,
	struct err *e);
void vault_token_close(struct vault_token *token);

/* Append the token, logging in when need be. ERR_UPSTREAM; nothing was issued, in any case. */
MUST_USE int vault_token_get(struct vault_token *token, struct buf *out, uint64_t *round, struct err *e);
/* The token of this round was refused. A newer one stays. */
void vault_token_drop(struct vault_token *token, uint64_t round);

#endif
