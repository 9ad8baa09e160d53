#include "gateway/core/spec_json.h"

#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

DEFINE_CLEANUP(json_t, json_t *, json_decref);

static json_t *
pairs_of(const struct cert_spec *spec, bool rdns)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < (rdns ? spec->rdn_count : spec->san_count); i++)
		(void)json_array_append_new(list, rdns ?
			json_pack("[s, s]", spec->rdns[i].oid, spec->rdns[i].value) :
			json_pack("[i, s]", (int)spec->sans[i].type, spec->sans[i].value));
	return list;
}

static json_t *
ekus_of(const struct cert_spec *spec)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < spec->eku_count; i++)
		(void)json_array_append_new(list, json_string(spec->eku[i]));
	return list;
}

int
spec_to_json(const struct cert_spec *spec, struct buf *out, struct err *e)
{
	CLEANUP(json_t) json_t *root = json_pack("{s:o, s:o, s:o, s:I, s:I, s:I}", "subject", pairs_of(spec, true), "sans",
		pairs_of(spec, false), "eku", ekus_of(spec), "key_usage", (json_int_t)spec->key_usage, "not_before",
		(json_int_t)spec->not_before_s, "not_after", (json_int_t)spec->not_after_s);
	char *text = root == NULL ? NULL : json_dumps(root, JSON_COMPACT);

	if (text != NULL)
		buf_append_text(out, text);
	free(text);
	return text == NULL || buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for what was approved") : 0;
}

static bool
take_text(const json_t *value, char *out, size_t size)
{
	const char *text = json_string_value(value);

	return text != NULL && (size_t)snprintf(out, size, "%s", text) < size;
}

static bool
take_subject(const json_t *list, struct cert_spec *out)
{
	size_t count = json_array_size(list), i;

	if (!json_is_array(list) || count > SPEC_RDNS_MAX)
		return false;
	for (i = 0; i < count; i++) {
		const json_t *pair = json_array_get(list, i);

		if (!take_text(json_array_get(pair, 0), out->rdns[i].oid, sizeof out->rdns[i].oid) ||
		    !take_text(json_array_get(pair, 1), out->rdns[i].value, sizeof out->rdns[i].value))
			return false;
	}
	out->rdn_count = count;
	return true;
}

static bool
take_sans(const json_t *list, struct cert_spec *out)
{
	size_t count = json_array_size(list), i;

	if (!json_is_array(list) || count > SPEC_SANS_MAX)
		return false;
	for (i = 0; i < count; i++) {
		const json_t *pair = json_array_get(list, i);
		json_int_t type = json_integer_value(json_array_get(pair, 0));

		if (!json_is_integer(json_array_get(pair, 0)) || type < SPEC_SAN_DNS || type > SPEC_SAN_EMAIL ||
		    !take_text(json_array_get(pair, 1), out->sans[i].value, sizeof out->sans[i].value))
			return false;
		out->sans[i].type = (enum spec_san_type)type;
	}
	out->san_count = count;
	return true;
}

static bool
take_ekus(const json_t *list, struct kept_spec *out)
{
	const struct kept_spec *kept = out; /* ISO C: a pointer to arrays of char does not become one to arrays of const char */
	size_t count = json_array_size(list), i;

	if (!json_is_array(list) || count > PROFILE_NAMES_MAX)
		return false;
	for (i = 0; i < count; i++)
		if (!take_text(json_array_get(list, i), out->eku[i], sizeof out->eku[i]))
			return false;
	out->spec.eku = kept->eku;
	out->spec.eku_count = count;
	return true;
}

int
spec_from_json(struct bytes json, struct kept_spec *out, struct err *e)
{
	CLEANUP(json_t) json_t *root = json_loadb((const char *)json.at, json.len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *usage = json_object_get(root, "key_usage"), *from = json_object_get(root, "not_before"),
		     *to = json_object_get(root, "not_after");

	*out = (struct kept_spec){ 0 };
	if (!take_subject(json_object_get(root, "subject"), &out->spec) ||
	    !take_sans(json_object_get(root, "sans"), &out->spec) || !take_ekus(json_object_get(root, "eku"), out) ||
	    !json_is_integer(usage) || !json_is_integer(from) || !json_is_integer(to))
		return err_set(e, ERR_BUG, "what was approved cannot be read back");
	out->spec.key_usage = (unsigned)json_integer_value(usage);
	out->spec.not_before_s = json_integer_value(from);
	out->spec.not_after_s = json_integer_value(to);
	return 0;
}
