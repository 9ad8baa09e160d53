/*
 * policy_decide_fixture.h - a request that is allowed; each test spoils one thing.
 */
#ifndef POLICY_DECIDE_FIXTURE_H
#define POLICY_DECIDE_FIXTURE_H

#include <string.h>

#include "policy/decide.h"

#define NOW 1800000000
#define DAY 86400

struct scene {
	struct label_policy label;
	struct profile profile;
	struct asset asset;
	struct owner owner;
	struct csr_facts csr;
	struct decide_input in;
	struct decision out;
};

static inline void
scene_set(struct scene *s)
{
	*s = (struct scene){
		.label = { .name = "office", .auth = AUTH_CERTIFICATE | AUTH_SECRET | AUTH_OWN,
			.operations = 1u << POLICY_ENROLL | 1u << POLICY_RENEW | 1u << POLICY_KEYGEN },
		.profile = { .name = "router", .subject = "CN={tag},O={owner}", .san = { "dns:{hostname}" },
			.san_count = 1, .keys = { { .kind = KEY_EC_P256 } }, .key_count = 1,
			.keygen = { .kind = KEY_EC_P256 }, .key_usage = USAGE_DIGITAL_SIGNATURE,
			.eku = { "1.3.6.1.5.5.7.3.2" }, .eku_count = 1, .lifetime_s = 90 * DAY,
			.renewal_window_s = 30 * DAY, .repair_grace_s = 7 * DAY, .backdate_s = 300 },
		.asset = { .id = 1, .tag = "rtr-7", .owner_id = 2, .serial = "SN7", .hostname = "rtr-7.example.net",
			.state = ASSET_DEPLOYED, .state_since_s = NOW - DAY },
		.owner = { .id = 2, .name = "Fleet" },
		.csr = { .key = { .kind = KEY_EC_P256, .bits = 256 } },
	};
	s->in = (struct decide_input){ .op = POLICY_ENROLL, .now_s = NOW, .label = &s->label, .profile = &s->profile,
		.proof = { .kind = PROOF_CERTIFICATE, .text = "idevid acme SN7" }, .asset_matches = 1,
		.asset = &s->asset, .owner = &s->owner, .csr = &s->csr };
}

/* A certificate this gateway issued that ends in ten days. */
static inline void
scene_own(struct scene *s, enum policy_op op)
{
	s->in.op = op;
	s->in.proof = (struct proof){ .kind = PROOF_OWN, .text = "certificate 5", .cert_id = 5,
		.cert_not_after_s = NOW + 10 * DAY, .cert_profile = "router",
		.cert_label = "office" };
}

static inline const struct rule_result *
scene_rule(const struct scene *s, const char *rule)
{
	static const struct rule_result none = { .rule = "" };
	size_t i;

	for (i = 0; i < s->out.rule_count; i++)
		if (strcmp(s->out.rules[i].rule, rule) == 0)
			return &s->out.rules[i];
	fail_msg("no rule %s", rule);
	return &none;
}

static inline void
assert_allowed(struct scene *s)
{
	decide(&s->in, &s->out);
	if (s->out.outcome != OUTCOME_ALLOWED)
		fail_msg("%s: %s", s->out.reason, s->out.sentence);
	assert_string_equal(s->out.reason, "ok");
	assert_false(s->out.unauthentic);
}

/* Denied for this reason, with nothing left that could be issued. */
static inline void
assert_denied(struct scene *s, const char *reason)
{
	decide(&s->in, &s->out);
	assert_string_equal(s->out.reason, reason);
	assert_int_equal(s->out.outcome, OUTCOME_DENIED);
	assert_int_equal(scene_rule(s, reason)->verdict, VERDICT_FAIL);
	assert_true(s->out.sentence[0] != '\0');
	assert_int_equal(s->out.spec.rdn_count, 0);
	assert_int_equal(s->out.spec.san_count, 0);
	assert_int_equal(s->out.spec.not_after_s, 0);
}

static inline void
add_rdn(X509_NAME *name, const char *field, int string_type, const char *value, int len)
{
	assert_int_equal(X509_NAME_add_entry_by_txt(name, field, string_type, (const unsigned char *)value, len, -1,
		0), 1);
}

static inline void
add_san(GENERAL_NAMES *names, int type, const char *value)
{
	GENERAL_NAME *name = a2i_GENERAL_NAME(NULL, NULL, NULL, type, value, 0);

	assert_non_null(name);
	assert_true(sk_GENERAL_NAME_push(names, name) > 0);
}

#endif
