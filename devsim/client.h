/*
 * client.h - an EST client (RFC 7030; RFC 9148 over CoAP): requests written, answers judged, and a blocking connection for one device.
 */
#ifndef DEVSIM_CLIENT_H
#define DEVSIM_CLIENT_H

#include <stdio.h>

#include "devsim/coapc_est.h"
#include "devsim/link.h"
#include "est/path.h"

/* --- one request ------------------------------------------------------- */

struct est_request {
	const struct url *url;
	const char *label;         /* "": none */
	enum est_op op;
	const char *authorization; /* the whole field value, or NULL */
	struct bytes body;         /* base64 already, where it is; ignored with GET */
	const char *type;          /* of a body that is no request for a certificate; NULL: application/pkcs10 */
	bool close;                /* the last one on its connection */
};

/* Head and body as they go on the wire, appended. */
void est_request_write(const struct est_request *request, struct buf *out);

/* "Basic ..." (RFC 7617), appended. ERR_MALFORMED: a colon in the user. */
MUST_USE int basic_authorization(const char *user, const char *secret, struct buf *out, struct err *e);

/* --- one answer -------------------------------------------------------- */

/* What a status means for an EST client, as an enum devsim_exit. */
int status_exit(int status);

/* The body of an answer without its base64, appended. ERR_MALFORMED: another media type, or not base64. */
MUST_USE int answer_octets(const struct http_answer *answer, const char *type, struct buf *out, struct err *e);
/* The certificates of a certs-only answer. The stack is the caller's. */
MUST_USE int answer_certs(const struct http_answer *answer, STACK_OF(X509) **out, struct err *e);
/* The certificate with this SubjectPublicKeyInfo, borrowed from the stack; NULL: none has it. */
X509 *certs_with_key(STACK_OF(X509) *certs, struct bytes spki);
/* Whether cert chains to the CA certificates (self-signed ones are roots, else the last in the chain); now. */
MUST_USE int chain_check(X509 *cert, STACK_OF(X509) *extra, STACK_OF(X509) *cas, struct err *e);
/* The first line of a text body, control characters escaped; "" when it is not text. */
void answer_reason(const struct http_answer *answer, char *out, size_t size);

/* --- one device's connection ------------------------------------------- */

struct client_options {
	const char *url;
	enum url_kind kind;
	const char *label;
	struct tls_options tls;
	int64_t timeout_s;  /* for connecting with its handshake, and for each exchange */
	uint64_t retries;   /* of a connection that could not be made; over CoAP also of an exchange without answer */
	struct coapc_options coap;
	FILE *trace;        /* heads of requests and answers, CoAP messages; NULL: none */
};

struct client {
	const struct client_options *options;
	struct target target;
	struct tls *tls;    /* NULL: plain HTTP */
	struct conn conn;
	struct lossy lossy; /* CoAP */
	struct proxy *link; /* NULL: the link as it is */
};

/* Settles options->coap; with --lossy starts the link. */
MUST_USE int client_open(struct client *client, struct client_options *options, struct err *e);
void client_close(struct client *client);
/* Connect and finish the handshake as this device (NULL: without a certificate). ERR_UPSTREAM: it did not work. */
MUST_USE int client_connect(struct client *client, const struct device *device, struct err *e);
/* Whether another request can be sent without connecting again. */
bool client_connected(const struct client *client);
/*
 * Send a request and wait for the whole answer, which stays in client->conn.answer until
 * the next one. url and label are filled in. ERR_UPSTREAM: the transport failed;
 * ERR_MALFORMED: the answer is not HTTP.
 */
MUST_USE int client_exchange(struct client *client, struct est_request *request, struct err *e);
/* The same of whatever request is in client->conn.out. */
MUST_USE int client_transact(struct client *client, struct err *e);
/* The same over CoAP; the answer is in client->conn.coap.answer. ERR_UPSTREAM: none came, ask again over a new connection. */
MUST_USE int client_coap(struct client *client, const struct coapc_request *request, struct err *e);

#endif
