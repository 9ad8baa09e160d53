#include "coap/context.h"

#include <string.h>

static const coap_request_t methods[] = {
	COAP_REQUEST_GET, COAP_REQUEST_POST, COAP_REQUEST_PUT, COAP_REQUEST_DELETE, COAP_REQUEST_FETCH,
	COAP_REQUEST_PATCH, COAP_REQUEST_IPATCH,
};

#define METHODS (sizeof methods / sizeof methods[0])

/* Borrowed from the PDU. One more than may be: that is seen, and refused, later. */
static size_t
collect_options(const coap_pdu_t *pdu, struct coaps_option options[COAPS_OPTIONS_MAX + 1])
{
	coap_opt_iterator_t iterator;
	coap_opt_t *option;
	size_t n = 0;

	(void)coap_option_iterator_init(pdu, &iterator, COAP_OPT_ALL);
	while (n <= COAPS_OPTIONS_MAX && (option = coap_option_next(&iterator)) != NULL) {
		options[n].number = iterator.number;
		options[n].value = bytes_of(coap_opt_value(option), coap_opt_length(option));
		n++;
	}
	return n;
}

static void
read_head(const coap_pdu_t *pdu, struct coaps_message *m)
{
	coap_bin_const_t token = coap_pdu_get_token(pdu);
	const uint8_t *data = NULL;
	size_t len = 0;

	m->confirmable = coap_pdu_get_type(pdu) == COAP_MESSAGE_CON;
	m->id = (uint16_t)coap_pdu_get_mid(pdu);
	m->token_len = token.length < sizeof m->token ? token.length : sizeof m->token;
	if (m->token_len > 0)
		memcpy(m->token, token.s, m->token_len);
	if (coap_get_data(pdu, &len, &data) == 1)
		m->payload = bytes_of(data, len);
}

static void
refuse(struct coaps_slot *slot, const struct coaps_message *m, int code, const char *why)
{
	struct coaps_reply reply = {
		.as = m->confirmable ? COAPS_SEND_ACK : COAPS_SEND_NON,
		.id = m->id,
		.token_len = m->token_len,
		.code = code,
		.content_format = COAPS_FORMAT_NONE,
		.payload = bytes_of_text(why),
	};

	memcpy(reply.token, m->token, m->token_len);
	coaps_reply_send(slot, &reply);
}

static void
answer_now(struct coaps_slot *slot, uint32_t ticket, struct coaps_answer *answer, int64_t now_ms)
{
	struct coaps_reply reply;

	if (coaps_exchange_answer(slot->exchange, ticket, answer, now_ms, &reply))
		coaps_reply_send(slot, &reply);
}

/* While stopping, only what had begun before is still taken. */
static bool
is_late(const struct coaps_common *common, const struct coaps_message *m)
{
	return atomic_load(&common->stopping) && !(m->has_block1 && m->block1.num > 0);
}

static void
run_request(struct coaps_slot *slot, const struct coaps_message *m, struct coaps_run *run, int64_t now_ms)
{
	struct coaps_common *common = slot->context->common;
	struct coaps_answer busy = { .code = 503, .max_age_s = COAPS_BUSY_MAX_AGE_S };

	if (is_late(common, m)) {
		buf_free_secret(&run->body);
		answer_now(slot, run->ticket, &busy, now_ms);
		return;
	}
	(void)atomic_fetch_add(&common->requests, 1);
	if (coaps_job_is_known(slot, m, buf_bytes(&run->body))) {
		buf_free_secret(&run->body);
		busy.max_age_s = COAPS_LATE_MAX_AGE_S;
		answer_now(slot, run->ticket, &busy, now_ms);
		return;
	}
	if (!coaps_job_begin(slot, m, run, now_ms)) {
		(void)atomic_fetch_add(&common->refused_full, 1);
		answer_now(slot, run->ticket, &busy, now_ms);
	}
}

static void
take_message(struct coaps_slot *slot, coap_session_t *session, const coap_pdu_t *pdu)
{
	struct coaps_common *common = slot->context->common;
	struct coaps_option options[COAPS_OPTIONS_MAX + 1];
	int64_t now_ms = coaps_now_ms();
	struct coaps_message m = { 0 };
	struct coaps_reply reply;
	struct coaps_run run;
	int code = 500;
	struct err e;

	read_head(pdu, &m);
	if (coaps_message_parse((int)coap_pdu_get_code(pdu), options, collect_options(pdu, options), common->settings.roots,
		common->settings.root_count, &m, &code, &e) != 0) {
		refuse(slot, &m, code, e.text);
		return;
	}
	switch (coaps_exchange_feed(slot->exchange, &m, now_ms, &reply, &run)) {
	case COAPS_STEP_REPLAY:
		(void)atomic_fetch_add(&common->duplicates, 1);
		coaps_reply_send(slot, &reply);
		break;
	case COAPS_STEP_REPLY:
		coaps_reply_send(slot, &reply);
		break;
	case COAPS_STEP_DUPLICATE:
		(void)atomic_fetch_add(&common->duplicates, 1);
		break;
	case COAPS_STEP_RUN:
		run_request(slot, &m, &run, now_ms);
		break;
	case COAPS_STEP_NOTHING:
	default:
		break;
	}
	/* Sending may have ended the connection, and the slot with it. */
	if (coap_session_get_app_data(session) == slot)
		coaps_slot_account(slot);
}

/*
 * Every request, whatever its path. The response that libcoap has prepared is never used: an empty
 * non-confirmable one is dropped, and what is to be said is sent as a message of our own.
 */
static void
on_request(coap_resource_t *resource, coap_session_t *session, const coap_pdu_t *request, const coap_string_t *query,
	coap_pdu_t *response)
{
	struct coaps_slot *slot = coap_session_get_app_data(session);

	(void)resource;
	(void)query;
	coap_pdu_set_type(response, COAP_MESSAGE_NON);
	coap_pdu_set_code(response, COAP_EMPTY_CODE);
	if (slot != NULL)
		take_message(slot, session, request);
}

static void
register_methods(struct coaps_context *context, coap_resource_t *resource)
{
	size_t i;

	for (i = 0; i < METHODS; i++)
		coap_register_request_handler(resource, methods[i], on_request);
	coap_add_resource(context->coap, resource);
}

int
coaps_requests_setup(struct coaps_context *context, struct err *e)
{
	coap_resource_t *core = coap_resource_init(coap_make_str_const(".well-known/core"), 0);
	coap_resource_t *rest = coap_resource_unknown_init2(on_request, 0);

	if (core != NULL)
		register_methods(context, core);
	if (rest != NULL)
		register_methods(context, rest);
	return core == NULL || rest == NULL ? err_set(e, ERR_NOMEM, "CoAP resources") : 0;
}
