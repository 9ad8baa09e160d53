/* Transfers: one side offers, the other takes. */
#include <inttypes.h>
#include <string.h>

#include "gateway/core/admin_json.h"

static int
need_id(const struct admin_call *call, int64_t *out, struct err *e)
{
	*out = admin_int_or(call, "id", 0);
	return *out > 0 ? 0 : err_set(e, ERR_MALFORMED, "a transfer is named by its number; enrollctl transfer list --open has it");
}

int
admin_transfer_offer(struct admin_call *call, struct err *e)
{
	struct world *world = world_get();
	int64_t life_s = world->config->transfer_life_s, id = 0;
	const char *tag, *to;

	world_put(world);
	if (admin_text(call, "tag", &tag, e) != 0 || admin_text(call, "to", &to, e) != 0 ||
	    admin_duration(call, "expires", life_s, &life_s, e) != 0 ||
	    call->gateway->store_ops->transfer_offer(call->gateway->store, tag, to, admin_text_or(call, "reason", ""),
		    call->actor, call->now_s, call->now_s + life_s, &id, e) != 0)
		return -1;
	call->result = json_pack("{s:I, s:s, s:s, s:s, s:o}", "id", (json_int_t)id, "asset", tag, "to", to, "state",
		transfer_state_name(TRANSFER_OFFERED), "expires", json_of_time(call->now_s + life_s));
	return 0;
}

static const struct {
	const char *word;
	enum transfer_state to;
} words[] = { { "accept", TRANSFER_ACCEPTED }, { "decline", TRANSFER_DECLINED }, { "cancel", TRANSFER_CANCELLED } };

struct transfer_search {
	int64_t id;
	json_t *found;
};

static bool
keep_transfer(void *arg, const struct transfer_row *row)
{
	struct transfer_search *search = arg;

	if (row->id == search->id)
		search->found = json_of_transfer(row);
	return search->found == NULL;
}

int
admin_transfer_decide(struct admin_call *call, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	struct transfer_search search = { 0 };
	const char *word;
	size_t i = 0;

	if (need_id(call, &search.id, e) != 0 || admin_text(call, "to", &word, e) != 0)
		return -1;
	while (i < sizeof words / sizeof words[0] && strcmp(words[i].word, word) != 0)
		i++;
	if (i == sizeof words / sizeof words[0])
		return err_set(e, ERR_MALFORMED, "\"%.20s\" is not accept, decline or cancel", word);
	if (call->gateway->store_ops->transfer_decide(call->gateway->store, search.id, words[i].to,
		    admin_text_or(call, "reason", ""), call->actor, call->now_s, e) != 0)
		return -1;
	if (snapshot_begin(call, &s, e) == 0 &&
	    s.ops->transfer_list(s.read, NULL, false, call->now_s, keep_transfer, &search, e) == 0 && search.found != NULL)
		call->result = search.found;
	else /* among very many it is not in the list; it is done all the same */
		call->result = json_pack("{s:I, s:s}", "id", (json_int_t)search.id, "state",
			transfer_state_name(words[i].to));
	return 0;
}

static bool
emit_transfer(void *arg, const struct transfer_row *row)
{
	return admin_emit_row(arg, json_of_transfer(row));
}

int
admin_transfer_list(struct admin_call *call, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };

	if (snapshot_begin(call, &s, e) != 0)
		return -1;
	return s.ops->transfer_list(s.read, admin_text_or(call, "asset", NULL), admin_flag(call, "open"), call->now_s,
		emit_transfer, call, e);
}
