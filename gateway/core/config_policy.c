/*
 * The checks of rules and attesters.
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/objects.h>

#include "gateway/core/config_reader.h"
#include "gateway/core/world_parts.h"

#define METHOD(m) (1u << (m))
#define EVIDENCE_METHODS (METHOD(ATTEST_TPM) | METHOD(ATTEST_ANDROID) | METHOD(ATTEST_YUBIKEY))

/* Which settings are whose, and who cannot do without. */
static const struct {
	const char *key;
	unsigned methods, needed;
} meant_for[] = {
	{ "roots", EVIDENCE_METHODS, METHOD(ATTEST_ANDROID) | METHOD(ATTEST_YUBIKEY) },
	{ "ak_by_certificate", METHOD(ATTEST_TPM), 0 },
	{ "ak_by_binding", METHOD(ATTEST_TPM), 0 },
	{ "ak_life", METHOD(ATTEST_TPM), 0 },
	{ "ek_roots", METHOD(ATTEST_TPM), 0 },
	{ "android_level", METHOD(ATTEST_ANDROID), 0 },
	{ "android_locked", METHOD(ATTEST_ANDROID), 0 },
	{ "android_os", METHOD(ATTEST_ANDROID), 0 },
	{ "android_patch", METHOD(ATTEST_ANDROID), 0 },
	{ "yubikey_pin", METHOD(ATTEST_YUBIKEY), 0 },
	{ "yubikey_touch", METHOD(ATTEST_YUBIKEY), 0 },
	{ "yubikey_firmware", METHOD(ATTEST_YUBIKEY), 0 },
	{ "url", METHOD(ATTEST_EAR), METHOD(ATTEST_EAR) },
	{ "ca", METHOD(ATTEST_EAR), METHOD(ATTEST_EAR) },
	{ "secret_file", METHOD(ATTEST_EAR), 0 },
	{ "keys", METHOD(ATTEST_EAR), METHOD(ATTEST_EAR) },
	{ "statement_type", METHOD(ATTEST_EAR), METHOD(ATTEST_EAR) },
	{ "media_type", METHOD(ATTEST_EAR), METHOD(ATTEST_EAR) },
	{ "worst", METHOD(ATTEST_EAR), 0 },
	{ "submods", METHOD(ATTEST_EAR), 0 },
	{ "issuer", METHOD(ATTEST_EAR), 0 },
	{ "identity_claim", METHOD(ATTEST_EAR), 0 },
	{ "identity_anchor", METHOD(ATTEST_EAR), 0 },
	{ "deadline", METHOD(ATTEST_EAR), 0 },
};

static void
check_settings(struct config_reader *r, size_t i)
{
	const config_setting_t *entry = r->entries[SECTION_ATTESTERS][i];
	enum attest_method method = r->config->attesters[i].method;
	size_t k;

	for (k = 0; k < sizeof meant_for / sizeof meant_for[0]; k++) {
		const config_setting_t *s = config_setting_get_member(entry, meant_for[k].key);
		const char *text = s == NULL ? NULL : config_setting_get_string(s);
		bool empty = s == NULL || (text != NULL && text[0] == '\0') ||
			(config_setting_is_aggregate(s) && config_setting_length(s) == 0);

		if (s != NULL && (meant_for[k].methods & METHOD(method)) == 0)
			config_complain(r, SECTION_ATTESTERS, i, meant_for[k].key, "method \"%s\" does not look at it; leave it out",
				attest_method_name(method));
		else if (empty && (meant_for[k].needed & METHOD(method)) != 0)
			config_complain(r, SECTION_ATTESTERS, i, meant_for[k].key, "method \"%s\" needs it",
				attest_method_name(method));
	}
}

static bool
is_trust(const struct config *config, const char *name)
{
	size_t i;

	for (i = 0; i < config->trust_count; i++)
		if (strcmp(config->trust[i].name, name) == 0)
			return true;
	return false;
}

/* An attester's name is the issuer of anchors: whose word it is must be beyond doubt. */
static void
check_name(struct config_reader *r, size_t i)
{
	const struct config *config = r->config;
	const struct config_attester *attester = &config->attesters[i];
	bool trust = is_trust(config, attester->name), mdm = config_mdm(config, attester->name) != NULL;

	if (attester->name[0] == '\0')
		return;
	if (attester->method == ATTEST_IDEVID && !trust)
		config_complain(r, SECTION_ATTESTERS, i, "name", "method \"idevid\" takes the name of a trust set, and there is "
			"no \"%s\" in trust", attester->name);
	else if (attester->method == ATTEST_MDM && !mdm)
		config_complain(r, SECTION_ATTESTERS, i, "name", "method \"mdm\" takes the name of one of mdms, and there is no "
			"\"%s\" there", attester->name);
	else if (attester->method != ATTEST_IDEVID && attester->method != ATTEST_MDM && (trust || mdm))
		config_complain(r, SECTION_ATTESTERS, i, "name",
			"one of %s has this name too, and either would be the issuer in an asset's anchors: choose another",
			trust ? "trust" : "mdms");
}

static bool
is_firmware(const char *text)
{
	int parts = 0;

	for (; parts < 3; parts++) {
		size_t digits = strspn(text, "0123456789");

		if (digits < 1 || digits > 3 || text[digits] != (parts == 2 ? '\0' : '.'))
			return false;
		text += digits + 1;
	}
	return true;
}

static bool
is_dotted(const char *text)
{
	ASN1_OBJECT *oid = OBJ_txt2obj(text, 1);
	bool good = oid != NULL;

	ASN1_OBJECT_free(oid);
	ERR_clear_error();
	return good;
}

static void
check_tpm(struct config_reader *r, size_t i)
{
	const struct config_attester *attester = &r->config->attesters[i];

	if (!attester->ak_by_certificate && !attester->ak_by_binding)
		config_complain(r, SECTION_ATTESTERS, i, "ak_by_binding",
			"no attestation key would count: set ak_by_binding or ak_by_certificate true");
	if (attester->ak_by_certificate && attester->roots.count == 0)
		config_complain(r, SECTION_ATTESTERS, i, "roots", "ak_by_certificate needs the roots of these certificates");
	if (!attester->ak_by_certificate && attester->roots.count != 0)
		config_complain(r, SECTION_ATTESTERS, i, "roots", "they would never be used: set ak_by_certificate true, or put "
			"roots of endorsement keys into ek_roots");
}

static void
check_ear(struct config_reader *r, size_t i)
{
	const struct config_attester *attester = &r->config->attesters[i];

	if (attester->url[0] != '\0' && (!config_is_url(attester->url) || strncmp(attester->url, "https://", 8) != 0))
		config_complain(r, SECTION_ATTESTERS, i, "url", "it is not an https URL; evidence is sent there");
	if (attester->statement_type[0] != '\0' && !is_dotted(attester->statement_type))
		config_complain(r, SECTION_ATTESTERS, i, "statement_type", "\"%.60s\" is not an object identifier like "
			"\"1.3.6.1.4.1.99999.1\"", attester->statement_type);
	if (attester->media_type[0] != '\0' && strchr(attester->media_type, '/') == NULL)
		config_complain(r, SECTION_ATTESTERS, i, "media_type", "\"%.80s\" is not a media type", attester->media_type);
	if (attester->identity_required && attester->identity_claim[0] == '\0')
		config_complain(r, SECTION_ATTESTERS, i, "identity_claim",
			"identity_required wants to know which claim names the device: set it, or set identity_required false");
}

static void
check_attester(struct config_reader *r, size_t i)
{
	const struct config_attester *attester = &r->config->attesters[i];
	const config_setting_t *s = config_setting_get_member(r->entries[SECTION_ATTESTERS][i], "method");
	const char *method = s == NULL ? NULL : config_setting_get_string(s);

	if (method == NULL || strcmp(method, attest_method_name(attester->method)) != 0)
		return; /* which was reported */
	check_name(r, i);
	check_settings(r, i);
	if (attester->method == ATTEST_TPM)
		check_tpm(r, i);
	if (attester->method == ATTEST_EAR)
		check_ear(r, i);
	if (attester->yubikey_firmware[0] != '\0' && !is_firmware(attester->yubikey_firmware))
		config_complain(r, SECTION_ATTESTERS, i, "yubikey_firmware", "\"%s\" is not a version like \"5.7.0\"",
			attester->yubikey_firmware);
}

#define NO_LABEL "(none)" /* the label of paths without one, as rules spell it */

/* A name without a wildcard that is no label's matches nothing, which nobody means. */
static void
check_rule_labels(struct config_reader *r, size_t i)
{
	const struct rule_list *labels = &r->config->rules[i].labels;
	size_t k;

	for (k = 0; k < labels->count; k++)
		if (strpbrk(labels->at[k], "*?") == NULL && strcmp(labels->at[k], NO_LABEL) != 0)
			(void)config_check_reference(r, SECTION_RULES, i, "labels", SECTION_LABELS, labels->at[k]);
}

/* Compiled alone, so that each mistake is told on its own line. */
static void
check_rule(struct config_reader *r, size_t i)
{
	const struct policy_rule *rule = &r->config->rules[i];
	struct policy_rules *compiled = NULL;
	struct err e;
	size_t k;

	for (k = 0; k < rule->attesters.count; k++)
		(void)config_check_reference(r, SECTION_RULES, i, "attesters", SECTION_ATTESTERS, rule->attesters.at[k]);
	check_rule_labels(r, i);
	if (config_setting_get_member(r->entries[SECTION_RULES][i], "action") == NULL)
		return; /* which was reported */
	if (policy_rules_new(rule, 1, r->config->policy_otherwise_allow, &compiled, &e) != 0)
		config_complain(r, SECTION_RULES, i, "name", "%s", e.text);
	policy_rules_free(compiled);
}

void
config_check_policy(struct config_reader *r)
{
	const struct config *config = r->config;
	struct policy_rules *compiled = NULL;
	size_t i;
	struct err e;

	for (i = 0; i < config->attester_count; i++)
		check_attester(r, i);
	for (i = 0; i < config->rule_count; i++)
		check_rule(r, i);
	/* Together, when all else is good: what only all of them show. */
	if (r->source->problems == 0 && config->rule_count != 0 &&
	    policy_rules_new(config->rules, config->rule_count, config->policy_otherwise_allow, &compiled, &e) != 0)
		config_report(r, r->groups[SECTION_RULES], "rules: %s", e.text);
	policy_rules_free(compiled);
}

/* The last question, when all else is in order: do its files come to something that can judge? */
static void
check_attester_files(struct config_reader *r, size_t i)
{
	const struct config_attester *config = &r->config->attesters[i];
	struct world_attester opened = { .ops = NULL };
	const char *trouble;
	bool good;
	size_t k;
	struct err e;

	good = config_check_certificates(r, SECTION_ATTESTERS, i, "roots", &config->roots);
	good = config_check_certificates(r, SECTION_ATTESTERS, i, "ek_roots", &config->ek_roots) && good;
	for (k = 0; k < config->keys.count; k++) {
		trouble = config_file_trouble(config->keys.at[k]);
		if (trouble != NULL)
			config_complain(r, SECTION_ATTESTERS, i, "keys", "%s: %s", config->keys.at[k], trouble);
		good = good && trouble == NULL;
	}
	x509_stack_free(config_load_certificates(r, SECTION_ATTESTERS, i, "ca", config->ca));
	config_check_secret_file(r, SECTION_ATTESTERS, i, config->secret_file);
	if (!good || r->source->problems != 0)
		return;
	if (world_attester_load(config, NULL, &opened, &e) != 0)
		config_complain(r, SECTION_ATTESTERS, i, "method", "%s", e.text);
	world_attester_clear(&opened);
}

static bool
append_file(struct buf *out, const char *path)
{
	CLEANUP(BIO) BIO *file = BIO_new_file(path, "rb");
	uint8_t octets[4096];
	int got = 0;

	while (file != NULL && (got = BIO_read(file, octets, sizeof octets)) > 0)
		buf_append(out, octets, (size_t)got);
	ERR_clear_error();
	return file != NULL && got == 0 && !buf_failed(out);
}

/* Each file by its digest, so that none runs into the next. */
static bool
append_digests(struct buf *out, const struct config_list *paths)
{
	uint8_t digest[32];
	struct err e;
	size_t i;

	for (i = 0; i < paths->count; i++) {
		CLEANUP(buf) struct buf octets = { 0 };

		if (!append_file(&octets, paths->at[i]) || sha256(buf_bytes(&octets), digest, &e) != 0)
			return false;
		buf_append(out, digest, sizeof digest);
	}
	return !buf_failed(out);
}

/* Roots that are exchanged in place make another policy of the same text. Lists of revoked ones change every day. */
static void
version_files(struct config_reader *r)
{
	struct config *config = r->config;
	CLEANUP(buf) struct buf all = { 0 };
	uint8_t digest[32];
	bool good = true;
	size_t i;
	struct err e;

	buf_append_text(&all, config->version);
	for (i = 0; i < config->trust_count; i++)
		good = append_digests(&all, &config->trust[i].files) && good;
	for (i = 0; i < config->attester_count; i++)
		good = append_digests(&all, &config->attesters[i].roots) &&
			append_digests(&all, &config->attesters[i].ek_roots) &&
			append_digests(&all, &config->attesters[i].keys) && good;
	if (all.len == strlen(config->version))
		return;
	if (!good || sha256(buf_bytes(&all), digest, &e) != 0)
		config_source_report(r->source, 0, "the files of trust and attesters cannot be read for the policy's version");
	else
		hex_encode(bytes_of(digest, sizeof digest), config->version);
}

void
config_check_policy_files(struct config_reader *r)
{
	size_t i;

	for (i = 0; i < r->config->attester_count; i++)
		check_attester_files(r, i);
	if (r->source->problems == 0)
		version_files(r);
}
