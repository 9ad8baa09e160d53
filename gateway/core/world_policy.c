/*
 * The part of the world that judges: compiled rules, attesters, and what each label's rules may want.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "gateway/core/rollover.h"
#include "gateway/core/world_parts.h"

static int
load_roots(const struct config_list *files, STACK_OF(X509) **out, struct err *e)
{
	size_t i;

	*out = sk_X509_new_null();
	if (*out == NULL)
		return err_set(e, ERR_NOMEM, "no memory for roots");
	for (i = 0; i < files->count; i++) {
		CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;

		if (x509_load_file(files->at[i], &certs, e) != 0)
			return -1;
		while (sk_X509_num(certs) > 0)
			if (sk_X509_push(*out, sk_X509_value(certs, 0)) > 0)
				(void)sk_X509_shift(certs);
			else
				return err_set(e, ERR_NOMEM, "no memory for roots");
	}
	return 0;
}

/* A public key, or the key of a certificate. */
static int
load_key(const char *path, EVP_PKEY **out, struct err *e)
{
	CLEANUP(BIO) BIO *in = BIO_new_file(path, "rb");
	CLEANUP(X509) X509 *cert = NULL;

	if (in == NULL)
		return err_ossl(e, ERR_UPSTREAM, path);
	*out = PEM_read_bio_PUBKEY(in, NULL, pem_no_password, NULL);
	if (*out == NULL && BIO_reset(in) == 0) {
		cert = PEM_read_bio_X509(in, NULL, pem_no_password, NULL);
		*out = cert == NULL ? NULL : X509_get_pubkey(cert);
	}
	ERR_clear_error();
	return *out == NULL ? err_set(e, ERR_UPSTREAM, "%s: holds neither a public key nor a certificate (PEM)", path) : 0;
}

static void
fill_ear(const struct config_attester *config, const struct world_attester *attester, struct ear_settings *out)
{
	size_t i;

	_Static_assert(EAR_SUBMODS_MAX <= CONFIG_LIST_MAX, "submods");
	(void)snprintf(out->name, sizeof out->name, "%s", config->name);
	for (i = 0; i < config->keys.count && i < EAR_KEYS_MAX; i++)
		out->keys[i] = attester->keys[i];
	out->key_count = i;
	out->worst = config->ear_worst == 0 ? EAR_AFFIRMING : EAR_WARNING;
	for (i = 0; i < config->submods.count && i < EAR_SUBMODS_MAX; i++)
		(void)snprintf(out->submods[i], sizeof out->submods[i], "%.*s", REG_TEXT_MAX - 1, config->submods.at[i]);
	out->submod_count = i;
	(void)snprintf(out->issuer, sizeof out->issuer, "%s", config->issuer);
	(void)snprintf(out->identity_claim, sizeof out->identity_claim, "%s", config->identity_claim);
	out->identity_anchor = config->identity_anchor;
}

static int
load_ear(const struct config_attester *config, struct world_attester *out, struct err *e)
{
	struct verifier_settings settings = {
		.url = config->url,
		.ca = config->ca,
		.secret_file = config->secret_file[0] == '\0' ? NULL : config->secret_file,
		.deadline_s = config->deadline_s,
	};
	size_t i;

	for (i = 0; i < config->keys.count && i < EAR_KEYS_MAX; i++)
		if (load_key(config->keys.at[i], &out->keys[i], e) != 0)
			return -1;
	fill_ear(config, out, &settings.ear);
	return verifier_open(&settings, &out->verifier, e);
}

static void
fill_settings(const struct config_attester *config, const struct identity_rules *rules, struct world_attester *out)
{
	struct attest_settings *s = &out->settings;

	(void)snprintf(s->name, sizeof s->name, "%s", config->name);
	s->method = config->method;
	s->roots = out->roots;
	s->rules = rules;
	s->tpm_ak_by_certificate = config->ak_by_certificate;
	s->tpm_ak_by_binding = config->ak_by_binding;
	s->android_level_min = config->android_level;
	s->android_locked = config->android_locked;
	s->android_os_min = config->android_os_min;
	s->android_patch_min = config->android_patch_min;
	s->yubikey_pin_min = config->yubikey_pin;
	s->yubikey_touch_min = config->yubikey_touch;
	(void)snprintf(s->yubikey_firmware_min, sizeof s->yubikey_firmware_min, "%s", config->yubikey_firmware);
}

int
world_attester_load(const struct config_attester *config, const struct identity_rules *rules,
	struct world_attester *out, struct err *e)
{
	out->ops = attest_ops_of(config->method);
	if (load_roots(&config->roots, &out->roots, e) != 0 ||
	    (config->ek_roots.count != 0 && load_roots(&config->ek_roots, &out->ek_roots, e) != 0) ||
	    (config->method == ATTEST_EAR && load_ear(config, out, e) != 0))
		return err_prefix(e, "attester \"%s\"", config->name);
	fill_settings(config, rules, out);
	return 0;
}

void
world_attester_clear(struct world_attester *attester)
{
	size_t i;

	verifier_close(attester->verifier);
	for (i = 0; i < EAR_KEYS_MAX; i++)
		EVP_PKEY_free(attester->keys[i]);
	x509_stack_free(attester->roots);
	x509_stack_free(attester->ek_roots);
	*attester = (struct world_attester){ .ops = NULL };
}

/* Equal without regard to case; "*" stands for any octets and "?" for one, as in policy/rules.h. */
static bool
fits(const char *pattern, const char *text)
{
	const char *star = NULL, *from = text;

	while (*text != '\0') {
		if (*pattern == '*') {
			star = pattern++;
			from = text;
		} else if (*pattern == '?' || tolower((unsigned char)*pattern) == tolower((unsigned char)*text)) {
			pattern++;
			text++;
		} else if (star != NULL) {
			pattern = star + 1;
			text = ++from;
		} else
			return false;
	}
	return pattern[strspn(pattern, "*")] == '\0';
}

#define NO_LABEL "(none)" /* the label of paths without one, as rules spell it */

static bool
names_label(const struct rule_list *labels, const char *label)
{
	size_t i;

	if (label[0] == '\0')
		label = NO_LABEL;
	for (i = 0; i < labels->count; i++)
		if (fits(labels->at[i], label))
			return true;
	return labels->count == 0;
}

static void
add_wants(const struct config *config, const struct policy_rule *rule, struct world_wants *out)
{
	size_t i;

	for (i = 0; i < rule->attesters.count; i++) {
		const struct config_attester *attester = config_attester(config, rule->attesters.at[i]);

		if (attester == NULL || attester->method == ATTEST_IDEVID || attester->method == ATTEST_MDM)
			continue;
		out->evidence = true;
		out->binding = out->binding || (attester->method == ATTEST_TPM && attester->ak_by_binding);
	}
}

int
world_policy_load(struct world *world, struct err *e)
{
	const struct config *config = world->config;
	size_t i, k;

	world->attesters = calloc(config->attester_count + 1, sizeof *world->attesters);
	world->wants = calloc(config->label_count + 1, sizeof *world->wants);
	if (world->attesters == NULL || world->wants == NULL)
		return err_set(e, ERR_NOMEM, "no memory for the policy");
	for (i = 0; i < config->attester_count; i++)
		if (world_attester_load(&config->attesters[i], world->rules, &world->attesters[i], e) != 0)
			return -1;
	for (i = 0; i < config->label_count; i++)
		for (k = 0; k < config->rule_count; k++)
			if (names_label(&config->rules[k].labels, config->labels[i].policy.name))
				add_wants(config, &config->rules[k], &world->wants[i]);
	if (config->rule_count == 0)
		return 0;
	return policy_rules_new(config->rules, config->rule_count, config->policy_otherwise_allow, &world->policy, e);
}

void
world_policy_clear(struct world *world)
{
	size_t i;

	policy_rules_free(world->policy);
	for (i = 0; world->attesters != NULL && i < world->config->attester_count; i++)
		world_attester_clear(&world->attesters[i]);
	free(world->attesters);
	free(world->wants);
}

int
world_enter(const struct gateway *gateway, const struct world *world, int64_t now_s, struct err *e)
{
	CLEANUP(buf) struct buf text = { 0 };

	config_policy_text(world->config, &text);
	if (buf_failed(&text))
		return err_set(e, ERR_NOMEM, "no memory for the policy's text");
	if (gateway->store_ops->policy_put(gateway->store, world->config->version, buf_text(&text), now_s, e) != 0)
		return -1;
	return rollover_enter(gateway, world, now_s, e);
}

const struct world_attester *
world_attester_of(const struct world *world, const char *name)
{
	size_t i;

	for (i = 0; i < world->config->attester_count; i++)
		if (strcmp(world->config->attesters[i].name, name) == 0)
			return &world->attesters[i];
	return NULL;
}

bool
world_may_use(const struct world *world, const struct config_label *label, const char *attester)
{
	const struct config *config = world->config;
	size_t i, k;

	for (i = 0; i < config->rule_count; i++)
		for (k = 0; k < config->rules[i].attesters.count; k++)
			if (strcmp(config->rules[i].attesters.at[k], attester) == 0 &&
			    names_label(&config->rules[i].labels, label->policy.name))
				return true;
	return false;
}

const struct world_wants *
world_wants_of(const struct world *world, const struct config_label *label)
{
	return &world->wants[label - world->config->labels];
}
