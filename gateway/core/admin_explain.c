/* explain: why a request was decided as it was, or how one would be. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "est/body.h"
#include "gateway/core/admin_json.h"
#include "gateway/core/enroll.h"
#include "gateway/core/replay.h"

#define EXPLAIN_DECISIONS 20

static bool
collect_decision(void *arg, const struct decision_row *row)
{
	return json_array_append_new(arg, json_of_decision(row)) == 0;
}

static int
explain_stored(struct admin_call *call, int64_t id, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	struct request_row row;
	json_t *decisions;
	int found;

	if (snapshot_begin(call, &s, e) != 0)
		return -1;
	found = s.ops->request_by_id(s.read, id, &row, NULL, e);
	if (found <= 0)
		return found < 0 ? -1 : err_set(e, ERR_DENIED, "no request %" PRId64, id);
	decisions = json_array();
	call->result = json_pack("{s:o, s:o}", "request", json_of_request(&row), "decisions", decisions);
	return s.ops->decision_list(s.read, id, 0, EXPLAIN_DECISIONS, collect_decision, decisions, e);
}

static int
read_csr(const struct admin_call *call, struct buf *out, struct err *e)
{
	CLEANUP(buf) struct buf body = { 0 };
	uint8_t chunk[4096];
	ssize_t n;

	if (call->fd < 0)
		return err_set(e, ERR_MALFORMED, "the CSR file did not come with the request");
	while (body.len <= EST_CSR_MAX * 2 && (n = read(call->fd, chunk, sizeof chunk)) > 0)
		buf_append(&body, chunk, (size_t)n);
	return est_body_decode(buf_bytes(&body), true, out, e);
}

static const struct {
	const char *name;
	enum enroll_op op;
	const char *proof; /* unless another is given */
} ops[] = { { "enroll", ENROLL_NEW, "certificate" }, { "renew", ENROLL_RENEW, "own" },
	{ "keygen", ENROLL_KEYGEN, "certificate" } };

static const struct {
	const char *name;
	enum proof_kind kind;
} proofs[] = { { "certificate", PROOF_CERTIFICATE }, { "secret", PROOF_SECRET }, { "own", PROOF_OWN },
	{ "mdm", PROOF_MDM } };

static int
choose(const struct admin_call *call, struct enroll_request *request, enum proof_kind *proof, struct err *e)
{
	const char *op = admin_text_or(call, "op", ops[0].name), *how;
	size_t o = 0, p = 0;

	while (o < sizeof ops / sizeof ops[0] && strcmp(op, ops[o].name) != 0)
		o++;
	if (o == sizeof ops / sizeof ops[0])
		return err_set(e, ERR_MALFORMED, "\"%.20s\" is not enroll, renew or keygen", op);
	how = admin_text_or(call, "proof", ops[o].proof);
	while (p < sizeof proofs / sizeof proofs[0] && strcmp(how, proofs[p].name) != 0)
		p++;
	if (p == sizeof proofs / sizeof proofs[0])
		return err_set(e, ERR_MALFORMED, "\"%.20s\" is not certificate, secret, own or mdm", how);
	request->op = ops[o].op;
	*proof = proofs[p].kind;
	return 0;
}


static int
explain_trial(struct admin_call *call, const struct world *world, struct err *e)
{
	CLEANUP(buf) struct buf csr = { 0 };
	struct enroll_request request = { .protocol = "est", .operation = "explain", .peer = "", .now_s = call->now_s };
	const char *tag, *label = admin_text_or(call, "label", "");
	enum proof_kind proof = PROOF_NONE;
	struct decision *decision;
	int result;

	if (admin_text(call, "asset", &tag, e) != 0 || choose(call, &request, &proof, e) != 0 ||
	    read_csr(call, &csr, e) != 0)
		return -1;
	request.label = config_label(world->config, label);
	if (request.label == NULL)
		return err_set(e, ERR_MALFORMED, "no label \"%.60s\"", label);
	request.csr = buf_bytes(&csr);
	decision = calloc(1, sizeof *decision);
	if (decision == NULL)
		return err_set(e, ERR_NOMEM, "no memory for the decision");
	result = enroll_explain(call->gateway, world, &request, tag, proof, decision, e);
	if (result == 0)
		call->result = json_pack("{s:s, s:{s:s, s:s, s:s, s:o}}", "asset", tag, "trial", "outcome",
			outcome_name(decision->outcome), "reason", decision->reason, "sentence", decision->sentence,
			"rules", json_of_rules(decision, world->policy));
	free(decision);
	return result;
}

static bool
keep_decision(void *arg, const struct decision_row *row)
{
	*(json_t **)arg = json_of_decision(row);
	return false;
}

/* The latest decision of a stored request, and what it would be now. */
static int
explain_again(struct admin_call *call, const struct world *world, int64_t id, struct decision *now, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	CLEANUP(buf) struct buf csr = { 0 };
	struct request_row row;
	json_t *then = NULL;

	if (snapshot_begin(call, &s, e) != 0 || replay_load(call->gateway, s.read, id, &row, &csr, e) != 0 ||
	    s.ops->decision_list(s.read, id, 0, 1, keep_decision, &then, e) != 0 ||
	    replay_decide(call->gateway, world, s.read, &row, buf_bytes(&csr), call->now_s, now, e) != 0) {
		json_decref(then);
		return -1;
	}
	call->result = json_pack("{s:o, s:o, s:{s:o, s:s, s:s, s:s, s:s, s:o}}", "request", json_of_request(&row), "then",
		then == NULL ? json_object() : then, "now", "at", json_of_time(call->now_s), "policy_version",
		world->config->version, "outcome", outcome_name(now->outcome), "reason", now->reason, "sentence",
		now->sentence, "rules", json_of_rules(now, world->policy));
	return 0;
}

static int
explain_now(struct admin_call *call, const struct world *world, int64_t request, struct err *e)
{
	struct decision *decision;
	int result;

	if (request <= 0)
		return explain_trial(call, world, e);
	decision = calloc(1, sizeof *decision);
	if (decision == NULL)
		return err_set(e, ERR_NOMEM, "no memory for the decision");
	result = explain_again(call, world, request, decision, e);
	free(decision);
	return result;
}

int
admin_explain(struct admin_call *call, struct err *e)
{
	int64_t id = admin_int_or(call, "id", 0), request = admin_int_or(call, "request", 0);
	struct world *world;
	int result;

	if (id > 0)
		return explain_stored(call, id, e);
	world = world_get();
	result = explain_now(call, world, request, e);
	world_put(world);
	return result;
}
