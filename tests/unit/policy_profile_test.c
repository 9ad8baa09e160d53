#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "policy/profile.h"

#define NOW 1800000000

static struct asset
asset_of(void)
{
	return (struct asset){ .id = 1, .tag = "rtr-7", .owner_id = 2, .manufacturer = "Acme, Inc.", .model = "M+1",
		.serial = "FDO/1", .site = "Bonn", .hostname = "RTR-7.example.net", .state = ASSET_STAGED };
}

static struct profile
profile_of(const char *subject, const char *san)
{
	struct profile profile = { .name = "p", .lifetime_s = 1000, .backdate_s = 60,
		.key_usage = USAGE_DIGITAL_SIGNATURE, .eku_count = 1 };

	strcpy(profile.subject, subject);
	strcpy(profile.eku[0], "1.3.6.1.5.5.7.3.2");
	if (san != NULL) {
		strcpy(profile.san[0], san);
		profile.san_count = 1;
	}
	return profile;
}

static struct cert_spec spec;

static int
fill(const char *subject, const char *san, const struct asset *asset, struct err *e)
{
	struct owner owner = { .id = 2, .name = "Acme=Fleet,O=Evil" };
	struct profile profile = profile_of(subject, san);

	e->code = ERR_NONE;
	return profile_fill(&profile, asset, &owner, NOW, &spec, e);
}

static void
policy_profile_fills_templates_from_the_registry(void **state)
{
	struct asset asset = asset_of();
	struct err e;

	(void)state;
	assert_int_equal(fill("CN={tag}, OU=site {site}\\, EU,2.5.4.41=n-{model}", "dns:{hostname}", &asset, &e), 0);
	assert_int_equal(spec.rdn_count, 3);
	assert_string_equal(spec.rdns[0].oid, "2.5.4.3");
	assert_string_equal(spec.rdns[0].value, "rtr-7");
	assert_string_equal(spec.rdns[1].oid, "2.5.4.11");
	assert_string_equal(spec.rdns[1].value, "site Bonn, EU");
	assert_string_equal(spec.rdns[2].oid, "2.5.4.41");
	assert_string_equal(spec.rdns[2].value, "n-M+1");
	assert_int_equal(spec.san_count, 1);
	assert_int_equal(spec.sans[0].type, SPEC_SAN_DNS);
	assert_string_equal(spec.sans[0].value, "rtr-7.example.net");
	assert_int_equal(spec.not_before_s, NOW - 60);
	assert_int_equal(spec.not_after_s, NOW + 1000);
	assert_int_equal(spec.key_usage, USAGE_DIGITAL_SIGNATURE);
	assert_int_equal(spec.eku_count, 1);
}

static void
policy_profile_binds_values_never_structure(void **state)
{
	struct asset asset = asset_of();
	struct err e;

	(void)state;
	assert_int_equal(fill("CN={tag},O={owner}", "uri:urn:dev:sn:{serial}", &asset, &e), 0);
	assert_int_equal(spec.rdn_count, 2);
	assert_string_equal(spec.rdns[1].value, "Acme=Fleet,O=Evil");
	assert_string_equal(spec.sans[0].value, "urn:dev:sn:FDO%2F1");
	strcpy(asset.tag, "a,CN=b+{serial}\\");
	assert_int_equal(fill("CN={tag}", NULL, &asset, &e), 0);
	assert_int_equal(spec.rdn_count, 1);
	assert_string_equal(spec.rdns[0].value, "a,CN=b+{serial}\\");
	strcpy(asset.serial, "a@b:c?d#e%f*\xc3\xbc");
	assert_int_equal(fill("CN=x", "uri:https://{serial}/", &asset, &e), 0);
	assert_string_equal(spec.sans[0].value, "https://a%40b%3Ac%3Fd%23e%25f%2A%C3%BC/");
	strcpy(asset.serial, "..");
	assert_int_equal(fill("CN=x", "uri:https://h/a/{serial}", &asset, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
}

static void
policy_profile_leaves_out_what_the_registry_does_not_know(void **state)
{
	struct asset asset = asset_of();
	struct err e;

	(void)state;
	asset.site[0] = asset.hostname[0] = '\0';
	assert_int_equal(fill("CN={tag},OU=at {site}", "dns:{hostname}", &asset, &e), 0);
	assert_int_equal(spec.rdn_count, 1);
	assert_int_equal(spec.san_count, 0);
	assert_int_equal(fill("CN={tag}-{site},O=x", NULL, &asset, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	assert_int_equal(fill("OU={site}", "dns:{hostname}", &asset, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
}

static void
policy_profile_refuses_values_unfit_for_their_place(void **state)
{
	static const struct {
		const char *subject, *san, *hostname, *named;
	} cases[] = {
		{ "CN=x", "dns:{hostname}", "*.example.net", "dns:{hostname}" },
		{ "CN=x", "dns:{hostname}", "a..b", "dns" },
		{ "CN=x", "dns:{hostname}", "a.b.", "dns" },
		{ "CN=x", "dns:{hostname}", "-a.b", "dns" },
		{ "CN=x", "dns:{hostname}", "a-.b", "dns" },
		{ "CN=x", "dns:{hostname}", "a_b.c", "dns" },
		{ "CN=x", "dns:{hostname}", "b\xc3\xbc" "cher.de", "dns" },
		{ "CN=x", "dns:{hostname}", "10.0.0.1", "dns" },
		{ "CN=x", "dns:{hostname}", "a b", "dns" },
		{ "CN=x", "dns:{hostname}", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "dns" },
		{ "CN=x", "ip:{hostname}", "10.0.0.256", "ip" },
		{ "CN=x", "ip:{hostname}", "fe80::1%eth0", "ip" },
		{ "CN=x", "email:{hostname}", "a@b@c", "email" },
		{ "CN=x", "email:{hostname}", "@b", "email" },
		{ "CN=x", "email:{hostname}", "*@b.c", "email" },
		{ "CN=x", "uri:{hostname}", "urn:a:b", "uri" },
		{ "CN={hostname}", NULL, "*.example.net", "CN" },
		{ "CN={hostname}", NULL, "a\nb", "CN" },
		{ "CN={hostname}", NULL, "a\x7f", "CN" },
		{ "CN={hostname}", NULL, "\xc3", "CN" },
		{ "CN={hostname}", NULL, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "CN" },
		{ "CN=x,OU={hostname}", NULL, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
			"OU" },
		{ "CN=x,C={hostname}", NULL, "DEU", "C" },
		{ "CN=x,C={hostname}", NULL, "D1", "C" },
		{ "CN=x,serialNumber={hostname}", NULL, "a_b", "serialNumber" },
		{ "CN=x,DC={hostname}", NULL, "a.b", "DC" },
		{ "CN=x,emailAddress={hostname}", NULL, "nobody", "emailAddress" },
	};
	struct asset asset = asset_of();
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		strcpy(asset.hostname, cases[i].hostname);
		assert_int_equal(fill(cases[i].subject, cases[i].san, &asset, &e), -1);
		assert_int_equal(e.code, ERR_DENIED);
		assert_non_null(strstr(e.text, cases[i].named));
	}
}

static void
policy_profile_counts_characters_not_octets(void **state)
{
	struct asset asset = asset_of();
	struct err e;
	int i;

	(void)state;
	for (i = 0; i < 63; i++)
		memcpy(asset.tag + 2 * i, "\xc3\xbc", 3);
	assert_int_equal(fill("CN={tag}", NULL, &asset, &e), 0);
	assert_int_equal(strlen(spec.rdns[0].value), 126);
	/* The bound of 64 characters would allow this one, the array of 127 octets does not. */
	assert_int_equal(fill("CN={tag}ab", NULL, &asset, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
}

static void
policy_profile_normalises_addresses_domains_and_countries(void **state)
{
	struct asset asset = asset_of();
	struct err e;

	(void)state;
	strcpy(asset.hostname, "2001:DB8:0:0::1");
	strcpy(asset.site, "de");
	assert_int_equal(fill("CN={tag},C={site}", "ip:{hostname}", &asset, &e), 0);
	assert_string_equal(spec.rdns[1].value, "DE");
	assert_string_equal(spec.sans[0].value, "2001:db8::1");
	assert_int_equal(fill("CN={tag}", "email:Ops@EXAMPLE.net", &asset, &e), 0);
	assert_string_equal(spec.sans[0].value, "Ops@example.net");
}

static void
policy_profile_names_each_san_once(void **state)
{
	struct profile profile = profile_of("CN={tag}", "dns:{hostname}");
	struct owner owner = { .name = "o" };
	struct asset asset = asset_of();
	struct err e;

	(void)state;
	strcpy(profile.san[1], "dns:rtr-7.EXAMPLE.net");
	profile.san_count = 2;
	assert_int_equal(profile_fill(&profile, &asset, &owner, NOW, &spec, &e), 0);
	assert_int_equal(spec.san_count, 1);
}

static void
policy_profile_without_a_lifetime_fills_nothing(void **state)
{
	struct profile profile = profile_of("CN={tag}", NULL);
	struct owner owner = { .name = "o" };
	struct asset asset = asset_of();
	struct err e;

	(void)state;
	profile.lifetime_s = 0;
	assert_int_equal(profile_fill(&profile, &asset, &owner, NOW, &spec, &e), -1);
	assert_int_equal(e.code, ERR_DENIED);
	profile.lifetime_s = INT64_MAX;
	assert_int_equal(profile_fill(&profile, &asset, &owner, NOW, &spec, &e), -1);
}

static void
policy_profile_check_takes_good_templates(void **state)
{
	static const char *const subjects[] = { "CN={tag}", "CN={tag}, O=AT\\+T\\, Inc., C={site}",
		"CN={tag},serialNumber={serial},DC=example,DC=net,UID={source_key}", "2.5.4.41={manufacturer},ST={site}" };
	static const char *const sans[] = { "dns:{hostname}", "dns:{tag}.example.net", "uri:urn:dev:{serial}",
		"ip:{hostname}", "ip:10.0.0.1", "email:{tag}@example.net" };
	struct profile profile;
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
		profile = profile_of(subjects[i], NULL);
		assert_int_equal(profile_check(&profile, &e), 0);
	}
	for (i = 0; i < sizeof sans / sizeof sans[0]; i++) {
		profile = profile_of("", sans[i]);
		assert_int_equal(profile_check(&profile, &e), 0);
	}
}

static void
policy_profile_check_names_the_mistake(void **state)
{
	static const struct {
		const char *subject, *san, *named;
	} cases[] = {
		{ "CN={tga}", NULL, "{tga}" },
		{ "CN={tag", NULL, "}" },
		{ "CN=tag}", NULL, "{" },
		{ "CN=a\\", NULL, "backslash" },
		{ "XX={tag}", NULL, "XX" },
		{ "cn={tag}", NULL, "cn" },
		{ "1.2.3.x={tag}", NULL, "1.2.3.x" },
		{ "{tag}", NULL, "TYPE=" },
		{ "={tag}", NULL, "TYPE=" },
		{ "CN={tag},", NULL, "comma" },
		{ "CN={tag}+OU=x", NULL, "\\+" },
		{ "CN=", NULL, "empty" },
		{ "CN={tag},2.5.4.3=b", NULL, "twice" },
		{ "CN={tag},C=Germany", NULL, "C: 7 characters" },
		{ "CN={tag}", "dns", "dns:" },
		{ "CN={tag}", "DNS:a.b", "dns:" },
		{ "CN={tag}", "dns:*.example.net", "*.example.net" },
		{ "CN={tag}", "dns:{host}", "{host}" },
		{ "CN={tag}", "uri:{serial}", "URI" },
		{ "CN={tag}", "uri:no-scheme", "URI" },
		{ "CN={tag}", "ip:300.1.1.1", "300.1.1.1" },
		{ "", NULL, "neither" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct profile profile = profile_of(cases[i].subject, cases[i].san);
		struct err e = { .code = ERR_NONE };

		assert_int_equal(profile_check(&profile, &e), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
		assert_non_null(strstr(e.text, cases[i].named));
	}
}

static void
policy_profile_key_rules_are_parsed(void **state)
{
	static const char *const bad[] = { "", "EC", "EC:P-224", "RSA", "RSA:", "RSA:1024", "RSA:4096-2048",
		"RSA:2048-", "RSA:2048-16384", "RSA:2048x", "RSA: 2048", "RSA:99999999999", "DSA:2048" };
	struct key_rule rule;
	struct err e;
	size_t i;

	(void)state;
	assert_int_equal(key_rule_parse("EC:P-256", &rule, &e), 0);
	assert_int_equal(rule.kind, KEY_EC_P256);
	assert_int_equal(key_rule_parse("EC:P-384", &rule, &e), 0);
	assert_int_equal(rule.kind, KEY_EC_P384);
	assert_int_equal(key_rule_parse("RSA:3072", &rule, &e), 0);
	assert_int_equal(rule.bits_min, 3072);
	assert_int_equal(rule.bits_max, 3072);
	assert_int_equal(key_rule_parse("RSA:2048-4096", &rule, &e), 0);
	assert_int_equal(rule.kind, KEY_RSA);
	assert_int_equal(rule.bits_min, 2048);
	assert_int_equal(rule.bits_max, 4096);
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(key_rule_parse(bad[i], &rule, &e), -1);
		assert_int_equal(e.code, ERR_MALFORMED);
	}
}

static void
policy_profile_usages_of_a_ca_cannot_be_named(void **state)
{
	(void)state;
	assert_int_equal(key_usage_of("digitalSignature"), USAGE_DIGITAL_SIGNATURE);
	assert_int_equal(key_usage_of("keyAgreement"), USAGE_KEY_AGREEMENT);
	assert_int_equal(key_usage_of("keyCertSign"), 0);
	assert_int_equal(key_usage_of("cRLSign"), 0);
	assert_string_equal(extended_key_usage_oid("clientAuth"), "1.3.6.1.5.5.7.3.2");
	assert_string_equal(extended_key_usage_oid("1.3.6.1.4.1.99999.1"), "1.3.6.1.4.1.99999.1");
	assert_null(extended_key_usage_oid("anyExtendedKeyUsage"));
	assert_null(extended_key_usage_oid("2.5.29.37.0"));
	assert_null(extended_key_usage_oid("1.3.6.1.5.5.7.3.9"));
	assert_null(extended_key_usage_oid("1"));
	assert_null(extended_key_usage_oid("1.40.1"));
	assert_null(extended_key_usage_oid("3.1.1"));
	assert_null(extended_key_usage_oid("1.3..6"));
	assert_null(extended_key_usage_oid("1.3.06"));
	assert_null(extended_key_usage_oid("1.3.999999999"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_profile_fills_templates_from_the_registry),
		cmocka_unit_test(policy_profile_binds_values_never_structure),
		cmocka_unit_test(policy_profile_leaves_out_what_the_registry_does_not_know),
		cmocka_unit_test(policy_profile_refuses_values_unfit_for_their_place),
		cmocka_unit_test(policy_profile_counts_characters_not_octets),
		cmocka_unit_test(policy_profile_normalises_addresses_domains_and_countries),
		cmocka_unit_test(policy_profile_names_each_san_once),
		cmocka_unit_test(policy_profile_without_a_lifetime_fills_nothing),
		cmocka_unit_test(policy_profile_check_takes_good_templates),
		cmocka_unit_test(policy_profile_check_names_the_mistake),
		cmocka_unit_test(policy_profile_key_rules_are_parsed),
		cmocka_unit_test(policy_profile_usages_of_a_ca_cannot_be_named),
	};

	return cmocka_run_group_tests_name("policy/profile", tests, NULL, NULL);
}
