#include <poll.h>
#include <sys/socket.h>

#include <openssl/crypto.h>

#include "gateway/outbound/outbound_internal.h"

/*
 * Something came after the last answer: the connection's end, or what nobody asked for. libcurl 7.88 would take an answer
 * that waits there for the next request's.
 */
static bool
has_more(const struct outbound_idle *idle)
{
	struct pollfd wait = { .fd = idle->socket, .events = POLLIN };

	return idle->socket != CURL_SOCKET_BAD && poll(&wait, 1, 0) != 0;
}

/*
 * Nothing more comes by it, and what waits there is thrown away, so that libcurl finds it closed. The handle keeps the TLS session: the
 * next handshake is a resumption. What comes after shutdown() is answered with a reset (RFC 9293, section 3.6.1).
 */
static void
end_connection(curl_socket_t fd)
{
	char waste[4096];
	ssize_t n = 1;

	(void)shutdown(fd, SHUT_RDWR);
	while (n > 0)
		n = recv(fd, waste, sizeof waste, MSG_DONTWAIT);
	OPENSSL_cleanse(waste, sizeof waste);
}

/* The freshest of the idle handles, its connection ended when it may not be used again; NULL: none. Under the lock. */
static CURL *
take_idle(struct outbound *client)
{
	const struct outbound_idle *idle;

	if (client->idle_count == 0)
		return NULL;
	idle = &client->idle[--client->idle_count];
	if (has_more(idle))
		end_connection(idle->socket);
	return idle->handle;
}

int
outbound_pool_take(struct outbound *client, CURL **out, struct err *e)
{
	CURL *handle = NULL;
	bool full;

	(void)pthread_mutex_lock(&client->lock);
	full = client->calls >= client->calls_max;
	if (!full) {
		client->calls++;
		handle = take_idle(client);
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
	struct outbound_idle idle = { .handle = handle, .socket = CURL_SOCKET_BAD };

	if (handle != NULL && curl_easy_getinfo(handle, CURLINFO_ACTIVESOCKET, &idle.socket) != CURLE_OK)
		keep = false;
	/* Forgets options, headers and buffers, which are gone by now; connections and TLS sessions stay. */
	if (handle != NULL)
		curl_easy_reset(handle);
	(void)pthread_mutex_lock(&client->lock);
	client->calls--;
	if (handle != NULL && keep && client->idle_count < OUTBOUND_IDLE_MAX) {
		client->idle[client->idle_count++] = idle;
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
		curl_easy_cleanup(client->idle[--client->idle_count].handle);
}
