#define _GNU_SOURCE
#include "devsim/fleet_protocol.h"

#include <string.h>

#include "devsim/csr.h"
#include "devsim/devsim.h"

#define REASON_MAX 64

int
fleet_make_key(const struct fleet *fleet, struct prepared *prepared, struct err *e)
{
	if (prepared->key == NULL && key_make(&fleet->key_spec, &prepared->key, e) != 0)
		return -1;
	return prepared->spki.len == 0 ? key_spki(prepared->key, &prepared->spki, e) : 0;
}

int
fleet_make_names(const struct fleet *fleet, const struct device *device, struct buf *subject, struct buf *alt_names,
	struct err *e)
{
	char common_name[DEVICE_NAME_MAX + 8];

	/* RFC 7030, section 4.2.2: a renewal repeats subject and subjectAltName. */
	if (fleet->options.op == FLEET_REENROLL)
		return csr_names_of(device->cert, subject, alt_names, e);
	(void)snprintf(common_name, sizeof common_name, "CN=%s", device->name);
	return csr_subject(common_name, subject, e);
}

bool
fleet_holds_key(const struct prepared *prepared, struct bytes der)
{
	return prepared->spki.len != 0 && memmem(der.at, der.len, prepared->spki.at, prepared->spki.len) != NULL;
}

enum fleet_outcome
fleet_judge_status(const struct http_answer *answer, struct err *e)
{
	char reason[REASON_MAX];

	answer_reason(answer, reason, sizeof reason);
	(void)err_set(e, ERR_UPSTREAM, "HTTP %d%s%s", answer->status, reason[0] == '\0' ? "" : ": ", reason);
	switch (status_exit(answer->status)) {
	case DEVSIM_PENDING:
		return FLEET_PENDING;
	case DEVSIM_REFUSED:
		return FLEET_REFUSED;
	default:
		return FLEET_FAILED;
	}
}
