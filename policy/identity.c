#include "policy/identity.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "policy/identity_field.h"

static const char *const field_names[] = {
	[IDENTITY_SUBJECT_SERIAL] = "subject_serial",
	[IDENTITY_SUBJECT_CN] = "subject_cn",
	[IDENTITY_SUBJECT_UID] = "subject_uid",
	[IDENTITY_SAN_DNS] = "san_dns",
	[IDENTITY_SAN_URI] = "san_uri",
	[IDENTITY_SAN_EMAIL] = "san_email",
	[IDENTITY_SAN_HW_MODULE] = "san_hw_module",
	[IDENTITY_SAN_HW_SERIAL] = "san_hw_serial",
	[IDENTITY_SAN_PERMANENT_ID] = "san_permanent_id",
	[IDENTITY_CERT_SERIAL] = "cert_serial",
	[IDENTITY_SPKI_SHA256] = "spki_sha256",
};

struct compiled {
	struct identity_rule rule;
	regex_t regex;
};

struct identity_rules {
	size_t count;
	struct compiled at[];
};

const char *
identity_field_name(enum identity_field field)
{
	return (unsigned)field < IDENTITY_FIELDS ? field_names[field] : "unknown";
}

int
identity_field_of(const char *name)
{
	int i;

	for (i = 0; i < IDENTITY_FIELDS; i++)
		if (strcmp(field_names[i], name) == 0)
			return i;
	return -1;
}

/* Matching with a back-reference takes exponential time; nobody's serial number needs one. */
static bool
has_back_reference(const char *pattern)
{
	for (; *pattern != '\0'; pattern++)
		if (pattern[0] == '\\') {
			if (pattern[1] >= '1' && pattern[1] <= '9')
				return true;
			if (pattern[1] != '\0')
				pattern++;
		}
	return false;
}

static int
rule_compile(const struct identity_rule *rule, struct compiled *out, struct err *e)
{
	char why[80];
	size_t groups;
	int rc;

	if (rule->trust[0] == '\0')
		return err_set(e, ERR_MALFORMED, "identity rule %s belongs to no trust set", rule->name);
	if ((unsigned)rule->field >= IDENTITY_FIELDS || (unsigned)rule->anchor > ANCHOR_MDM_ID)
		return err_set(e, ERR_MALFORMED, "identity rule %s has an unknown field or anchor", rule->name);
	if (has_back_reference(rule->pattern))
		return err_set(e, ERR_MALFORMED, "identity rule %s: back-references are not allowed", rule->name);
	rc = regcomp(&out->regex, rule->pattern, REG_EXTENDED);
	if (rc != 0) {
		(void)regerror(rc, &out->regex, why, sizeof why);
		return err_set(e, ERR_MALFORMED, "identity rule %s: pattern does not compile: %s", rule->name, why);
	}
	groups = out->regex.re_nsub;
	if (groups != 1) {
		regfree(&out->regex);
		return err_set(e, ERR_MALFORMED,
			"identity rule %s: the pattern must have exactly one (group) and has %zu", rule->name,
			groups);
	}
	out->rule = *rule;
	return 0;
}

int
identity_rules_new(const struct identity_rule *rules, size_t count, struct identity_rules **out, struct err *e)
{
	struct identity_rules *all;

	if (count > IDENTITY_RULES_MAX)
		return err_set(e, ERR_LIMIT, "%zu identity rules; at most %d are allowed", count,
			IDENTITY_RULES_MAX);
	all = calloc(1, sizeof *all + count * sizeof all->at[0]);
	if (all == NULL)
		return err_set(e, ERR_NOMEM, "identity rules: no memory");
	for (all->count = 0; all->count < count; all->count++)
		if (rule_compile(&rules[all->count], &all->at[all->count], e) != 0) {
			identity_rules_free(all);
			return -1;
		}
	*out = all;
	return 0;
}

void
identity_rules_free(struct identity_rules *rules)
{
	size_t i;

	if (rules == NULL)
		return;
	for (i = 0; i < rules->count; i++)
		regfree(&rules->at[i].regex);
	free(rules);
}

/* What the rule makes of a value: 1 and *out, 0 when the pattern is not that of the whole value, -1. */
static int
rule_apply(const struct compiled *rule, const char *value, struct anchor *out, struct err *e)
{
	regmatch_t match[2];
	size_t len;

	/* POSIX matches are the longest of the leftmost: if the whole value can match, this match is it. */
	if (regexec(&rule->regex, value, 2, match, 0) != 0 || match[0].rm_so != 0 ||
	    value[match[0].rm_eo] != '\0' || match[1].rm_so < 0)
		return 0;
	*out = (struct anchor){ .type = rule->rule.anchor };
	len = (size_t)(match[1].rm_eo - match[1].rm_so);
	if (text_copy(out->value, sizeof out->value, bytes_of(value + match[1].rm_so, len), "value", e) != 0 ||
	    text_copy(out->issuer, sizeof out->issuer, bytes_of_text(rule->rule.trust), "trust set", e) != 0)
		return -1;
	if (rule->rule.fold_case)
		anchor_fold(out->value);
	if (anchor_normalise(out, e) != 0) {
		(void)err_prefix(e, "identity rule %s", rule->rule.name);
		return -1;
	}
	return 1;
}

struct field_cache {
	bool read, present;
	char value[REG_VALUE_MAX];
};

struct extraction {
	struct identity_source source;
	struct field_cache cache[IDENTITY_FIELDS];
	struct anchor *out;
	size_t max, count;
};

static int
extraction_put(struct extraction *x, const struct anchor *anchor, struct err *e)
{
	size_t i;

	for (i = 0; i < x->count; i++)
		if (x->out[i].type == anchor->type && strcmp(x->out[i].value, anchor->value) == 0)
			return 0;
	if (x->count == x->max)
		return err_set(e, ERR_LIMIT, "more than %zu identities are proven", x->max);
	x->out[x->count++] = *anchor;
	return 0;
}

static int
extract_by(struct extraction *x, const struct compiled *rule, struct err *e)
{
	struct field_cache *field = &x->cache[rule->rule.field];
	struct anchor anchor;
	int rc;

	if (!field->read && identity_field_read(&x->source, rule->rule.field, field->value, &field->present, e) != 0)
		return -1;
	field->read = true;
	if (!field->present)
		return 0;
	rc = rule_apply(rule, field->value, &anchor, e);
	return rc <= 0 ? rc : extraction_put(x, &anchor, e);
}

/* Clears the source. */
static int
extract(const struct identity_rules *rules, const char *trust, struct identity_source source, struct anchor *out,
	size_t max, size_t *count, struct err *e)
{
	struct extraction x = { .source = source, .out = out, .max = max };
	size_t i;
	int rc = 0;

	for (i = 0; rules != NULL && rc == 0 && i < rules->count; i++)
		if (strcmp(rules->at[i].rule.trust, trust) == 0)
			rc = extract_by(&x, &rules->at[i], e);
	identity_source_clear(&x.source);
	if (rc == 0)
		*count = x.count;
	return rc;
}

int
identity_extract(const struct identity_rules *rules, const char *trust, const X509 *cert, struct anchor *out,
	size_t max, size_t *count, struct err *e)
{
	return extract(rules, trust, identity_source_of_cert(cert), out, max, count, e);
}

int
identity_extract_names(const struct identity_rules *rules, const char *trust, const X509_NAME *subject,
	const GENERAL_NAMES *sans, struct anchor *out, size_t max, size_t *count, struct err *e)
{
	return extract(rules, trust, identity_source_of_names(subject, sans), out, max, count, e);
}

void
identity_fold(const struct identity_rules *rules, struct anchor *anchor)
{
	bool fold = false;
	size_t i;

	for (i = 0; rules != NULL && i < rules->count; i++) {
		const struct identity_rule *rule = &rules->at[i].rule;

		if (rule->anchor != anchor->type || strcmp(rule->trust, anchor->issuer) != 0)
			continue;
		if (!rule->fold_case)
			return;
		fold = true;
	}
	if (fold)
		anchor_fold(anchor->value);
}
