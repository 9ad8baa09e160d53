/*
 * The checks that need more than one setting, or somebody else's parser.
 */
#include <string.h>

#include <openssl/x509v3.h>

#include "est/csrattrs.h"
#include "est/path.h"
#include "gateway/ca/ca.h"
#include "gateway/core/config_reader.h"
#include "gateway/core/log.h"
#include "gateway/store/store.h"

/* The name of entry i of a list section: the first row of each is its name. */
static const char *
name_of(const struct config_reader *r, enum config_section_id id, size_t i)
{
	const struct config_section *section = &config_sections[id];
	const char *array;

	memcpy(&array, (const char *)r->config + section->array_offset, sizeof array);
	return array + i * section->entry_size + section->rows[0].offset;
}

static size_t
count_of(const struct config_reader *r, enum config_section_id id)
{
	size_t count;

	memcpy(&count, (const char *)r->config + config_sections[id].count_offset, sizeof count);
	return count;
}

static bool
exists(const struct config_reader *r, enum config_section_id id, const char *name)
{
	size_t count = count_of(r, id), i;

	for (i = 0; i < count; i++)
		if (strcmp(name_of(r, id, i), name) == 0)
			return true;
	return false;
}

/* Whether the entry has a name that could be read; "" is one for a label that says so. */
static bool
is_named(const struct config_reader *r, enum config_section_id id, size_t i)
{
	const config_setting_t *s = config_setting_get_member(r->entries[id][i], config_sections[id].rows[0].key);
	const char *text = s == NULL ? NULL : config_setting_get_string(s);

	return text != NULL && strcmp(text, name_of(r, id, i)) == 0;
}

static void
check_names(struct config_reader *r, enum config_section_id id)
{
	size_t count = count_of(r, id), i, j;

	for (i = 1; i < count; i++) {
		for (j = 0; j < i; j++)
			if (strcmp(name_of(r, id, j), name_of(r, id, i)) == 0 && is_named(r, id, j))
				break;
		if (j < i && is_named(r, id, i))
			config_complain(r, id, i, "name", "there are two of this name");
	}
}

/* An empty name was reported as missing, or may be. */
bool
config_check_reference(struct config_reader *r, enum config_section_id from, size_t i, const char *key,
	enum config_section_id to, const char *name)
{
	if (name[0] == '\0' || exists(r, to, name))
		return true;
	config_complain(r, from, i, key, "there is no \"%s\" in %s", name, config_sections[to].name);
	return false;
}

/* An MDM vouches for the names of a request: there is no certificate yet. */
static void
check_managed(struct config_reader *r, size_t i)
{
	enum identity_field field = r->config->identity[i].field;

	if (field == IDENTITY_CERT_SERIAL || field == IDENTITY_SPKI_SHA256)
		config_complain(r, SECTION_IDENTITY, i, "field",
			"a request to an MDM has no certificate: \"%s\" would never match; read one of its names",
			identity_field_name(field));
}

static void
check_identity(struct config_reader *r, size_t i)
{
	const struct identity_rule *rule = &r->config->identity[i];
	struct identity_rules *compiled = NULL;
	struct err e;

	if (exists(r, SECTION_MDMS, rule->trust))
		check_managed(r, i);
	else if (rule->trust[0] != '\0' && !exists(r, SECTION_TRUST, rule->trust) &&
		!exists(r, SECTION_ATTESTERS, rule->trust))
		config_complain(r, SECTION_IDENTITY, i, "trust", "there is no \"%s\" in trust, mdms or attesters", rule->trust);
	if (identity_rules_new(rule, 1, &compiled, &e) != 0)
		config_complain(r, SECTION_IDENTITY, i, "pattern", "%s", e.text);
	else
		identity_rules_free(compiled);
}

bool
config_is_url(const char *text)
{
	static const char *const schemes[] = { "http://", "https://" };
	const char *c;
	size_t i;

	for (c = text; *c != '\0'; c++)
		if (*c <= ' ' || *c > '~' || *c == '"' || *c == '<' || *c == '>')
			return false;
	for (i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
		if (strncmp(text, schemes[i], strlen(schemes[i])) == 0 && text[strlen(schemes[i])] != '\0')
			return true;
	return false;
}

static void
check_url(struct config_reader *r, size_t i, const char *key, const char *url)
{
	if (url[0] != '\0' && !config_is_url(url))
		config_complain(r, SECTION_CAS, i, key, "it is not an http or https URL"); /* not repeated: a password may be in it */
}

/*
 * RFC 7030, section 3.7: "If the client's certificate was issued by the EST CA, and it includes the id-kp-cmcRA [RFC6402] extended key
 * usage extension, then the client is a Registration Authority". Not every server asks for that, so it is no mistake. A file that
 * cannot be read is one, and is reported where the CA is opened.
 */
static void
warn_of_no_registrar(const struct config_reader *r, const struct config_ca *ca)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	struct err e;

	if (r->text_alone || strcmp(ca->type, "est") != 0 || ca->user[0] != '\0' || ca->client_cert[0] == '\0' ||
	    x509_load_file(ca->client_cert, &certs, &e) != 0 || x509_has_usage(sk_X509_value(certs, 0), OID_CMC_RA))
		return;
	log_text(LOG_LEVEL_WARN, "config", "cas \"%s\": client_cert: %s lacks the extended key usage id-kp-cmcRA, by which an EST server "
		"knows who may ask for others: this one may refuse every device", ca->name, ca->client_cert);
}

/* What the connector itself needs it says when it is opened (config_files.c). */
static void
check_elsewhere(struct config_reader *r, size_t i, const struct config_ca *ca)
{
	const struct ca_ops *ops = ca_ops_of(ca->type);

	if (ops == NULL)
		return;
	if (!ops->remote && ca->key[0] == '\0')
		config_complain(r, SECTION_CAS, i, "key", "a CA of type \"%s\" needs its key", ca->type);
	if (!ops->remote && ca->url[0] != '\0')
		config_complain(r, SECTION_CAS, i, "url", "a CA of type \"%s\" is in this process: take url out, or name the "
			"type of a CA elsewhere", ca->type);
	if (ops->remote && ca->key[0] != '\0')
		config_complain(r, SECTION_CAS, i, "key", "the key of a CA elsewhere is its own: take key out");
	if (ops->remote && ca->url[0] == '\0')
		config_complain(r, SECTION_CAS, i, "url", "a CA of type \"%s\" needs a url", ca->type);
	check_url(r, i, "url", ca->url);
	if ((ca->client_cert[0] == '\0') != (ca->client_key[0] == '\0'))
		config_complain(r, SECTION_CAS, i, "client_cert", "client_cert and client_key go together");
	warn_of_no_registrar(r, ca);
}

/* The key would be gone with a lost answer while its certificate is being made elsewhere. */
static void
check_label_keygen(struct config_reader *r, size_t i)
{
	const struct config_label *label = &r->config->labels[i];
	const struct config_ca *ca = config_ca(r->config, label->ca);
	const struct ca_ops *ops = ca == NULL ? NULL : ca_ops_of(ca->type);

	if (ops != NULL && ops->remote && (label->policy.operations & 1u << POLICY_KEYGEN) != 0)
		config_complain(r, SECTION_LABELS, i, "operations",
			"\"keygen\" makes keys for a CA in this process only, and \"%s\" is elsewhere", ca->name);
}

static void
check_ca(struct config_reader *r, size_t i)
{
	const struct config_ca *ca = &r->config->cas[i];

	if (ca->type[0] != '\0' && ca_ops_of(ca->type) == NULL)
		config_complain(r, SECTION_CAS, i, "type", "there is no CA of type \"%s\"", ca->type);
	check_elsewhere(r, i, ca);
	check_url(r, i, "crl_url", ca->crl_url);
	check_url(r, i, "ocsp_url", ca->ocsp_url);
	check_url(r, i, "issuer_url", ca->issuer_url);
}

static void
check_profile(struct config_reader *r, size_t i)
{
	const struct profile *profile = &r->config->profiles[i];
	const struct key_rule *made = &profile->keygen;
	struct profile subject_only = *profile;
	struct err e;

	subject_only.san_count = 0;
	if (profile_check(&subject_only, &e) != 0)
		config_complain(r, SECTION_PROFILES, i, "subject", "%s", e.text);
	else if (profile_check(profile, &e) != 0)
		config_complain(r, SECTION_PROFILES, i, "san", "%s", e.text);
	if (made->kind == KEY_EC_P256 || made->kind == KEY_EC_P384)
		return;
	if (made->kind != KEY_RSA || made->bits_min < 2048 || made->bits_min > 4096)
		config_complain(r, SECTION_PROFILES, i, "keygen",
			"makes EC P-256, EC P-384 or RSA of 2048 to 4096 bits only");
}

/* Whether one of the label's trust sets has a rule that tells whose certificate it is. */
static bool
has_identity(const struct config *config, const struct config_label *label)
{
	size_t i, j;

	for (i = 0; i < label->trust_count; i++)
		for (j = 0; j < config->identity_count; j++)
			if (strcmp(config->identity[j].trust, label->trust[i]) == 0)
				return true;
	return false;
}

static void
check_label_trust(struct config_reader *r, size_t i)
{
	const struct config_label *label = &r->config->labels[i];
	const config_setting_t *s = config_setting_get_member(r->entries[SECTION_LABELS][i], "trust");
	/* Names that could not be read were reported: they are not missing. */
	bool known = s == NULL || label->trust_count != 0 || config_setting_length(s) == 0;
	size_t t;

	for (t = 0; t < label->trust_count; t++)
		if (!config_check_reference(r, SECTION_LABELS, i, "trust", SECTION_TRUST, label->trust[t]))
			known = false;
	if ((label->policy.auth & AUTH_CERTIFICATE) == 0 || !known)
		return;
	if (label->trust_count == 0)
		config_complain(r, SECTION_LABELS, i, "auth",
			"\"certificate\" needs a trust set, or every certificate is refused: set trust");
	else if (!has_identity(r->config, label))
		config_complain(r, SECTION_LABELS, i, "trust",
			"no rule in identity belongs to any of these, so no certificate would find its asset");
}

static bool
gives_registrars(const struct profile *profile)
{
	const char *oid = extended_key_usage_oid("cmcRA");
	size_t i;

	for (i = 0; profile != NULL && i < profile->eku_count; i++)
		if (strcmp(profile->eku[i], oid) == 0)
			return true;
	return false;
}

/* Whoever enrolls here could then enroll in the name of others. */
static void
check_label_registrars(struct config_reader *r, size_t i)
{
	const struct config *config = r->config;
	size_t k;

	if ((config->labels[i].policy.auth & AUTH_REGISTRAR) == 0)
		return;
	for (k = 0; k < config->profile_count; k++)
		if (gives_registrars(&config->profiles[k]) && config->profiles[k].class_count == 0)
			config_complain(r, SECTION_LABELS, i, "auth",
				"profile \"%s\" makes a registrar of every device that may have it: set its classes, or "
				"take cmcRA out of its eku", config->profiles[k].name);
}

static void
check_label(struct config_reader *r, size_t i)
{
	const struct config_label *label = &r->config->labels[i];
	const char *name = label->policy.name, *entries[CONFIG_LIST_MAX];
	CLEANUP(buf) struct buf encoded = { 0 };
	struct err e;
	size_t n;

	if (est_op_of(bytes_of_text(name)) != EST_OP_NONE)
		config_complain(r, SECTION_LABELS, i, "name", "\"%s\" is an EST operation; choose another name", name);
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		config_complain(r, SECTION_LABELS, i, "name", "\"%s\" can stand in no path; choose another name", name);
	(void)config_check_reference(r, SECTION_LABELS, i, "profile", SECTION_PROFILES, label->profile);
	(void)config_check_reference(r, SECTION_LABELS, i, "ca", SECTION_CAS, label->ca);
	check_label_trust(r, i);
	check_label_registrars(r, i);
	check_label_keygen(r, i);
	for (n = 0; n < label->csrattrs.count; n++)
		entries[n] = label->csrattrs.at[n];
	if (n > 0 && est_csrattrs_encode(entries, n, &encoded, &e) != 0)
		config_complain(r, SECTION_LABELS, i, "csrattrs", "%s", e.text);
	if (strpbrk(label->realm, "\"\\") != NULL)
		config_complain(r, SECTION_LABELS, i, "realm", "quotation marks and backslashes cannot stand in it");
}

void
config_check(struct config_reader *r)
{
	struct config *config = r->config;
	size_t i;

	for (i = 0; i < SECTION_COUNT; i++)
		if (config_sections[i].entry_size != 0)
			check_names(r, (enum config_section_id)i);
	if (config->store_type[0] != '\0' && store_ops_of(config->store_type) == NULL)
		config_complain(r, SECTION_STORE, 0, "type", "there is no store of type \"%s\"", config->store_type);
	for (i = 0; i < config->identity_count; i++)
		check_identity(r, i);
	for (i = 0; i < config->ca_count; i++)
		check_ca(r, i);
	for (i = 0; i < config->profile_count; i++)
		check_profile(r, i);
	for (i = 0; i < config->label_count; i++)
		check_label(r, i);
	config_check_group(r);
	config_check_scep(r);
	config_check_policy(r);
	if (config->label_count == 0)
		config_report(r, r->groups[SECTION_LABELS], "no labels: nobody could enroll");
}
