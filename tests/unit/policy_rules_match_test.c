#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "tests/unit/policy_rules_fixture.h"

static struct case_facts c;

/* Does a single rule match? */
static bool
matches(const struct policy_rule *rule)
{
	struct policy_rules *made = rules_of(rule, 1, false);
	struct rule_judgement got;

	policy_rules_judge(made, &c.facts, &got);
	policy_rules_free(made);
	return got.matched_count == 1;
}

static void
policy_rules_texts_match_whole_and_without_regard_to_case(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool match;
	} table[] = {
		{ "X200-A", "X200-A", true }, { "x200-a", "X200-A", true }, { "X200-A", "x200-a", true },
		{ "X200", "X200-A", false }, { "X200-AB", "X200-A", false }, { "X200-A", "", false },
		{ "*", "X200-A", true }, { "*", "", true }, { "?", "", false }, { "?", "x", true }, { "?", "xy", false },
		{ "**", "ab", true }, { "x200-*", "X200-A", true }, { "x200-a*", "X200-A", true },
		{ "*-A", "X200-a", true }, { "*-B", "X200-A", false }, { "X*-?", "X200-A", true }, { "X*-??", "X200-A", false },
		{ "*0*0*", "X200-A", true }, { "*0*0*0*", "X200-A", false }, { "x?00-a", "X200-A", true },
		{ "*a*b*c", "aXbXbXc", true }, { "*ab", "aab", true }, { "a*ab", "ab", false }, { "*aab", "aaaab", true },
		{ "z*", "X200-A", false }, { "\xc3\xbc*", "\xc3\xbc-1", true }, { "\xc3\xbc*", "u-1", false },
		{ "??1", "\xc3\xbc" "1", true }, /* octets, not characters */
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct policy_rule rule = rule_of("r", RULE_DENY);

		facts_set(&c);
		strcpy(c.asset.model, table[i].text);
		list_add(&rule.models, table[i].pattern);
		if (matches(&rule) != table[i].match)
			fail_msg("\"%s\" and \"%s\"", table[i].pattern, table[i].text);
	}
}

/* What the table's list is about, one wrong and one right text, and whether only an asset or owner has it. */
static const struct {
	size_t list;
	const char *right, *wrong, *wild;
	bool of_asset, of_owner;
} fields[] = {
	{ offsetof(struct policy_rule, labels), "Office", "home", "off*", false, false },
	{ offsetof(struct policy_rule, owners), "fleet", "office", "fl??t", false, true },
	{ offsetof(struct policy_rule, manufacturers), "acme corp", "acme", "acme*", true, false },
	{ offsetof(struct policy_rule, models), "x200-a", "router", "x*", true, false },
	{ offsetof(struct policy_rule, classes), "ROUTER", "ulm", "*er", true, false },
	{ offsetof(struct policy_rule, sites), "ulm", "fleet", "u?m", true, false },
};

static struct rule_list *
list_at(struct policy_rule *rule, size_t at)
{
	return (struct rule_list *)(void *)((char *)rule + at);
}

static void
policy_rules_each_text_is_compared_with_its_own_field(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		struct policy_rule rule = rule_of("r", RULE_DENY);
		struct rule_list *list = list_at(&rule, fields[i].list);

		facts_set(&c);
		list_add(list, fields[i].wrong);
		assert_false(matches(&rule));
		list_add(list, fields[i].right); /* any one of them */
		assert_true(matches(&rule));
		list_add(list, "nothing*");      /* a wildcard changes how it is asked, not what */
		assert_true(matches(&rule));
		strcpy(list->at[1], "nobody");
		assert_false(matches(&rule));
		strcpy(list->at[2], fields[i].wild);
		assert_true(matches(&rule));
	}
}

static void
policy_rules_about_what_is_not_there_do_not_match(void **state)
{
	size_t i, wild;

	(void)state;
	for (i = 0; i < sizeof fields / sizeof fields[0]; i++)
		for (wild = 0; wild < 2; wild++) {
			struct policy_rule rule = rule_of("r", RULE_DENY);

			list_add(list_at(&rule, fields[i].list), wild ? "*" : fields[i].right);
			facts_set(&c);
			c.facts.asset = NULL;
			assert_int_equal(matches(&rule), !fields[i].of_asset);
			facts_set(&c);
			c.facts.owner = NULL;
			assert_int_equal(matches(&rule), !fields[i].of_owner);
			facts_set(&c);
			c.facts.label = NULL;
			assert_int_equal(matches(&rule), i != 0);
		}
	facts_set(&c);
	c.facts = (struct rule_facts){ .protocol = -1, .op = POLICY_ENROLL, .proof = -1 };
	{
		struct policy_rule rule = rule_of("r", RULE_DENY);

		assert_true(matches(&rule)); /* one that asks for nothing */
	}
}

static void
policy_rules_spell_the_label_without_a_name(void **state)
{
	struct policy_rule rule = rule_of("r", RULE_DENY);

	(void)state;
	facts_set(&c);
	c.facts.label = "";
	list_add(&rule.labels, "office");
	assert_false(matches(&rule));
	strcpy(rule.labels.at[0], "(none)");
	assert_true(matches(&rule));
	strcpy(rule.labels.at[0], "*");
	assert_true(matches(&rule));
	c.facts.label = "office";
	strcpy(rule.labels.at[0], "(none)");
	assert_false(matches(&rule));
}

static void
policy_rules_bits_match_their_own_value(void **state)
{
	static const struct {
		size_t at;
		unsigned values, set; /* the value that the facts have */
		bool of_asset, of_owner;
	} table[] = {
		{ offsetof(struct policy_rule, protocols), 3, RULE_COAP, false, false },
		{ offsetof(struct policy_rule, operations), 3, POLICY_RENEW, false, false },
		{ offsetof(struct policy_rule, proofs), 6, PROOF_OWN, false, false },
		{ offsetof(struct policy_rule, owner_kinds), 3, OWNER_PARTNER, false, true },
		{ offsetof(struct policy_rule, holdings), 3, HOLDING_LEASED, true, false },
		{ offsetof(struct policy_rule, tiers), 4, 2, true, false },
	};
	size_t i;
	unsigned value;

	(void)state;
	for (i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct policy_rule rule = rule_of("r", RULE_DENY);
		unsigned *bits = (unsigned *)(void *)((char *)&rule + table[i].at), all = (1u << table[i].values) - 1;

		facts_set(&c);
		for (value = 0; value < table[i].values; value++) {
			*bits = 1u << value;
			assert_int_equal(matches(&rule), value == table[i].set);
			*bits = all & ~(1u << value);
			assert_int_equal(matches(&rule), value != table[i].set);
		}
		*bits = all;
		c.facts.asset = NULL;
		assert_int_equal(matches(&rule), !table[i].of_asset);
		facts_set(&c);
		c.facts.owner = NULL;
		assert_int_equal(matches(&rule), !table[i].of_owner);
	}
}

static void
policy_rules_values_outside_their_range_match_only_who_does_not_ask(void **state)
{
	struct policy_rule asks = rule_of("r", RULE_DENY), silent = rule_of("s", RULE_DENY);

	(void)state;
	facts_set(&c);
	c.facts.protocol = -1;
	asks.protocols = 7;
	assert_false(matches(&asks));
	assert_true(matches(&silent));
	c.facts.protocol = 5;
	assert_false(matches(&asks));
	asks = rule_of("r", RULE_DENY);
	asks.tiers = 15;
	facts_set(&c);
	c.asset.tier = 4;
	assert_false(matches(&asks));
	c.asset.tier = -1;
	assert_false(matches(&asks));
	assert_true(matches(&silent));
	asks = rule_of("r", RULE_DENY);
	asks.operations = 7;
	c.facts.op = (enum policy_op)9;
	assert_false(matches(&asks));
}

static void
policy_rules_addresses_match_by_prefix(void **state)
{
	static const struct {
		const char *prefix, *peer;
		bool match;
	} table[] = {
		{ "10.1.0.0/16", "10.1.2.3", true }, { "10.1.0.0/16", "10.1.2.3:5000", true },
		{ "10.1.0.0/16", "10.2.2.3", false }, { "10.1.0.0/16", "::ffff:10.1.2.3", true },
		{ "10.1.0.0/16", "[::ffff:10.1.2.3]:5000", true }, { "::ffff:10.1.0.0/112", "10.1.2.3", true },
		{ "::ffff:0.0.0.0/96", "10.1.2.3", true }, { "::/0", "10.1.2.3", false }, { "::/80", "::ffff:10.1.2.3", false },
		{ "0.0.0.0/0", "10.1.2.3", true }, { "0.0.0.0/0", "2001:db8::1", false }, { "0.0.0.0/0", "::1", false },
		{ "::/0", "2001:db8::1", true }, { "2001:db8::/32", "2001:db8:ffff::1", true },
		{ "2001:db8::/32", "[2001:db8::1]:443", true }, { "2001:db8::/32", "[2001:db8::1]", true },
		{ "2001:db8::/32", "2001:db9::1", false }, { "fe80::/10", "fe80::1%eth0", true },
		{ "fe80::/10", "[fe80::1%2]:9", true }, { "2001:db8::/65", "2001:db8::7fff:0:0:1", true },
		{ "2001:db8::/65", "2001:db8::8000:0:0:1", false }, { "192.0.2.7", "192.0.2.7", true },
		{ "192.0.2.7", "192.0.2.6", false }, { "192.0.2.7/32", "192.0.2.7:1", true },
		{ "192.0.2.6/31", "192.0.2.7", true }, { "192.0.2.6/31", "192.0.2.8", false },
		{ "::1", "::1", true }, { "::1", "::2", false }, { "::1", "0.0.0.1", false },
		{ "0.0.0.0/0", "", false }, { "0.0.0.0/0", "unknown", false }, { "0.0.0.0/0", "10.1.2.3:5:5", false },
		{ "::/0", "[2001:db8::1", false }, { "::/0", "[2001:db8::1]x", false }, { "::/0", NULL, false },
		{ "0.0.0.0/0", "/run/enrolld.sock", false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct policy_rule rule = rule_of("r", RULE_DENY);

		facts_set(&c);
		c.facts.peer = table[i].peer;
		list_add(&rule.addresses, table[i].prefix);
		if (matches(&rule) != table[i].match)
			fail_msg("%s and %s", table[i].prefix, table[i].peer == NULL ? "(null)" : table[i].peer);
		list_add(&rule.addresses, "198.51.100.0/24");
		assert_int_equal(matches(&rule), table[i].match);
	}
}

static void
policy_rules_addresses_longer_than_any_match_nothing(void **state)
{
	struct policy_rule rule = rule_of("r", RULE_DENY);
	char peer[300];

	(void)state;
	facts_set(&c);
	memset(peer, '1', sizeof peer - 1);
	peer[sizeof peer - 1] = '\0';
	c.facts.peer = peer;
	list_add(&rule.addresses, "0.0.0.0/0");
	list_add(&rule.addresses, "::/0");
	assert_false(matches(&rule));
}

#define AT(day, hour, minute) (MONDAY + ((day) * 24 + (hour)) * HOUR + (minute) * 60)
enum { MON, TUE, WED, THU, FRI, SAT, SUN };

static void
policy_rules_times_match_in_utc_and_past_midnight(void **state)
{
	static const struct {
		const char *time;
		int64_t now_s;
		bool match;
	} table[] = {
		{ "Mon-Fri 08:00-18:00", AT(MON, 8, 0), true }, { "Mon-Fri 08:00-18:00", AT(MON, 8, 0) - 1, false },
		{ "Mon-Fri 08:00-18:00", AT(FRI, 18, 0) - 1, true }, { "Mon-Fri 08:00-18:00", AT(FRI, 18, 0), false },
		{ "Mon-Fri 08:00-18:00", AT(SAT, 10, 0), false }, { "Sat,Sun", AT(SAT, 0, 0), true },
		{ "Sat,Sun", AT(SUN, 23, 59) + 59, true }, { "Sat,Sun", AT(SAT, 0, 0) - 1, false },
		{ "Sat,Sun", AT(MON, 0, 0), false }, { "22:00-06:00", AT(WED, 22, 0), true },
		{ "22:00-06:00", AT(WED, 5, 59), true }, { "22:00-06:00", AT(WED, 6, 0), false },
		{ "22:00-06:00", AT(WED, 21, 59), false }, { "Fri 22:00-06:00", AT(SAT, 5, 0), true },
		{ "Fri 22:00-06:00", AT(FRI, 5, 0), false }, { "Fri 22:00-06:00", AT(SAT, 23, 0), false },
		{ "Sun 22:00-06:00", AT(MON, 5, 0), true }, { "Sun 22:00-06:00", AT(SUN, 5, 0), false },
		{ "Fri-Mon", AT(SUN, 12, 0), true }, { "Fri-Mon", AT(TUE, 12, 0), false }, { "Fri-Mon", AT(MON, 12, 0), true },
		{ "Mon 22:00-00:00", AT(MON, 23, 0), true }, { "Mon 22:00-00:00", AT(TUE, 0, 0), false },
		{ "Tue 00:00-24:00", AT(TUE, 23, 59), true }, { "Thu", 0, true }, { "Wed", -1, true },
		{ "Wed 23:59-24:00", -1, true }, { "Thu", -7 * 86400, true }, { "Wed", -7 * 86400 - 1, true },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct policy_rule rule = rule_of("r", RULE_DENY);

		facts_set(&c);
		c.facts.now_s = table[i].now_s;
		strcpy(rule.time, table[i].time);
		if (matches(&rule) != table[i].match)
			fail_msg("%s at %lld", table[i].time, (long long)table[i].now_s);
	}
}

/* More than one word of a set, every kind of rule, and a plain second opinion. */
static void
policy_rules_find_the_same_among_many_as_alone(void **state)
{
	enum { MANY = 300 };
	static const char *const models[] = { "x200-a", "x2*", "*-b", "y?00", "x200-b", "*" };
	struct policy_rule *many = calloc(MANY, sizeof *many);
	struct policy_rules *made;
	struct rule_judgement got;
	size_t i, found = 0, shown = 0;

	(void)state;
	assert_non_null(many);
	for (i = 0; i < MANY; i++) {
		many[i] = rule_of("", RULE_APPROVE);
		(void)snprintf(many[i].name, sizeof many[i].name, "r%zu", i);
		list_add(&many[i].models, models[i % 6]);
		if (i % 7 == 0)
			list_add(&many[i].labels, i % 2 == 0 ? "office" : "home");
		if (i % 5 == 0)
			list_add(&many[i].addresses, i % 2 == 0 ? "10.0.0.0/8" : "192.0.2.0/24");
		if (i % 11 == 0)
			many[i].tiers = i % 2 == 0 ? 4 : 3;
		if (i % 13 == 0)
			strcpy(many[i].time, i % 2 == 0 ? "Mon" : "Sat");
	}
	facts_set(&c);
	made = rules_of(many, MANY, true);
	policy_rules_judge(made, &c.facts, &got);
	for (i = 0; i < MANY; i++)
		if (matches(&many[i])) {
			if (shown < RULE_MATCHES_MAX)
				assert_int_equal(got.matched[shown++], i);
			found++;
		}
	assert_true(found > RULE_MATCHES_MAX && found < MANY);
	assert_int_equal(got.matched_count, found);
	assert_int_equal(got.looked_at, MANY);
	policy_rules_free(made);
	free(many);
}

/* A text that only rules far down name. */
static void
policy_rules_find_the_one_among_many(void **state)
{
	enum { MANY = 300 };
	static const size_t places[] = { 0, 63, 64, 127, 200, 299 };
	struct policy_rule *many = calloc(MANY, sizeof *many);
	struct policy_rules *made;
	struct rule_judgement got;
	size_t i, j;

	(void)state;
	assert_non_null(many);
	facts_set(&c);
	for (i = 0; i < sizeof places / sizeof places[0]; i++) {
		for (j = 0; j < MANY; j++) {
			many[j] = rule_of("", RULE_DENY);
			(void)snprintf(many[j].name, sizeof many[j].name, "r%zu", j);
			list_add(&many[j].sites, j == places[i] ? "ulm" : many[j].name);
		}
		made = rules_of(many, MANY, true);
		policy_rules_judge(made, &c.facts, &got);
		assert_int_equal(got.result, RULES_DENY);
		assert_int_equal(got.decided_by, places[i]);
		assert_int_equal(got.matched_count, 1);
		policy_rules_free(made);
	}
	free(many);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_rules_texts_match_whole_and_without_regard_to_case),
		cmocka_unit_test(policy_rules_each_text_is_compared_with_its_own_field),
		cmocka_unit_test(policy_rules_about_what_is_not_there_do_not_match),
		cmocka_unit_test(policy_rules_spell_the_label_without_a_name),
		cmocka_unit_test(policy_rules_bits_match_their_own_value),
		cmocka_unit_test(policy_rules_values_outside_their_range_match_only_who_does_not_ask),
		cmocka_unit_test(policy_rules_addresses_match_by_prefix),
		cmocka_unit_test(policy_rules_addresses_longer_than_any_match_nothing),
		cmocka_unit_test(policy_rules_times_match_in_utc_and_past_midnight),
		cmocka_unit_test(policy_rules_find_the_same_among_many_as_alone),
		cmocka_unit_test(policy_rules_find_the_one_among_many),
	};

	return cmocka_run_group_tests_name("policy/rules matching", tests, NULL, NULL);
}
