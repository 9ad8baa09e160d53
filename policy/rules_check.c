#include <string.h>

#include "base/text.h"
#include "policy/rules_internal.h"

#define RULE_SECONDS_MAX ((int64_t)200 * 366 * 86400)

unsigned
rule_bits_mask(const struct policy_rule *rule, enum rule_bits bits)
{
	switch (bits) {
	case BITS_PROTOCOL:
		return rule->protocols;
	case BITS_OPERATION:
		return rule->operations;
	case BITS_PROOF:
		return rule->proofs;
	case BITS_OWNER_KIND:
		return rule->owner_kinds;
	case BITS_HOLDING:
		return rule->holdings;
	case BITS_TIER:
		return rule->tiers;
	}
	return 0;
}

static const struct {
	const char *name;
	unsigned values;
} bit_fields[RULE_BITS] = {
	[BITS_PROTOCOL] = { "protocol", RULE_COAP + 1 },
	[BITS_OPERATION] = { "operation", POLICY_KEYGEN + 1 },
	[BITS_PROOF] = { "proof", PROOF_MDM + 1 },
	[BITS_OWNER_KIND] = { "kind of owner", OWNER_CUSTOMER + 1 },
	[BITS_HOLDING] = { "holding", HOLDING_LEASED + 1 },
	[BITS_TIER] = { "tier", 4 },
};
_Static_assert(PROOF_MDM < RULE_BITS_VALUES, "every proof has its place");

static int
check_text(const char *text, size_t size, const char *what, struct err *e)
{
	if (memchr(text, '\0', size) == NULL)
		return err_set(e, ERR_MALFORMED, "%s is longer than %zu octets", what, size - 1);
	if (!text_is_clean(bytes_of_text(text)))
		return err_set(e, ERR_MALFORMED, "%s is not UTF-8 or holds control characters", what);
	return 0;
}

static int
check_list(const struct rule_list *list, const char *what, struct err *e)
{
	size_t i;

	if (list->count > RULE_LIST_MAX)
		return err_set(e, ERR_MALFORMED, "%zu %s; at most %d are allowed", list->count, what, RULE_LIST_MAX);
	for (i = 0; i < list->count; i++) {
		if (check_text(list->at[i], sizeof list->at[i], what, e) != 0)
			return -1;
		if (list->at[i][0] == '\0')
			return err_set(e, ERR_MALFORMED, "an empty text among the %s", what);
	}
	return 0;
}

static int
check_lists(const struct policy_rule *rule, struct err *e)
{
	if (check_list(&rule->labels, "labels", e) != 0 || check_list(&rule->owners, "owners", e) != 0 ||
	    check_list(&rule->manufacturers, "manufacturers", e) != 0 ||
	    check_list(&rule->models, "models", e) != 0 || check_list(&rule->classes, "classes", e) != 0 ||
	    check_list(&rule->sites, "sites", e) != 0 || check_list(&rule->addresses, "addresses", e) != 0)
		return -1;
	return check_list(&rule->attesters, "attesters", e);
}

static int
check_bits(const struct policy_rule *rule, struct err *e)
{
	unsigned i;

	for (i = 0; i < RULE_BITS; i++)
		if (rule_bits_mask(rule, (enum rule_bits)i) >> bit_fields[i].values != 0)
			return err_set(e, ERR_MALFORMED, "a %s that does not exist", bit_fields[i].name);
	return 0;
}

static int
check_attesters(const struct policy_rule *rule, struct err *e)
{
	bool demands = rule->action == RULE_REQUIRE || rule->action == RULE_PREFER;

	if (demands && rule->attesters.count == 0)
		return err_set(e, ERR_MALFORMED, "%s names no attester", rule_action_name(rule->action));
	if (!demands && rule->attesters.count != 0)
		return err_set(e, ERR_MALFORMED, "%s takes no attesters", rule_action_name(rule->action));
	return 0;
}

static int
check_numbers(const struct policy_rule *rule, struct err *e)
{
	if (rule->action == RULE_DENY && (rule->lifetime_s != 0 || rule->count != 0 || rule->per_s != 0))
		return err_set(e, ERR_MALFORMED, "deny takes no %s", rule->lifetime_s != 0 ? "lifetime" : "limit");
	if (rule->lifetime_s < 0 || rule->lifetime_s > RULE_SECONDS_MAX || rule->per_s < 0 ||
	    rule->per_s > RULE_SECONDS_MAX || rule->count < 0)
		return err_set(e, ERR_MALFORMED, "a number that is negative or out of reach");
	if (rule->count != 0 && rule->per_s == 0)
		return err_set(e, ERR_MALFORMED, "a count without the time it is for");
	if (rule->count == 0 && rule->per_s != 0)
		return err_set(e, ERR_MALFORMED, "a time without the count it is for");
	return 0;
}

int
rule_check(const struct policy_rule *rule, struct err *e)
{
	if ((unsigned)rule->action > RULE_DENY)
		return err_set(e, ERR_MALFORMED, "an unknown action");
	if (check_text(rule->time, sizeof rule->time, "the time", e) != 0 ||
	    check_text(rule->text, sizeof rule->text, "the text", e) != 0)
		return -1;
	if (rule->action != RULE_DENY && rule->text[0] != '\0')
		return err_set(e, ERR_MALFORMED, "%s takes no text: nobody would be told", rule_action_name(rule->action));
	if (check_lists(rule, e) != 0 || check_bits(rule, e) != 0 || check_attesters(rule, e) != 0)
		return -1;
	return check_numbers(rule, e);
}
