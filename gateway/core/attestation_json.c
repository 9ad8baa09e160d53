/*
 * What evidence came to, as the store keeps it with a request. All of it is
 * written, for people; read back is what a later decision needs.
 */
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/jsontext.h"
#include "base/text.h"
#include "gateway/core/enroll_internal.h"

static void
put_flag(struct buf *out, const char *key, bool value)
{
	buf_printf(out, ",\"%s\":%s", key, value ? "true" : "false");
}

static void
put_anchors(const struct attestation *a, struct buf *out)
{
	size_t i;

	buf_append_text(out, ",\"anchors\":[");
	for (i = 0; i < a->anchor_count; i++) {
		buf_append_text(out, i == 0 ? "[" : ",[");
		json_put_text(out, anchor_type_name(a->anchors[i].type));
		buf_append_u8(out, ',');
		json_put_text(out, a->anchors[i].issuer);
		buf_append_u8(out, ',');
		json_put_text(out, a->anchors[i].value);
		buf_append_u8(out, ']');
	}
	buf_append_u8(out, ']');
}

static void
put_lists(const struct attestation *a, struct buf *out)
{
	size_t i;

	buf_append_text(out, ",\"checks\":[");
	for (i = 0; i < a->check_count; i++) {
		buf_append_text(out, i == 0 ? "[" : ",[");
		json_put_text(out, a->checks[i].name);
		buf_append_text(out, a->checks[i].passed ? ",true," : ",false,");
		json_put_text(out, a->checks[i].saw);
		buf_append_u8(out, ']');
	}
	buf_append_text(out, "],\"claims\":{");
	for (i = 0; i < a->claim_count; i++) {
		if (i != 0)
			buf_append_u8(out, ',');
		json_put_text(out, a->claims[i].name);
		buf_append_u8(out, ':');
		json_put_text(out, a->claims[i].value);
	}
	buf_append_u8(out, '}');
}

void
attestations_json(const struct attestation *list, size_t count, struct buf *out)
{
	size_t i;

	buf_append_u8(out, '[');
	for (i = 0; i < count; i++) {
		buf_append_text(out, i == 0 ? "{" : ",{");
		json_put_pair(out, "method", attest_method_name(list[i].method));
		json_put_pair(out, "attester", list[i].attester);
		put_flag(out, "valid", list[i].valid);
		put_flag(out, "key_bound", list[i].key_bound);
		put_flag(out, "fresh", list[i].fresh);
		put_flag(out, "of_asset", list[i].of_asset);
		put_flag(out, "identity_required", list[i].identity_required);
		json_put_int(out, "expires", list[i].expires_s);
		json_put_pair(out, "policy", list[i].policy);
		put_anchors(&list[i], out);
		put_lists(&list[i], out);
		buf_append_u8(out, '}');
	}
	buf_append_u8(out, ']');
}

/* Names of checks are static texts; what is read back says in one check what they came to. */
static void
sum_up(const json_t *checks, struct attestation *out)
{
	const char *name = "all passed", *saw = "";
	const json_t *check;
	size_t i;

	json_array_foreach(checks, i, check)
		if (!json_is_true(json_array_get(check, 1))) {
			name = json_string_value(json_array_get(check, 0));
			saw = json_string_value(json_array_get(check, 2));
			break;
		}
	(void)attest_check(out, "attestation.earlier", out->valid, "%s: %s", name == NULL ? "?" : name, saw == NULL ? "?" : saw);
}

static bool
read_anchors(const json_t *anchors, struct attestation *out)
{
	const json_t *anchor;
	size_t i;

	json_array_foreach(anchors, i, anchor) {
		const char *type = json_string_value(json_array_get(anchor, 0));
		const char *issuer = json_string_value(json_array_get(anchor, 1));
		const char *value = json_string_value(json_array_get(anchor, 2));
		int known = type == NULL ? -1 : anchor_type_of(type);
		struct anchor *to = &out->anchors[out->anchor_count];

		if (known < 0 || issuer == NULL || value == NULL || out->anchor_count == ATTEST_ANCHORS_MAX ||
			strlen(issuer) >= sizeof to->issuer || strlen(value) >= sizeof to->value)
			return false;
		to->type = (enum anchor_type)known;
		(void)snprintf(to->issuer, sizeof to->issuer, "%s", issuer);
		(void)snprintf(to->value, sizeof to->value, "%s", value);
		out->anchor_count++;
	}
	return true;
}

static bool
read_one(const json_t *from, struct attestation *out)
{
	const char *method = json_string_value(json_object_get(from, "method"));
	const char *attester = json_string_value(json_object_get(from, "attester"));
	const char *policy = json_string_value(json_object_get(from, "policy"));
	int known = method == NULL ? -1 : attest_method_of(method);
	const char *name;
	const json_t *value;

	*out = (struct attestation){ .method = known < 0 ? ATTEST_IDEVID : (enum attest_method)known };
	if (known < 0 || attester == NULL || strlen(attester) >= sizeof out->attester)
		return false;
	(void)snprintf(out->attester, sizeof out->attester, "%s", attester);
	(void)snprintf(out->policy, sizeof out->policy, "%s", policy == NULL ? "" : policy);
	out->valid = json_is_true(json_object_get(from, "valid"));
	out->key_bound = json_is_true(json_object_get(from, "key_bound"));
	out->fresh = json_is_true(json_object_get(from, "fresh"));
	out->of_asset = json_is_true(json_object_get(from, "of_asset"));
	out->identity_required = json_is_true(json_object_get(from, "identity_required"));
	out->expires_s = json_integer_value(json_object_get(from, "expires"));
	sum_up(json_object_get(from, "checks"), out);
	for (void *i = json_object_iter(json_object_get(from, "claims")); i != NULL;
		i = json_object_iter_next(json_object_get(from, "claims"), i)) {
		name = json_object_iter_key(i);
		value = json_object_iter_value(i);
		attest_claim(out, name, "%s", json_string_value(value) == NULL ? "" : json_string_value(value));
	}
	return read_anchors(json_object_get(from, "anchors"), out);
}

int
attestations_from_json(struct bytes json, struct attestation *list, size_t max, size_t *count, struct err *e)
{
	json_t *array = json_loadb((const char *)json.at, json.len, 0, NULL), *one;
	bool good = json_is_array(array) && json_array_size(array) <= max;
	size_t i;

	json_array_foreach(array, i, one)
		good = good && read_one(one, &list[i]);
	if (good)
		*count = json_array_size(array);
	json_decref(array);
	return good ? 0 : err_set(e, ERR_BUG, "what evidence came to cannot be read back");
}
