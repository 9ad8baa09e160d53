#include "coap/context.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

/*
 * Slots hang on OpenSSL's connections: whichever way a handshake or a session ends, OpenSSL frees the
 * connection, and with it the slot. libcoap does not tell of every end.
 */
static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static int slot_index = -1; /* written once, in make_index() */

static void
slot_unlink(struct coaps_slot *slot)
{
	struct coaps_context *context = slot->context;

	if (slot->before == NULL)
		context->slots = slot->after;
	else
		slot->before->after = slot->after;
	if (slot->after != NULL)
		slot->after->before = slot->before;
	context->slot_count--;
	context->held -= slot->held;
}

/* CRYPTO_EX_free */
static void
slot_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	struct coaps_slot *slot = ptr;
	struct coaps_common *common;

	(void)parent;
	(void)ad;
	(void)idx;
	(void)argl;
	(void)argp;
	if (slot == NULL)
		return;
	common = slot->context->common;
	slot_unlink(slot);
	if (slot->context->hello.slot == slot)
		slot->context->hello.slot = NULL;
	coaps_jobs_forget_slot(slot->context, slot);
	(void)atomic_fetch_sub(&common->sessions, 1);
	if (slot->session == NULL) {
		(void)atomic_fetch_add(&common->handshakes_failed, 1);
	} else {
		coap_session_set_app_data(slot->session, NULL);
		(void)atomic_fetch_add(&common->uploads_dropped, (int64_t)coaps_exchange_forget(slot->exchange));
	}
	coaps_exchange_free(slot->exchange);
	coaps_identity_unref(slot->identity);
	free(slot);
	/*
	 * What ended this connection stays in OpenSSL's queue of errors, and libcoap would take it for the
	 * next connection's: one failed handshake could end somebody else's session.
	 */
	ERR_clear_error();
}

static void
make_index(void)
{
	slot_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, slot_free);
}

void
coaps_slot_end(struct coaps_slot *slot)
{
	/* During the handshake only OpenSSL knows the session: libcoap hangs it on the connection. */
	coap_session_disconnected(slot->session != NULL ? slot->session : SSL_get_app_data(slot->ssl),
		COAP_NACK_TLS_FAILED);
}

bool
coaps_slot_said_something(const struct coaps_slot *slot, int64_t since_ms)
{
	return slot->exchange != NULL && coaps_exchange_touched_ms(slot->exchange) > since_ms;
}

/*
 * When more places are taken than there are, the session that was quiet for longest gives way, unless a request of it
 * runs. It can come back with a handshake; who comes from a forged address does not get this far.
 */
static bool
make_room(struct coaps_context *context)
{
	struct coaps_slot *stalest = NULL;
	struct coaps_slot *slot;

	if (context->slot_count <= context->common->settings.sessions)
		return true;
	for (slot = context->slots; slot != NULL; slot = slot->after)
		if (slot->session != NULL && slot->jobs == 0 &&
		    (stalest == NULL || coaps_exchange_touched_ms(slot->exchange) <
			coaps_exchange_touched_ms(stalest->exchange)))
			stalest = slot;
	if (stalest == NULL)
		return false;
	coaps_slot_end(stalest);
	return true;
}

static struct coaps_slot *
slot_new(struct coaps_context *context, SSL *ssl)
{
	struct coaps_slot *slot = calloc(1, sizeof *slot);

	if (slot == NULL)
		return NULL;
	if (SSL_set_ex_data(ssl, slot_index, slot) != 1) {
		free(slot);
		return NULL;
	}
	slot->context = context;
	slot->ssl = ssl;
	slot->after = context->slots;
	if (slot->after != NULL)
		slot->after->before = slot;
	context->slots = slot;
	context->slot_count++;
	coaps_hello_watch(slot);
	(void)atomic_fetch_add(&context->common->sessions, 1);
	return slot;
}

/*
 * libcoap calls this from OpenSSL's ClientHello callback, after the cookie has come back: the address is real.
 * Returns 0 to end the handshake.
 */
static int
on_client_hello(void *tls, coap_dtls_pki_t *setup)
{
	struct coaps_context *context = setup->cn_call_back_arg;
	struct coaps_common *common = context->common;
	struct coaps_policy *policy;
	bool applied;

	if (atomic_load(&common->stopping) || SSL_get_ex_data(tls, slot_index) != NULL)
		return 0;
	/* The slot first, although it may be one too many: with the connection it goes, and clears its errors. */
	if (slot_new(context, tls) == NULL || !make_room(context)) {
		(void)atomic_fetch_add(&common->refused_full, 1);
		return 0;
	}
	(void)pthread_mutex_lock(&common->policy_lock);
	policy = coaps_policy_ref(common->policy);
	(void)pthread_mutex_unlock(&common->policy_lock);
	applied = coaps_policy_apply(policy, tls, common->settings.mtu);
	coaps_policy_unref(policy);
	return applied ? 1 : 0;
}

static void
on_connected(struct coaps_context *context, coap_session_t *session)
{
	const struct coaps_settings *settings = &context->common->settings;
	const struct coaps_exchange_limits limits = {
		.body_max = (size_t)settings->body_max,
		.message_max = (size_t)(settings->mtu - COAPS_RECORD_MAX),
	};
	SSL *ssl = coap_session_get_tls(session, NULL);
	struct coaps_slot *slot = ssl == NULL ? NULL : SSL_get_ex_data(ssl, slot_index);
	char address[sizeof ((struct coaps_peer *)0)->address];

	if (slot == NULL || slot->session != NULL)
		return;
	coaps_address_text(&coap_session_get_addr_remote(session)->addr.sa, address, sizeof address);
	slot->identity = coaps_identity_new(ssl, address);
	slot->exchange = coaps_exchange_new(&limits);
	if (slot->identity == NULL || slot->exchange == NULL) {
		/* Stays a handshake that never ended; its requests find nobody and are dropped. */
		coaps_exchange_free(slot->exchange);
		slot->exchange = NULL;
		return;
	}
	slot->session = session;
	coap_session_set_max_retransmit(session, COAP_DEFAULT_MAX_RETRANSMIT);
	coaps_exchange_touch(slot->exchange, coaps_now_ms());
	coap_session_set_app_data(session, slot);
	(void)atomic_fetch_add(&context->common->handshakes, 1);
}

static int
on_event(coap_session_t *session, const coap_event_t event)
{
	struct coaps_context *context = coap_get_app_data(coap_session_get_context(session));

	/* Everything else that libcoap tells follows from OpenSSL freeing the connection. */
	if (event == COAP_EVENT_SERVER_SESSION_NEW)
		coap_session_set_max_retransmit(session, COAPS_FLIGHTS_MAX);
	else if (event == COAP_EVENT_DTLS_CONNECTED)
		on_connected(context, session);
	return 0;
}

/* RFC 7252, section 4.3: "CoAP ping", which libcoap answers. */
static void
on_ping(coap_session_t *session, const coap_pdu_t *received, const coap_mid_t mid)
{
	struct coaps_slot *slot = coap_session_get_app_data(session);

	(void)received;
	(void)mid;
	if (slot != NULL)
		coaps_exchange_touch(slot->exchange, coaps_now_ms());
}

int
coaps_sessions_setup(struct coaps_context *context, struct err *e)
{
	const struct coaps_settings *settings = &context->common->settings;
	coap_dtls_pki_t pki = {
		.version = COAP_DTLS_PKI_SETUP_VERSION,
		.verify_peer_cert = 1,
		.cn_call_back_arg = context,
		.additional_tls_setup_call_back = on_client_hello,
		/* No key: the policy sets it, from memory, and from wherever it is kept. */
		.pki_key = { .key_type = COAP_PKI_KEY_ASN1 },
	};

	(void)pthread_once(&index_once, make_index);
	if (slot_index < 0)
		return err_ossl(e, ERR_NOMEM, "DTLS connections");
	coap_context_set_block_mode(context->coap, 0);
	coap_context_set_session_timeout(context->coap, (unsigned)settings->session_timeout_s);
	/*
	 * A session object is made for every first ClientHello, before its cookie. Sessions are limited in
	 * on_client_hello(): libcoap would let a forged one push an open session out.
	 */
	coap_context_set_max_idle_sessions(context->coap, 0);
	coap_context_set_max_handshake_sessions(context->coap, (unsigned)settings->handshakes);
	coap_register_event_handler(context->coap, on_event);
	coap_register_ping_handler(context->coap, on_ping);
	if (coap_context_set_pki(context->coap, &pki) != 1)
		return err_ossl(e, ERR_UPSTREAM, "DTLS of libcoap");
	return 0;
}

void
coaps_slot_account(struct coaps_slot *slot)
{
	struct coaps_context *context = slot->context;
	size_t held = coaps_exchange_held(slot->exchange);

	context->held += held - slot->held;
	slot->held = held;
	while (context->held > COAPS_HELD_MAX) {
		struct coaps_slot *stalest = NULL;
		struct coaps_slot *other;

		for (other = context->slots; other != NULL; other = other->after)
			if (other->held > 0 && (stalest == NULL || coaps_exchange_touched_ms(other->exchange) <
				coaps_exchange_touched_ms(stalest->exchange)))
				stalest = other;
		if (stalest == NULL)
			return;
		(void)atomic_fetch_add(&context->common->uploads_dropped, (int64_t)coaps_exchange_forget(stalest->exchange));
		context->held -= stalest->held;
		stalest->held = 0;
	}
}

/* libcoap takes every datagram from the address for a sign of life; here one has to be the peer's. */
static bool
is_idle(const struct coaps_slot *slot, int64_t since_ms)
{
	return slot->jobs == 0 && slot->answered_ms <= since_ms && !coaps_slot_said_something(slot, since_ms);
}

void
coaps_sessions_sweep(struct coaps_context *context, int64_t now_ms)
{
	int64_t idle_ms = (int64_t)context->common->settings.session_timeout_s * 1000;
	struct coaps_slot *slot, *after;

	for (slot = context->slots; slot != NULL; slot = after) {
		after = slot->after;
		if (slot->exchange == NULL)
			continue;
		(void)atomic_fetch_add(&context->common->uploads_dropped,
			(int64_t)coaps_exchange_expire(slot->exchange, now_ms));
		coaps_slot_account(slot);
		if (is_idle(slot, now_ms - idle_ms))
			coaps_slot_end(slot);
	}
}

bool
coaps_sessions_moving(const struct coaps_context *context, int64_t now_ms)
{
	const struct coaps_slot *slot;

	for (slot = context->slots; slot != NULL; slot = slot->after)
		if (slot->exchange != NULL && coaps_exchange_moving(slot->exchange, now_ms - COAPS_DRAIN_MS))
			return true;
	return false;
}
