#include "gateway/store/store.h"

#include <string.h>

static const char *const request_states[] = {
	[REQUEST_PENDING] = "pending",
	[REQUEST_APPROVED] = "approved",
	[REQUEST_ISSUED] = "issued",
	[REQUEST_DENIED] = "denied",
	[REQUEST_REFUSED] = "refused",
};

static const char *const cert_statuses[] = {
	[CERT_VALID] = "valid",
	[CERT_REVOKED] = "revoked",
	[CERT_HELD] = "held",
};

static const char *const transfer_states[] = {
	[TRANSFER_OFFERED] = "offered",
	[TRANSFER_ACCEPTED] = "accepted",
	[TRANSFER_DECLINED] = "declined",
	[TRANSFER_CANCELLED] = "cancelled",
	[TRANSFER_EXPIRED] = "expired",
};

static const char *const exception_states[] = {
	[EXCEPTION_REQUESTED] = "requested",
	[EXCEPTION_ACTIVE] = "active",
	[EXCEPTION_REFUSED] = "refused",
	[EXCEPTION_REVOKED] = "revoked",
};

static const char *const approval_states[] = {
	[APPROVAL_WAITING] = "waiting",
	[APPROVAL_GIVEN] = "given",
	[APPROVAL_REFUSED] = "refused",
	[APPROVAL_USED] = "used",
};

#define COUNT(names) (sizeof names / sizeof names[0])

static const struct store_ops *const stores[] = {
	&store_sqlite,
};

static const char *
name_of(const char *const *names, size_t count, size_t which)
{
	return which < count ? names[which] : "unknown";
}

static int
which_is(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(name, names[i]) == 0)
			return (int)i;
	return -1;
}

const char *
request_state_name(enum request_state state)
{
	return name_of(request_states, COUNT(request_states), (size_t)state);
}

int
request_state_of(const char *name)
{
	return which_is(request_states, COUNT(request_states), name);
}

const char *
transfer_state_name(enum transfer_state state)
{
	return name_of(transfer_states, COUNT(transfer_states), (size_t)state);
}

int
transfer_state_of(const char *name)
{
	return which_is(transfer_states, COUNT(transfer_states), name);
}

const char *
exception_state_name(enum exception_state state)
{
	return name_of(exception_states, COUNT(exception_states), (size_t)state);
}

int
exception_state_of(const char *name)
{
	return which_is(exception_states, COUNT(exception_states), name);
}

const char *
approval_state_name(enum approval_state state)
{
	return name_of(approval_states, COUNT(approval_states), (size_t)state);
}

int
approval_state_of(const char *name)
{
	return which_is(approval_states, COUNT(approval_states), name);
}

const char *
cert_status_name(enum cert_status status)
{
	return name_of(cert_statuses, COUNT(cert_statuses), (size_t)status);
}

const struct store_ops *
store_ops_of(const char *name)
{
	for (size_t i = 0; i < sizeof stores / sizeof stores[0]; i++)
		if (strcmp(name, stores[i]->name) == 0)
			return stores[i];
	return NULL;
}
