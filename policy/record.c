#include "policy/record.h"

#include <stddef.h>
#include <string.h>

#define COUNT(names) (sizeof(names) / sizeof(names)[0])

static const char *const state_names[] = {
	[ASSET_ORDERED] = "ordered",
	[ASSET_SHIPPED] = "shipped",
	[ASSET_IN_STOCK] = "in_stock",
	[ASSET_STAGED] = "staged",
	[ASSET_DEPLOYED] = "deployed",
	[ASSET_REPAIR] = "repair",
	[ASSET_QUARANTINED] = "quarantined",
	[ASSET_TRANSFER_PENDING] = "transfer_pending",
	[ASSET_LOST] = "lost",
	[ASSET_STOLEN] = "stolen",
	[ASSET_DECOMMISSIONED] = "decommissioned",
	[ASSET_DISPOSED] = "disposed",
};
_Static_assert(COUNT(state_names) == ASSET_STATES, "every state has a name");

static const char *const kind_names[] = {
	[OWNER_INTERNAL] = "internal",
	[OWNER_PARTNER] = "partner",
	[OWNER_CUSTOMER] = "customer",
};

static const char *const status_names[] = {
	[OWNER_ACTIVE] = "active",
	[OWNER_SUSPENDED] = "suspended",
	[OWNER_OFFBOARDING] = "offboarding",
	[OWNER_OFFBOARDED] = "offboarded",
};

static const char *const holding_names[] = {
	[HOLDING_CORPORATE] = "corporate",
	[HOLDING_PERSONAL] = "personal",
	[HOLDING_LEASED] = "leased",
};

static const char *const anchor_names[] = {
	[ANCHOR_IDEVID_SERIAL] = "idevid_serial",
	[ANCHOR_HW_MODULE] = "hw_module",
	[ANCHOR_EK_PUB_SHA256] = "ek_pub_sha256",
	[ANCHOR_SPKI_SHA256] = "spki_sha256",
	[ANCHOR_IMEI] = "imei",
	[ANCHOR_MDM_ID] = "mdm_id",
};

/* By bit. */
static const char *const waiver_names[] = { "attestation", "quota", "rules", "renewal-window" };

/* A value from a damaged database may be outside its enum. */
static const char *
name_at(const char *const *names, size_t count, unsigned index)
{
	return index < count ? names[index] : "unknown";
}

static int
index_of(const char *const *names, size_t count, const char *name)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return (int)i;
	return -1;
}

const char *
asset_state_name(enum asset_state state)
{
	return name_at(state_names, COUNT(state_names), (unsigned)state);
}

int
asset_state_of(const char *name)
{
	return index_of(state_names, COUNT(state_names), name);
}

const char *
owner_kind_name(enum owner_kind kind)
{
	return name_at(kind_names, COUNT(kind_names), (unsigned)kind);
}

int
owner_kind_of(const char *name)
{
	return index_of(kind_names, COUNT(kind_names), name);
}

const char *
owner_status_name(enum owner_status status)
{
	return name_at(status_names, COUNT(status_names), (unsigned)status);
}

int
owner_status_of(const char *name)
{
	return index_of(status_names, COUNT(status_names), name);
}

const char *
asset_holding_name(enum asset_holding holding)
{
	return name_at(holding_names, COUNT(holding_names), (unsigned)holding);
}

int
asset_holding_of(const char *name)
{
	return index_of(holding_names, COUNT(holding_names), name);
}

const char *
anchor_type_name(enum anchor_type type)
{
	return name_at(anchor_names, COUNT(anchor_names), (unsigned)type);
}

int
anchor_type_of(const char *name)
{
	return index_of(anchor_names, COUNT(anchor_names), name);
}

const char *
exception_waiver_name(unsigned bit)
{
	size_t i;

	for (i = 0; i < COUNT(waiver_names); i++)
		if (bit == 1u << i)
			return waiver_names[i];
	return "unknown";
}

unsigned
exception_waiver_of(const char *name)
{
	int i = index_of(waiver_names, COUNT(waiver_names), name);

	return i < 0 ? 0 : 1u << i;
}
