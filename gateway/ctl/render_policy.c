/* Decisions beside each other. */
#include <string.h>

#include "base/table.h"
#include "gateway/ctl/ctl.h"

static const char *
part(const json_t *rule, size_t at)
{
	const char *text = json_string_value(json_array_get(rule, at));

	return text == NULL ? "" : text;
}

/* The same rule's n-th occurrence in the other decision; NULL: it was not met there. */
static const json_t *
counterpart(const json_t *rules, const json_t *of, size_t at)
{
	const char *name = part(json_array_get(of, at), 0);
	size_t before = 0, i;
	const json_t *rule;

	for (i = 0; i < at; i++)
		before += strcmp(part(json_array_get(of, i), 0), name) == 0;
	json_array_foreach(rules, i, rule)
		if (strcmp(part(rule, 0), name) == 0 && before-- == 0)
			return rule;
	return NULL;
}

static void
put_row(struct table *table, const char *name, const json_t *then, const json_t *now)
{
	const char *was = then == NULL ? "-" : part(then, 1), *is = now == NULL ? "-" : part(now, 1);

	table_cellf(table, "%c %s", strcmp(was, is) == 0 ? ' ' : '*', name);
	table_cell(table, was);
	table_cell(table, is);
	table_cell(table, then == NULL ? "" : part(then, 2));
	/* Said once where nothing has changed. */
	table_cell(table, now == NULL || (then != NULL && strcmp(part(then, 2), part(now, 2)) == 0) ? "" : part(now, 2));
}

void
ctl_show_replay(const json_t *result, FILE *out)
{
	static const struct table_column heads[] = { { .title = "  rule" }, { .title = "then" }, { .title = "now" },
		{ .title = "what it saw then", .width_max = 60 }, { .title = "what it sees now", .width_max = 60 } };
	CLEANUP(table) struct table *table = table_new(heads, 5);
	const json_t *request = json_object_get(result, "request"), *then = json_object_get(result, "then");
	const json_t *now = json_object_get(result, "now"), *rule;
	const json_t *old_rules = json_object_get(then, "rules"), *new_rules = json_object_get(now, "rules");
	struct err e;
	size_t i;

	(void)fprintf(out, "request %lld: asset %s, %s over %s, label \"%s\"; nothing is issued or recorded\n",
		ctl_int_of(request, "id"), ctl_text_of(request, "asset"), ctl_text_of(request, "operation"),
		ctl_text_of(request, "protocol"), ctl_text_of(request, "label"));
	(void)fprintf(out, "then %s  %s: %s. %s\n", ctl_text_of(then, "at"), ctl_text_of(then, "outcome"),
		ctl_text_of(then, "reason"), ctl_text_of(then, "sentence"));
	(void)fprintf(out, "now  %s  %s: %s. %s\n", ctl_text_of(now, "at"), ctl_text_of(now, "outcome"),
		ctl_text_of(now, "reason"), ctl_text_of(now, "sentence"));
	if (table == NULL)
		return;
	json_array_foreach(new_rules, i, rule)
		put_row(table, part(rule, 0), counterpart(old_rules, new_rules, i), rule);
	json_array_foreach(old_rules, i, rule)
		if (counterpart(new_rules, old_rules, i) == NULL)
			put_row(table, part(rule, 0), rule, NULL);
	if (table_print(table, out, &e) != 0)
		(void)fprintf(stderr, "enrollctl: %s\n", e.text);
}

void
ctl_show_policy_test(const json_t *result, FILE *out)
{
	(void)fprintf(out, "%lld expected decisions, %lld as expected, %lld not\n", ctl_int_of(result, "tests"),
		ctl_int_of(result, "tests") - ctl_int_of(result, "failed"), ctl_int_of(result, "failed"));
}

void
ctl_show_policy_diff(const json_t *result, FILE *out)
{
	long long skipped = ctl_int_of(result, "skipped");

	(void)fprintf(out, "%lld requests decided twice, %lld differently\n", ctl_int_of(result, "decided"),
		ctl_int_of(result, "differ"));
	if (skipped != 0)
		(void)fprintf(out, "%lld could not be decided again (%s)\n", skipped, ctl_text_of(result, "skipped_why"));
}
