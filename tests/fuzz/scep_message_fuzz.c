/*
 * pkiMessages: whatever is parsed keeps its header's promises, and whatever
 * fails leaves a reason and nothing else.
 */
#include <stdlib.h>
#include <string.h>

#include "base/key.h"
#include "scep/message.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct scep_recipient recipient;

static void
demand(bool condition)
{
	if (!condition)
		abort();
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct err e;

	(void)argc;
	(void)argv;
	demand(ossl_init(&e) == 0 && key_init(&e) == 0 && (scep_init(&e) == 0 || e.code == ERR_UNSUPPORTED));
	/* Short, because it is used for every input that verifies. */
	recipient.key = EVP_RSA_gen(1024);
	recipient.cert = X509_new();
	demand(recipient.key != NULL && recipient.cert != NULL);
	return 0;
}

static void
check_parsed(const struct scep_message *message)
{
	size_t i, len = strlen(message->transaction);

	demand(strcmp(scep_type_name(message->type), "unknown") != 0);
	demand(len >= 1 && len <= SCEP_TRANSACTION_MAX);
	for (i = 0; i < len; i++)
		demand(message->transaction[i] >= 0x20 && message->transaction[i] < 0x7f);
	demand(message->sender_nonce_len >= SCEP_NONCE_MIN && message->sender_nonce_len <= SCEP_NONCE_MAX);
	demand(message->type != SCEP_CERT_REP || (message->recipient_nonce_len >= SCEP_NONCE_MIN &&
						message->recipient_nonce_len <= SCEP_NONCE_MAX));
	demand(memchr(message->fail_text, '\0', sizeof message->fail_text) != NULL);
	demand(message->signer == NULL
		? scep_message_get0_rsa(message) != NULL && sk_X509_num(message->certs) == 0
		: sk_X509_num(message->certs) >= 1 && sk_X509_num(message->certs) <= SCEP_CERTS_MAX);
	demand(!message->self_signed && (message->has_content || message->cipher == 0));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(scep_message) struct scep_message *message = NULL;
	CLEANUP(buf) struct buf out = { 0 };
	enum scep_fail fail = SCEP_BAD_TIME;
	struct err e = { 0 };

	if (scep_message_parse(bytes_of(data, size), &message, &e) != 0) {
		demand(message == NULL && e.text[0] != '\0');
		demand(e.code == ERR_MALFORMED || e.code == ERR_LIMIT || e.code == ERR_UNSUPPORTED);
		return 0;
	}
	check_parsed(message);
	if (scep_message_verify(message, SCEP_DIGESTS | SCEP_CIPHERS, &fail, &e) != 0) {
		demand((e.code == ERR_UNSUPPORTED && fail == SCEP_BAD_ALG) ||
			(e.code == ERR_UNAUTHENTIC && fail == SCEP_BAD_MESSAGE_CHECK));
		demand(scep_message_open(message, &recipient, 1, &out, &e) != 0 && e.code == ERR_BUG);
		return 0;
	}
	if (scep_message_open(message, &recipient, 1, &out, &e) != 0)
		demand(e.code == ERR_UNAUTHENTIC && out.len == 0);
	else
		demand(out.len != 0);
	return 0;
}
