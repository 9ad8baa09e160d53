/* CAs elsewhere: how they are, what they are asked for, and what only an operator can tell. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/core/admin_json.h"
#include "gateway/core/issuer_resolve.h"

static json_t *
json_of_intent(const struct intent_row *row)
{
	return json_pack("{s:I, s:s, s:s, s:I, s:s, s:s, s:s, s:o, s:o, s:I, s:s}", "id", (json_int_t)row->id, "ca", row->ca,
		"asset", row->asset_tag, "request", (json_int_t)row->request_id, "ca_request", row->ca_request_id, "state",
		intent_state_name(row->state), "reference", row->reference, "created", json_of_time(row->created_s), "next_try",
		json_of_time(row->state < INTENT_DONE ? row->next_try_s : 0), "tries", (json_int_t)row->tries, "error", row->error);
}

static bool
emit_intent(void *arg, const struct intent_row *row)
{
	return admin_emit_row(arg, json_of_intent(row));
}

int
admin_ca_intents(struct admin_call *call, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	struct intent_filter filter = { .ca = admin_text_or(call, "ca", NULL), .after_id = admin_int_or(call, "after", 0),
		.limit = (int)admin_int_or(call, "limit", 0), .active = admin_flag(call, "open") };

	if (snapshot_begin(call, &s, e) != 0)
		return -1;
	return s.ops->intents->list(s.read, &filter, emit_intent, call, e);
}

/* One that waits is polled until its CA says something; who gives it up says so for good, since the CA may still issue it. */
static int
find_undecided(struct admin_call *call, int64_t id, bool absent, struct intent_row *out, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	int found;

	if (snapshot_begin(call, &s, e) != 0)
		return -1;
	found = s.ops->intents->by_id(s.read, id, out, NULL, NULL, e);
	if (found <= 0)
		return found < 0 ? -1 : err_set(e, ERR_DENIED, "there is no intent %lld; enrollctl ca intents --open has them",
						(long long)id);
	if (out->state == INTENT_UNKNOWN || (out->state == INTENT_WAITING && !absent))
		return 0;
	if (out->state == INTENT_WAITING)
		return err_set(e, ERR_DENIED, "intent %lld waits at its CA, where it may still be issued: have it refused there, which ends it,"
			" or give it up (--failed)", (long long)id);
	return err_set(e, ERR_DENIED, "intent %lld is %s; only one that is unknown or waiting takes an operator's word", (long long)id,
		intent_state_name(out->state));
}

static int
resolve_absent(struct admin_call *call, int64_t id, bool *done, struct err *e)
{
	struct intent_step step = { .id = id, .from = INTENT_UNKNOWN, .to = INTENT_OPEN,
		.error = admin_text_or(call, "reason", "an operator found that it was not issued"), .next_try_s = call->now_s,
		.actor = call->actor, .audit = "ca.resolved", .now_s = call->now_s };

	return call->gateway->store_ops->intents->step(call->gateway->store, &step, done, e);
}

static int
resolve_failed(struct admin_call *call, const struct intent_row *row, bool *done, struct err *e)
{
	struct world *world = world_get();
	struct intent_end end = { .id = row->id, .to = INTENT_FAILED, .reason = "ca.resolved",
		.sentence = admin_text_or(call, "reason", "an operator gave it up"), .actor = call->actor,
		.policy_version = world->config->version, .audit = "ca.resolved", .now_s = call->now_s };
	int result = issuer_give_up(call->gateway, world, row, &end, done, e);

	world_put(world);
	return result;
}

static int
read_file(const struct admin_call *call, struct buf *out, struct err *e)
{
	uint8_t chunk[4096];
	ssize_t n = 0;

	while (out->len <= ISSUER_FOUND_MAX && (n = read(call->fd, chunk, sizeof chunk)) > 0)
		buf_append(out, chunk, (size_t)n);
	if (n < 0)
		return err_set(e, ERR_MALFORMED, "the file with the certificate cannot be read: %s", strerror(errno));
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for the certificate") : 0;
}

static int
resolve_issued(struct admin_call *call, const struct intent_row *row, struct err *e)
{
	CLEANUP(buf) struct buf file = { 0 };
	struct issuer_found found = { .intent_id = row->id, .actor = call->actor, .now_s = call->now_s,
		.why = admin_text_or(call, "reason", "an operator found that it was issued") };
	struct world *world;
	int result;

	if (read_file(call, &file, e) != 0)
		return -1;
	found.file = buf_bytes(&file);
	world = world_get();
	result = issuer_resolve(call->gateway, world, &found, e);
	world_put(world);
	if (result != 0)
		return -1;
	call->result = json_pack("{s:I, s:s, s:s, s:s, s:s, s:s}", "intent", (json_int_t)row->id, "name", row->ca_request_id, "ca", row->ca,
		"state", intent_state_name(found.state), "serial", found.serial, "sentence", found.said);
	return 0;
}

/* It may be sent again, but nobody has it any more when its CA was taken out of the configuration. */
static int
put_back(struct admin_call *call, const struct intent_row *row, struct err *e)
{
	struct issuer *issuer = call->gateway->issuer;
	struct world *world = world_get();
	bool has = config_ca(world->config, row->ca) != NULL && world_ca_of(world, row->ca)->ops->remote;
	int result = issuer == NULL || has ? 0 : issuer_rehome(issuer, world, e);

	world_put(world);
	return result;
}

int
admin_ca_resolve(struct admin_call *call, struct err *e)
{
	int64_t id = admin_int_or(call, "id", 0);
	bool absent = admin_flag(call, "absent"), failed = admin_flag(call, "failed"), issued = call->fd >= 0, done = false;
	struct intent_row row;

	if (absent + failed + issued != 1)
		return err_set(e, ERR_MALFORMED, "say one of --issued FILE (here is its certificate), --absent (it was not issued: it is sent"
			" again) and --failed (give it up)");
	if (find_undecided(call, id, absent, &row, e) != 0)
		return -1;
	if (issued)
		return resolve_issued(call, &row, e);
	if ((absent ? resolve_absent(call, id, &done, e) : resolve_failed(call, &row, &done, e)) != 0)
		return -1;
	if (!done)
		return err_set(e, ERR_DENIED, "intent %lld has just changed; look again", (long long)id);
	issuer_wake(call->gateway->issuer, row.ca);
	if (absent && put_back(call, &row, e) != 0)
		return err_prefix(e, "it counts as not issued, and goes to its label's CA at the next reload");
	call->result = json_pack("{s:I, s:s, s:s, s:s}", "intent", (json_int_t)id, "name", row.ca_request_id, "ca", row.ca, "state",
		intent_state_name(absent ? INTENT_OPEN : INTENT_FAILED));
	return 0;
}

/* In their order; NULL: no memory. */
static json_t *
json_of_failover(const struct config_ca *config)
{
	CLEANUP(buf) struct buf text = { 0 };
	size_t i;

	buf_append_text(&text, "");
	for (i = 0; i < config->failover_count; i++)
		buf_printf(&text, "%s%s", i == 0 ? "" : " ", config->failover[i]);
	return buf_failed(&text) ? NULL : json_string(buf_text(&text));
}

static json_t *
json_of_ca(struct admin_call *call, const struct snapshot *s, const struct config_ca *config)
{
	struct intent_counts counts = { 0 };
	enum guard_state guard = GUARD_CLOSED;
	bool elsewhere = issuer_guard_state(call->gateway->issuer, config->name, &guard) && config->type[0] != '\0';
	struct err e;

	if ((elsewhere || config->type[0] == '\0') && s->ops->intents->counts(s->read, config->name, &counts, &e) != 0)
		counts = (struct intent_counts){ 0 };
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "ca", config->name, "type", config->type, "url",
		config->url, "breaker", elsewhere ? guard_state_name(guard) : "", "group", config->group, "failover",
		json_of_failover(config), "open",
		(json_int_t)(counts.in_state[INTENT_OPEN] + counts.in_state[INTENT_SENT]), "waiting",
		(json_int_t)counts.in_state[INTENT_WAITING], "unknown", (json_int_t)counts.in_state[INTENT_UNKNOWN],
		"revocations", (json_int_t)counts.revocations, "holds", (json_int_t)(counts.holds + counts.releases), "refused",
		(json_int_t)counts.refused, "unheld", (json_int_t)counts.unheld);
}

struct listing {
	struct admin_call *call;
	const struct snapshot *s;
	const struct world *world;
};

/* Nobody tells it what waits for it: whoever took it out of the configuration has to know. */
static bool
emit_gone(void *arg, const char *ca)
{
	struct listing *l = arg;
	struct config_ca *gone;
	bool more;

	if (config_ca(l->world->config, ca) != NULL)
		return true;
	gone = calloc(1, sizeof *gone);
	if (gone == NULL)
		return false;
	(void)snprintf(gone->name, sizeof gone->name, "%s", ca);
	more = admin_emit_row(l->call, json_of_ca(l->call, l->s, gone));
	free(gone);
	return more;
}

int
admin_ca_list(struct admin_call *call, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	struct world *world;
	struct listing gone = { .call = call, .s = &s };
	size_t i;
	int result = 0;

	if (snapshot_begin(call, &s, e) != 0)
		return -1;
	gone.world = world = world_get();
	for (i = 0; i < world->config->ca_count; i++)
		if (!admin_emit_row(call, json_of_ca(call, &s, &world->config->cas[i])))
			break;
	if (i == world->config->ca_count)
		result = s.ops->intents->cas(s.read, emit_gone, &gone, e);
	world_put(world);
	return result;
}
