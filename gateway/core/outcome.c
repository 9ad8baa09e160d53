#include "gateway/core/outcome.h"

#include <stdio.h>

#include "base/timefmt.h"
#include "est/body.h"

int
outcome_certs(const struct world *world, const struct config_label *label, const struct enroll_result *result, int above,
	struct buf *out, struct err *e)
{
	struct bytes cert = buf_bytes(&result->cert);
	const STACK_OF(X509) *chain = world_chain_of(world, label, result->ca, cert);
	struct buf ders[EST_CERTS_MAX] = { 0 };
	struct bytes certs[EST_CERTS_MAX] = { cert };
	int count = above < sk_X509_num(chain) ? above : sk_X509_num(chain), i, status = 0;

	for (i = 0; i < count && i + 1 < EST_CERTS_MAX && status == 0; i++) {
		status = x509_to_der(sk_X509_value(chain, i), &ders[i], e);
		certs[i + 1] = buf_bytes(&ders[i]);
	}
	if (status == 0)
		status = est_certs_encode(certs, (size_t)i + 1, out, e);
	while (i-- > 0)
		buf_free(&ders[i]);
	return status;
}

void
outcome_public_text(const struct enroll_result *result, char out[OUTCOME_TEXT_MAX])
{
	if (result->request_id != 0)
		(void)snprintf(out, OUTCOME_TEXT_MAX, "%s (request %lld)", result->public_text,
			(long long)result->request_id);
	else
		(void)snprintf(out, OUTCOME_TEXT_MAX, "%s", result->public_text);
}

static const char *
verdict(const struct enroll_result *result, const char *done)
{
	if (result->code != ERR_NONE)
		return err_code_name(result->code);
	return result->replayed ? "replayed" : done;
}

static const char *
or_nothing(const char *text)
{
	return text[0] == '\0' ? NULL : text;
}

void
outcome_log(const struct outcome_log *line, const struct enroll_result *result)
{
	char id[24], ms[24], status[8];
	struct log_field fields[16 + OUTCOME_FIELDS_MAX] = {
		{ "id", id },
		{ "proto", line->protocol },
		{ "op", line->operation },
		{ "label", line->label->policy.name },
		{ "peer", line->peer },
		{ "device", or_nothing(result->asset_tag) },
		{ "proof", or_nothing(result->proof) },
		{ "ca", result->ca[0] == '\0' ? line->label->ca : result->ca },
	};
	const struct log_field last[] = {
		{ "result", verdict(result, line->done) },
		{ "reason", result->reason },
		{ "why", result->code == ERR_NONE ? NULL : result->sentence },
		{ "status", status },
		{ "ms", ms },
	};
	int count = 8, i;

	(void)snprintf(id, sizeof id, "%lld", (long long)result->request_id);
	(void)snprintf(status, sizeof status, "%d", line->status);
	(void)snprintf(ms, sizeof ms, "%.1f", (double)(time_monotonic_us() - line->began_us) / 1000.0);
	for (i = 0; i < line->more_count && i < OUTCOME_FIELDS_MAX; i++)
		fields[count++] = line->more[i];
	for (i = 0; i < (int)(sizeof last / sizeof last[0]); i++)
		fields[count++] = last[i];
	log_fields(result->code == ERR_BUG || result->code == ERR_NOMEM ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO, "enroll",
		fields, count);
}
