/*
 * Octets as a configuration file: scanned, parsed, filled and checked.
 *
 * The path is nowhere, so that relative names and includes find nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/key.h"
#include "gateway/core/config_memory.h"

#define INPUT_MAX 16384

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 loses the text it was reading when a syntax error follows it: some octets for each refused file. */
const char *
__lsan_default_suppressions(void)
{
	return "leak:libconfig.so";
}

/* A problem is one line with the file's name in front. */
static void
problem(void *arg, const char *text)
{
	(void)arg;
	if (strncmp(text, "/nonexistent/", 13) != 0 || strchr(text, '\n') != NULL)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int ready;
	CLEANUP(config) struct config *config = NULL;
	struct err e;

	if (!ready && (ossl_init(&e) != 0 || key_init(&e) != 0))
		abort();
	ready = 1;
	if (size > INPUT_MAX)
		return 0;
	if (config_load_octets("/nonexistent/f.conf", bytes_of(data, size), problem, NULL, &config) == 0 &&
	    config_label(config, config->labels[0].policy.name) == NULL)
		abort();
	return 0;
}
