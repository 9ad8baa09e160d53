/*
 * config_memory.h - a configuration from octets at hand, for tests and fuzzing.
 */
#ifndef GATEWAY_CORE_CONFIG_MEMORY_H
#define GATEWAY_CORE_CONFIG_MEMORY_H

#include "gateway/core/config.h"

/* Like config_load(), with path for messages and as the start of relative paths only. */
MUST_USE int config_load_octets(const char *path, struct bytes octets, config_problem problem, void *arg,
	struct config **out);

#endif
