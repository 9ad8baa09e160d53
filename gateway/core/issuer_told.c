/* What an operator is told of a certificate that has come: that the CA has another key by now, or that it made one too many. */
#include <stdio.h>

#include "base/jsontext.h"
#include "gateway/core/issuer_internal.h"
#include "gateway/core/log.h"

void
issuer_tell_generation(const struct issuer_job *job, const struct intent_row *intent, const struct config_ca *by, const char *serial)
{
	CLEANUP(buf) struct buf detail = { 0 };
	struct gateway *gateway = job->gateway;
	const char *ca = issuer_job_config(job)->name;
	struct err e = { 0 };

	log_text(LOG_LEVEL_WARN, "ca", "%s: %s: the key of another generation (%s) signed %s: point label \"%s\" at it", ca,
		intent->ca_request_id, by->name, serial, intent->label);
	buf_append_u8(&detail, '{');
	json_put_int(&detail, "intent", intent->id);
	json_put_int(&detail, "request", intent->request_id);
	json_put_pair(&detail, "ca", ca);
	json_put_pair(&detail, "generation", by->name);
	json_put_pair(&detail, "serial", serial);
	buf_append_u8(&detail, '}');
	if (buf_failed(&detail) || gateway->store_ops->audit(gateway->store, job->now_s, "enrolld", "ca.other_generation",
		intent->asset_tag, buf_text(&detail), &e) != 0)
		log_rare(LOG_LEVEL_ERROR, "audit", "another generation's certificate could not be told: %s", e.text);
}

/* An end that comes after the end: the store writes an alert, and what was made in vain is revoked there. */
int
issuer_tell_second(const struct issuer_job *job, const struct intent_row *intent, const struct ca_answer *answer, struct err *e)
{
	const struct config_ca *config = issuer_job_config(job);
	const struct config_ca *by = world_generation_of(job->world, config, buf_bytes(&answer->second));
	struct intent_end end = { .id = intent->id, .to = INTENT_QUARANTINED, .reason = "ca.duplicate", .audit = "ca.duplicate",
		.policy_version = job->world->config->version, .ca = by == NULL ? config->name : by->name, .unproven = by == NULL,
		.serial = answer->second_serial, .cert = buf_bytes(&answer->second), .now_s = job->now_s };
	char sentence[192];
	bool done;

	(void)snprintf(sentence, sizeof sentence, "another certificate of the same key came along, %s%.79s", by != NULL ? "and is revoked by " :
		"which no key that is known here signed", by != NULL ? by->name : "");
	end.sentence = sentence;
	if (job->gateway->store_ops->intents->end(job->gateway->store, &end, &done, e) != 0)
		return -1;
	log_text(LOG_LEVEL_ERROR, "ca", "%s: %s: %s; serial number %s%s", end.ca, intent->ca_request_id, end.sentence, end.serial,
		end.unproven ? "; it is not revoked" : "");
	return 0;
}
