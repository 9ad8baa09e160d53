#include "gateway/core/admin.h"

#include <string.h>

static const struct {
	const char *name;
	int (*run)(struct admin_call *call, struct err *e);
} commands[] = {
	{ "asset list", admin_asset_list },
	{ "asset set-state", admin_asset_set_state },
	{ "asset show", admin_asset_show },
	{ "audit list", admin_audit_list },
	{ "audit verify", admin_audit_verify },
	{ "cert list", admin_cert_list },
	{ "cert revoke", admin_cert_revoke },
	{ "cert show", admin_cert_show },
	{ "explain", admin_explain },
	{ "import", admin_import },
	{ "owner list", admin_owner_list },
	{ "owner put", admin_owner_put },
	{ "request decide", admin_request_decide },
	{ "request list", admin_request_list },
	{ "request show", admin_request_show },
	{ "secret keywrap", admin_keywrap_new },
	{ "secret new", admin_secret_new },
	{ "status", admin_status },
};

int
admin_run(const char *command, struct admin_call *call, struct err *e)
{
	size_t i;

	for (i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (strcmp(commands[i].name, command) == 0)
			return commands[i].run(call, e);
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
