#include "policy/import_mapped.h"

#include <string.h>

/*
 * The maps that come with the gateway. Each takes the names of the system's CSV export and those of its API, which
 * differ in spelling only. What has no owner in the sense of the registry takes {$owner}.
 */
static const struct {
	const char *name;
	const char *text;
} maps[] = {
	/* Intune knows devices in use; they are staged unless the registry knows better. Whose ownership it does not know is personal. */
	{ "intune",
		"Serial number = tag\n"
		"Device ID = tag\n"
		"id = tag\n"
		"owner := {$owner}\n"
		"Manufacturer = manufacturer\n"
		"Model = model\n"
		"Serial number = serial\n"
		"OS = class\n"
		"operatingSystem = class\n"
		"Device name = hostname\n"
		"Ownership = holding\n"
		"managedDeviceOwnerType = holding\n"
		"holding: Corporate = corporate\n"
		"holding: Company = corporate\n"
		"holding: Personal = personal\n"
		"holding: Unknown = personal\n"
		"Device ID = source_key\n"
		"id = source_key\n"
		"anchor := mdm_id:{$issuer}:{Device ID}\n"
		"anchor := mdm_id:{$issuer}:{id}\n"
		"anchor := mdm_id:{$issuer}:{Azure AD Device ID}\n"
		"anchor := imei:{$issuer}:{IMEI}\n" },
	/* "Offline" and "failed" devices may come back; a "decommissioning" one still may not renew, but is no tombstone yet. */
	{ "netbox",
		"Asset tag = tag\n"
		"Name = tag\n"
		"Tenant = owner\n"
		"owner := {$owner}\n"
		"Manufacturer = manufacturer\n"
		"Type = model\n"
		"device_type = model\n"
		"Serial number = serial\n"
		"serial = serial\n"
		"Role = class\n"
		"device_role = class\n"
		"Status = state\n"
		"state: Active = deployed\n"
		"state: Planned = ordered\n"
		"state: Staged = staged\n"
		"state: Inventory = in_stock\n"
		"state: Offline = repair\n"
		"state: Failed = repair\n"
		"state: Decommissioning = in_stock\n"
		"Site = site\n"
		"Name = hostname\n"
		"ID = source_key\n"
		"anchor := idevid_serial:{$issuer}:{Serial number}\n"
		"anchor := idevid_serial:{$issuer}:{serial}\n" },
	/* By the words of Status (install_status); its numbers differ between versions and are refused. */
	{ "servicenow",
		"Asset tag = tag\n"
		"Name = tag\n"
		"Company = owner\n"
		"Assigned to = owner\n"
		"owner := {$owner}\n"
		"Manufacturer = manufacturer\n"
		"Model ID = model\n"
		"Model = model\n"
		"Serial number = serial\n"
		"Class = class\n"
		"sys_class_name = class\n"
		"Status = state\n"
		"install_status = state\n"
		"State = state\n"
		"state: Installed = deployed\n"
		"state: In use = deployed\n"
		"state: On order = ordered\n"
		"state: In transit = shipped\n"
		"state: In stock = in_stock\n"
		"state: Pending install = staged\n"
		"state: In maintenance = repair\n"
		"state: Pending repair = repair\n"
		"state: Retired = decommissioned\n"
		"state: Stolen = stolen\n"
		"state: Absent = lost\n"
		"state: Missing = lost\n"
		"Location = site\n"
		"Fully qualified domain name = hostname\n"
		"fqdn = hostname\n"
		"Name = hostname\n"
		"sys_id = source_key\n"
		"anchor := idevid_serial:{$issuer}:{Serial number}\n" },
};

const char *
import_map_builtin(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof maps / sizeof maps[0]; i++)
		if (strcmp(maps[i].name, name) == 0)
			return maps[i].text;
	return NULL;
}

const char *
import_map_builtins(void)
{
	return "intune, netbox, servicenow";
}
