#include "gateway/core/admin.h"

#include <string.h>

/* Arguments by name: a text, or an integer where the name ends in "#", or true or false where it ends in "?". */
static const struct {
	const char *name;
	int (*run)(struct admin_call *call, struct err *e);
	const char *takes;
} commands[] = {
	{ "asset list", admin_asset_list, "tag owner state limit#" },
	{ "asset set-state", admin_asset_set_state, "tag state reason" },
	{ "asset show", admin_asset_show, "tag" },
	{ "audit list", admin_audit_list, "after# limit#" },
	{ "audit verify", admin_audit_verify, "head" },
	{ "cert list", admin_cert_list, "asset status expires_before after# limit#" },
	{ "cert revoke", admin_cert_revoke, "serial ca reason" },
	{ "cert show", admin_cert_show, "serial ca" },
	{ "explain", admin_explain, "id# asset label op proof format" },
	{ "import", admin_import, "format source create_owners? dry_run?" },
	{ "owner list", admin_owner_list, "" },
	{ "owner put", admin_owner_put, "name kind status contract_end contact" },
	{ "request decide", admin_request_decide, "id# approve? reason" },
	{ "request list", admin_request_list, "state asset after# limit#" },
	{ "request show", admin_request_show, "id#" },
	{ "secret keywrap", admin_keywrap_new, "tag" },
	{ "secret new", admin_secret_new, "tag static? label expires scep?" },
	{ "status", admin_status, "" },
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
	size_t i;

	for (i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (strcmp(commands[i].name, command) == 0)
			return check_args(commands[i].takes, call->args, e) != 0 ? -1 : commands[i].run(call, e);
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
