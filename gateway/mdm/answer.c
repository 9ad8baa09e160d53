#define _GNU_SOURCE
#include "gateway/mdm/answer.h"

#include <string.h>

#include <jansson.h>

#include "base/jsontext.h"
#include "base/text.h"
#include "gateway/outbound/outbound.h"

#define ECHO_MIN  12  /* octets of a challenge in a row that must not come back */
#define QUOTE_MAX 256 /* octets of a service's sentence that are looked at */

/* The service's name in Graph's list; compared without case, as Microsoft's clients do. */
#define SCEP_SERVICE "ScepRequestValidationFEService"

DEFINE_CLEANUP(json, json_t *, json_decref);

static int
load(struct bytes body, json_t **out, struct err *e)
{
	CLEANUP(json) json_t *root = NULL;
	json_error_t where;

	if (body.len == 0)
		return err_set(e, ERR_UPSTREAM, "the answer is empty");
	if (body.len > MDM_ANSWER_MAX)
		return err_set(e, ERR_UPSTREAM, "the answer is longer than %d octets", MDM_ANSWER_MAX);
	if (!json_is_shallow(body))
		return err_set(e, ERR_UPSTREAM, "the answer is nested deeper than %d", JSON_DEPTH_MAX);
	root = json_loadb((const char *)body.at, body.len, JSON_REJECT_DUPLICATES, &where);
	if (root == NULL) /* where.text quotes the document, which may quote the challenge */
		return err_set(e, ERR_UPSTREAM, "the answer is no JSON (line %d, column %d)", where.line, where.column);
	if (!json_is_object(root))
		return err_set(e, ERR_UPSTREAM, "the answer is no JSON object");
	*out = root;
	root = NULL;
	return 0;
}

/* Is secret, or a part of it that would help to guess the rest, in text? */
static bool
repeats(struct bytes text, const char *secret)
{
	size_t len = secret == NULL ? 0 : strlen(secret);
	size_t part = len < ECHO_MIN ? len : ECHO_MIN, i;

	if (len == 0 || text.len < part)
		return false;
	for (i = 0; i + part <= len; i++)
		if (memmem(text.at, text.len, secret + i, part) != NULL)
			return true;
	return false;
}

/* A service's text as an audit may hold it. */
static void
quote(char *out, size_t size, const json_t *value, const char *secret)
{
	struct bytes text = bytes_of(json_string_value(value), json_string_length(value));

	if (text.len > QUOTE_MAX)
		text.len = QUOTE_MAX;
	if (repeats(text, secret))
		text = bytes_of_text("(withheld)");
	text_escape(out, size, text);
}

/* NULL: absent or null. -1: there, and of another type. */
static int
optional(const json_t *object, const char *key, json_type type, const json_t **out, struct err *e)
{
	const json_t *value = json_object_get(object, key);

	if (value != NULL && !json_is_null(value) && json_typeof(value) != type)
		return err_set(e, ERR_UPSTREAM, "\"%s\" in the answer has the wrong type", key);
	*out = value == NULL || json_is_null(value) ? NULL : value;
	return 0;
}

int
mdm_answer_intune(struct bytes body, const char *challenge, struct mdm_verdict *out, struct err *e)
{
	CLEANUP(json) json_t *root = NULL;
	struct mdm_verdict verdict = { 0 };
	const json_t *code = NULL, *text = NULL;

	if (load(body, &root, e) != 0 || optional(root, "code", JSON_STRING, &code, e) != 0 ||
	    optional(root, "errorDescription", JSON_STRING, &text, e) != 0)
		return -1;
	if (code == NULL || json_string_length(code) == 0)
		return err_set(e, ERR_UPSTREAM, "the answer has no \"code\"");
	verdict.allowed = strcmp(json_string_value(code), "Success") == 0;
	quote(verdict.code, sizeof verdict.code, code, challenge);
	if (text != NULL)
		quote(verdict.text, sizeof verdict.text, text, challenge);
	*out = verdict;
	return 0;
}

/* Never cut or escaped: another device's id could come out. */
static int
take_device(const json_t *data, const char *challenge, char out[MDM_DEVICE_MAX], struct err *e)
{
	const json_t *device = NULL;
	struct bytes text;

	if (optional(data, "device", JSON_STRING, &device, e) != 0)
		return -1;
	if (device == NULL)
		return 0;
	text = bytes_of(json_string_value(device), json_string_length(device));
	if (text.len == 0 || text.len >= MDM_DEVICE_MAX || !text_is_clean(text))
		return err_set(e, ERR_UPSTREAM, "\"device\" in the answer must be 1 to %d octets without control characters",
			MDM_DEVICE_MAX - 1);
	if (challenge != NULL && (bytes_equal_text(text, challenge) ||
	    (strlen(challenge) >= ECHO_MIN && strstr((const char *)text.at, challenge) != NULL)))
		return err_set(e, ERR_UPSTREAM, "\"device\" in the answer repeats the challenge");
	memcpy(out, text.at, text.len);
	return 0;
}

static int
take_refusal(const json_t *error, const char *challenge, struct mdm_verdict *verdict, struct err *e)
{
	const json_t *code = NULL, *text = NULL;

	(void)strcpy(verdict->code, "denied");
	if (error == NULL)
		return 0;
	if (optional(error, "code", JSON_STRING, &code, e) != 0 || optional(error, "message", JSON_STRING, &text, e) != 0)
		return -1;
	if (code != NULL && json_string_length(code) != 0)
		quote(verdict->code, sizeof verdict->code, code, challenge);
	if (text != NULL)
		quote(verdict->text, sizeof verdict->text, text, challenge);
	return 0;
}

int
mdm_answer_webhook(struct bytes body, const char *challenge, struct mdm_verdict *out, struct err *e)
{
	CLEANUP(json) json_t *root = NULL;
	struct mdm_verdict verdict = { .code = "allowed" };
	const json_t *allow, *data = NULL, *error = NULL;

	if (load(body, &root, e) != 0 || optional(root, "data", JSON_OBJECT, &data, e) != 0 ||
	    optional(root, "error", JSON_OBJECT, &error, e) != 0)
		return -1;
	allow = json_object_get(root, "allow");
	if (!json_is_boolean(allow))
		return err_set(e, ERR_UPSTREAM, "the answer has no \"allow\" that is true or false");
	verdict.allowed = json_is_true(allow);
	if (verdict.allowed && error != NULL)
		return err_set(e, ERR_UPSTREAM, "the answer allows and holds an \"error\"");
	if (data != NULL && take_device(data, challenge, verdict.device, e) != 0)
		return -1;
	if (!verdict.allowed && take_refusal(error, challenge, &verdict, e) != 0)
		return -1;
	*out = verdict;
	return 0;
}

/* Microsoft's first token service sends its numbers as strings. */
static int
take_lifetime(const json_t *value, int64_t *out, struct err *e)
{
	json_int_t n = -1;
	const char *text;
	size_t i, len;

	if (value == NULL || json_is_null(value))
		n = MDM_TOKEN_S;
	else if (json_is_integer(value))
		n = json_integer_value(value);
	else if (json_is_string(value)) {
		text = json_string_value(value);
		len = json_string_length(value);
		for (i = 0, n = 0; i < len && len <= 9; i++)
			n = text[i] >= '0' && text[i] <= '9' && n >= 0 ? n * 10 + (text[i] - '0') : -1;
		if (len == 0 || len > 9)
			n = -1;
	}
	if (n < 0)
		return err_set(e, ERR_UPSTREAM, "\"expires_in\" of the token is no number of seconds");
	*out = n > MDM_TOKEN_S_MAX ? MDM_TOKEN_S_MAX : n;
	return 0;
}

int
mdm_answer_token(struct bytes body, struct buf *out, int64_t *lifetime_s, struct err *e)
{
	CLEANUP(json) json_t *root = NULL;
	const json_t *token = NULL, *type = NULL;
	const char *text;
	int64_t lasts_s = 0;
	size_t i, len;

	if (load(body, &root, e) != 0 || optional(root, "access_token", JSON_STRING, &token, e) != 0 ||
	    optional(root, "token_type", JSON_STRING, &type, e) != 0 ||
	    take_lifetime(json_object_get(root, "expires_in"), &lasts_s, e) != 0)
		return -1;
	/* RFC 6749, section 7.1: "The client MUST NOT use an access token if it does not understand the token type." */
	if (type == NULL || strcasecmp(json_string_value(type), "Bearer") != 0)
		return err_set(e, ERR_UPSTREAM, "the token is not of type Bearer");
	len = token == NULL ? 0 : json_string_length(token);
	if (len < 1 || len > MDM_TOKEN_MAX)
		return err_set(e, ERR_UPSTREAM, "\"access_token\" must be 1 to %d octets", MDM_TOKEN_MAX);
	text = json_string_value(token);
	for (i = 0; i < len; i++)
		if (text[i] <= 0x20 || text[i] >= 0x7f)
			return err_set(e, ERR_UPSTREAM, "\"access_token\" holds what no header can");
	buf_append(out, text, len);
	if (buf_failed(out))
		return err_set(e, ERR_NOMEM, "no memory for a token");
	*lifetime_s = lasts_s;
	return 0;
}

void
mdm_answer_token_error(struct bytes body, const char *secret, char out[MDM_TEXT_MAX])
{
	CLEANUP(json) json_t *root = NULL;
	char code[MDM_CODE_MAX] = "", text[MDM_TEXT_MAX - MDM_CODE_MAX - 2] = "";
	const json_t *error = NULL, *description = NULL;
	struct err ignored;

	out[0] = '\0';
	if (load(body, &root, &ignored) != 0 || optional(root, "error", JSON_STRING, &error, &ignored) != 0 ||
	    optional(root, "error_description", JSON_STRING, &description, &ignored) != 0 || error == NULL)
		return;
	quote(code, sizeof code, error, secret);
	if (description != NULL)
		quote(text, sizeof text, description, secret);
	(void)strcpy(out, code);
	if (text[0] != '\0')
		(void)strcat(strcat(out, ": "), text);
}

static bool
in_domain(const char *host, const char *domain)
{
	size_t len = strlen(host), tail = strlen(domain);

	if (len < tail || strcasecmp(host + (len - tail), domain) != 0)
		return false;
	return len == tail || host[len - tail - 1] == '.';
}

static int
take_endpoint(const json_t *uri, const char *domain, bool allow_plain, struct buf *out, struct err *e)
{
	char host[256];
	size_t len = json_string_length(uri);
	struct err why;

	if (!json_is_string(uri) || len < 1 || len > MDM_ENDPOINT_MAX)
		return err_set(e, ERR_UPSTREAM, "the endpoint has no \"uri\" of 1 to %d octets", MDM_ENDPOINT_MAX);
	if (outbound_url_check(json_string_value(uri), allow_plain, &why) != 0 ||
	    outbound_url_host(json_string_value(uri), host, sizeof host, &why) != 0)
		return err_set(e, ERR_UPSTREAM, "the endpoint is no https:// URL");
	if (!in_domain(host, domain))
		return err_set(e, ERR_UPSTREAM, "the endpoint is not in %.100s; tokens are not sent there", domain);
	if (strpbrk(json_string_value(uri), "?#") != NULL)
		return err_set(e, ERR_UPSTREAM, "the endpoint has a query, so no action can follow");
	while (len > 1 && json_string_value(uri)[len - 1] == '/')
		len--;
	buf_append(out, json_string_value(uri), len);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for an endpoint") : 0;
}

int
mdm_answer_endpoint(struct bytes body, const char *domain, bool allow_plain, struct buf *out, struct err *e)
{
	CLEANUP(json) json_t *root = NULL;
	const json_t *list = NULL;
	size_t i;

	if (load(body, &root, e) != 0 || optional(root, "value", JSON_ARRAY, &list, e) != 0)
		return -1;
	if (list == NULL)
		return err_set(e, ERR_UPSTREAM, "the answer has no list \"value\"");
	for (i = 0; i < json_array_size(list); i++) {
		const json_t *entry = json_array_get(list, i);
		const json_t *name = json_object_get(entry, "providerName");

		if (json_is_string(name) && strcasecmp(json_string_value(name), SCEP_SERVICE) == 0)
			return take_endpoint(json_object_get(entry, "uri"), domain, allow_plain, out, e);
	}
	return err_set(e, ERR_UPSTREAM, "no %s in the list; does the application have the Intune role scep_challenge_provider?",
		SCEP_SERVICE);
}
