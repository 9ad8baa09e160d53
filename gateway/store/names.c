#include "gateway/store/store.h"

#include <string.h>

static const char *const request_states[] = {
	[REQUEST_PENDING] = "pending",
	[REQUEST_APPROVED] = "approved",
	[REQUEST_ISSUED] = "issued",
	[REQUEST_DENIED] = "denied",
	[REQUEST_REFUSED] = "refused",
};
#define REQUEST_STATES (sizeof request_states / sizeof request_states[0])

static const char *const cert_statuses[] = {
	[CERT_VALID] = "valid",
	[CERT_REVOKED] = "revoked",
	[CERT_HELD] = "held",
};

static const struct store_ops *const stores[] = {
	&store_sqlite,
};

const char *
request_state_name(enum request_state state)
{
	return (size_t)state < REQUEST_STATES ? request_states[state] : "unknown";
}

int
request_state_of(const char *name)
{
	for (size_t i = 0; i < REQUEST_STATES; i++)
		if (strcmp(name, request_states[i]) == 0)
			return (int)i;
	return -1;
}

const char *
cert_status_name(enum cert_status status)
{
	return (size_t)status < sizeof cert_statuses / sizeof cert_statuses[0] ? cert_statuses[status] : "unknown";
}

const struct store_ops *
store_ops_of(const char *name)
{
	for (size_t i = 0; i < sizeof stores / sizeof stores[0]; i++)
		if (strcmp(name, stores[i]->name) == 0)
			return stores[i];
	return NULL;
}
