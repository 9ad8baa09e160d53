/* Transfers, exceptions, approvals, owners: what was done, and what comes next. */
#include <string.h>

#include "gateway/ctl/ctl.h"

void
ctl_show_transfer(const json_t *result, FILE *out)
{
	const char *state = ctl_text_of(result, "state");
	long long id = ctl_int_of(result, "id");

	(void)fprintf(out, "transfer %lld: %s to %s, %s", id, ctl_text_of(result, "asset"), ctl_text_of(result, "to"), state);
	if (strcmp(state, "offered") != 0) {
		(void)fputc('\n', out);
		return;
	}
	(void)fprintf(out,
		" until %s\n"
		"  The new owner's operator: enrollctl transfer accept %lld\n"
		"  or:                       enrollctl transfer decline %lld\n",
		ctl_text_of(result, "expires"), id, id);
}

void
ctl_show_exception(const json_t *result, FILE *out)
{
	long long approval = ctl_int_of(result, "approval"), needed = ctl_int_of(result, "needed");

	(void)fprintf(out, "exception %lld: %s\n", ctl_int_of(result, "id"), ctl_text_of(result, "state"));
	if (approval != 0)
		(void)fprintf(out, "  %s: enrollctl approval give %lld\n",
			needed > 1 ? "Two other operators, each" : "Another operator", approval);
}

void
ctl_show_quota(const json_t *result, FILE *out)
{
	const json_t *limit = json_object_get(result, "limit");

	(void)fprintf(out, "%s, profile %s: ", ctl_text_of(result, "owner"), ctl_text_of(result, "profile"));
	if (json_is_integer(limit))
		(void)fprintf(out, "at most %lld assets\n", ctl_int_of(result, "limit"));
	else
		(void)fputs("no quota\n", out);
}

void
ctl_show_approval(const json_t *result, FILE *out)
{
	const char *kind = ctl_text_of(result, "kind"), *state = ctl_text_of(result, "state");
	long long id = ctl_int_of(result, "id");

	(void)fprintf(out, "approval %lld: %s %s, %s\n", id, kind, ctl_text_of(result, "subject"), state);
	(void)fprintf(out, "  what          %s\n  requested by  %s\n  reason        %s\n  decided by    %s\n  expires       %s\n",
		ctl_text_of(result, "detail"), ctl_text_of(result, "requested_by"), ctl_text_of(result, "reason"),
		ctl_text_of(result, "decided_by"), ctl_text_of(result, "expires"));
	if (strcmp(state, "waiting") == 0)
		(void)fprintf(out, "Needs the word of %lld other operator%s: enrollctl approval give %lld\n",
			ctl_int_of(result, "needed"), ctl_int_of(result, "needed") == 1 ? "" : "s", id);
	else if (strcmp(state, "given") == 0 && strcmp(kind, "import") == 0)
		(void)fputs("The same import once more goes in now, the file and its options unchanged.\n", out);
}

static void
show_states(const json_t *states, FILE *out)
{
	const char *state;
	json_t *count;

	json_object_foreach((json_t *)(size_t)states, state, count)
		(void)fprintf(out, "  %-22s %lld\n", state, (long long)json_integer_value(count));
}

void
ctl_show_report(const json_t *result, FILE *out)
{
	static const struct ctl_column transfers[] = { { "id", "transfer" }, { "asset", "asset" }, { "from", "from" },
		{ "to", "to" }, { "expires", "expires" }, { NULL, NULL } };
	static const struct ctl_column quotas[] = { { "profile", "profile" }, { "used", "used" }, { "limit", "limit" },
		{ NULL, NULL } };
	static const struct ctl_column exceptions[] = { { "id", "exception" }, { "waives", "waives" }, { "state", "state" },
		{ "expires", "expires" }, { "ticket", "ticket" }, { NULL, NULL } };
	const char *at = ctl_text_of(result, "revokes_at"), *status = ctl_text_of(result, "status");

	(void)fprintf(out, "%s (%s), %s\n", ctl_text_of(result, "name"), ctl_text_of(result, "kind"), status);
	(void)fprintf(out, "%lld assets, %lld valid certificates", ctl_int_of(result, "assets"),
		ctl_int_of(result, "certificates_valid"));
	if (ctl_text_of(result, "last_expiry")[0] != '\0')
		(void)fprintf(out, ", the last until %s", ctl_text_of(result, "last_expiry"));
	(void)fputc('\n', out);
	show_states(json_object_get(result, "by_state"), out);
	if (at[0] != '\0')
		(void)fprintf(out, "It leaves: at %s its certificates, %lld now, are revoked.\n", at,
			ctl_int_of(result, "revokes"));
	else if (strcmp(status, "offboarded") == 0)
		(void)fputs("It has left: nothing is issued or renewed for it.\n", out);
	if (json_array_size(json_object_get(result, "transfers")) != 0)
		ctl_show_rows(transfers, json_object_get(result, "transfers"), out);
	if (json_array_size(json_object_get(result, "quotas")) != 0)
		ctl_show_rows(quotas, json_object_get(result, "quotas"), out);
	if (json_array_size(json_object_get(result, "exceptions")) != 0)
		ctl_show_rows(exceptions, json_object_get(result, "exceptions"), out);
}
