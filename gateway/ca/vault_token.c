#define _GNU_SOURCE
#include "gateway/ca/vault_token.h"

#include <stdlib.h>
#include <string.h>

#include "base/jsontext.h"
#include "base/timefmt.h"

#define LEASE_MAX_S (366 * 86400)

static bool
copy(const char *from, char **to)
{
	*to = from == NULL ? NULL : strdup(from);
	return from == NULL || *to != NULL;
}

static int
read_auth(struct vault_token *token, const struct ca_settings *s, struct err *e)
{
	const char *auth = s->auth == NULL ? "token" : s->auth, *name = token->remote->name;

	if (strcmp(auth, "token") == 0)
		token->auth = VAULT_TOKEN;
	else if (strcmp(auth, "approle") == 0)
		token->auth = VAULT_APPROLE;
	else if (strcmp(auth, "cert") == 0)
		token->auth = VAULT_CERT;
	else
		return err_set(e, ERR_MALFORMED, "%s: auth is token, approle or cert", name);
	if (token->auth != VAULT_CERT && s->secret_file == NULL)
		return err_set(e, ERR_MALFORMED, "%s: secret_file is missing: %s", name,
			token->auth == VAULT_TOKEN ? "it holds the token" : "it holds the secret_id of the AppRole");
	if (token->auth == VAULT_APPROLE && remote_need(token->remote, "user (the AppRole's role_id)", s->user, e) != 0)
		return -1;
	if (token->auth == VAULT_CERT && (s->client_cert == NULL || s->client_key == NULL))
		return err_set(e, ERR_MALFORMED, "%s: auth = \"cert\" needs client_cert and client_key", name);
	return 0;
}

int
vault_token_open(struct vault_token *token, struct remote *remote, const struct ca_settings *settings, struct err *e)
{
	token->remote = remote;
	if (pthread_mutex_init(&token->lock, NULL) != 0) {
		token->remote = NULL;
		return err_set(e, ERR_NOMEM, "no memory for a lock");
	}
	if (read_auth(token, settings, e) != 0)
		return -1;
	if (!copy(settings->secret_file, &token->secret_file) || !copy(settings->user, &token->role))
		return err_set(e, ERR_NOMEM, "no memory for a CA");
	return 0;
}

void
vault_token_close(struct vault_token *token)
{
	if (token->remote == NULL)
		return;
	(void)pthread_mutex_destroy(&token->lock);
	buf_free_secret(&token->value);
	free(token->secret_file);
	free(token->role);
	token->remote = NULL;
}

/* {"auth": {"client_token": "...", "lease_duration": 3600, "renewable": true}}; lease 0 never ends. */
static int
take(struct vault_token *token, const struct outbound_answer *answer, struct err *e)
{
	CLEANUP(json) json_t *body = remote_json(token->remote, answer, e);
	const json_t *auth = json_object_get(body, "auth");
	const char *value = remote_text(auth, "client_token");
	json_int_t lease_s = json_integer_value(json_object_get(auth, "lease_duration"));
	size_t len = value == NULL ? 0 : strlen(value), i;

	if (body == NULL)
		return -1;
	for (i = 0; i < len && value[i] > 0x20 && value[i] < 0x7f; i++)
		continue;
	if (len == 0 || len > VAULT_TOKEN_MAX || i != len || lease_s < 0)
		return err_set(e, ERR_UPSTREAM, "%s: it let us in and gave no usable token", token->remote->name);
	lease_s = lease_s > LEASE_MAX_S ? LEASE_MAX_S : lease_s;
	buf_free_secret(&token->value);
	token->value = (struct buf){ 0 };
	buf_append_text(&token->value, value);
	token->renewable = json_is_true(json_object_get(auth, "renewable"));
	token->renew_us = lease_s == 0 ? 0 : time_monotonic_us() + lease_s * 1000000 / 3 * 2;
	token->ends_us = lease_s == 0 ? 0 : time_monotonic_us() + lease_s * 1000000;
	token->round++;
	return buf_failed(&token->value) ? err_set(e, ERR_NOMEM, "no memory for a token") : 0;
}

/* The document is written by hand: jansson's memory is not overwritten. */
static int
ask(struct vault_token *token, const char *path, struct buf *document, bool with_token, struct err *e)
{
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	struct outbound_header headers[2] = { { "Content-Type", "application/json" }, { "X-Vault-Token", NULL } };
	struct outbound_request request = { .method = "POST", .path_or_url = path, .headers = headers,
		.header_count = with_token ? 2 : 1 };

	headers[1].value = with_token ? buf_text(&token->value) : NULL;
	if (buf_failed(document))
		return err_set(e, ERR_NOMEM, "no memory for a login");
	request.body = buf_bytes(document);
	if (outbound_call(token->remote->client, &request, &answer, e) != 0)
		return -1;
	if (answer.status != 200 && (answer.status < 400 || answer.status == 412 || answer.status == 429 || answer.status >= 472))
		return err_set(e, ERR_UPSTREAM, "%s: HTTP %d to %s; nobody is let in now", token->remote->name, answer.status, path);
	if (answer.status != 200)
		return err_set(e, ERR_UPSTREAM, "%s: HTTP %d to %s; check %s", token->remote->name, answer.status, path,
			token->auth == VAULT_CERT ? "client_cert and the role in user" : "user and secret_file");
	return take(token, &answer, e);
}

static int
log_in(struct vault_token *token, struct err *e)
{
	CLEANUP(secret_buf) struct buf document = { 0 };

	if (token->auth == VAULT_TOKEN) {
		buf_free_secret(&token->value);
		token->value = (struct buf){ 0 };
		token->renew_us = token->ends_us = 0;
		token->round++;
		if (secret_file_read(token->secret_file, &token->value, e) != 0)
			return err_prefix(e, "%s", token->remote->name);
		return 0;
	}
	buf_append_text(&document, "{");
	if (token->role != NULL) {
		buf_append_text(&document, token->auth == VAULT_APPROLE ? "\"role_id\":" : "\"name\":");
		json_put_text(&document, token->role);
	}
	if (token->auth == VAULT_APPROLE)
		json_put_pair(&document, "secret_id", buf_text(&token->remote->secret));
	buf_append_text(&document, "}");
	return ask(token, token->auth == VAULT_APPROLE ? "/v1/auth/approle/login" : "/v1/auth/cert/login", &document, false, e);
}

/* A secret_id may be good for one login only, so a token is renewed as long as it can be. */
static int
next_token(struct vault_token *token, struct err *e)
{
	CLEANUP(secret_buf) struct buf document = { 0 };
	struct err why;
	int64_t now_us = time_monotonic_us();

	if (token->value.len == 0 || (token->ends_us != 0 && now_us >= token->ends_us))
		return log_in(token, e);
	buf_append_text(&document, "{}");
	if (token->renewable && ask(token, "/v1/auth/token/renew-self", &document, true, &why) == 0)
		return 0;
	if (log_in(token, e) == 0)
		return 0;
	/* What is there works until its end; the next call tries again. */
	token->renew_us = now_us + (token->ends_us - now_us) / 4;
	return 0;
}

int
vault_token_get(struct vault_token *token, struct buf *out, uint64_t *round, struct err *e)
{
	int rc = 0;

	(void)pthread_mutex_lock(&token->lock);
	if (token->value.len == 0 || (token->renew_us != 0 && time_monotonic_us() >= token->renew_us))
		rc = next_token(token, e);
	if (rc == 0) {
		buf_append_bytes(out, buf_bytes(&token->value));
		*round = token->round;
	}
	(void)pthread_mutex_unlock(&token->lock);
	return rc == 0 && buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for a token") : rc;
}

void
vault_token_drop(struct vault_token *token, uint64_t round)
{
	(void)pthread_mutex_lock(&token->lock);
	if (token->round == round) {
		buf_free_secret(&token->value);
		token->value = (struct buf){ 0 };
		token->renew_us = token->ends_us = 0;
	}
	(void)pthread_mutex_unlock(&token->lock);
}
