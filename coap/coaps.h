/*
 * coaps.h - EST over secure CoAP (RFC 9148): DTLS sessions, blockwise transfer,
 * separate responses; whole requests out, whole answers in.
 *
 * One libcoap context and one thread per core share each UDP port (libcoap 4.3 is
 * not thread-safe), and hand complete requests to a pool of workers, which call
 * the handler. Everything upward goes through that one pointer. The
 * prefix is coaps_, because coap_ is libcoap's own.
 */
#ifndef COAP_COAPS_H
#define COAP_COAPS_H

#include "base/ossl.h"
#include "est/bind.h"
#include "est/path.h"

#define COAPS_BODY_MAX    65536 /* octets of a request or an answer over all blocks; more is 4.13 */
#define COAPS_ROOT_MAX    64
#define COAPS_LISTEN_MAX  16

/* RFC 9148, section 4.1: crts sen sren att skg skc; draft-ietf-lamps-attestation-freshness: nonce. */
enum coaps_op {
	COAPS_OP_NONE = 0, /* discovery: /.well-known/core */
	COAPS_OP_CRTS,
	COAPS_OP_SEN,
	COAPS_OP_SREN,
	COAPS_OP_ATT,
	COAPS_OP_SKG,
	COAPS_OP_SKC,
	COAPS_OP_NONCE,
};
const char *coaps_op_name(enum coaps_op op); /* "crts", ...; "" for NONE */

/*
 * Content-Formats (RFC 9148, section 9.1; 62 is RFC 8710). application/est-attestation-freshness+cbor
 * has no number yet; until IANA gives it one, nonces go as what they are in any case: application/cbor (RFC 8949).
 */
#define COAPS_FORMAT_NONE           (-1)
#define COAPS_FORMAT_LINKS          40
#define COAPS_FORMAT_CBOR           60
#define COAPS_FORMAT_MULTIPART      62  /* application/multipart-core */
#define COAPS_FORMAT_KEY_CMS        280 /* application/pkcs7-mime; smime-type=server-generated-key */
#define COAPS_FORMAT_CERTS          281 /* application/pkcs7-mime; smime-type=certs-only */
#define COAPS_FORMAT_KEY            284 /* application/pkcs8 */
#define COAPS_FORMAT_CSRATTRS       285 /* application/csrattrs */
#define COAPS_FORMAT_CSR            286 /* application/pkcs10 */
#define COAPS_FORMAT_CERT           287 /* application/pkix-cert */

/* Who is at the other end of a DTLS session. Immutable and reference-counted with it. */
struct coaps_peer {
	X509 *cert;             /* NULL: none presented */
	STACK_OF(X509) *chain;  /* as sent, without the leaf; may be NULL */
	struct est_binding binding; /* tls-unique of the full handshake: RFC 9148, section 3 */
	char address[64];       /* "192.0.2.7", "2001:db8::7", without the port */
	char cipher[48];
};

/* One whole request. Valid during the handler's call only. */
struct coaps_request {
	enum coaps_op op;
	bool post;                     /* POST, not GET: says something of COAPS_OP_NONCE, which takes both */
	char label[EST_LABEL_MAX + 1]; /* "" when the path names none */
	int content_format;            /* COAPS_FORMAT_* or another number; COAPS_FORMAT_NONE: absent */
	int accept;                    /* the same */
	struct bytes body;
	const char *query;             /* of a discovery, its parts joined by "&"; "" otherwise */
	const struct coaps_peer *peer;
};

/* RFC 7252, section 5.6.1: "to prevent caching, it MUST explicitly include a Max-Age Option with a value of zero seconds." */
#define COAPS_NO_STORE (-1)

/* What the handler fills in; zeroed before. */
struct coaps_answer {
	int code;               /* 205 for 2.05, 403 for 4.03, ... */
	int content_format;     /* with a body */
	struct buf body;        /* a diagnostic payload (RFC 7252, section 5.5.2) when the code is an error */
	bool secret;            /* the body holds a private key: overwritten when it has been sent */
	int64_t max_age_s;      /* 0: the option is left out; COAPS_NO_STORE */
};

/*
 * Answers one request. Runs on any worker thread, many at a time, and may block: after a
 * moment the client gets an empty acknowledgement, then this answer as a separate
 * response (RFC 7252, section 5.2.2). Operation, path and method have been checked; formats have not.
 */
typedef void (*coaps_handler)(void *arg, const struct coaps_request *request, struct coaps_answer *answer);

/* TLS material of new sessions; swapped whole by coaps_server_reload(). Borrowed: references are taken. */
struct coaps_tls {
	X509 *cert;
	EVP_PKEY *key;                /* EC P-256 (RFC 9148, section 3) */
	const STACK_OF(X509) *chain;  /* sent along; may be NULL */
};

struct coaps_settings {
	const char *const *listen;    /* "[::]:5684", "127.0.0.1:0"; port 0 picks one */
	size_t listen_count;
	const char *const *roots;     /* beside "/.well-known/est": "/est"; each begins with "/" */
	size_t root_count;
	struct coaps_tls tls;
	int contexts;                 /* one thread each; 0: one per core */
	int workers;
	int sessions;                 /* per context, handshakes included */
	int handshakes;               /* per context */
	int session_timeout_s;        /* an idle session ends */
	int mtu;                      /* octets of a datagram's payload that we send at most; 1152 */
	int body_max;                 /* <= COAPS_BODY_MAX */
	int queue_max;                /* whole requests that wait for a worker; past it 5.03 with Max-Age */
	int separate_ms;              /* an answer later than this is preceded by an empty acknowledgement */
	int late_ms;                  /* later than this it is 5.03 with Max-Age, and the handler's answer goes nowhere; a
	                                 key that is being made is waited for */
	coaps_handler handler;
	void *arg;
	void (*log)(int level, const char *text); /* libcoap's own messages, escaped; level as in syslog(3) */
};

struct coaps_stats {
	int64_t sessions;             /* open now */
	int64_t handshakes_total, handshakes_failed_total;
	int64_t requests_total, duplicates_total, uploads_dropped_total, refused_full_total;
	int64_t superseded_total;     /* connections that gave way to a new handshake from their address and port */
};

struct coaps_server;

/* Binds every address or none. ERR_UPSTREAM says which and why. */
MUST_USE int coaps_server_start(const struct coaps_settings *settings, struct coaps_server **out, struct err *e);
int coaps_server_port(const struct coaps_server *server, size_t index); /* in the order of listen */
/* For new sessions; those that are open keep theirs. */
MUST_USE int coaps_server_reload(struct coaps_server *server, const struct coaps_tls *tls, struct err *e);
void coaps_server_stats(const struct coaps_server *server, struct coaps_stats *out);
/* No new sessions; what is under way is answered within grace_s; then everything closes. NULL is allowed. */
void coaps_server_stop(struct coaps_server *server, int64_t grace_s);

#endif
