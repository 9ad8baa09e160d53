/*
 * A ClientHello where a connection is already: a device that restarted, or whose alert was lost, and that
 * comes from the same port. RFC 6347, section 4.2.8: the server "MUST NOT destroy the existing association until the
 * client has demonstrated reachability either by completing a cookie exchange or by completing a complete handshake".
 *
 * libcoap 4.3.1 hands every datagram of a known address to that address's OpenSSL, which drops records of an
 * older epoch. So they are seen on their way there, and OpenSSL makes and checks the cookie as libcoap has it do for
 * strangers: what was the answer to a verified cookie here is the same for libcoap, a retransmission later.
 */
#include "coap/context.h"

#include <string.h>

#include <openssl/err.h>

/* RFC 6347, section 4.1: a record's header; section 4.2.2: a handshake message's; then the version and the random. */
#define RECORD_HEADER  13
#define MESSAGE_HEADER 12
#define RANDOM_AT      (RECORD_HEADER + MESSAGE_HEADER + 2)
#define RANDOM_LEN     32

/* A handshake record of epoch 0 whose message is a ClientHello, from its first octet on. */
static bool
is_client_hello(struct bytes datagram)
{
	static const uint8_t nothing[3];
	const uint8_t *at = datagram.at;

	return datagram.len >= RANDOM_AT + RANDOM_LEN && at[0] == SSL3_RT_HANDSHAKE && memcmp(at + 3, nothing, 2) == 0 &&
		at[RECORD_HEADER] == SSL3_MT_CLIENT_HELLO && memcmp(at + RECORD_HEADER + 6, nothing, 3) == 0;
}

/*
 * BIO_callback_fn_ex: sees what a connection reads. The hello is kept until libcoap's turn has ended, because what follows
 * from it may free the connection. While it is being checked, it is read once more.
 */
static long
on_read(BIO *bio, int oper, const char *argp, size_t len, int argi, long argl, int ret, size_t *processed)
{
	struct coaps_slot *slot;
	struct coaps_hello *hello;

	(void)argi;
	(void)argl;
	if (oper != (BIO_CB_READ | BIO_CB_RETURN) || processed == NULL)
		return ret;
	slot = (struct coaps_slot *)(void *)BIO_get_callback_arg(bio);
	hello = &slot->context->hello;
	if (hello->again && hello->slot == slot && len >= hello->len) {
		hello->again = false;
		memcpy((char *)(uintptr_t)argp, hello->octets, hello->len);
		*processed = hello->len;
		BIO_clear_retry_flags(bio);
		return 1;
	}
	if (ret <= 0 || *processed > sizeof hello->octets || !is_client_hello(bytes_of(argp, *processed)))
		return ret;
	hello->slot = slot;
	hello->len = *processed;
	memcpy(hello->octets, argp, hello->len);
	return ret;
}

void
coaps_hello_watch(struct coaps_slot *slot)
{
	BIO *bio = SSL_get_rbio(slot->ssl);

	BIO_set_callback_arg(bio, (char *)slot);
	BIO_set_callback_ex(bio, on_read);
}

/* Of the handshake that this connection comes from: sent again, or a double on its way for long. */
static bool
is_its_own(const struct coaps_slot *slot, const struct coaps_hello *hello)
{
	uint8_t random[RANDOM_LEN];

	return SSL_get_client_random(slot->ssl, random, sizeof random) == sizeof random &&
		memcmp(random, hello->octets + RANDOM_AT, sizeof random) == 0;
}

/* Without a valid cookie the sender is sent one, and false returned. */
static bool
cookie_is_valid(struct coaps_slot *slot, struct coaps_hello *hello)
{
	BIO *bio = SSL_get_rbio(slot->ssl);
	SSL *listener = SSL_new(SSL_get_SSL_CTX(slot->ssl));
	BIO_ADDR *address = BIO_ADDR_new();
	bool valid = false;

	if (listener != NULL && address != NULL && BIO_up_ref(bio) == 1) {
		/* libcoap's cookie is made from the addresses of the session that the BIO belongs to. */
		SSL_set_bio(listener, bio, bio);
		hello->again = true;
		valid = DTLSv1_listen(listener, address) == 1;
		hello->again = false;
	}
	BIO_ADDR_free(address);
	SSL_free(listener);
	ERR_clear_error();
	return valid;
}

void
coaps_hello_consider(struct coaps_context *context, int64_t now_ms)
{
	struct coaps_hello *hello = &context->hello;
	struct coaps_slot *slot = hello->slot;

	if (slot == NULL)
		return;
	if (!is_its_own(slot, hello) && !coaps_slot_said_something(slot, now_ms - COAPS_LIVELY_MS) &&
	    cookie_is_valid(slot, hello)) {
		/* No alert: its keys are those that the device has lost. */
		SSL_set_quiet_shutdown(slot->ssl, 1);
		coaps_slot_end(slot);
		(void)atomic_fetch_add(&context->common->superseded, 1);
	}
	hello->slot = NULL;
}
