/*
 * decide: what a decision costs, in processor time, per second and core.
 *
 *   decide [--json] [--rules N] [--store PATH [--assets N]]
 *
 * Times the operator's rules alone and the whole of decide(), by rules that are as good and as bad as rules
 * get. With a store that bench/fill has made it also reads for each decision what the gateway reads: the
 * asset of an anchor, the uses of the key, and what the registry knows beside.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/store/store.h"
#include "policy/decide.h"

#define NOW_S    1700000100 /* when bench/fill's certificates are valid */
#define DAY_S    86400
#define ROUNDS   21         /* of which the median counts */
#define ROUND_NS 20000000   /* about as long as one takes */

static struct {
	bool json;
	size_t rules;
	int64_t assets;
	const char *store;
} options = { .rules = 1000, .assets = 1000000 };

static struct asset asset;
static struct owner owner = { .id = 1, .name = "Fill", .kind = OWNER_PARTNER };
static struct profile profile = { .name = "device", .subject = "CN={tag},O={owner}", .san = { "uri:urn:dev:sn:{serial}" },
	.san_count = 1, .keys = { { .kind = KEY_EC_P256 } }, .key_count = 1, .key_usage = USAGE_DIGITAL_SIGNATURE,
	.eku = { "1.3.6.1.5.5.7.3.2" }, .eku_count = 1, .lifetime_s = 90 * DAY_S, .renewal_window_s = 30 * DAY_S,
	.backdate_s = 300 };
static struct label_policy label = { .name = "fleet", .auth = AUTH_CERTIFICATE, .operations = 1u << POLICY_ENROLL };
static struct attestation evidence = { .method = ATTEST_TPM, .attester = "tpm", .key_bound = true, .fresh = true,
	.of_asset = true, .identity_required = true };
static struct csr_facts csr = { .key = { .kind = KEY_EC_P256, .bits = 256 } };
static struct decide_input input;
static struct decision decision;

static const struct store_ops *const ops = &store_sqlite;
static struct store *store;

static void
die(const char *what)
{
	(void)fprintf(stderr, "decide: %s\n", what);
	exit(1);
}

static int64_t
cpu_ns(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) != 0)
		die("no clock");
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int
compare(const void *left, const void *right)
{
	const double *a = left, *b = right;

	return *a < *b ? -1 : *a > *b;
}

/* The median of several rounds, in nanoseconds a call. */
static double
time_calls(void (*call)(void))
{
	double each[ROUNDS];
	int64_t calls = 1, began, spent, i;
	size_t round;

	for (spent = 0; spent < ROUND_NS; calls *= 2) {
		began = cpu_ns();
		for (i = 0; i < calls; i++)
			call();
		spent = cpu_ns() - began;
	}
	for (round = 0; round < ROUNDS; round++) {
		began = cpu_ns();
		for (i = 0; i < calls; i++)
			call();
		each[round] = (double)(cpu_ns() - began) / (double)calls;
	}
	qsort(each, ROUNDS, sizeof each[0], compare);
	return each[ROUNDS / 2];
}

static void
show(const char *key, const char *what, double ns)
{
	static bool later;

	if (options.json)
		(void)printf("%s\"%s_ns\": %.0f", later ? ", " : "{ ", key, ns);
	else
		(void)printf("%-62s %9.0f ns %10.0f /s\n", what, ns, 1e9 / ns);
	later = true;
}

/* Sets of rules. */

static void
add(struct rule_list *list, const char *text)
{
	(void)snprintf(list->at[list->count++], RULE_TEXT_MAX, "%s", text);
}

/* Of all kinds, as an operator has them; none is for the asset. */
static void
mixed_rule(struct policy_rule *rule, size_t i)
{
	char text[RULE_TEXT_MAX];

	switch (i % 8) {
	case 0:
		(void)snprintf(text, sizeof text, "site-%zu", i);
		add(&rule->sites, text);
		break;
	case 1:
		(void)snprintf(text, sizeof text, "model-%zu-*", i);
		add(&rule->models, text);
		break;
	case 2:
		(void)snprintf(text, sizeof text, "10.%zu.0.0/16", i % 256);
		add(&rule->addresses, text);
		break;
	case 3:
		rule->protocols = 1u << RULE_SCEP;
		rule->tiers = 1u << 3 | 1u << 2;
		break;
	case 4:
		(void)snprintf(rule->time, sizeof rule->time, "Sat,Sun %02zu:00-%02zu:30", i % 24, i % 24);
		break;
	case 5:
		(void)snprintf(text, sizeof text, "Customer %zu", i);
		add(&rule->owners, text);
		add(&rule->labels, "fleet");
		break;
	case 6:
		add(&rule->manufacturers, "fill");
		(void)snprintf(text, sizeof text, "*-%zu", i);
		add(&rule->models, text);
		break;
	default:
		rule->owner_kinds = 1u << OWNER_CUSTOMER;
		rule->proofs = 1u << PROOF_SECRET | 1u << PROOF_OWN;
		break;
	}
}

/* Wildcards that fit but for their end, so that nothing tells it beforehand. */
static void
wild_rule(struct policy_rule *rule, size_t i)
{
	char text[RULE_TEXT_MAX];

	(void)i;
	(void)snprintf(text, sizeof text, "*m*o*d*e*l*7*m");
	add(&rule->models, text);
}

static void
matching_rule(struct policy_rule *rule, size_t i)
{
	(void)i;
	add(&rule->labels, "fleet");
	add(&rule->models, "model-*");
}

/* All but the last are made by one(); the last allows, and by demand there is one more that requires evidence. */
static struct policy_rules *
make_rules(void (*one)(struct policy_rule *, size_t), enum rule_action action)
{
	struct policy_rule *rules = calloc(options.rules, sizeof *rules);
	struct policy_rules *made = NULL;
	struct err e;
	size_t i;

	if (rules == NULL)
		die("no memory");
	for (i = 0; i < options.rules; i++) {
		(void)snprintf(rules[i].name, sizeof rules[i].name, "rule-%zu", i);
		rules[i].action = action;
		if (i + 2 < options.rules)
			one(&rules[i], i);
	}
	rules[options.rules - 2].action = RULE_REQUIRE;
	add(&rules[options.rules - 2].attesters, "tpm");
	rules[options.rules - 1].action = RULE_ALLOW;
	if (policy_rules_new(rules, options.rules, false, &made, &e) != 0)
		die(e.text);
	free(rules);
	return made;
}

/* What is timed. */

static void
judge_once(void)
{
	policy_rules_judge(input.rules, &input.facts, &decision.judgement);
}

static void
decide_once(void)
{
	decide(&input, &decision);
}

/* A walk over all numbers that is in no order. */
static int64_t
next_number(void)
{
	static uint64_t state = 88172645463325252u;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (int64_t)(state % (uint64_t)options.assets) + 1;
}

static void
read_registry(struct store_read *read, const struct anchor *anchor)
{
	struct exception exceptions[8];
	uint8_t spki[32];
	int64_t limit = 0, used = 0;
	bool held = false;
	struct err e;
	int count;

	if (ops->anchor_key(read, anchor, spki, &e) < 0 ||
	    ops->exceptions(read, &asset, label.name, NOW_S, exceptions, 8, &e) < 0)
		die(e.text);
	count = ops->quota(read, owner.id, profile.name, asset.id, NOW_S, &limit, &used, &held, &e);
	if (count < 0)
		die(e.text);
	input.has_quota = count == 1;
	input.quota_limit = limit;
	input.quota_used = used;
	input.quota_held = held;
}

static void
read_and_decide_once(void)
{
	struct anchor anchor = { .type = ANCHOR_IDEVID_SERIAL, .issuer = "fill" };
	uint8_t spki[32] = { 0 };
	struct store_read *read = NULL;
	int64_t number = next_number();
	struct err e;

	(void)snprintf(anchor.value, sizeof anchor.value, "F%" PRId64, number);
	memcpy(spki, &number, sizeof number);
	if (ops->read_begin(store, &read, &e) != 0)
		die(e.text);
	if (ops->asset_by_anchor(read, &anchor, &asset, &owner, &e) != 1)
		die("the store is not what bench/fill makes, or has fewer assets");
	if (ops->key_use(read, spki, asset.id, &csr.key_known_elsewhere, &csr.key_used_before, &e) != 0)
		die(e.text);
	read_registry(read, &anchor);
	ops->read_end(read);
	(void)snprintf(asset.model, sizeof asset.model, "model-77");
	decide(&input, &decision);
	if (decision.outcome != OUTCOME_ALLOWED)
		die(decision.sentence);
}

static void
set_input(void)
{
	(void)snprintf(asset.tag, sizeof asset.tag, "FILL-77");
	(void)snprintf(asset.serial, sizeof asset.serial, "F77");
	(void)snprintf(asset.manufacturer, sizeof asset.manufacturer, "fill");
	(void)snprintf(asset.model, sizeof asset.model, "model-77");
	(void)snprintf(asset.class_name, sizeof asset.class_name, "router");
	(void)snprintf(asset.site, sizeof asset.site, "Ulm");
	asset.owner_id = 1;
	asset.state = ASSET_DEPLOYED;
	asset.tier = 1;
	(void)attest_check(&evidence, "tpm.chain", true, "root");
	attest_conclude(&evidence);
	input = (struct decide_input){ .op = POLICY_ENROLL, .now_s = NOW_S, .label = &label, .profile = &profile,
		.proof = { .kind = PROOF_CERTIFICATE, .text = "idevid fill F77" }, .asset_matches = 1, .asset = &asset,
		.owner = &owner, .csr = &csr, .attestations = &evidence, .attestation_count = 1,
		.facts = { .protocol = RULE_EST, .label = "fleet", .op = POLICY_ENROLL, .proof = PROOF_CERTIFICATE,
			.asset = &asset, .owner = &owner, .peer = "192.0.2.7:4711", .now_s = NOW_S } };
}

static void
time_rules(const char *name, const char *what, void (*one)(struct policy_rule *, size_t), enum rule_action action)
{
	struct policy_rules *rules = make_rules(one, action);
	char key[64], text[96];

	input.rules = rules;
	(void)snprintf(key, sizeof key, "judge_%s", name);
	(void)snprintf(text, sizeof text, "rules: %zu, %s", options.rules, what);
	show(key, text, time_calls(judge_once));
	(void)snprintf(key, sizeof key, "decide_%s", name);
	(void)snprintf(text, sizeof text, "decision: %zu rules, %s", options.rules, what);
	input.approved = true;
	show(key, text, time_calls(decide_once));
	if (decision.outcome != OUTCOME_ALLOWED)
		die(decision.sentence);
	input.rules = NULL;
	policy_rules_free(rules);
}

static void
time_store(void)
{
	struct store_settings settings = { .path = options.store, .readers = 1, .cache_kib = 262144,
		.read_only = true };
	struct policy_rules *rules = make_rules(mixed_rule, RULE_DENY);
	struct err e;

	if (ops->open(&settings, &store, &e) != 0)
		die(e.text);
	input.rules = rules;
	show("decide_store", "decision: the same mixed rules, everything read from the store", time_calls(read_and_decide_once));
	ops->close(store);
	policy_rules_free(rules);
}

static void
read_options(int argc, char **argv)
{
	static const struct option names[] = { { "json", no_argument, NULL, 'j' }, { "rules", required_argument, NULL, 'r' },
		{ "store", required_argument, NULL, 's' }, { "assets", required_argument, NULL, 'a' }, { 0 } };
	int option;

	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1)
		switch (option) {
		case 'j':
			options.json = true;
			break;
		case 'r':
			options.rules = (size_t)strtoul(optarg, NULL, 10);
			break;
		case 's':
			options.store = optarg;
			break;
		case 'a':
			options.assets = strtoll(optarg, NULL, 10);
			break;
		default:
			exit(2);
		}
	if (options.rules < 2 || options.rules > RULES_MAX || options.assets < 1)
		die("--rules is from 2 to 10000, --assets at least 1");
}

int
main(int argc, char **argv)
{
	struct err e;

	read_options(argc, argv);
	if (ossl_init(&e) != 0)
		die(e.text);
	set_input();
	show("decide_bare", "decision: no rules", time_calls(decide_once));
	time_rules("mixed", "mixed, none but the last two match", mixed_rule, RULE_DENY);
	time_rules("wild", "wildcards that nearly match", wild_rule, RULE_DENY);
	time_rules("all", "all match", matching_rule, RULE_APPROVE);
	if (options.store != NULL)
		time_store();
	if (options.json)
		(void)printf(" }\n");
	return 0;
}
