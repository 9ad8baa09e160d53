/*
 * path.h - what the certificates above a leaf say about it: name constraints, extended key usages, dates (RFC 5280,
 * section 6.1). Inside gateway/ca only.
 */
#ifndef GATEWAY_CA_PATH_H
#define GATEWAY_CA_PATH_H

#include "gateway/ca/ca.h"

struct path {
	STACK_OF(X509) *chain;             /* issuing certificate first, root last */
	X509_STORE *store;                 /* holds the root; NULL: no certificate of the chain constrains a leaf */
	int64_t not_before_s, not_after_s; /* when all of them are valid */
};

/* Of a chain that ca_chain_check() took, and that outlives it. ERR_NOMEM; ERR_MALFORMED: its dates. What was opened stays for path_close(). */
MUST_USE int path_open(const STACK_OF(X509) *chain, struct path *out, struct err *e);
void path_close(struct path *path);

/* A leaf that the first of the chain signed, by name constraints and extended key usages; no dates. ERR_DENIED, ERR_NOMEM */
MUST_USE int path_check(const struct path *path, struct bytes cert, struct err *e);
/* And by dates. */
MUST_USE int path_check_at(const struct path *path, struct bytes cert, int64_t now_s, struct err *e);
/* All of the chain are valid, or become so in less time than clocks differ by. ERR_UPSTREAM says from or until when. Likewise ca_chain_is_valid(). */
MUST_USE int path_is_valid(const struct path *path, int64_t now_s, struct err *e);

#define CLOCKS_DIFFER_S 300 /* a CA's from ours */

#endif
