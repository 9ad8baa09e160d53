#include <stdio.h>

#include "policy/decide_rules.h"

static bool
key_fits(const struct key_rule *rule, const struct key_facts *key)
{
	if (rule->kind == KEY_OTHER || rule->kind != key->kind)
		return false;
	return key->kind != KEY_RSA || (key->bits >= rule->bits_min && key->bits <= rule->bits_max);
}

static void
rule_key_made(struct decision_run *run, struct rule_result *r)
{
	const struct key_rule *made = &run->in->profile->keygen;
	const struct key_facts facts = { .kind = made->kind, .bits = made->bits_min };
	char text[24];

	/* Only a key that the gateway makes itself may go unlooked at. */
	if (run->in->op != POLICY_KEYGEN || !run->in->csr->key_ignored) {
		rule_fail(run, r, "the request's key was %s", run->in->op == POLICY_KEYGEN ?
			"taken from the request, not made here" : "not looked at");
		return;
	}
	if (made->kind == KEY_OTHER) {
		rule_fail(run, r, "profile %s makes no keys", run->in->profile->name);
		return;
	}
	key_text(&facts, text);
	rule_saw(r, "made here: %s", made->kind == KEY_RSA ? text : "EC");
	rule_pass(r);
}

static void
rule_key(struct decision_run *run)
{
	const struct decide_input *in = run->in;
	struct rule_result *r = rule_begin(run, "csr.key");
	char text[24];
	size_t i;

	if (in->op == POLICY_KEYGEN || in->csr->key_ignored) {
		rule_key_made(run, r);
		return;
	}
	key_text(&in->csr->key, text);
	rule_saw(r, "key=%s", text);
	for (i = 0; i < in->profile->key_count && i < PROFILE_NAMES_MAX; i++)
		if (key_fits(&in->profile->keys[i], &in->csr->key)) {
			rule_pass(r);
			return;
		}
	rule_fail(run, r, "profile %s does not take a key of kind %s", in->profile->name, text);
}

static void
rule_weak(struct decision_run *run)
{
	const struct csr_facts *csr = run->in->csr;
	struct rule_result *r = rule_begin(run, "csr.weak");

	if (csr->key_ignored) {
		rule_skip(r, "the key is made here");
		return;
	}
	rule_saw(r, "%s", csr->key.weak == NULL ? "nothing known against the key" : csr->key.weak);
	if (csr->key.weak != NULL)
		rule_fail(run, r, "weak key: %s", csr->key.weak);
	else
		rule_pass(r);
}

static void
rule_reuse(struct decision_run *run)
{
	const struct csr_facts *csr = run->in->csr;
	struct rule_result *r = rule_begin(run, "csr.reuse");

	if (csr->key_ignored) {
		rule_skip(r, "the key is made here");
		return;
	}
	rule_saw(r, "elsewhere=%s before=%s", csr->key_known_elsewhere ? "yes" : "no",
		csr->key_used_before ? "yes" : "no");
	if (csr->key_known_elsewhere) {
		/* One private key in two devices: a clone, or a vendor's blunder. */
		run->out->alert = true;
		rule_fail(run, r, "the same key is certified for another asset");
	} else if (csr->key_used_before && !run->in->profile->allow_key_reuse)
		rule_fail(run, r, "the key was certified for this asset before, and profile %s wants a new one",
			run->in->profile->name);
	else
		rule_pass(r);
}

static const char *
binding_text(const struct csr_facts *csr)
{
	switch (csr->binding) {
	case CSR_BINDING_ABSENT:
		return "absent";
	case CSR_BINDING_MATCHES:
		return "matches";
	case CSR_BINDING_DIFFERS:
		return "differs";
	case CSR_BINDING_NONE:
		return "none to compare with";
	}
	return "unknown";
}

static void
rule_binding(struct decision_run *run)
{
	const struct csr_facts *csr = run->in->csr;
	struct rule_result *r = rule_begin(run, "csr.binding");

	rule_saw(r, "binding=%s", binding_text(csr));
	switch (run->in->label->binding) {
	case BINDING_IGNORE:
		rule_skip(r, "the label does not look at it");
		return;
	case BINDING_REQUIRE:
		if (csr->binding == CSR_BINDING_MATCHES)
			rule_pass(r);
		else
			rule_fail(run, r, "the request must be bound to its TLS connection, and the binding is: %s",
				binding_text(csr));
		return;
	case BINDING_VERIFY:
		/* What the device put into its CSR cannot be about the registrar's connection (RFC 7030, section 3.5). */
		if (run->in->proof.kind == PROOF_REGISTRAR)
			rule_skip(r, "a registrar passes the device's request on");
		else if (csr->binding == CSR_BINDING_DIFFERS)
			rule_fail(run, r, "the request is bound to another TLS connection");
		else
			rule_pass(r);
		return;
	}
	rule_fail(run, r, "the label's binding rule is unknown");
}

/* Threat: one device takes over the transaction of another, and with it what the other waits for. */
static void
rule_transaction(struct decision_run *run)
{
	int64_t taken_by = run->in->transaction_request;
	struct rule_result *r = rule_begin(run, "request.transaction");

	if (taken_by == 0) {
		rule_skip(r, "no other request has it");
		return;
	}
	rule_saw(r, "request=%lld", (long long)taken_by);
	rule_fail(run, r, "the transaction is taken by request %lld for another key", (long long)taken_by);
}

void
decide_csr(struct decision_run *run)
{
	rule_key(run);
	rule_weak(run);
	rule_reuse(run);
	decide_extensions(run);
	decide_names(run);
	rule_binding(run);
	rule_transaction(run);
}
