/*
 * enroll.h - the one enrollment pipeline.
 *
 * Every protocol handler fills a struct enroll_request, calls enroll_run(), and
 * translates the struct enroll_result back. Nothing about policy lives in a
 * handler, nothing about a protocol lives here.
 */
#ifndef GATEWAY_CORE_ENROLL_H
#define GATEWAY_CORE_ENROLL_H

#include "est/bind.h"
#include "est/csr.h"
#include "gateway/core/world.h"
#include "policy/decide.h"

enum enroll_op { ENROLL_NEW, ENROLL_RENEW, ENROLL_KEYGEN };

struct enroll_request {
	const char *protocol;         /* "est" */
	const char *operation;        /* the protocol's own word, for the records: "simpleenroll" */
	enum enroll_op op;
	const struct config_label *label;
	struct bytes csr;             /* DER as received */
	X509 *client_cert;            /* from TLS; NULL: none */
	const STACK_OF(X509) *client_chain;
	const struct est_binding *binding; /* NULL: the transport has none */
	const char *user, *secret;    /* HTTP Basic or challenge; NULL: none */
	const char *peer;
	int64_t now_s;
};

struct enroll_result {
	enum err_code code;           /* ERR_NONE: issued; ERR_PENDING: wait; else why not */
	char reason[48];              /* a code for machines: "asset.state" */
	char sentence[ERR_TEXT_MAX];  /* for the log and the audit */
	const char *public_text;      /* the category that goes on the wire; static */
	int64_t retry_after_s;        /* PENDING, LIMIT, UPSTREAM */
	int64_t request_id;           /* 0: none was stored */
	char asset_tag[REG_TEXT_MAX]; /* "": unknown */
	char proof[REG_VALUE_MAX];
	struct buf cert;              /* DER, when issued */
	struct buf key;               /* ENROLL_KEYGEN: PKCS#8 DER, or CMS when key_encrypted */
	bool key_encrypted;
	bool replayed;                /* the certificate of an earlier identical request */
};

/* Always fills *out; free with enroll_result_free(). */
void enroll_run(struct gateway *gateway, const struct world *world, const struct enroll_request *request,
	struct enroll_result *out);
/* A request that never got as far: its bytes broke the protocol. One audit row, best effort. */
void enroll_refuse(struct gateway *gateway, const struct enroll_request *request, const struct err *why);
void enroll_result_free(struct enroll_result *result);

/*
 * What would be decided, without issuing or recording anything: the asset is
 * given, and so is what it would prove (PROOF_OWN uses its newest valid
 * certificate). request needs operation, op, label, csr and now_s.
 * ERR_DENIED: no such asset, or no certificate for PROOF_OWN.
 */
MUST_USE int enroll_explain(struct gateway *gateway, const struct world *world,
	const struct enroll_request *request, const char *asset_tag, enum proof_kind proof, struct decision *out,
	struct err *e);

#endif
