/* Which generation a CA of a trust group is, by what the configuration says alone. */
#include <string.h>

#include "gateway/core/rollover.h"

static const char *const roles[] = {
	[ROLLOVER_ISSUING] = "issuing",
	[ROLLOVER_PREVIOUS] = "previous",
	[ROLLOVER_NEXT] = "next",
	[ROLLOVER_STANDBY] = "standby",
};

const char *
rollover_role_name(enum rollover_role role)
{
	return roles[role];
}

static bool
is_issuing(const struct config *config, const char *name)
{
	size_t i;

	for (i = 0; i < config->label_count; i++)
		if (strcmp(config->labels[i].ca, name) == 0)
			return true;
	return false;
}

/* The first that issues behind this one; left: how far to look, for succeeds may go in a circle where nobody has checked it. */
static const struct config_ca *
issuing_behind(const struct config *config, const struct config_ca *ca, size_t left)
{
	const struct config_ca *next, *further;
	size_t i;

	if (left == 0)
		return NULL;
	for (i = 0; i < config->ca_count; i++) {
		next = &config->cas[i];
		if (next == ca || strcmp(next->succeeds, ca->name) != 0)
			continue;
		further = is_issuing(config, next->name) ? next : issuing_behind(config, next, left - 1);
		if (further != NULL)
			return further;
	}
	return NULL;
}

const struct config_ca *
rollover_newest(const struct config *config, const struct config_ca *ca)
{
	const struct config_ca *newest = NULL, *at = ca;
	size_t left;

	for (left = config->ca_count; left > 0 && at != NULL; left--) {
		at = issuing_behind(config, at, config->ca_count);
		newest = at == NULL ? newest : at;
	}
	return newest;
}

enum rollover_role
rollover_role(const struct config *config, const struct config_ca *ca)
{
	if (is_issuing(config, ca->name))
		return ROLLOVER_ISSUING;
	if (issuing_behind(config, ca, config->ca_count) != NULL)
		return ROLLOVER_PREVIOUS;
	return ca->succeeds[0] != '\0' && is_issuing(config, ca->succeeds) ? ROLLOVER_NEXT : ROLLOVER_STANDBY;
}
