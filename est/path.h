/*
 * path.h - EST request paths: "/.well-known/est[/<label>]/<operation>" (RFC 7030, section 3.2.2).
 */
#ifndef EST_PATH_H
#define EST_PATH_H

#include "base/bytes.h"

#define EST_LABEL_MAX 64

enum est_op {
	EST_OP_NONE = 0,
	EST_OP_CACERTS,
	EST_OP_SIMPLEENROLL,
	EST_OP_SIMPLEREENROLL,
	EST_OP_SERVERKEYGEN,
	EST_OP_CSRATTRS,
	EST_OP_NONCE,    /* "nonce": freshness for evidence; GET and POST */
	EST_OP_TPM_BIND, /* "tpm-bind": an attestation key is bound to its endorsement key; POST */
};

struct est_route {
	enum est_op op;
	char label[EST_LABEL_MAX + 1]; /* "" when the path names none */
};

/*
 * Parse the path of a request target, without its query. Percent-encoding of
 * unreserved characters is decoded in the label; anything else encoded, "."
 * and "..", empty segments and a trailing slash are refused. A label never
 * equals an operation name.
 *
 * Returns 0, or -1 with ERR_UNSUPPORTED: no EST operation lives there (404).
 */
MUST_USE int est_path_parse(struct bytes path, struct est_route *out, struct err *e);

/* "simpleenroll", ...; "" for EST_OP_NONE. */
const char *est_op_name(enum est_op op);
/* The reverse; EST_OP_NONE for an unknown name. */
enum est_op est_op_of(struct bytes name);
/* "GET" or "POST"; NONCE takes both, and this says "POST". */
const char *est_op_method(enum est_op op);

#endif
