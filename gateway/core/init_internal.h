/*
 * init_internal.h - the configuration a new directory begins with.
 */
#ifndef GATEWAY_CORE_INIT_INTERNAL_H
#define GATEWAY_CORE_INIT_INTERNAL_H

#include <stdio.h>

#include "gateway/core/init.h"

void init_print_config(FILE *out, const struct init_options *options);

#endif
