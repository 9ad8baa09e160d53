/*
 * outbound.h - HTTPS calls from the gateway to services that the operator named.
 *
 * One struct outbound per service: who it is, whom it trusts, how long it may
 * take and how much it may say. What comes back is hostile until it was parsed.
 * No redirects, no proxies from the environment, no cookies, no compression,
 * no protocol but HTTPS (plain HTTP to 127.0.0.1 and [::1] where a setting says
 * so), TLS 1.2 or newer, HTTP/1.1.
 *
 * outbound_call() and outbound_reach() may be called from any thread; open and
 * close may not run beside them. Nothing here logs or reads the wall clock.
 * The first outbound_open() of a process initialises libcurl, which is global.
 * The process ignores SIGPIPE: libcurl leaves signals alone here.
 */
#ifndef GATEWAY_OUTBOUND_OUTBOUND_H
#define GATEWAY_OUTBOUND_OUTBOUND_H

#include "base/bytes.h"

#define OUTBOUND_URL_MAX     2048      /* octets */
#define OUTBOUND_HEADERS_MAX 16        /* headers of a request */
#define OUTBOUND_HEADER_MAX  16384     /* octets of one header of a request; bearer tokens can be long */
#define OUTBOUND_ANSWER_MAX  (1 << 20) /* octets; the most answer_max may be */
#define OUTBOUND_HEAD_MAX    32768     /* octets of an answer's status lines and headers */
#define OUTBOUND_CALLS_MAX   64        /* calls under way at once, unless calls_max says less */
#define OUTBOUND_IDLE_MAX    16        /* connections kept for later */
#define OUTBOUND_IDLE_S      20        /* and how long; most servers close after 60 s or more */
#define OUTBOUND_DEADLINE_MAX_MS 300000
#define OUTBOUND_RETRY_MAX_S 86400

struct outbound; /* opened by outbound_open() */

/* Everything is copied. */
struct outbound_settings {
	const char *name;      /* starts every error text: "mdm intune" */
	const char *base_url;  /* https://host[:port][/path][?query], without user, password and fragment */
	const char *ca_file;   /* PEM: the only certificates that are trusted; read once */
	bool system_trust;     /* instead of ca_file: what the system trusts */
	bool allow_plain;      /* http:// too, to 127.0.0.1 and [::1] only */
	const char *cert_file; /* client certificate, PEM, chain after it; NULL: none */
	const char *key_file;  /* its key, PEM, named as secret.h has it; both are read once */
	int64_t connect_ms;    /* name, TCP and TLS together; 1 to deadline_ms */
	int64_t deadline_ms;   /* a whole call; 1 to OUTBOUND_DEADLINE_MAX_MS */
	size_t answer_max;     /* octets of a body; 1 to OUTBOUND_ANSWER_MAX */
	size_t calls_max;      /* calls under way at once; 0: OUTBOUND_CALLS_MAX */
};

struct outbound_header {
	const char *name;
	const char *value; /* the copy made for libcurl is overwritten after the call */
};

struct outbound_request {
	const char *method;      /* "GET", "POST", ... */
	const char *path_or_url; /* NULL or "": base_url itself; "/...": after base_url's path; else an absolute URL */
	const struct outbound_header *headers;
	size_t header_count;
	struct bytes body;       /* at NULL: no body */
	int64_t deadline_ms;     /* 0: the client's; never more than that */
	/* For what must not happen twice: a request with a body is not sent again when a kept connection turns out
	   to be dead. sent, when not NULL, says after a failure whether any of it may have reached the service. */
	bool once;
	bool *sent;
};

struct outbound_answer {
	int status;              /* 100-599 as the service gave it; nothing is judged here */
	struct buf body;         /* free with outbound_answer_free(), which overwrites it */
	char content_type[64];   /* media type in lower case without parameters, escaped; "": none */
	int64_t retry_after_s;   /* Retry-After, at most OUTBOUND_RETRY_MAX_S; 0: none */
	char location[256];      /* Location as it was sent, escaped; "": none, or too long. Nothing follows it by itself */
};
void outbound_answer_free(struct outbound_answer *answer);

static inline void
outbound_answer_auto(struct outbound_answer *answer)
{
	outbound_answer_free(answer);
}

/*
 * Checks the settings and the files they name; nothing is sent. *out is the caller's.
 *
 * ERR_MALFORMED  a setting is wrong
 * ERR_UPSTREAM   a file is missing, is no PEM, or may be read by others
 */
MUST_USE int outbound_open(const struct outbound_settings *settings, struct outbound **out, struct err *e);
void outbound_close(struct outbound *client); /* NULL is allowed; no call may be under way */
DEFINE_CLEANUP(outbound, struct outbound *, outbound_close);

/*
 * One request, one answer with any status. *out is untouched on failure.
 *
 * ERR_UPSTREAM  no complete answer within deadline and limits, or too many calls under way; the text says what to check
 * ERR_MALFORMED a URL or header that must not be sent
 */
MUST_USE int outbound_call(struct outbound *client, const struct outbound_request *request,
	struct outbound_answer *out, struct err *e);

/* Connect to url (NULL: base_url), verify the certificate, send no request. Errors as outbound_call(). */
MUST_USE int outbound_reach(struct outbound *client, const char *url, struct err *e);

/* Would outbound_call() send to this URL? ERR_MALFORMED says why not. For settings. */
MUST_USE int outbound_url_check(const char *url, bool allow_plain, struct err *e);
/* The host of a URL, lower case, as libcurl understands it. ERR_MALFORMED; ERR_LIMIT when it does not fit. */
MUST_USE int outbound_url_host(const char *url, char *out, size_t size, struct err *e);

#endif
