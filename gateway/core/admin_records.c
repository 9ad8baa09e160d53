/* Requests, certificates, decisions, audit, status. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/pem.h>

#include "base/timefmt.h"
#include "gateway/core/admin_json.h"

#define HEAD_PAGE 10000 /* audit rows read at a time */
#define LIST_DEFAULT 1000
#define LIST_MAX 1000000

static bool
emit_request(void *arg, const struct request_row *row)
{
	return admin_emit_row(arg, json_of_request(row));
}

static int
list_limit(const struct admin_call *call)
{
	int64_t limit = admin_int_or(call, "limit", LIST_DEFAULT);

	if (limit < 1)
		return LIST_DEFAULT;
	return limit > LIST_MAX ? LIST_MAX : (int)limit;
}

int
admin_request_list(struct admin_call *call, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	const char *state = admin_text_or(call, "state", NULL);
	struct request_filter filter = { .state = -1,
		.after_id = admin_int_or(call, "after", 0),
		.limit = list_limit(call),
		.asset_tag = admin_text_or(call, "asset", NULL) };

	if (state != NULL && (filter.state = request_state_of(state)) < 0)
		return err_set(e, ERR_MALFORMED,
			"\"%.40s\" is not a request state (pending, approved, issued, denied, refused)", state);
	if (snapshot_begin(call, &s, e) != 0)
		return -1;
	return s.ops->request_list(s.read, &filter, emit_request, call, e);
}

static int
need_id(const struct admin_call *call, int64_t *out, struct err *e)
{
	*out = admin_int_or(call, "id", 0);
	return *out > 0 ? 0 : err_set(e, ERR_MALFORMED, "a request is named by its number");
}

int
admin_request_show(struct admin_call *call, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	CLEANUP(buf) struct buf csr = { 0 };
	CLEANUP(buf) struct buf pem = { 0 };
	struct request_row row;
	int64_t id;
	int found;

	if (need_id(call, &id, e) != 0 || snapshot_begin(call, &s, e) != 0)
		return -1;
	found = s.ops->request_by_id(s.read, id, &row, &csr, e);
	if (found <= 0)
		return found < 0 ? -1 : err_set(e, ERR_DENIED, "no request %" PRId64, id);
	call->result = json_of_request(&row);
	/* One that carries a challenge is not shown: whoever may approve a device need not be able to be it. */
	if (seal_is(buf_bytes(&csr))) {
		(void)json_object_set_new(call->result, "csr", json_null());
		return 0;
	}
	buf_append_text(&pem, "-----BEGIN CERTIFICATE REQUEST-----\n");
	base64_encode(&pem, buf_bytes(&csr), 64);
	buf_append_text(&pem, "-----END CERTIFICATE REQUEST-----\n");
	(void)json_object_set_new(call->result, "csr", json_string(buf_text(&pem)));
	return 0;
}

int
admin_request_decide(struct admin_call *call, struct err *e)
{
	bool approve = admin_flag(call, "approve");
	const char *reason = admin_text_or(call, "reason", "");
	int64_t id;

	if (need_id(call, &id, e) != 0)
		return -1;
	if (!approve && reason[0] == '\0')
		return err_set(e, ERR_MALFORMED, "a refusal needs a reason: --reason TEXT");
	if (call->gateway->store_ops->request_decide(call->gateway->store, id, approve, reason, call->actor,
		    call->now_s, e) != 0)
		return -1;
	call->result = json_pack("{s:I, s:s}", "id", (json_int_t)id, "state", approve ? "approved" : "refused");
	return 0;
}

static bool
emit_cert(void *arg, const struct cert_row *row)
{
	return admin_emit_row(arg, json_of_cert(row));
}

int
admin_cert_list(struct admin_call *call, struct err *e)
{
	static const char *const statuses[] = { [CERT_VALID] = "valid", [CERT_REVOKED] = "revoked", [CERT_HELD] = "held" };
	CLEANUP(snapshot) struct snapshot s = { 0 };
	const char *status = admin_text_or(call, "status", NULL);
	const char *before = admin_text_or(call, "expires_before", NULL);
	struct cert_filter filter = { .status = -1,
		.after_id = admin_int_or(call, "after", 0),
		.limit = list_limit(call),
		.asset_tag = admin_text_or(call, "asset", NULL) };
	int i;

	for (i = 0; status != NULL && i < 3; i++)
		if (strcmp(statuses[i], status) == 0)
			filter.status = i;
	if (status != NULL && filter.status < 0)
		return err_set(e, ERR_MALFORMED, "\"%.40s\" is not a status (valid, revoked, held)", status);
	if (before != NULL && time_parse(before, &filter.expires_before_s, e) != 0)
		return -1;
	if (snapshot_begin(call, &s, e) != 0)
		return -1;
	return s.ops->cert_list(s.read, &filter, emit_cert, call, e);
}

struct cert_search {
	const char *ca; /* NULL: any */
	struct cert_row *out;
	int count;
};

static bool
keep_cert(void *arg, const struct cert_row *row)
{
	struct cert_search *search = arg;

	if (search->ca == NULL || strcmp(search->ca, row->ca) == 0) {
		*search->out = *row;
		search->count++;
	}
	return true;
}

/* By serial number, which is unique for each CA only: revoking a namesake would be worse than asking again. */
static int
find_cert(const struct admin_call *call, const struct snapshot *s, struct cert_row *out, struct err *e)
{
	struct cert_filter filter = { .status = -1, .limit = LIST_DEFAULT };
	struct cert_search search = { .ca = admin_text_or(call, "ca", NULL), .out = out };

	if (admin_text(call, "serial", &filter.serial, e) != 0 ||
	    s->ops->cert_list(s->read, &filter, keep_cert, &search, e) != 0)
		return -1;
	if (search.count > 1)
		return err_set(e, ERR_DENIED, "%d CAs have a certificate with serial %.60s: name one with --ca",
			search.count, filter.serial);
	return search.count == 1 ? 0 : err_set(e, ERR_DENIED, "no certificate with serial %.60s", filter.serial);
}

int
admin_cert_show(struct admin_call *call, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	CLEANUP(buf) struct buf der = { 0 };
	CLEANUP(buf) struct buf pem = { 0 };
	struct cert_row row;

	if (snapshot_begin(call, &s, e) != 0 || find_cert(call, &s, &row, e) != 0)
		return -1;
	if (s.ops->cert_der(s.read, row.id, &der, e) != 1)
		return err_set(e, ERR_UPSTREAM, "the certificate's octets cannot be read");
	buf_append_text(&pem, "-----BEGIN CERTIFICATE-----\n");
	base64_encode(&pem, buf_bytes(&der), 64);
	buf_append_text(&pem, "-----END CERTIFICATE-----\n");
	call->result = json_of_cert(&row);
	(void)json_object_set_new(call->result, "pem", json_string(buf_text(&pem)));
	return 0;
}

int
admin_cert_revoke(struct admin_call *call, struct err *e)
{
	struct cert_row row;
	const char *reason;

	if (admin_text(call, "reason", &reason, e) != 0)
		return -1;
	{
		CLEANUP(snapshot) struct snapshot s = { 0 };

		if (snapshot_begin(call, &s, e) != 0 || find_cert(call, &s, &row, e) != 0)
			return -1;
	}
	if (call->gateway->store_ops->cert_revoke(call->gateway->store, row.id, reason, call->actor, call->now_s,
		    e) != 0)
		return -1;
	call->result = json_pack("{s:s, s:s}", "serial", row.serial, "status", "revoked");
	return 0;
}

static bool
emit_audit(void *arg, const struct audit_row *row)
{
	return admin_emit_row(arg, json_of_audit(row));
}

int
admin_audit_list(struct admin_call *call, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	int64_t after = admin_int_or(call, "after", -1);

	if (snapshot_begin(call, &s, e) != 0)
		return -1;
	return s.ops->audit_list(s.read, after < 0 ? 0 : after, list_limit(call), after < 0, emit_audit, call, e);
}

static void
emit_verify_progress(void *arg, int64_t done, int64_t total)
{
	struct admin_call *call = arg;

	(void)call->emit(call->emit_arg, json_pack("{s:{s:I, s:I, s:I}}", "progress", "rows", (json_int_t)done,
						 "done", (json_int_t)done, "total", (json_int_t)total));
}

/* Where in the chain a head stands that was written down earlier. */
struct head_search {
	uint8_t head[32];
	int64_t seen, found; /* row numbers; found 0: not yet */
};

static bool
compare_head(void *arg, const struct audit_row *row)
{
	struct head_search *search = arg;

	search->seen = row->seq;
	if (memcmp(search->head, row->hash, sizeof search->head) == 0)
		search->found = row->seq;
	return search->found == 0;
}

static int
find_head(const struct snapshot *s, const char *text, int64_t *row, struct err *e)
{
	struct head_search search = { .seen = 0 };
	int64_t before = -1;

	if (hex_decode(bytes_of_text(text), search.head, sizeof search.head, e) != 0)
		return err_prefix(e, "--head");
	while (search.found == 0 && search.seen != before) {
		before = search.seen;
		if (s->ops->audit_list(s->read, before, HEAD_PAGE, false, compare_head, &search, e) != 0)
			return -1;
	}
	if (search.found == 0)
		return err_set(e, ERR_DENIED, "the chain holds, but the head you wrote down is not in it: it was rewritten");
	*row = search.found;
	return 0;
}

int
admin_audit_verify(struct admin_call *call, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	struct audit_report report = { 0 };
	const char *head = admin_text_or(call, "head", NULL);
	int64_t head_row = 0;
	char hex[65];

	if (snapshot_begin(call, &s, e) != 0 ||
	    s.ops->audit_verify(s.read, emit_verify_progress, call, &report, e) != 0)
		return -1;
	hex_encode(bytes_of(report.head, 32), hex);
	if (report.bad_seq != 0)
		return err_set(e, ERR_DENIED, "the audit chain is broken at row %" PRId64 ": %.150s", report.bad_seq,
			report.problem);
	if (head != NULL && find_head(&s, head, &head_row, e) != 0)
		return -1;
	call->result = json_pack("{s:I, s:s, s:I}", "rows", (json_int_t)report.rows, "head", hex, "head_row",
		(json_int_t)head_row);
	return 0;
}

int
admin_status(struct admin_call *call, struct err *e)
{
	struct world *world = world_get();
	struct store_stats stats;

	(void)e;
	call->gateway->store_ops->stats(call->gateway->store, &stats);
	call->result = json_pack("{s:I, s:s, s:s, s:s, s:b, s:I, s:I, s:i}", "pid", (json_int_t)getpid(),
		"configuration", world->config->path, "policy_version", world->config->version, "store",
		call->gateway->store_ops->name, "store_failing", stats.failing, "commits", (json_int_t)stats.commits,
		"writes", (json_int_t)stats.writes, "queued_writes", stats.queue);
	world_put(world);
	return 0;
}
