#include "devsim/enroll_tpm_ask.h"

#include <stdlib.h>

#include "devsim/devsim.h"

int
enroll_tpm_octets(const json_t *object, const char *key, struct buf *out, struct err *e)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_string(value) ||
	    base64url_decode(bytes_of(json_string_value(value), json_string_length(value)), out, e) != 0)
		return err_set(e, ERR_MALFORMED, "\"%s\" is not there, or not base64url", key);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for \"%s\"", key) : 0;
}

int
enroll_tpm_set(json_t *object, const char *key, struct bytes octets, struct err *e)
{
	CLEANUP(buf) struct buf text = { 0 };

	base64url_encode(&text, octets);
	if (buf_failed(&text) || json_object_set_new(object, key, json_string(buf_text(&text))) != 0)
		return err_set(e, ERR_NOMEM, "no memory for \"%s\"", key);
	return 0;
}

/* The answer's object, if it says yes. */
static int
judge(struct enroll_run *run, enum est_op op, json_t **out, struct err *e)
{
	const struct http_answer *answer = &run->client.conn.answer;
	json_t *object;

	run->status = answer->status;
	run->retry_after_s = http_retry_after_s(answer, time_now_s());
	answer_reason(answer, run->reason, sizeof run->reason);
	if (answer->status != 200) {
		run->tpm.refused = status_exit(answer->status);
		if (run->tpm.refused == DEVSIM_OK || run->tpm.refused == DEVSIM_PENDING)
			run->tpm.refused = DEVSIM_SERVER;
		return err_set(e, run->tpm.refused == DEVSIM_REFUSED ? ERR_DENIED : ERR_UPSTREAM, "/%s: HTTP %d%s%s",
			est_op_name(op), answer->status, run->reason[0] == '\0' ? "" : ": ", run->reason);
	}
	object = json_loadb((const char *)answer->body.at, answer->body.len, 0, NULL);
	if (json_is_object(object)) {
		*out = object;
		return 0;
	}
	json_decref(object);
	run->tpm.refused = DEVSIM_MALFORMED;
	return err_set(e, ERR_MALFORMED, "/%s: the answer is not a JSON object", est_op_name(op));
}

int
enroll_tpm_ask(struct enroll_run *run, enum est_op op, const json_t *body, const char *type, json_t **out, struct err *e)
{
	struct est_request request = { .op = op, .type = type };
	char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
	int result = 0;

	if (body != NULL && text == NULL)
		return err_set(e, ERR_NOMEM, "no memory for a question");
	if (text != NULL)
		request.body = bytes_of_text(text);
	if (!client_connected(&run->client))
		result = client_connect(&run->client, run->has_device ? &run->device : NULL, e);
	if (result == 0)
		result = client_exchange(&run->client, &request, e);
	free(text);
	if (result == 0)
		return judge(run, op, out, e);
	run->tpm.refused = DEVSIM_SERVER;
	return -1;
}
