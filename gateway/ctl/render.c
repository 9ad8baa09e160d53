#include <inttypes.h>
#include <string.h>

#include "base/table.h"
#include "gateway/ctl/ctl.h"

/* A value as people read it; nothing for null. */
static void
put_value(const json_t *value, struct buf *out)
{
	if (json_is_string(value))
		buf_append_text(out, json_string_value(value));
	else if (json_is_integer(value))
		buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_boolean(value))
		buf_append_text(out, json_is_true(value) ? "yes" : "no");
}

const char *
ctl_text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text == NULL ? "" : text;
}

long long
ctl_int_of(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

void
ctl_show_rows(const struct ctl_column *columns, const json_t *rows, FILE *out)
{
	struct table_column heads[TABLE_COLUMNS_MAX] = { 0 };
	CLEANUP(table) struct table *table = NULL;
	const json_t *row;
	struct err e;
	size_t count = 0, i, k;

	for (; columns[count].key != NULL; count++) {
		heads[count].title = columns[count].title;
		heads[count].align =
			json_is_integer(json_object_get(json_array_get(rows, 0), columns[count].key)) ? TABLE_RIGHT :
													TABLE_LEFT;
		heads[count].width_max = 60;
	}
	table = table_new(heads, count);
	if (table == NULL)
		return;
	json_array_foreach(rows, i, row)
		for (k = 0; k < count; k++) {
			CLEANUP(buf) struct buf cell = { 0 };

			put_value(json_object_get(row, columns[k].key), &cell);
			table_cell(table, buf_text(&cell));
		}
	if (table_print(table, out, &e) != 0)
		(void)fprintf(stderr, "enrollctl: %s\n", e.text);
}

void
ctl_show_pairs(const json_t *result, FILE *out)
{
	static const struct table_column heads[] = { { .title = "field" }, { .title = "value" } };
	CLEANUP(table) struct table *table = table_new(heads, 2);
	const json_t *value;
	const char *key;
	struct err e;
	void *it;

	if (table == NULL)
		return;
	for (it = json_object_iter((json_t *)(size_t)result); it != NULL;
		it = json_object_iter_next((json_t *)(size_t)result, it)) {
		CLEANUP(buf) struct buf cell = { 0 };

		key = json_object_iter_key(it);
		value = json_object_iter_value(it);
		if (json_is_array(value) || json_is_object(value) || strcmp(key, "pem") == 0 || strcmp(key, "csr") == 0)
			continue;
		put_value(value, &cell);
		table_cell(table, key);
		table_cell(table, buf_text(&cell));
	}
	if (table_print(table, out, &e) != 0)
		(void)fprintf(stderr, "enrollctl: %s\n", e.text);
}

void
ctl_show_asset(const json_t *result, FILE *out)
{
	static const struct ctl_column anchors[] = { { "type", "anchor" }, { "issuer", "issuer" }, { "value", "value" },
		{ NULL, NULL } };
	static const struct ctl_column certs[] = { { "serial", "certificate" }, { "status", "status" },
		{ "not_after", "until" }, { "subject", "subject" }, { "label", "label" }, { NULL, NULL } };
	static const struct ctl_column knows[] = { { "ca", "knows CA" }, { "since", "since" }, { "how", "by" }, { NULL, NULL } };

	ctl_show_pairs(result, out);
	(void)fputc('\n', out);
	ctl_show_rows(anchors, json_object_get(result, "anchors"), out);
	(void)fputc('\n', out);
	ctl_show_rows(certs, json_object_get(result, "certs"), out);
	if (json_array_size(json_object_get(result, "knows")) == 0)
		return;
	(void)fputc('\n', out);
	ctl_show_rows(knows, json_object_get(result, "knows"), out);
}

void
ctl_show_cert(const json_t *result, FILE *out)
{
	ctl_show_pairs(result, out);
	(void)fprintf(out, "\n%s", ctl_text_of(result, "pem"));
}

void
ctl_show_request(const json_t *result, FILE *out)
{
	ctl_show_pairs(result, out);
	(void)fprintf(out, "\n%s", ctl_text_of(result, "csr"));
}

static void
show_rules(const json_t *rules, FILE *out)
{
	static const struct table_column heads[] = { { .title = "  rule" }, { .title = "verdict" },
		{ .title = "what it saw" } };
	CLEANUP(table) struct table *table = table_new(heads, 3);
	const json_t *rule;
	struct err e;
	size_t i;

	if (table == NULL)
		return;
	json_array_foreach(rules, i, rule) {
		const char *name = json_string_value(json_array_get(rule, 0));

		table_cellf(table, "  %s", name == NULL ? "" : name);
		table_cell(table, json_string_value(json_array_get(rule, 1)));
		table_cell(table, json_string_value(json_array_get(rule, 2)));
	}
	if (table_print(table, out, &e) != 0)
		(void)fprintf(stderr, "enrollctl: %s\n", e.text);
}

static void
show_decision(const json_t *decision, FILE *out)
{
	(void)fprintf(out, "%s: %s. %s\n", ctl_text_of(decision, "outcome"), ctl_text_of(decision, "reason"),
		ctl_text_of(decision, "sentence"));
	show_rules(json_object_get(decision, "rules"), out);
}

void
ctl_show_explain(const json_t *result, FILE *out)
{
	const json_t *request = json_object_get(result, "request"), *decision;
	size_t i;

	if (json_object_get(result, "now") != NULL) {
		ctl_show_replay(result, out);
		return;
	}
	if (request == NULL) {
		(void)fprintf(out, "asset %s, nothing is issued or recorded\n", ctl_text_of(result, "asset"));
		show_decision(json_object_get(result, "trial"), out);
		return;
	}
	(void)fprintf(out, "request %" JSON_INTEGER_FORMAT ": asset %s, %s over %s, label \"%s\", from %s, by %s\nnow %s\n",
		json_integer_value(json_object_get(request, "id")), ctl_text_of(request, "asset"),
		ctl_text_of(request, "operation"), ctl_text_of(request, "protocol"), ctl_text_of(request, "label"),
		ctl_text_of(request, "peer"), ctl_text_of(request, "proof"), ctl_text_of(request, "state"));
	json_array_foreach(json_object_get(result, "decisions"), i, decision) {
		(void)fprintf(out, "\n%s  asset version %" JSON_INTEGER_FORMAT ", policy %.12s\n", ctl_text_of(decision, "at"),
			json_integer_value(json_object_get(decision, "asset_version")),
			ctl_text_of(decision, "policy_version"));
		show_decision(decision, out);
	}
}

void
ctl_show_secret(const json_t *result, FILE *out)
{
	const char *key = ctl_text_of(result, "key");

	if (key[0] != '\0') {
		(void)fprintf(out, "key id  %s\nkey     %s\n", ctl_text_of(result, "key_id"), key);
		(void)fprintf(stderr, "This key is not shown again. Give it to %s only.\n", ctl_text_of(result, "tag"));
		return;
	}
	(void)fprintf(out, "%s\n", ctl_text_of(result, "secret"));
	(void)fprintf(stderr, "%s %s, %s, %s%s. It is not shown again.\n",
		strcmp(ctl_text_of(result, "protocol"), "scep") == 0 ? "SCEP challenge of" : "User", ctl_text_of(result, "tag"),
		json_is_true(json_object_get(result, "once")) ? "for one certificate" : "for any number of certificates",
		ctl_text_of(result, "expires")[0] == '\0' ? "without expiry" : "until ", ctl_text_of(result, "expires"));
}

static void
show_ignored(const json_t *result, FILE *out)
{
	long long count = ctl_int_of(result, "ignored_columns");
	const json_t *names = json_object_get(result, "ignored"), *name;
	size_t i;

	if (count == 0)
		return;
	(void)fprintf(out, "%lld columns were not read: ", count);
	json_array_foreach(names, i, name)
		(void)fprintf(out, "%s%s", i == 0 ? "" : ", ", json_string_value(name));
	(void)fprintf(out, "%s\n", count > (long long)json_array_size(names) ? ", ..." : "");
}

void
ctl_show_import(const json_t *result, FILE *out)
{
	long long approval = ctl_int_of(result, "approval");

	if (approval != 0) {
		show_ignored(result, out);
		(void)fprintf(out,
			"Nothing is imported yet: an import so large, or one that moves assets to other owners,\n"
			"  needs a second operator, approval %lld.\n"
			"  The other operator: enrollctl approval give %lld\n"
			"  Then the same import once more, the file unchanged.\n",
			approval, approval);
		return;
	}
	(void)fprintf(out, "%s%lld added, %lld updated, %lld unchanged, %lld owners added\n",
		json_is_true(json_object_get(result, "dry_run")) ? "dry run, nothing is kept: " : "",
		ctl_int_of(result, "added"), ctl_int_of(result, "updated"), ctl_int_of(result, "unchanged"),
		ctl_int_of(result, "owners_added"));
	show_ignored(result, out);
}

void
ctl_show_verify(const json_t *result, FILE *out)
{
	(void)fprintf(out, "%" JSON_INTEGER_FORMAT " rows, the chain holds. Head: %s\n",
		json_integer_value(json_object_get(result, "rows")), ctl_text_of(result, "head"));
	if (json_integer_value(json_object_get(result, "head_row")) != 0)
		(void)fprintf(out, "The head you wrote down is row %" JSON_INTEGER_FORMAT ".\n",
			json_integer_value(json_object_get(result, "head_row")));
}

/* "rtr-1 decommissioned, 1 certificate revoked" and the like, from whatever the answer names. */
void
ctl_show_done(const json_t *result, FILE *out)
{
	const json_t *revoked = json_object_get(result, "revoked"), *id = json_object_get(result, "id");
	const char *what = ctl_text_of(result, "tag"), *state = ctl_text_of(result, "state"), *why = ctl_text_of(result, "sentence");
	long long approval = ctl_int_of(result, "approval");

	if (json_is_true(json_object_get(result, "waits"))) {
		(void)fprintf(out,
			"%s is not %s yet: that needs a second operator, approval %lld.\n"
			"  The other operator: enrollctl approval give %lld\n"
			"  or:                 enrollctl approval refuse %lld --reason TEXT\n",
			what, state, approval, approval, approval);
		return;
	}
	if (what[0] == '\0')
		what = ctl_text_of(result, "name");
	if (what[0] == '\0')
		what = ctl_text_of(result, "serial");
	if (json_is_integer(id))
		(void)fprintf(out, "request %" JSON_INTEGER_FORMAT, json_integer_value(id));
	else
		(void)fputs(what, out);
	(void)fprintf(out, ": %s", state[0] == '\0' ? ctl_text_of(result, "status") : state);
	if (json_is_integer(revoked))
		(void)fprintf(out, ", %" JSON_INTEGER_FORMAT " certificates revoked or held", json_integer_value(revoked));
	if (why[0] != '\0')
		(void)fprintf(out, ", because %s", why);
	(void)fputc('\n', out);
}
