#include "gateway/mdm/mdm.h"

#include <string.h>

/* Every validator there is. */
static const struct mdm_ops *const all[] = {
	&mdm_intune,
	&mdm_webhook,
};

const struct mdm_ops *
mdm_ops_of(const char *type)
{
	size_t i;

	for (i = 0; i < sizeof all / sizeof all[0]; i++)
		if (strcmp(all[i]->type, type) == 0)
			return all[i];
	return NULL;
}
