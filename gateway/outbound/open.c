#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "gateway/outbound/files.h"
#include "gateway/outbound/outbound_internal.h"

static int
check_numbers(const struct outbound_settings *s, struct err *e)
{
	if (s->deadline_ms < 1 || s->deadline_ms > OUTBOUND_DEADLINE_MAX_MS)
		return err_set(e, ERR_MALFORMED, "%s: the deadline must be 1 to %d ms", s->name, OUTBOUND_DEADLINE_MAX_MS);
	if (s->connect_ms < 1 || s->connect_ms > s->deadline_ms)
		return err_set(e, ERR_MALFORMED, "%s: the time to connect must be 1 ms to the deadline", s->name);
	if (s->answer_max < 1 || s->answer_max > OUTBOUND_ANSWER_MAX)
		return err_set(e, ERR_MALFORMED, "%s: the largest answer must be 1 to %d octets", s->name, OUTBOUND_ANSWER_MAX);
	return 0;
}

static int
check_trust(const struct outbound_settings *s, struct err *e)
{
	if (s->ca_file != NULL && s->system_trust)
		return err_set(e, ERR_MALFORMED, "%s: a CA file and the system's trust exclude each other", s->name);
	if (s->ca_file == NULL && !s->system_trust)
		return err_set(e, ERR_MALFORMED, "%s: name the CA file that its certificate chains to", s->name);
	if ((s->cert_file == NULL) != (s->key_file == NULL))
		return err_set(e, ERR_MALFORMED, "%s: a client certificate needs a key file, and a key file a certificate",
			s->name);
	return 0;
}

static int
load_files(struct outbound *client, const struct outbound_settings *s, struct err *e)
{
	if (s->ca_file != NULL && outbound_load_ca(s->ca_file, &client->trust, e) != 0)
		return err_prefix(e, "%s", client->name);
	if (s->cert_file != NULL && outbound_load_pair(s->cert_file, s->key_file, &client->cert, &client->key, e) != 0)
		return err_prefix(e, "%s", client->name);
	return 0;
}

int
outbound_open(const struct outbound_settings *settings, struct outbound **out, struct err *e)
{
	CLEANUP(outbound) struct outbound *client = NULL;
	size_t len;

	if (settings->name == NULL || settings->base_url == NULL)
		return err_set(e, ERR_MALFORMED, "an outbound service needs a name and a URL");
	if (outbound_url_check(settings->base_url, settings->allow_plain, e) != 0)
		return err_prefix(e, "%.*s", OUTBOUND_NAME_MAX, settings->name);
	if (check_numbers(settings, e) != 0 || check_trust(settings, e) != 0 || outbound_curl_init(e) != 0)
		return -1;
	client = calloc(1, sizeof *client);
	if (client == NULL)
		return err_set(e, ERR_NOMEM, "no memory for %.*s", OUTBOUND_NAME_MAX, settings->name);
	(void)pthread_mutex_init(&client->lock, NULL);
	if (text_copy(client->name, sizeof client->name, bytes_of_text(settings->name), "the name of an outbound service", e) != 0)
		return -1;
	client->base_url = strdup(settings->base_url);
	if (client->base_url == NULL)
		return err_set(e, ERR_NOMEM, "no memory for %s", client->name);
	if (load_files(client, settings, e) != 0)
		return -1;
	client->has_query = strchr(settings->base_url, '?') != NULL;
	len = strlen(settings->base_url);
	if (!client->has_query && settings->base_url[len - 1] == '/')
		client->base_url[len - 1] = '\0';
	client->allow_plain = settings->allow_plain;
	client->connect_ms = settings->connect_ms;
	client->deadline_ms = settings->deadline_ms;
	client->answer_max = settings->answer_max;
	client->calls_max = settings->calls_max == 0 || settings->calls_max > OUTBOUND_CALLS_MAX ? OUTBOUND_CALLS_MAX :
		settings->calls_max;
	*out = client;
	client = NULL;
	return 0;
}

void
outbound_close(struct outbound *client)
{
	if (client == NULL)
		return;
	outbound_pool_free(client);
	(void)pthread_mutex_destroy(&client->lock);
	free(client->base_url);
	buf_free(&client->trust);
	buf_free(&client->cert);
	buf_free_secret(&client->key);
	free(client);
}
