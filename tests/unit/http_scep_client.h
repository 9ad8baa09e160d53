/*
 * http_scep_client.h - a SCEP client for the tests of the handler: one message out, one CertRep in, everything checked.
 */
#ifndef TESTS_UNIT_HTTP_SCEP_CLIENT_H
#define TESTS_UNIT_HTTP_SCEP_CLIENT_H

#include "tests/unit/http_scep_fixture.h"

/* One answer, taken apart. */
struct heard {
	struct buf all;
	int status;
	char type[64];
	struct bytes body;
};

static inline void
heard_free(struct heard *heard)
{
	buf_free(&heard->all);
}

static inline void
hear_answer(int fd, struct heard *out)
{
	char piece[4096];
	const char *end, *type;
	ssize_t n;

	*out = (struct heard){ 0 };
	while ((n = recv(fd, piece, sizeof piece, 0)) > 0)
		buf_append(&out->all, piece, (size_t)n);
	assert_int_equal(n, 0);
	assert_true(sscanf(buf_text(&out->all), "HTTP/1.1 %d ", &out->status) == 1);
	end = strstr(buf_text(&out->all), "\r\n\r\n");
	assert_non_null(end);
	type = strstr(buf_text(&out->all), "Content-Type: ");
	if (type != NULL && type < end)
		(void)sscanf(type, "Content-Type: %63[^\r]", out->type);
	out->body = bytes_of(end + 4, out->all.len - (size_t)(end + 4 - (const char *)out->all.at));
}

/* head without its end; HTTP/1.0, so that the connection's end is the answer's. */
static inline void
http(const char *line, struct bytes body, struct heard *out)
{
	const struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)here.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	CLEANUP(buf) struct buf request = { 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t at = 0;

	(void)pthread_mutex_lock(&stub_lock);
	(void)pthread_mutex_unlock(&stub_lock);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
	buf_printf(&request, "%s HTTP/1.0\r\nContent-Length: %zu\r\n\r\n", line, body.len);
	buf_append_bytes(&request, body);
	while (at < request.len) {
		ssize_t n = send(fd, request.at + at, request.len - at, MSG_NOSIGNAL);

		assert_true(n > 0);
		at += (size_t)n;
	}
	hear_answer(fd, out);
	(void)close(fd);
	(void)pthread_mutex_lock(&stub_lock);
	(void)pthread_mutex_unlock(&stub_lock);
}

struct exchange_of {
	struct scep_build build;
	X509 *recipient;
	const char *path;
	bool by_get;
	bool flip;               /* spoil the signature */
	uint8_t nonce[SCEP_NONCE_LEN];
	struct heard heard;
	struct scep_message *reply; /* NULL: none came */
	struct buf content;      /* of the reply, when it has any */
};

/* A good PKCSReq; change what the test is about. */
static inline struct exchange_of
pkcs_req(void)
{
	return (struct exchange_of){
		.build = { .type = SCEP_PKCS_REQ, .transaction = "tid/+= 1", .digest = SCEP_SHA256, .cipher = SCEP_AES128,
			.signer = here.device.cert, .signer_key = here.device.key, .content = buf_bytes(&here.csr) },
		.recipient = here.ra.cert,
		.path = "/scep",
	};
}

static inline void
read_reply(struct exchange_of *x)
{
	struct scep_recipient recipient = { .cert = x->build.signer, .key = x->build.signer_key };
	enum scep_fail fail;
	struct err e = { 0 };

	assert_string_equal(x->heard.type, "application/x-pki-message");
	if (scep_message_parse(x->heard.body, &x->reply, &e) != 0 ||
		scep_message_verify(x->reply, SCEP_DIGESTS | SCEP_CIPHERS, &fail, &e) != 0)
		fail_msg("reply: %s", e.text);
	assert_int_equal(x->reply->type, SCEP_CERT_REP);
	assert_int_equal(X509_cmp(x->reply->signer, here.ra.cert), 0);
	assert_string_equal(x->reply->transaction, x->build.transaction);
	assert_true(scep_nonce_matches(x->reply, bytes_of(x->nonce, sizeof x->nonce)));
	assert_int_equal(x->reply->sender_nonce_len, SCEP_NONCE_LEN);
	assert_memory_not_equal(x->reply->sender_nonce, x->nonce, SCEP_NONCE_LEN);
	if (x->reply->status == SCEP_SUCCESS && scep_message_open(x->reply, &recipient, 1, &x->content, &e) != 0)
		fail_msg("reply: %s", e.text);
}

static inline void
ask(struct exchange_of *x)
{
	CLEANUP(buf) struct buf der = { 0 };
	CLEANUP(buf) struct buf line = { 0 };
	struct err e = { 0 };

	x->build.recipients = sk_X509_new_null();
	assert_true(sk_X509_push(x->build.recipients, x->recipient) == 1);
	x->build.made_nonce = x->nonce;
	if (scep_build(&x->build, &der, &e) != 0)
		fail_msg("request: %s", e.text);
	sk_X509_free(x->build.recipients);
	if (x->flip)
		der.at[der.len - 1] ^= 1; /* the signature is the last value */
	buf_printf(&line, "%s %s?", x->by_get ? "GET" : "POST", x->path);
	scep_query_write(&line, SCEP_OP_PKI_OPERATION, x->by_get ? buf_bytes(&der) : bytes_of(NULL, 0));
	http(buf_text(&line), x->by_get ? bytes_of(NULL, 0) : buf_bytes(&der), &x->heard);
	if (x->heard.status == 200)
		read_reply(x);
}

static inline void
assert_succeeded(const struct exchange_of *x)
{
	if (x->reply == NULL)
		fail_msg("%.*s", (int)x->heard.all.len, (const char *)x->heard.all.at);
	if (x->reply->status != SCEP_SUCCESS)
		fail_msg("status %d, %s", x->reply->status, x->reply->fail_text);
}

/* The certificate that the pipeline gave, first of so many. */
static inline void
assert_issued(const struct exchange_of *x, int count)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	struct err e = { 0 };

	assert_succeeded(x);
	if (est_certs_decode(buf_bytes(&x->content), &certs, &e) != 0)
		fail_msg("content: %s", e.text);
	assert_int_equal(sk_X509_num(certs), count);
	assert_int_equal(X509_cmp(sk_X509_value(certs, 0), here.issued.cert), 0);
}

static inline void
assert_failed(const struct exchange_of *x, enum scep_fail fail, const char *text)
{
	assert_int_equal(x->heard.status, 200);
	assert_int_equal(x->reply->status, SCEP_FAILURE);
	assert_string_equal(scep_fail_name(x->reply->fail), scep_fail_name(fail));
	assert_string_equal(x->reply->fail_text, text);
	assert_false(x->reply->cipher != 0); /* a zero-length eContent, which certmonger wants */
}

static inline void
exchange_free(struct exchange_of *x)
{
	heard_free(&x->heard);
	scep_message_free(x->reply);
	buf_free(&x->content);
}

#endif
