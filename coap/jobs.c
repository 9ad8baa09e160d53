#include "coap/context.h"

#include <stdlib.h>
#include <string.h>

/* RFC 7252, section 3: three bits of class, five of detail. */
static coap_pdu_code_t
wire_code(int code)
{
	return (coap_pdu_code_t)(code / 100 << 5 | code % 100);
}

/* Adds an option that holds a number (RFC 7252, section 3.2). */
static bool
add_number(coap_pdu_t *pdu, uint16_t option, uint32_t number)
{
	uint8_t value[4];

	return coap_add_option(pdu, option, coap_encode_var_safe(value, sizeof value, number), value) != 0;
}

static bool
add_block(coap_pdu_t *pdu, uint16_t option, const struct coaps_block *block)
{
	uint8_t value[3];

	return coap_add_option(pdu, option, coaps_block_encode(block, value), value) != 0;
}

/* Options in the order of their numbers. */
static bool
fill(coap_pdu_t *pdu, const struct coaps_reply *reply)
{
	uint32_t max_age = reply->max_age_s < 0 ? 0 : reply->max_age_s > UINT32_MAX ? UINT32_MAX : (uint32_t)reply->max_age_s;

	return (reply->token_len == 0 || coap_add_token(pdu, reply->token_len, reply->token) == 1) &&
		(reply->content_format < 0 ||
			add_number(pdu, COAP_OPTION_CONTENT_FORMAT, (uint32_t)reply->content_format)) &&
		(reply->max_age_s == 0 || add_number(pdu, COAP_OPTION_MAXAGE, max_age)) &&
		(!reply->has_block2 || add_block(pdu, COAP_OPTION_BLOCK2, &reply->block2)) &&
		(!reply->has_block1 || add_block(pdu, COAP_OPTION_BLOCK1, &reply->block1)) &&
		(!reply->has_size1 || add_number(pdu, COAP_OPTION_SIZE1, reply->size1)) &&
		(reply->payload.len == 0 || coap_add_data(pdu, reply->payload.len, reply->payload.at) == 1);
}

void
coaps_reply_send(struct coaps_slot *slot, const struct coaps_reply *reply)
{
	coap_session_t *session = slot->session;
	bool own_id = reply->as != COAPS_SEND_ACK;
	coap_pdu_t *pdu;

	/* To a session that has ended libcoap would open one of its own, as a client. */
	if (session == NULL || coap_session_get_state(session) != COAP_SESSION_STATE_ESTABLISHED)
		return;
	pdu = coap_pdu_init(reply->as == COAPS_SEND_ACK ? COAP_MESSAGE_ACK
			: reply->as == COAPS_SEND_CON ? COAP_MESSAGE_CON : COAP_MESSAGE_NON,
		wire_code(reply->code), own_id ? coap_new_message_id(session) : reply->id,
		coap_session_max_pdu_size(session));
	if (pdu == NULL)
		return;
	if (!fill(pdu, reply)) {
		coap_delete_pdu(pdu);
		return;
	}
	(void)coap_send(session, pdu);
}

static void
job_unlink(struct coaps_job *job)
{
	struct coaps_context *context = job->context;

	if (context->waiting == job)
		context->waiting = job->after;
	if (context->hopeful == job)
		context->hopeful = job->after;
	if (job->before == NULL)
		context->jobs = job->after;
	else
		job->before->after = job->after;
	if (job->after == NULL)
		context->jobs_end = job->before;
	else
		job->after->before = job->before;
}

static void
job_free(struct coaps_job *job)
{
	job_unlink(job);
	if (job->slot != NULL)
		job->slot->jobs--;
	coap_session_release(job->session);
	coaps_identity_unref(job->identity);
	buf_free_secret(&job->body);
	buf_free_secret(&job->work.answer.body);
	free(job);
}

bool
coaps_job_begin(struct coaps_slot *slot, const struct coaps_message *m, struct coaps_run *run, int64_t now_ms)
{
	struct coaps_context *context = slot->context;
	struct coaps_job *job = calloc(1, sizeof *job);

	if (job == NULL) {
		buf_free_secret(&run->body);
		return false;
	}
	job->context = context;
	job->slot = slot;
	job->session = coap_session_reference(slot->session);
	job->identity = coaps_identity_ref(slot->identity);
	job->body = run->body;
	run->body = (struct buf){ 0 };
	job->ticket = run->ticket;
	job->since_ms = now_ms;
	job->work.request.op = m->target.op;
	job->work.request.post = m->target.method == COAPS_POST;
	memcpy(job->work.request.label, m->target.label, sizeof job->work.request.label);
	job->work.request.content_format = run->content_format;
	job->work.request.accept = run->accept;
	memcpy(job->query, m->query, sizeof job->query);
	job->work.request.query = job->query;
	job->work.request.body = buf_bytes(&job->body);
	job->work.request.peer = coaps_identity_peer(job->identity);
	job->before = context->jobs_end;
	if (job->before == NULL)
		context->jobs = job;
	else
		job->before->after = job;
	context->jobs_end = job;
	if (context->waiting == NULL)
		context->waiting = job;
	if (context->hopeful == NULL)
		context->hopeful = job;
	slot->jobs++;
	if (coaps_pool_put(context->common->pool, &job->work))
		return true;
	job_free(job);
	return false;
}

void
coaps_job_done(struct coaps_work *work)
{
	struct coaps_context *context = ((struct coaps_job *)work)->context;

	(void)pthread_mutex_lock(&context->done_lock);
	work->next = context->done;
	context->done = work;
	(void)pthread_mutex_unlock(&context->done_lock);
	coaps_context_wake(context);
}

static void
deliver(struct coaps_job *job, int64_t now_ms)
{
	struct coaps_answer *answer = &job->work.answer;
	struct coaps_slot *slot = job->slot;
	struct coaps_reply reply;

	if (slot == NULL)
		return;
	/* A handler that says nothing, or too much, has failed. */
	if (answer->code < 200 || answer->code >= 600 || buf_failed(&answer->body) ||
	    answer->body.len > COAPS_BODY_MAX) {
		buf_free_secret(&answer->body);
		answer->code = 500;
		answer->max_age_s = 0;
	}
	slot->answered_ms = now_ms;
	if (coaps_exchange_answer(slot->exchange, job->ticket, answer, now_ms, &reply))
		coaps_reply_send(slot, &reply);
	/* Sending may have ended the connection. */
	if (job->slot != NULL)
		coaps_slot_account(job->slot);
}

void
coaps_jobs_deliver(struct coaps_context *context, int64_t now_ms)
{
	struct coaps_work *done;

	(void)pthread_mutex_lock(&context->done_lock);
	done = context->done;
	context->done = NULL;
	(void)pthread_mutex_unlock(&context->done_lock);
	while (done != NULL) {
		struct coaps_job *job = (struct coaps_job *)done;

		done = done->next;
		deliver(job, now_ms);
		job_free(job);
	}
}

bool
coaps_job_is_known(const struct coaps_slot *slot, const struct coaps_message *m, struct bytes body)
{
	const struct coaps_job *job;

	for (job = slot->context->jobs; job != NULL; job = job->after)
		if (job->late && job->work.request.op == m->target.op &&
		    strcmp(job->work.request.label, m->target.label) == 0 && bytes_equal(buf_bytes(&job->body), body) &&
		    X509_cmp(job->work.request.peer->cert, coaps_identity_peer(slot->identity)->cert) == 0)
			return true;
	return false;
}

/* The key would be lost with its answer, and made anew. */
static bool
makes_key(const struct coaps_job *job)
{
	return job->work.request.op == COAPS_OP_SKG || job->work.request.op == COAPS_OP_SKC;
}

/*
 * RFC 9148, section 4.7: "If the server is very slow [...] it SHOULD respond with [...] 5.03 (Service unavailable) and a
 * Max-Age Option". The worker goes on: the identical request will find what came of this one.
 */
static void
give_up(struct coaps_job *job, int64_t now_ms)
{
	struct coaps_answer answer = { .code = 503, .max_age_s = COAPS_LATE_MAX_AGE_S };
	struct coaps_reply reply;

	job->late = true;
	buf_append_text(&answer.body, "this takes longer");
	if (job->slot != NULL && coaps_exchange_answer(job->slot->exchange, job->ticket, &answer, now_ms, &reply))
		coaps_reply_send(job->slot, &reply);
	buf_free(&answer.body);
}

static int64_t
give_up_late(struct coaps_context *context, int64_t now_ms)
{
	int64_t late_ms = context->common->settings.late_ms;

	while (context->hopeful != NULL && context->hopeful->since_ms + late_ms <= now_ms) {
		struct coaps_job *job = context->hopeful;

		context->hopeful = job->after;
		if (!makes_key(job))
			give_up(job, now_ms);
	}
	return context->hopeful == NULL ? INT64_MAX : context->hopeful->since_ms + late_ms;
}

int64_t
coaps_jobs_delay(struct coaps_context *context, int64_t now_ms)
{
	int64_t separate_ms = context->common->settings.separate_ms;
	int64_t late_by_ms = give_up_late(context, now_ms);
	int64_t separate_by_ms;

	while (context->waiting != NULL && context->waiting->since_ms + separate_ms <= now_ms) {
		struct coaps_job *job = context->waiting;
		struct coaps_reply reply;

		context->waiting = job->after;
		if (job->slot != NULL && coaps_exchange_delay(job->slot->exchange, job->ticket, &reply))
			coaps_reply_send(job->slot, &reply);
	}
	separate_by_ms = context->waiting == NULL ? INT64_MAX : context->waiting->since_ms + separate_ms;
	return separate_by_ms < late_by_ms ? separate_by_ms : late_by_ms;
}

void
coaps_jobs_forget_slot(struct coaps_context *context, const struct coaps_slot *slot)
{
	struct coaps_job *job;

	if (slot->jobs == 0)
		return;
	for (job = context->jobs; job != NULL; job = job->after) {
		if (job->slot != slot)
			continue;
		job->slot = NULL;
		/* While anybody refers to it, libcoap keeps the session, and nobody gets in from its address. */
		coap_session_release(job->session);
		job->session = NULL;
	}
}

void
coaps_jobs_free(struct coaps_context *context)
{
	context->done = NULL;
	while (context->jobs != NULL)
		job_free(context->jobs);
}
