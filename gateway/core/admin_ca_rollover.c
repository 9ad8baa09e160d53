/* How far trust groups are with their next generation, and who is behind. */
#include <string.h>

#include "gateway/core/admin_json.h"
#include "gateway/core/rollover.h"

#define PAGE_ROWS 1000

/* The CAs that vouch for the same devices: the entries of a group, or one that has none. */
struct members {
	const struct config_ca *at[ROLLOVER_GENERATIONS_MAX];
	size_t count;
};

static int
gather(const struct config *config, const struct config_ca *of, struct members *out, struct err *e)
{
	size_t i;

	out->count = 0;
	for (i = 0; i < config->ca_count; i++) {
		const struct config_ca *ca = &config->cas[i];

		if (ca != of && (of->group[0] == '\0' || strcmp(ca->group, of->group) != 0))
			continue;
		if (out->count == ROLLOVER_GENERATIONS_MAX)
			return err_set(e, ERR_LIMIT, "more than %d CAs in group \"%s\"", ROLLOVER_GENERATIONS_MAX, of->group);
		out->at[out->count++] = ca;
	}
	return 0;
}

static json_t *
json_of_generation(const struct world *world, const struct config_ca *ca, const struct rollover_generation *figures,
	int64_t devices)
{
	const struct world_ca *open = world_ca_of(world, ca->name);
	int64_t not_before_s, not_after_s = 0;
	struct err e;

	if (x509_validity(sk_X509_value(open->ops->chain(open->ca), 0), &not_before_s, &not_after_s, &e) != 0)
		not_after_s = 0;
	return json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:o}", "ca", ca->name, "group", ca->group, "role",
		rollover_role_name(rollover_role(world->config, ca)), "not_after", json_of_time(not_after_s), "certificates",
		(json_int_t)figures->certificates, "devices", (json_int_t)figures->devices, "know",
		(json_int_t)figures->know, "group_devices", (json_int_t)devices, "last_end",
		json_of_time(figures->last_end_s));
}

/* The figures first, and their snapshot ended: whoever reads the rows may take his time. */
static int
count_members(const struct admin_call *call, const struct world *world, const struct members *members,
	struct rollover_generation *figures, int64_t *devices, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	size_t i;

	for (i = 0; i < members->count; i++) {
		figures[i].ca = members->at[i]->name;
		if (rollover_top(world, members->at[i], figures[i].top, e) != 0)
			return -1;
	}
	if (snapshot_begin(call, &s, e) != 0)
		return -1;
	return s.ops->rollover->count(s.read, figures, members->count, call->now_s, devices, e);
}

static int
report(struct admin_call *call, const struct world *world, const struct config_ca *of, struct err *e)
{
	struct rollover_generation figures[ROLLOVER_GENERATIONS_MAX] = { 0 };
	struct members members;
	int64_t devices = 0;
	size_t i;

	if (gather(world->config, of, &members, e) != 0 ||
	    count_members(call, world, &members, figures, &devices, e) != 0)
		return -1;
	for (i = 0; i < members.count; i++)
		if (!admin_emit_row(call, json_of_generation(world, members.at[i], &figures[i], devices)))
			break;
	return 0;
}

/* Is this the first of a group of several? */
static bool
leads_group(const struct config *config, size_t at)
{
	size_t i, others = 0;

	if (config->cas[at].group[0] == '\0')
		return false;
	for (i = 0; i < config->ca_count; i++)
		if (i != at && strcmp(config->cas[i].group, config->cas[at].group) == 0) {
			if (i < at)
				return false;
			others++;
		}
	return others != 0;
}

static int
report_all(struct admin_call *call, const struct world *world, struct err *e)
{
	size_t i;

	for (i = 0; i < world->config->ca_count; i++)
		if (leads_group(world->config, i) && report(call, world, &world->config->cas[i], e) != 0)
			return -1;
	return 0;
}

struct paging {
	struct admin_call *call;
	int64_t last_id, left; /* left -1: all */
	int rows;
	bool gone;
};

static bool
emit_behind(void *arg, const struct rollover_behind *row)
{
	struct paging *paging = arg;

	paging->last_id = row->id;
	paging->rows++;
	if (paging->left > 0)
		paging->left--;
	paging->gone = !admin_emit_row(paging->call,
		json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "id", (json_int_t)row->id, "asset", row->asset_tag, "owner",
			row->owner, "serial", row->serial, "label", row->label, "ca", row->ca, "not_after",
			json_of_time(row->not_after_s), "knows_since", json_of_time(row->knows_s)));
	return !paging->gone && paging->left != 0;
}

/* Page by page, a snapshot each, so that a long list never holds back the write-ahead log. */
static int
list_behind(struct admin_call *call, const struct world *world, const struct config_ca *of, struct err *e)
{
	struct rollover_late late[ROLLOVER_GENERATIONS_MAX];
	struct rollover_behind_filter filter = { .late = late, .after_id = admin_int_or(call, "after", 0), .limit = PAGE_ROWS,
		.now_s = call->now_s };
	int64_t limit = admin_int_or(call, "limit", 0);
	struct paging paging = { .call = call, .left = limit > 0 ? limit : -1 };
	struct members members;
	size_t i;

	if (gather(world->config, of, &members, e) != 0)
		return -1;
	for (i = 0; i < members.count; i++) {
		const struct config_ca *newest = rollover_newest(world->config, members.at[i]);

		if (newest == NULL)
			continue;
		late[filter.late_count].ca = members.at[i]->name;
		if (rollover_top(world, newest, late[filter.late_count++].newest, e) != 0)
			return -1;
	}
	do {
		CLEANUP(snapshot) struct snapshot s = { 0 };

		paging.rows = 0;
		if (snapshot_begin(call, &s, e) != 0 || s.ops->rollover->behind(s.read, &filter, emit_behind, &paging, e) != 0)
			return -1;
		filter.after_id = paging.last_id;
	} while (paging.rows == PAGE_ROWS && paging.left != 0 && !paging.gone);
	return 0;
}

static int
run(struct admin_call *call, const struct world *world, struct err *e)
{
	const char *name = admin_text_or(call, "ca", NULL);
	const struct config_ca *ca = name == NULL ? NULL : config_ca(world->config, name);
	bool behind = admin_flag(call, "behind");

	if (name != NULL && ca == NULL)
		return err_set(e, ERR_DENIED, "no CA \"%.80s\"; enrollctl ca list has them", name);
	if (behind && ca == NULL)
		return err_set(e, ERR_MALFORMED, "--behind needs the name of a CA, any of its group");
	if (!behind && (admin_int_or(call, "after", 0) != 0 || admin_int_or(call, "limit", 0) != 0))
		return err_set(e, ERR_MALFORMED, "--after and --limit are for --behind");
	if (behind)
		return list_behind(call, world, ca, e);
	return ca == NULL ? report_all(call, world, e) : report(call, world, ca, e);
}

int
admin_ca_rollover(struct admin_call *call, struct err *e)
{
	struct world *world = world_get();
	int result = run(call, world, e);

	world_put(world);
	return result;
}

/* Since when an asset knows each CA. */
struct knowledge {
	const struct world *world;
	int64_t *since_s; /* in the order of config->cas; 0: it does not */
	int *how;
	const uint8_t (*tops)[32];
};

static bool
learn(void *arg, const struct rollover_known *row)
{
	struct knowledge *k = arg;
	size_t i;

	for (i = 0; i < k->world->config->ca_count; i++)
		if (memcmp(k->tops[i], row->cert_sha256, 32) == 0 && (k->since_s[i] == 0 || row->at_s < k->since_s[i])) {
			k->since_s[i] = row->at_s;
			k->how[i] = row->how;
		}
	return true;
}

static int
learn_all(const struct snapshot *s, const struct world *world, int64_t asset_id, json_t *out, struct err *e)
{
	size_t count = world->config->ca_count, i;
	uint8_t(*tops)[32] = calloc(count + 1, sizeof *tops);
	struct knowledge k = { .world = world, .since_s = calloc(count + 1, sizeof *k.since_s),
		.how = calloc(count + 1, sizeof *k.how), .tops = (const uint8_t(*)[32])tops };
	int result = 0;

	if (tops == NULL || k.since_s == NULL || k.how == NULL)
		result = err_set(e, ERR_NOMEM, "no memory for what an asset knows");
	for (i = 0; result == 0 && i < count; i++)
		result = rollover_top(world, &world->config->cas[i], tops[i], e);
	if (result == 0)
		result = s->ops->rollover->known(s->read, asset_id, learn, &k, e);
	for (i = 0; result == 0 && i < count; i++)
		if (k.since_s[i] != 0)
			(void)json_array_append_new(out, json_pack("{s:s, s:o, s:s}", "ca", world->config->cas[i].name, "since",
				json_of_time(k.since_s[i]), "how", rollover_fetch_name((enum rollover_fetch)k.how[i])));
	free(tops);
	free(k.since_s);
	free(k.how);
	return result;
}

int
admin_collect_known(const struct snapshot *s, int64_t asset_id, json_t *out, struct err *e)
{
	struct world *world = world_get();
	int result = learn_all(s, world, asset_id, out, e);

	world_put(world);
	return result;
}
