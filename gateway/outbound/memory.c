#define _GNU_SOURCE
/*
 * libcurl copies headers and small bodies into buffers of its own and frees
 * them as they are. Tokens and challenges pass through here, so its memory is
 * overwritten on the way out.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "gateway/outbound/outbound_internal.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode once_code = CURLE_FAILED_INIT;

static void
wiping_free(void *at)
{
	if (at != NULL)
		OPENSSL_cleanse(at, malloc_usable_size(at));
	free(at);
}

/* Not realloc(): it may leave a copy behind. */
static void *
wiping_realloc(void *at, size_t size)
{
	size_t had = at == NULL ? 0 : malloc_usable_size(at);
	void *moved = malloc(size);

	if (moved == NULL)
		return NULL;
	if (at != NULL)
		memcpy(moved, at, had < size ? had : size);
	wiping_free(at);
	return moved;
}

static void
init_once(void)
{
	once_code = curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wiping_free, wiping_realloc, strdup, calloc);
}

int
outbound_curl_init(struct err *e)
{
	if (pthread_once(&once, init_once) != 0 || once_code != CURLE_OK)
		return err_set(e, ERR_BUG, "libcurl cannot be initialised: %s", curl_easy_strerror(once_code));
	return 0;
}
