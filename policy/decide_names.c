#include <string.h>

#include "policy/decide_rules.h"
#include "policy/name_set.h"

#define SHOWN_MAX 120

static bool
has_star(struct bytes text)
{
	return text.len > 0 && memchr(text.at, '*', text.len) != NULL;
}

static bool
subject_has_wildcard(const struct rdn_set *subject)
{
	size_t count = rdn_set_count(subject), i;
	bool wild = false;

	for (i = 0; !wild && i < count; i++) {
		struct rdn_value value;

		wild = rdn_set_at(subject, i, &value) && value.attribute != NULL &&
			value.attribute->nid == NID_commonName && has_star(value.text);
		rdn_value_clear(&value);
	}
	return wild;
}

static bool
sans_have_wildcard(const struct san_set *sans)
{
	size_t count = san_set_count(sans), i;

	for (i = 0; i < count; i++) {
		struct san_value value;

		if (san_set_at(sans, i, &value) && value.type != SPEC_SAN_IP && has_star(value.value))
			return true;
	}
	return false;
}

/* A device may know itself by another of its registered names than the template puts in the common name. */
static bool
is_own_name(const struct rdn_value *value, const struct asset *asset)
{
	if (value->attribute == NULL || value->attribute->nid != NID_commonName || value->text.len == 0)
		return false;
	return bytes_equal_text(value->text, asset->tag) || bytes_equal_text(value->text, asset->serial) ||
		bytes_equal_nocase(value->text, bytes_of_text(asset->hostname));
}

/* Like rdn_set_within(), with the common name's exception. */
static bool
subject_permitted(const struct rdn_set *subject, const struct rdn_set *spec, const struct asset *asset,
	size_t *first)
{
	const struct cert_spec *given = spec->spec;
	size_t count = rdn_set_count(subject), i;

	for (*first = 0; *first < count; (*first)++) {
		struct rdn_value value, own;
		bool ok = rdn_set_at(subject, *first, &value);

		if (ok && !is_own_name(&value, asset)) {
			ok = false;
			for (i = 0; !ok && i < given->rdn_count; i++)
				ok = rdn_set_at(spec, i, &own) && rdn_value_equal(&own, &value);
		}
		rdn_value_clear(&value);
		if (!ok)
			return false;
	}
	return true;
}

static bool
too_many(const struct rdn_set *subject, const struct san_set *sans)
{
	return rdn_set_count(subject) > CSR_NAMES_MAX || san_set_count(sans) > CSR_NAMES_MAX;
}

/* Threat: the CSR names another asset. */
void
decide_names(struct decision_run *run)
{
	const struct decide_input *in = run->in;
	struct rule_result *r = rule_begin(run, "csr.names");
	const struct rdn_set subject = { .name = in->csr->subject };
	const struct san_set sans = { .names = in->csr->sans };
	const struct rdn_set spec_subject = { .spec = &run->out->spec };
	const struct san_set spec_sans = { .spec = &run->out->spec };
	char shown[SHOWN_MAX];
	size_t first;

	if (in->profile->csr_names == CSR_NAMES_IGNORE) {
		rule_skip(r, "the profile replaces them");
		return;
	}
	rule_saw(r, "attributes=%zu sans=%zu", rdn_set_count(&subject), san_set_count(&sans));
	if (too_many(&subject, &sans)) {
		rule_fail(run, r, "the request has more than %d names", CSR_NAMES_MAX);
		return;
	}
	if (subject_has_wildcard(&subject) || sans_have_wildcard(&sans)) {
		rule_fail(run, r, "the request asks for a wildcard name");
		return;
	}
	if (!run->filled) {
		rule_skip(r, run->one_asset ? "nothing to compare with: profile.fill failed" : "no asset");
		return;
	}
	if (!subject_permitted(&subject, &spec_subject, in->asset, &first))
		rdn_set_show(&subject, first, shown, sizeof shown);
	else if (!san_set_within(&sans, &spec_sans, &first))
		san_set_show(&sans, first, shown, sizeof shown);
	else {
		rule_pass(r);
		return;
	}
	rule_saw(r, "asks for %s", shown);
	rule_fail(run, r, "the request asks for a name that is not %s's: %s", in->asset->tag, shown);
}

/*
 * RFC 7030, section 4.2.2: "The request Subject field and SubjectAltName
 * extension MUST be identical to the corresponding fields in the certificate
 * being renewed/rekeyed." An empty field in the CSR names nobody else.
 */
static const char *
csr_difference(const struct decide_input *in)
{
	const struct rdn_set subject = { .name = in->csr->subject }, current = { .name = in->current_subject };
	const struct san_set sans = { .names = in->csr->sans }, current_sans = { .names = in->current_sans };

	if (too_many(&subject, &sans))
		return "the request has too many names";
	if (rdn_set_count(&subject) != 0 && !rdn_set_equal(&subject, &current))
		return "the request's subject is not the certificate's";
	if (san_set_count(&sans) != 0 && !san_set_equal(&sans, &current_sans))
		return "the request's SANs are not the certificate's";
	return NULL;
}

static const char *
spec_difference(const struct decide_input *in, const struct cert_spec *spec)
{
	const struct rdn_set current = { .name = in->current_subject }, subject = { .spec = spec };
	const struct san_set current_sans = { .names = in->current_sans }, sans = { .spec = spec };

	if (in->current_subject == NULL)
		return "the presented certificate's names are not known";
	if (too_many(&current, &current_sans))
		return "the presented certificate has too many names";
	if (!rdn_set_equal(&subject, &current))
		return "the subject would change";
	if (!san_set_equal(&sans, &current_sans))
		return "the SANs would change";
	return NULL;
}

void
decide_identity(struct decision_run *run)
{
	const struct decide_input *in = run->in;
	struct rule_result *r = rule_begin(run, "renewal.identity");
	const char *difference;

	if (in->op != POLICY_RENEW || (in->proof.kind != PROOF_OWN && in->proof.kind != PROOF_REGISTRAR)) {
		rule_skip(r, in->op != POLICY_RENEW ? "not a renewal" : "no certificate of ours");
		return;
	}
	if (in->profile->allow_subject_change) {
		rule_skip(r, "the profile lets names change");
		return;
	}
	if (!run->filled) {
		rule_skip(r, run->one_asset ? "nothing to compare with: profile.fill failed" : "no asset");
		return;
	}
	difference = spec_difference(in, &run->out->spec);
	if (difference == NULL && !in->renewal_names_free)
		difference = csr_difference(in);
	rule_saw(r, "%s", difference == NULL ? "same names" : difference);
	if (difference != NULL)
		rule_fail(run, r, "a renewal keeps its names: %s", difference);
	else
		rule_pass(r);
}
