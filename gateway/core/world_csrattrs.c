/*
 * What /csrattrs answers for a label: what its settings name, evidence where its rules want some, and the
 * profile as a template (RFC 9908) where the label says so. Made once.
 */
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#include "est/csrattrs.h"
#include "gateway/core/world_parts.h"

#define OID_TEXT_MAX 64
#define OID_CHALLENGE_PASSWORD "1.2.840.113549.1.9.7"

/* The texts a template borrows. */
struct template_texts {
	char oids[EST_TEMPLATE_LIST_MAX][OID_TEXT_MAX];
	char values[EST_TEMPLATE_LIST_MAX][TEMPLATE_MAX];
};

static bool
dotted_of(const char *name, size_t len, char out[OID_TEXT_MAX])
{
	char text[OID_TEXT_MAX];
	ASN1_OBJECT *object = NULL;
	bool good = false;

	if (len < sizeof text) {
		memcpy(text, name, len);
		text[len] = '\0';
		object = OBJ_txt2obj(text, 0);
	}
	if (object != NULL)
		good = OBJ_obj2txt(out, OID_TEXT_MAX, object, 1) > 0;
	ASN1_OBJECT_free(object);
	ERR_clear_error();
	return good;
}

/* "CN={tag},O=Example": a part with fields is the client's to fill in, one without is given. */
static void
fill_subject(const char *subject, struct template_texts *texts, struct est_csr_template *out)
{
	const char *at = subject, *end, *equals;
	size_t i;

	for (; *at != '\0' && out->subject_count < EST_TEMPLATE_LIST_MAX; at = *end == '\0' ? end : end + 1) {
		for (end = at; *end != '\0' && *end != ','; end++)
			if (*end == '\\' && end[1] != '\0')
				end++;
		equals = memchr(at, '=', (size_t)(end - at));
		i = out->subject_count;
		while (*at == ' ')
			at++;
		if (equals == NULL || !dotted_of(at, (size_t)(equals - at), texts->oids[i]))
			continue;
		(void)snprintf(texts->values[i], sizeof texts->values[i], "%.*s", (int)(end - equals - 1), equals + 1);
		out->subject[i].oid = texts->oids[i];
		out->subject[i].value = strpbrk(texts->values[i], "{\\") == NULL ? texts->values[i] : NULL;
		out->subject_count++;
	}
}

static unsigned
san_kinds(const struct profile *profile)
{
	static const struct {
		const char *prefix;
		unsigned kind;
	} kinds[] = { { "dns:", EST_SAN_DNS }, { "uri:", EST_SAN_URI }, { "ip:", EST_SAN_IP }, { "email:", EST_SAN_EMAIL } };
	unsigned out = 0;
	size_t i, k;

	for (i = 0; i < profile->san_count; i++)
		for (k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
			if (strncmp(profile->san[i], kinds[k].prefix, strlen(kinds[k].prefix)) == 0)
				out |= kinds[k].kind;
	return out;
}

/* Names are asked for where the request's count; where the profile gives them, whatever it holds is replaced. */
static void
fill_template(const struct config_label *label, const struct profile *profile, bool evidence,
	struct template_texts *texts, struct est_csr_template *out)
{
	size_t i;

	if (profile->csr_names == CSR_NAMES_MATCH) {
		fill_subject(profile->subject, texts, out);
		out->sans = san_kinds(profile);
	}
	if (profile->key_count == 1) {
		out->key = profile->keys[0].kind;
		out->rsa_bits = out->key == KEY_RSA ? profile->keys[0].bits_min : 0;
	}
	out->key_usage = profile->key_usage;
	_Static_assert(PROFILE_NAMES_MAX <= EST_TEMPLATE_LIST_MAX, "usages");
	for (i = 0; i < profile->eku_count && i < PROFILE_NAMES_MAX; i++)
		out->eku[out->eku_count++] = profile->eku[i];
	if (label->policy.binding == BINDING_REQUIRE)
		out->attributes[out->attribute_count++] = OID_CHALLENGE_PASSWORD;
	if (evidence)
		out->attributes[out->attribute_count++] = EST_OID_ATTESTATION;
}

static int
encode(const struct world *world, const struct config_label *label, struct buf *out, struct err *e)
{
	const struct profile *profile = config_profile(world->config, label->profile);
	bool evidence = world_wants_of(world, label)->evidence;
	const char *entries[CONFIG_LIST_MAX + 1];
	struct template_texts texts;
	struct est_csr_template template = { .key = KEY_OTHER };
	size_t count;

	for (count = 0; count < label->csrattrs.count; count++)
		entries[count] = label->csrattrs.at[count];
	if (evidence)
		entries[count++] = EST_OID_ATTESTATION;
	if (label->csrattrs_template && profile != NULL)
		fill_template(label, profile, evidence, &texts, &template);
	else if (count == 0)
		return 0;
	return est_csrattrs_template(label->csrattrs_template ? &template : NULL, entries, count, out, e);
}

int
world_csrattrs_load(const struct world *world, const struct config_label *label, struct buf *out, struct err *e)
{
	return encode(world, label, out, e) == 0 ? 0 : err_prefix(e, "label \"%s\", csrattrs", label->policy.name);
}
