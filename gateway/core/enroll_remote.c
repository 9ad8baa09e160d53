/*
 * A CA elsewhere: the pipeline's part. The intent is recorded with the request, which then waits; the issuer does the rest. When it is done
 * soon, the thread that asked is handed the certificate; others go another round, find the request issued and answer like any repetition.
 */
#include <stdio.h>
#include <string.h>

#include "gateway/core/enroll_internal.h"
#include "gateway/core/issuer.h"
#include "gateway/core/rule_limits.h"
#include "gateway/core/spec_json.h"

int
attempt_find_intent(struct attempt *a, struct err *e)
{
	int found;

	a->has_intent = false;
	if (a->decision.outcome != OUTCOME_ALLOWED || a->replay || !a->has_existing ||
	    (a->existing.state != REQUEST_PENDING && a->existing.state != REQUEST_APPROVED))
		return 0;
	found = a->gateway->store_ops->intents->of_request(a->read, a->existing.id, &a->intent, e);
	a->has_intent = found == 1 && a->intent.state < INTENT_DONE;
	return found < 0 ? -1 : 0;
}

bool
attempt_is_elsewhere(const struct attempt *a)
{
	return a->has_intent || world_ca_of(a->world, a->request->label->ca)->ops->remote;
}

/* Devices that were told the same time would all come at the same time. */
static void
conclude_waiting(struct attempt *a)
{
	uint32_t random = 0;
	struct err e;

	(void)snprintf(a->decision.reason, sizeof a->decision.reason, "ca");
	(void)snprintf(a->decision.sentence, sizeof a->decision.sentence, "CA %.60s is being asked", a->intent.ca);
	a->result->request_id = a->intent.request_id;
	attempt_conclude(a, ERR_PENDING, a->decision.reason, a->decision.sentence);
	if (random_octets((uint8_t *)&random, sizeof random, &e) == 0)
		a->result->retry_after_s += (int64_t)(random % (uint32_t)(a->result->retry_after_s / 2 + 1));
}

static struct rule_limits_key
limits_key(const struct attempt *a)
{
	return (struct rule_limits_key){ .asset = a->asset.tag, .label = a->request->label->policy.name,
		.csr_sha256 = a->csr_sha256 };
}

/* What was counted is given back by whoever ends the intent; false: by nobody. */
static bool
hold_limits(struct attempt *a)
{
	const struct policy_rule *rules[RULE_MATCHES_MAX];
	struct rule_limits_key key = limits_key(a);
	size_t i;

	for (i = 0; i < a->limited_taken; i++)
		rules[i] = policy_rules_at(a->world->policy, a->limited[i]);
	return rule_limits_hold(a->gateway->rule_limits, &key, rules, a->limited_taken, a->request->now_s);
}

static void
let_limits_go(struct attempt *a, bool held)
{
	struct rule_limits_key key = limits_key(a);

	if (held)
		rule_limits_settle(a->gateway->rule_limits, &key, false);
	else
		attempt_give_back_limits(a);
}

/* With the limits held before, because the end may come before this thread goes on. */
static int
put_intent(struct attempt *a, struct intent_new *intent, enum store_recorded *what, struct err *e)
{
	struct lane *lane = issuer_claim(a->gateway->issuer, intent->ca);
	bool held = hold_limits(a), recorded;
	int result;

	intent->id = &a->intent.id;
	intent->sent = lane != NULL;
	a->new_intent = intent;
	result = attempt_record(a, REQUEST_PENDING, what, e);
	a->new_intent = NULL;
	recorded = result == 0 && *what == STORE_RECORDED;
	if (!recorded)
		let_limits_go(a, held);
	if (lane != NULL)
		issuer_hand(lane, recorded ? a->intent.id : 0);
	else if (recorded)
		issuer_wake(a->gateway->issuer, intent->ca);
	return result;
}

/* 0: recorded, 1: go round again, -1. */
static int
record_intent(struct attempt *a, struct err *e)
{
	CLEANUP(buf) struct buf spec = { 0 };
	const char *own = a->request->label->ca;
	struct intent_new intent = { .ca = issuer_choose(a->gateway->issuer, a->world, a->request->label), .spki = a->csr->spki,
		.key_kind = (int)a->csr->facts.kind };
	enum store_recorded what = STORE_STALE;
	int result;

	if (strcmp(intent.ca, own) != 0)
		intent.instead_of = own;
	(void)snprintf(a->decision.reason, sizeof a->decision.reason, "ca");
	(void)snprintf(a->decision.sentence, sizeof a->decision.sentence, "CA %.60s is being asked", intent.ca);
	result = spec_to_json(&a->decision.spec, &spec, e);
	if (result == 0 && !attempt_take_limits(a))
		return 1;
	intent.spec_json = buf_text(&spec);
	if (result == 0)
		result = put_intent(a, &intent, &what, e);
	if (result != 0) {
		/* A queue of writes that is full is the gateway's trouble. */
		if (e->code == ERR_LIMIT)
			e->code = ERR_UPSTREAM;
		return -1;
	}
	if (what == STORE_RECORDED && intent.instead_of != NULL)
		issuer_count_failover(a->gateway->issuer, own, intent.ca, 1);
	(void)snprintf(a->intent.ca, sizeof a->intent.ca, "%s", intent.ca);
	a->intent.request_id = a->result->request_id;
	return what == STORE_RECORDED ? 0 : 1;
}

/*
 * A device that asks again and again would have its CA called each time, and a row written; one whose CA makes what was not approved
 * would have a certificate made there, and revoked, each time.
 */
static bool
was_just_refused(const struct attempt *a)
{
	static const char *const by_ca[] = { "ca.refused", "ca.verification", "ca.unknown_issuer", "ca.duplicate" };
	int64_t ago_s = a->request->now_s - a->existing.updated_s;
	size_t i;

	for (i = 0; i < sizeof by_ca / sizeof by_ca[0]; i++)
		if (strcmp(a->existing.reason, by_ca[i]) == 0)
			return ago_s >= 0 && ago_s < a->request->label->retry_after_s;
	return false;
}

/* The end came while this waited, or just before, and it was not a certificate: it is told, not asked for once more. */
static bool
has_failed(const struct attempt *a)
{
	return !a->has_intent && a->has_existing && a->existing.state == REQUEST_DENIED &&
		(issuer_ticket_told(a->ticket) || was_just_refused(a));
}

static int64_t
wait_ms(const struct attempt *a)
{
	const struct config_ca *config = config_ca(a->world->config, a->intent.ca);

	return config == NULL ? 0 : config->wait_s * 1000;
}

int
attempt_ask_elsewhere(struct attempt *a, struct err *e)
{
	bool first = a->ticket == NULL;
	int result = 0;

	if (a->op == ENROLL_KEYGEN)
		return err_set(e, ERR_UNSUPPORTED, "keys are made here for the built-in CA only");
	if (a->gateway->issuer == NULL)
		return err_set(e, ERR_UPSTREAM, "nobody is there to ask CA %.60s", a->request->label->ca);
	if (first)
		a->ticket = issuer_ticket_new(a->gateway->issuer, a->csr_sha256);
	if (a->ticket == NULL)
		return err_set(e, ERR_NOMEM, "no memory to wait for a CA");
	if (first && a->has_intent) /* it may have come to its end since it was looked up */
		return 1;
	if (has_failed(a)) {
		a->result->request_id = a->existing.id;
		a->mdm_told = !issuer_ticket_is_asker(a->ticket);
		attempt_conclude(a, ERR_DENIED, a->existing.reason, a->existing.sentence);
		return 0;
	}
	if (!a->has_intent)
		result = record_intent(a, e);
	if (result != 0)
		return result;
	if (!issuer_ticket_wait(a->ticket, a->intent.ca, a->has_intent ? 0 : a->intent.request_id, wait_ms(a))) {
		conclude_waiting(a);
		return 0;
	}
	/* What this very thread has asked for was decided once more when it came, a moment ago: nothing is left to look up. */
	if (!issuer_ticket_take(a->ticket, &a->result->cert, a->result->ca))
		return 1;
	a->result->request_id = a->intent.request_id;
	attempt_conclude(a, ERR_NONE, "ok", "the CA has issued it");
	return 0;
}
