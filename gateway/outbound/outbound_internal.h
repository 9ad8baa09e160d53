/* outbound_internal.h - what the files of this folder share. */
#ifndef GATEWAY_OUTBOUND_OUTBOUND_INTERNAL_H
#define GATEWAY_OUTBOUND_OUTBOUND_INTERNAL_H

#include <pthread.h>

#include <curl/curl.h>

#include "gateway/outbound/outbound.h"

#define OUTBOUND_NAME_MAX 80 /* octets of a client's name with its final NUL */

/* A handle between two calls, and the connection of the last one. */
struct outbound_idle {
	CURL *handle;
	curl_socket_t socket; /* CURL_SOCKET_BAD: it is closed */
};

struct outbound {
	char name[OUTBOUND_NAME_MAX];
	char *base_url; /* without a slash at the end */
	bool has_query; /* base_url takes no path after it */
	struct buf trust;     /* the certificates of ca_file, PEM; empty: what the system trusts */
	struct buf cert, key; /* of the client, PEM; empty: none */
	bool allow_plain;
	int64_t connect_ms, deadline_ms;
	size_t answer_max, calls_max;
	pthread_mutex_t lock;  /* guards what follows */
	size_t calls;          /* under way */
	size_t idle_count;
	struct outbound_idle idle[OUTBOUND_IDLE_MAX]; /* the last one put back is the first one taken: its connection is the freshest */
};

/* A handle with the connections of an earlier call, or a new one. ERR_UPSTREAM when calls_max are under way. */
MUST_USE int outbound_pool_take(struct outbound *client, CURL **out, struct err *e);
/* keep: its connections are in order. */
void outbound_pool_give(struct outbound *client, CURL *handle, bool keep);
void outbound_pool_free(struct outbound *client);

/* libcurl, once per process, with memory that is overwritten when it is freed. */
MUST_USE int outbound_curl_init(struct err *e);

/* The URL that a request means, NUL-terminated and checked. */
MUST_USE int outbound_url_put(const struct outbound *client, const char *path_or_url, struct buf *out, struct err *e);

/* What stopped a call besides libcurl. */
enum outbound_stop { STOP_NONE = 0, STOP_BODY, STOP_HEAD, STOP_NOMEM };

/* A sentence for the operator; returns -1. detail is libcurl's own text, "" when it has none. */
int outbound_failure(const struct outbound *client, CURL *handle, CURLcode code, enum outbound_stop stop,
	const char *detail, int64_t deadline_ms, struct err *e);

#endif
