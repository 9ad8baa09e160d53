#include "gateway/outbound/outbound_internal.h"

int
outbound_pool_take(struct outbound *client, CURL **out, struct err *e)
{
	CURL *handle = NULL;
	bool full;

	(void)pthread_mutex_lock(&client->lock);
	full = client->calls >= client->calls_max;
	if (!full) {
		client->calls++;
		if (client->idle_count != 0)
			handle = client->idle[--client->idle_count];
	}
	(void)pthread_mutex_unlock(&client->lock);
	if (full)
		return err_set(e, ERR_UPSTREAM, "%s: %zu calls are under way already; the service is slower than what comes in",
			client->name, client->calls_max);
	if (handle == NULL)
		handle = curl_easy_init();
	if (handle == NULL) {
		outbound_pool_give(client, NULL, false);
		return err_set(e, ERR_NOMEM, "%s: no memory for a call", client->name);
	}
	*out = handle;
	return 0;
}

void
outbound_pool_give(struct outbound *client, CURL *handle, bool keep)
{
	/* Forgets options, headers and buffers, which are gone by now; connections and TLS sessions stay. */
	if (handle != NULL)
		curl_easy_reset(handle);
	(void)pthread_mutex_lock(&client->lock);
	client->calls--;
	if (handle != NULL && keep && client->idle_count < OUTBOUND_IDLE_MAX) {
		client->idle[client->idle_count++] = handle;
		handle = NULL;
	}
	(void)pthread_mutex_unlock(&client->lock);
	if (handle != NULL)
		curl_easy_cleanup(handle);
}

void
outbound_pool_free(struct outbound *client)
{
	while (client->idle_count != 0)
		curl_easy_cleanup(client->idle[--client->idle_count]);
}
