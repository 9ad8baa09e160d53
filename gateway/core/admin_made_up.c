/* A request made up from words: an asset, its owner, what it proves; everything that is not said is unremarkable. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/timefmt.h"
#include "gateway/core/admin_policy.h"

#define TIER_MAX 3

struct made_up {
	const struct world *world;
	const json_t *fields;
	struct asset asset;
	struct owner owner;
	struct profile profile;
	struct csr_facts csr;
	struct attestation attestations[ATTEST_PER_REQUEST_MAX];
	struct decide_input in;
};

static const char *const known[] = { "expect", "reason", "name", "label", "op", "protocol", "proof", "peer", "time", "tag",
	"state", "manufacturer", "model", "class", "site", "serial", "hostname", "tier", "holding", "owner", "owner_kind",
	"owner_status", "contract_end", "attested", "key" };

static const char *
word(const struct made_up *m, const char *key, const char *fallback)
{
	const char *text = json_string_value(json_object_get(m->fields, key));

	return text == NULL || text[0] == '\0' ? fallback : text;
}

static int
check_known(const json_t *fields, struct err *e)
{
	const char *key;
	json_t *value;
	size_t i;

	json_object_foreach((json_t *)(size_t)fields, key, value) {
		for (i = 0; i < sizeof known / sizeof known[0] && strcmp(known[i], key) != 0; i++)
			;
		if (i == sizeof known / sizeof known[0])
			return err_set(e, ERR_MALFORMED, "unknown field \"%.40s\"; enrollctl policy test --help has them all", key);
	}
	return 0;
}

static int
one_of(const struct made_up *m, const char *key, const char *const *names, int fallback, int *out, struct err *e)
{
	const char *text = word(m, key, NULL);
	int i;

	*out = fallback;
	for (i = 0; text != NULL && names[i] != NULL; i++)
		if (strcmp(names[i], text) == 0) {
			*out = i;
			return 0;
		}
	return text == NULL ? 0 : err_set(e, ERR_MALFORMED, "%s: \"%.40s\" is none of its words", key, text);
}

static int
of_list(const struct made_up *m, const char *key, int (*of)(const char *), int fallback, int *out, struct err *e)
{
	const char *text = word(m, key, NULL);

	*out = text == NULL ? fallback : of(text);
	return *out >= 0 ? 0 : err_set(e, ERR_MALFORMED, "%s: \"%.40s\" is none of its words", key, text);
}

static int
set_text(const struct made_up *m, const char *key, const char *fallback, char *out, struct err *e)
{
	return text_copy(out, REG_TEXT_MAX, bytes_of_text(word(m, key, fallback)), key, e);
}

static int
make_asset(struct made_up *m, struct err *e)
{
	const char *tier = word(m, "tier", "0");
	struct asset *a = &m->asset;
	int state, holding;

	if (set_text(m, "tag", "made-up", a->tag, e) != 0 || set_text(m, "serial", "made-up", a->serial, e) != 0 ||
	    set_text(m, "hostname", "made-up.example.net", a->hostname, e) != 0 ||
	    set_text(m, "manufacturer", "", a->manufacturer, e) != 0 || set_text(m, "model", "", a->model, e) != 0 ||
	    set_text(m, "class", "", a->class_name, e) != 0 || set_text(m, "site", "", a->site, e) != 0 ||
	    of_list(m, "state", asset_state_of, ASSET_STAGED, &state, e) != 0 ||
	    of_list(m, "holding", asset_holding_of, 0, &holding, e) != 0)
		return -1;
	if (strlen(tier) != 1 || tier[0] < '0' || tier[0] > '0' + TIER_MAX)
		return err_set(e, ERR_MALFORMED, "tier: \"%.20s\" is not 0 to 3", tier);
	a->id = a->owner_id = 1;
	a->state = (enum asset_state)state;
	a->prior_state = ASSET_DEPLOYED; /* transfer_pending: offered from where it was in use */
	a->state_since_s = m->in.now_s;
	a->holding = (enum asset_holding)holding;
	a->tier = tier[0] - '0';
	return 0;
}

static int
make_owner(struct made_up *m, struct err *e)
{
	const char *end = word(m, "contract_end", NULL);
	int kind, status;

	if (set_text(m, "owner", "Made Up", m->owner.name, e) != 0 ||
	    of_list(m, "owner_kind", owner_kind_of, OWNER_INTERNAL, &kind, e) != 0 ||
	    of_list(m, "owner_status", owner_status_of, OWNER_ACTIVE, &status, e) != 0 ||
	    (end != NULL && time_parse(end, &m->owner.contract_end_s, e) != 0))
		return -1;
	m->owner.id = 1;
	m->owner.kind = (enum owner_kind)kind;
	m->owner.status = (enum owner_status)status;
	if (m->owner.status == OWNER_OFFBOARDING)
		m->in.offboarding_end_s = m->in.now_s + m->world->config->offboard_lifetime_s;
	return 0;
}

static int
make_label(struct made_up *m, struct err *e)
{
	const char *name = word(m, "label", ""), *key = word(m, "key", NULL);
	const struct config *config = m->world->config;
	const struct config_label *label = config_label(config, strcmp(name, "(none)") == 0 ? "" : name);
	struct key_rule rule = { .kind = KEY_EC_P256 };

	if (label == NULL)
		return err_set(e, ERR_MALFORMED, "label: no label \"%.60s\"", name);
	m->profile = *config_profile(config, label->profile);
	m->profile.allow_subject_change = true; /* there is no certificate whose names could be kept */
	if (m->profile.key_count > 0)
		rule = m->profile.keys[0];
	if (key != NULL && key_rule_parse(key, &rule, e) != 0)
		return err_prefix(e, "key");
	m->csr.key = (struct key_facts){ .kind = rule.kind, .bits = rule.bits_min };
	m->csr.binding = CSR_BINDING_MATCHES;
	m->in.label = &label->policy;
	m->in.profile = &m->profile;
	m->in.csr = &m->csr;
	m->in.facts.label = label->policy.name;
	return 0;
}

static int
make_proof(struct made_up *m, struct err *e)
{
	static const char *const ops[] = { [POLICY_ENROLL] = "enroll", [POLICY_RENEW] = "renew", [POLICY_KEYGEN] = "keygen",
		NULL };
	static const char *const proofs[] = { [PROOF_NONE] = "none", [PROOF_CERTIFICATE] = "certificate",
		[PROOF_SECRET] = "secret", [PROOF_OWN] = "own", [PROOF_REGISTRAR] = "registrar", [PROOF_MDM] = "mdm", NULL };
	const char *protocol = word(m, "protocol", "est");
	struct proof *proof = &m->in.proof;
	int op, kind;

	if (one_of(m, "op", ops, POLICY_ENROLL, &op, e) != 0 ||
	    one_of(m, "proof", proofs, op == POLICY_RENEW ? PROOF_OWN : PROOF_CERTIFICATE, &kind, e) != 0)
		return -1;
	m->in.facts.protocol = rule_protocol_of(protocol);
	if (m->in.facts.protocol < 0)
		return err_set(e, ERR_MALFORMED, "protocol: \"%.20s\" is not est, coap or scep", protocol);
	m->in.facts.peer = word(m, "peer", NULL);
	m->in.op = (enum policy_op)op;
	m->csr.key_ignored = op == POLICY_KEYGEN;
	proof->kind = (enum proof_kind)kind;
	(void)snprintf(proof->text, sizeof proof->text, "made up");
	/* Due for renewal, and good: what else a certificate of ours may be is no question of policy. */
	proof->cert_id = 1;
	proof->cert_not_after_s = m->in.now_s + 1;
	(void)snprintf(proof->cert_profile, sizeof proof->cert_profile, "%s", m->profile.name);
	(void)snprintf(proof->cert_label, sizeof proof->cert_label, "%s", m->in.label->name);
	if (proof->kind == PROOF_REGISTRAR) {
		m->in.registrar = &m->asset;
		m->in.registrar_for_not_after_s = proof->cert_not_after_s;
	}
	m->in.renewal_names_free = true;
	return 0;
}

static int
attest(struct made_up *m, const char *name, struct err *e)
{
	const struct config_attester *attester = config_attester(m->world->config, name);
	struct attestation *out = &m->attestations[m->in.attestation_count];

	if (attester == NULL)
		return err_set(e, ERR_MALFORMED, "attested: no attester \"%.60s\"", name);
	if (m->in.attestation_count == ATTEST_PER_REQUEST_MAX)
		return err_set(e, ERR_MALFORMED, "attested: more than %d attesters", ATTEST_PER_REQUEST_MAX);
	*out = (struct attestation){ .method = attester->method,
		.key_bound = true,
		.fresh = true,
		.of_asset = true,
		.identity_required = attester->identity_required };
	(void)snprintf(out->attester, sizeof out->attester, "%s", attester->name);
	(void)attest_check(out, "made.up", true, "made up");
	attest_conclude(out);
	m->in.attestation_count++;
	return 0;
}

static int
make_attestations(struct made_up *m, struct err *e)
{
	const char *text = word(m, "attested", "");
	char name[REG_TEXT_MAX];
	size_t len;

	m->in.attestations = m->attestations;
	for (text += strspn(text, " ,"); *text != '\0'; text += strspn(text, " ,")) {
		len = strcspn(text, " ,");
		(void)snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : sizeof name - 1), text);
		if (attest(m, name, e) != 0)
			return -1;
		text += len;
	}
	return 0;
}

static int
read_expected(const struct made_up *m, enum outcome *out, const char **reason, struct err *e)
{
	static const char *const words[] = { [OUTCOME_DENIED] = "deny", [OUTCOME_PENDING] = "wait", [OUTCOME_ALLOWED] = "allow",
		NULL };
	int outcome;

	*reason = word(m, "reason", "");
	if (one_of(m, "expect", words, -1, &outcome, e) != 0)
		return -1;
	if (outcome < 0)
		return err_set(e, ERR_MALFORMED, "expect: it is required: allow, deny or wait");
	*out = (enum outcome)outcome;
	return 0;
}

static int
make(struct made_up *m, int64_t now_s, struct err *e)
{
	const char *time = word(m, "time", NULL);

	m->in.now_s = now_s;
	if (time != NULL && time_parse(time, &m->in.now_s, e) != 0)
		return err_prefix(e, "time");
	m->in.asset_matches = 1;
	m->in.asset = &m->asset;
	m->in.owner = &m->owner;
	m->in.rules = m->world->policy;
	return make_label(m, e) != 0 || make_asset(m, e) != 0 || make_owner(m, e) != 0 || make_proof(m, e) != 0 ||
			make_attestations(m, e) != 0 ?
		-1 :
		0;
}

int
made_up_decide(const struct world *world, const json_t *fields, int64_t now_s, struct decision *out,
	enum outcome *expected, const char **reason, struct err *e)
{
	struct made_up *m = calloc(1, sizeof *m);
	int result;

	if (m == NULL)
		return err_set(e, ERR_NOMEM, "no memory for a request");
	m->world = world;
	m->fields = fields;
	result = check_known(fields, e) != 0 || read_expected(m, expected, reason, e) != 0 || make(m, now_s, e) != 0 ? -1 : 0;
	if (result == 0)
		decide(&m->in, out);
	free(m);
	return result;
}
