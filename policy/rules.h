/*
 * rules.h - the operator's own rules: who may, who may not, what is demanded of whom.
 *
 * Rules stand in the configuration, in order. Each matching one does what its
 * action says:
 *   require  evidence of one of these attesters is demanded;       go on
 *   prefer   evidence of one of these is asked for (csrattrs), and judged when it comes; go on
 *   approve  an operator has to approve the request;               go on
 *   allow    nothing further is asked; what came before still holds; stop
 *   deny     no; the rule's text is the reason;                    stop
 * Past the last rule policy.otherwise decides, "deny" unless the configuration says so. Without
 * any rule there is nothing to judge. Rules never widen what the fixed rules allow:
 * an allowed request still needs its asset, state, owner, profile, ...
 *
 * Texts are compared octet by octet, ASCII letters without regard to case; the label of paths without one is spelt
 * "(none)". A v4 address that came as v4-mapped v6 is a v4 address, and a v6 prefix shorter than ::ffff:0:0/96
 * is for v6 only. A time's days are those on which it begins: "Fri 22:00-06:00" ends on Saturday morning; the
 * minute it ends with is no longer in it.
 *
 * Compiled once, judged from any thread, without allocation.
 */
#ifndef POLICY_RULES_H
#define POLICY_RULES_H

#include <stddef.h>

#include "policy/attestation.h"
#include "policy/profile.h"

#define RULE_LIST_MAX    8
#define RULE_TEXT_MAX    64
#define RULES_MAX        10000
#define RULE_MATCHES_MAX 64  /* matched rules that are remembered one by one */
#define RULE_DEMANDS_MAX 8   /* require rules that hold for one request; more of them deny */

enum rule_action { RULE_REQUIRE = 0, RULE_PREFER, RULE_APPROVE, RULE_ALLOW, RULE_DENY };
const char *rule_action_name(enum rule_action action);
int rule_action_of(const char *name);

struct rule_list {
	char at[RULE_LIST_MAX][RULE_TEXT_MAX];
	size_t count; /* 0: any */
};

/* As configured. An empty list, and 0 in a set of bits, match anything. */
struct policy_rule {
	char name[RULE_TEXT_MAX];  /* unique */
	enum rule_action action;
	/* texts: equal without regard to case, "*" stands for any octets, "?" for one */
	struct rule_list labels, owners, manufacturers, models, classes, sites;
	unsigned protocols;        /* 1u << enum rule_protocol */
	unsigned operations;       /* 1u << enum policy_op */
	unsigned proofs;           /* 1u << enum proof_kind */
	unsigned owner_kinds, holdings;
	unsigned tiers;            /* 1u << tier */
	struct rule_list addresses; /* "10.1.0.0/16", "2001:db8::/32", "192.0.2.7" */
	char time[RULE_TEXT_MAX];  /* "Mon-Fri 08:00-18:00", "Sat,Sun", "22:00-06:00"; UTC; "": any */
	struct rule_list attesters; /* require, prefer: any one of them suffices */
	int64_t lifetime_s;        /* the certificate lives no longer; 0: as the profile says. With approve, require, prefer and allow */
	int64_t count, per_s;      /* a limit: so many certificates within so long by this rule, then it denies; 0: none.
	                              With require, prefer, approve and allow */
	char text[RULE_TEXT_MAX * 2]; /* deny: what is told in the audit; "": the rule's name */
};

enum rule_protocol { RULE_EST = 0, RULE_SCEP, RULE_COAP };
int rule_protocol_of(const char *name); /* "est", "scep", "coap"; -1: unknown */

struct policy_rules; /* compiled */

/* rules are copied. ERR_MALFORMED names the rule and what is wrong with it (also a doubled name); ERR_LIMIT past RULES_MAX. */
MUST_USE int policy_rules_new(const struct policy_rule *rules, size_t count, bool otherwise_allow,
	struct policy_rules **out, struct err *e);
void policy_rules_free(struct policy_rules *rules); /* NULL is allowed */
size_t policy_rules_count(const struct policy_rules *rules);
/* By its place, 0-based: for explaining and for limits. */
const struct policy_rule *policy_rules_at(const struct policy_rules *rules, size_t at);

/* What a rule can match on. asset and owner may be NULL: then a rule that names one of their fields does not match. */
struct rule_facts {
	int protocol;              /* enum rule_protocol; -1: unknown, matches only rules without protocols */
	const char *label;
	enum policy_op op;
	int proof;                 /* enum proof_kind */
	const struct asset *asset;
	const struct owner *owner;
	const char *peer;          /* address as text, with or without port; NULL or not one: no rule with addresses matches */
	int64_t now_s;
	/* Has the rule's limit room for one more? NULL: always. */
	bool (*room)(void *arg, size_t rule);
	void *room_arg;
	/* An exception waives what rules deny: the first denial (also by a limit, or for want of an allow) is noted as
	   waived, and judging goes on as if it had not been, so that what later rules demand still holds. */
	bool waive;
};

struct rule_judgement {
	enum { RULES_NONE = 0, RULES_ALLOW, RULES_DENY } result; /* NONE: there are no rules */
	size_t decided_by;         /* index of the rule that allowed or denied; policy_rules_count(): otherwise */
	bool limited;              /* denied because that rule's limit has no room */
	bool crowded;              /* denied because more than RULE_DEMANDS_MAX demands hold; nothing waives that */
	bool waived;               /* something would have denied, and facts.waive let it pass */
	size_t waived_by;          /* ... this rule first; policy_rules_count(): otherwise */
	bool waived_limit;         /* ... because of its limit */
	bool approve;              /* some rule wants an approval */
	size_t approve_by;         /* ... this one first */
	int64_t lifetime_s;        /* the smallest named; 0: none */
	/* require and prefer rules that hold */
	struct rule_demand {
		size_t rule;
		bool required;
		const struct rule_list *attesters;
	} demands[RULE_DEMANDS_MAX];
	size_t demand_count;
	size_t matched[RULE_MATCHES_MAX]; /* in order */
	size_t matched_count;      /* all, also past RULE_MATCHES_MAX */
	size_t looked_at;          /* rules up to the one that stopped */
};
/* rules NULL: RULES_NONE. Too many demands: RULES_DENY. */
void policy_rules_judge(const struct policy_rules *rules, const struct rule_facts *facts,
	struct rule_judgement *out);

#endif
