/*
 * The checks of what SCEP needs, as far as the settings alone can tell.
 */
#include <string.h>
#include <strings.h>

#include "gateway/core/config_reader.h"
#include "gateway/mdm/mdm.h"
#include "scep/query.h"

#define PATH_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/"

/* Paths that lead elsewhere in this gateway. */
static bool
is_taken(const char *suffix)
{
	static const char *const taken[] = { "/scep", "/crl", "/.well-known" };
	size_t i, len;

	for (i = 0; i < sizeof taken / sizeof taken[0]; i++) {
		len = strlen(taken[i]);
		if (strncasecmp(suffix, taken[i], len) == 0 && (suffix[len] == '\0' || suffix[len] == '/'))
			return true;
	}
	return false;
}

/* Whether the suffix is among the first count of the list; case does not matter in it. */
static bool
is_suffix(const struct config_list *list, size_t count, const char *suffix)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (strcasecmp(list->at[i], suffix) == 0)
			return true;
	return false;
}

static void
check_suffixes(struct config_reader *r)
{
	const struct config_list *list = &r->config->scep_suffixes;
	size_t i;

	for (i = 0; i < list->count; i++) {
		const char *suffix = list->at[i];
		size_t len = strlen(suffix);

		if (suffix[0] != '/' || len < 2 || len > SCEP_SUFFIX_MAX || suffix[strspn(suffix, PATH_CHARACTERS)] != '\0')
			config_complain(r, SECTION_SCEP, 0, "suffixes",
				"\"%.60s\" is not a path like \"/pkiclient.exe\": a slash, then letters, digits, "
				"\"/\", \".\", \"-\", \"_\" and \"~\", at most %d in all", suffix, SCEP_SUFFIX_MAX);
		else if (is_taken(suffix))
			config_complain(r, SECTION_SCEP, 0, "suffixes", "\"%.60s\" begins like another path of this gateway",
				suffix);
		else if (is_suffix(list, i, suffix))
			config_complain(r, SECTION_SCEP, 0, "suffixes", "\"%.60s\" stands there twice", suffix);
	}
}

static void
check_ra(struct config_reader *r, size_t i)
{
	const struct config_ra *ra = &r->config->ras[i];

	if (ra->decrypt_certificate[0] != '\0' && ra->decrypt_key[0] == '\0')
		config_complain(r, SECTION_RAS, i, "decrypt_certificate", "it needs its key: set decrypt_key");
	if (ra->decrypt_certificate[0] == '\0' && ra->decrypt_key[0] != '\0')
		config_complain(r, SECTION_RAS, i, "decrypt_key", "it needs its certificate: set decrypt_certificate");
	if (ra->previous_certificates.count != ra->previous_keys.count)
		config_complain(r, SECTION_RAS, i, "previous_keys",
			"there are %zu for the %zu of previous_certificates; each needs its own, in the same order",
			ra->previous_keys.count, ra->previous_certificates.count);
}

static void
check_https(struct config_reader *r, size_t i, const char *key, const char *url)
{
	if (url[0] != '\0' && (!config_is_url(url) || strncmp(url, "https://", 8) != 0))
		config_complain(r, SECTION_MDMS, i, key, "it is not an https URL; challenges are sent there");
}

static void
check_mdm(struct config_reader *r, size_t i)
{
	const struct config_mdm *mdm = &r->config->mdms[i];
	size_t t;

	if (mdm->type[0] != '\0' && mdm_ops_of(mdm->type) == NULL)
		config_complain(r, SECTION_MDMS, i, "type", "there is no MDM of type \"%s\"", mdm->type);
	check_https(r, i, "url", mdm->url);
	check_https(r, i, "token_url", mdm->token_url);
	check_https(r, i, "notify_url", mdm->notify_url);
	for (t = 0; t < r->config->trust_count; t++)
		if (mdm->name[0] != '\0' && strcmp(r->config->trust[t].name, mdm->name) == 0)
			config_complain(r, SECTION_MDMS, i, "name",
				"a trust set has this name too, and either would be the issuer in an asset's anchors: "
				"choose another");
}

static void
check_label_mdm(struct config_reader *r, size_t i)
{
	const struct config_label *label = &r->config->labels[i];
	bool asks = (label->policy.auth & AUTH_MDM) != 0;

	(void)config_check_reference(r, SECTION_LABELS, i, "scep_mdm", SECTION_MDMS, label->scep_mdm);
	if (asks && label->scep_mdm[0] == '\0')
		config_complain(r, SECTION_LABELS, i, "auth", "\"mdm\" needs a service to ask: set scep_mdm");
	if (asks && (label->protocols & PROTOCOL_SCEP) == 0)
		config_complain(r, SECTION_LABELS, i, "auth",
			"\"mdm\" is for SCEP challenges: add \"scep\" to protocols");
	if (!asks && label->scep_mdm[0] != '\0')
		config_complain(r, SECTION_LABELS, i, "scep_mdm", "it would never be asked: add \"mdm\" to auth");
}

/* RFC 8894, section 2.3: a recipient must be able to decrypt, which here means RSA. */
static bool
takes_rsa(const struct profile *profile)
{
	size_t i;

	for (i = 0; i < profile->key_count; i++)
		if (profile->keys[i].kind == KEY_RSA)
			return true;
	return profile->key_count == 0; /* could not be read, and was reported */
}

static void
check_label(struct config_reader *r, size_t i)
{
	const struct config *config = r->config;
	const struct config_label *label = &config->labels[i];
	const struct profile *profile = config_profile(config, label->profile);
	const struct config_ra *ra = config_ra(config, label->scep_ra);
	char path[REG_TEXT_MAX + 1];

	(void)config_check_reference(r, SECTION_LABELS, i, "scep_ra", SECTION_RAS, label->scep_ra);
	check_label_mdm(r, i);
	if ((label->protocols & PROTOCOL_SCEP) == 0)
		return;
	if (label->scep_ra[0] == '\0')
		config_complain(r, SECTION_LABELS, i, "protocols", "\"scep\" needs an RA to answer with: set scep_ra");
	if (profile != NULL && !takes_rsa(profile))
		config_complain(r, SECTION_LABELS, i, "profile",
			"SCEP needs RSA keys, and profile \"%s\" takes none: add \"RSA:2048-4096\" to its keys", profile->name);
	(void)snprintf(path, sizeof path, "/%s", label->policy.name);
	if (path[1] != '\0' && is_suffix(&config->scep_suffixes, config->scep_suffixes.count, path))
		config_complain(r, SECTION_LABELS, i, "name", "\"%s\" is a suffix of scep; choose another name",
			label->policy.name);
	if (ra != NULL && ra->decrypt_certificate[0] != '\0' && !label->scep_ra_bundle)
		config_complain(r, SECTION_LABELS, i, "scep_ra_bundle",
			"RA \"%s\" has two certificates, which only a bundle holds: set it true, or use another RA", ra->name);
}

void
config_check_scep(struct config_reader *r)
{
	size_t i;

	check_suffixes(r);
	for (i = 0; i < r->config->ra_count; i++)
		check_ra(r, i);
	for (i = 0; i < r->config->mdm_count; i++)
		check_mdm(r, i);
	for (i = 0; i < r->config->label_count; i++)
		check_label(r, i);
}
