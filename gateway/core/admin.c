#include "gateway/core/admin.h"

#include <string.h>

#include "base/timefmt.h"
#include "gateway/core/issuer.h"

/* Arguments by name: a text, or an integer where the name ends in "#", or true or false where it ends in "?". */
static const struct {
	const char *name;
	int (*run)(struct admin_call *call, struct err *e);
	const char *takes;
} commands[] = {
	{ "approval decide", admin_approval_decide, "id# approve? reason" },
	{ "approval list", admin_approval_list, "open?" },
	{ "approval show", admin_approval_show, "id#" },
	{ "asset forget-key", admin_asset_forget_key, "tag reason" },
	{ "asset list", admin_asset_list, "tag owner state limit#" },
	{ "asset set-state", admin_asset_set_state, "tag state reason" },
	{ "asset show", admin_asset_show, "tag" },
	{ "audit list", admin_audit_list, "after# limit#" },
	{ "audit verify", admin_audit_verify, "head" },
	{ "ca intents", admin_ca_intents, "ca open? after# limit#" },
	{ "ca list", admin_ca_list, "" },
	{ "ca resolve", admin_ca_resolve, "id# absent? failed? reason" },
	{ "ca rollover", admin_ca_rollover, "ca behind? after# limit#" },
	{ "cert list", admin_cert_list, "asset status expires_before after# limit#" },
	{ "cert revoke", admin_cert_revoke, "serial ca reason" },
	{ "cert show", admin_cert_show, "serial ca" },
	{ "exception list", admin_exception_list, "asset open?" },
	{ "exception request", admin_exception_request, "asset owner waive reason ticket expires label uses#" },
	{ "exception revoke", admin_exception_revoke, "id# reason" },
	{ "explain", admin_explain, "id# request# asset label op proof format" },
	{ "import", admin_import, "format source create_owners? dry_run? map map_text owner issuer" },
	{ "owner list", admin_owner_list, "" },
	{ "owner offboard", admin_owner_offboard, "name grace reason" },
	{ "owner put", admin_owner_put, "name kind status contract_end contact operators" },
	{ "owner report", admin_owner_report, "name" },
	{ "policy diff", admin_policy_diff, "last#" },
	{ "policy test", admin_policy_test, "format split#" },
	{ "quota list", admin_quota_list, "owner" },
	{ "quota set", admin_quota_set, "owner profile limit" },
	{ "request decide", admin_request_decide, "id# approve? reason" },
	{ "request list", admin_request_list, "state asset after# limit#" },
	{ "request show", admin_request_show, "id#" },
	{ "secret keywrap", admin_keywrap_new, "tag" },
	{ "secret new", admin_secret_new, "tag static? label expires scep?" },
	{ "status", admin_status, "" },
	{ "transfer decide", admin_transfer_decide, "id# to reason" },
	{ "transfer list", admin_transfer_list, "asset open?" },
	{ "transfer offer", admin_transfer_offer, "tag to expires reason" },
};

/* '#' '?' or ' ' for a text; '\0': the command has no such argument. */
static char
kind_of(const char *takes, const char *key)
{
	size_t word, name;

	for (; *takes != '\0'; takes += word + (takes[word] == ' ')) {
		word = strcspn(takes, " ");
		name = strcspn(takes, " #?");
		if (name == strlen(key) && strncmp(takes, key, name) == 0)
			return name == word ? ' ' : takes[name];
	}
	return '\0';
}

/* A mistyped "dry_run" must not be an import for good, nor "approve": "no" an approval. */
static int
check_args(const char *takes, json_t *args, struct err *e)
{
	const char *key;
	json_t *value;

	if (args != NULL && !json_is_object(args))
		return err_set(e, ERR_MALFORMED, "the arguments are not an object");
	json_object_foreach(args, key, value) {
		char kind = kind_of(takes, key);

		if (kind == '\0')
			return err_set(e, ERR_MALFORMED, "no argument \"%.40s\" here; is enrollctl of another version?",
				key);
		if (kind == '#' && !json_is_integer(value))
			return err_set(e, ERR_MALFORMED, "\"%s\" wants an integer", key);
		if (kind == '?' && !json_is_boolean(value))
			return err_set(e, ERR_MALFORMED, "\"%s\" wants true or false", key);
		if (kind == ' ' && !json_is_string(value))
			return err_set(e, ERR_MALFORMED, "\"%s\" wants a text", key);
	}
	return 0;
}

int
admin_run(const char *command, struct admin_call *call, struct err *e)
{
	size_t i = 0;
	int result;

	while (i < sizeof commands / sizeof commands[0] && strcmp(commands[i].name, command) != 0)
		i++;
	if (i < sizeof commands / sizeof commands[0]) {
		result = check_args(commands[i].takes, call->args, e) != 0 ? -1 : commands[i].run(call, e);
		issuer_wake(call->gateway->issuer, NULL); /* it may have revoked what a CA elsewhere has to hear of */
		return result;
	}
	return err_set(e, ERR_UNSUPPORTED, "no command \"%.40s\"; is enrollctl of another version?", command);
}

int
admin_text(const struct admin_call *call, const char *key, const char **out, struct err *e)
{
	const char *text = json_string_value(json_object_get(call->args, key));

	if (text == NULL || text[0] == '\0')
		return err_set(e, ERR_MALFORMED, "\"%s\" is missing", key);
	*out = text;
	return 0;
}

const char *
admin_text_or(const struct admin_call *call, const char *key, const char *fallback)
{
	const char *text = json_string_value(json_object_get(call->args, key));

	return text == NULL || text[0] == '\0' ? fallback : text;
}

int64_t
admin_int_or(const struct admin_call *call, const char *key, int64_t fallback)
{
	const json_t *value = json_object_get(call->args, key);

	return json_is_integer(value) ? (int64_t)json_integer_value(value) : fallback;
}

bool
admin_flag(const struct admin_call *call, const char *key)
{
	return json_is_true(json_object_get(call->args, key));
}

int
admin_duration(const struct admin_call *call, const char *key, int64_t fallback_s, int64_t *out_s, struct err *e)
{
	const char *text = admin_text_or(call, key, NULL);

	*out_s = fallback_s;
	if (text == NULL || duration_parse(text, out_s, e) == 0)
		return 0;
	return err_prefix(e, "%s", key);
}

int
admin_named(const char *what, int (*of)(const char *), const char *text, int *out, struct err *e)
{
	int value = of(text);

	if (value < 0)
		return err_set(e, ERR_MALFORMED, "\"%.60s\" is not %s", text, what);
	*out = value;
	return 0;
}
