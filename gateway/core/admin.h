/*
 * admin.h - the operators' commands, as JSON in and JSON out.
 *
 * One table names them all. Rows of a list are emitted as they are read, so
 * that a million of them need no memory.
 */
#ifndef GATEWAY_CORE_ADMIN_H
#define GATEWAY_CORE_ADMIN_H

#include <jansson.h>

#include "gateway/core/world.h"

struct admin_call {
	struct gateway *gateway;
	const char *actor;   /* "operator:<user>" */
	json_t *args;        /* an object */
	int fd;              /* a file the operator opened for us (import); -1: none */
	int64_t now_s;
	/* {"row": ...} or {"progress": ...}; takes the reference. false: the operator has gone. */
	bool (*emit)(void *arg, json_t *line);
	void *emit_arg;
	json_t *result;      /* an object: what the answer says beside "ok"; may stay NULL */
};

/*
 * 0 with call->result, or -1 with *e set. ERR_UNSUPPORTED: no such command.
 * ERR_MALFORMED: an argument the command does not have, or one of a wrong type.
 */
MUST_USE int admin_run(const char *command, struct admin_call *call, struct err *e);

/* Arguments by name, their types checked by admin_run(). Optional ones give the fallback when absent or ""; a
   missing one is ERR_MALFORMED. */
MUST_USE int admin_text(const struct admin_call *call, const char *key, const char **out, struct err *e);
const char *admin_text_or(const struct admin_call *call, const char *key, const char *fallback);
int64_t admin_int_or(const struct admin_call *call, const char *key, int64_t fallback);
bool admin_flag(const struct admin_call *call, const char *key);

/* A duration like "14d", not negative; the fallback when it is not given. */
MUST_USE int admin_duration(const struct admin_call *call, const char *key, int64_t fallback_s, int64_t *out_s,
	struct err *e);
/* A word out of a fixed list: ERR_MALFORMED says that text is not what. */
MUST_USE int admin_named(const char *what, int (*of)(const char *), const char *text, int *out, struct err *e);

/* Command functions, by file. */
int admin_ca_list(struct admin_call *call, struct err *e);
int admin_ca_intents(struct admin_call *call, struct err *e);
int admin_ca_resolve(struct admin_call *call, struct err *e);
int admin_ca_rollover(struct admin_call *call, struct err *e);
int admin_owner_put(struct admin_call *call, struct err *e);
int admin_owner_list(struct admin_call *call, struct err *e);
int admin_asset_list(struct admin_call *call, struct err *e);
int admin_asset_show(struct admin_call *call, struct err *e);
int admin_asset_set_state(struct admin_call *call, struct err *e);
int admin_asset_forget_key(struct admin_call *call, struct err *e);
int admin_owner_offboard(struct admin_call *call, struct err *e);
int admin_owner_report(struct admin_call *call, struct err *e);
int admin_transfer_offer(struct admin_call *call, struct err *e);
int admin_transfer_decide(struct admin_call *call, struct err *e);
int admin_transfer_list(struct admin_call *call, struct err *e);
int admin_exception_request(struct admin_call *call, struct err *e);
int admin_exception_list(struct admin_call *call, struct err *e);
int admin_exception_revoke(struct admin_call *call, struct err *e);
int admin_quota_set(struct admin_call *call, struct err *e);
int admin_quota_list(struct admin_call *call, struct err *e);
int admin_approval_list(struct admin_call *call, struct err *e);
int admin_approval_show(struct admin_call *call, struct err *e);
int admin_approval_decide(struct admin_call *call, struct err *e);
int admin_policy_test(struct admin_call *call, struct err *e);
int admin_policy_diff(struct admin_call *call, struct err *e);
int admin_import(struct admin_call *call, struct err *e);
int admin_secret_new(struct admin_call *call, struct err *e);
int admin_keywrap_new(struct admin_call *call, struct err *e);
int admin_request_list(struct admin_call *call, struct err *e);
int admin_request_show(struct admin_call *call, struct err *e);
int admin_request_decide(struct admin_call *call, struct err *e);
int admin_cert_list(struct admin_call *call, struct err *e);
int admin_cert_show(struct admin_call *call, struct err *e);
int admin_cert_revoke(struct admin_call *call, struct err *e);
int admin_explain(struct admin_call *call, struct err *e);
int admin_audit_list(struct admin_call *call, struct err *e);
int admin_audit_verify(struct admin_call *call, struct err *e);
int admin_status(struct admin_call *call, struct err *e);

#endif
