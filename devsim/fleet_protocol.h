/*
 * fleet_protocol.h - what a fleet leaves to the protocol its devices speak; the machinery knows no more of it.
 */
#ifndef DEVSIM_FLEET_PROTOCOL_H
#define DEVSIM_FLEET_PROTOCOL_H

#include "devsim/fleet.h"

enum fleet_outcome { FLEET_OK, FLEET_PENDING, FLEET_REFUSED, FLEET_FAILED };

struct fleet_protocol {
	const char *name;           /* as in FLEET_PROTOCOLS */
	enum url_kind url;
	bool client_certificate;    /* devices show theirs in the TLS handshake */

	/* Whether the options make sense with it. ERR_MALFORMED says what does not. */
	int (*check)(const struct fleet_options *options, struct err *e);
	/* Once, with the devices read: what requests need of the server. May wait. NULL: nothing. */
	int (*open)(struct fleet *fleet, struct err *e);
	void (*close)(struct fleet *fleet); /* NULL: nothing */
	/* Key and request of one operation; a key that is there is used. binding: "" for none. */
	int (*make)(const struct fleet *fleet, size_t device, const char *binding, struct prepared *out, struct err *e);
	/*
	 * Put the whole request where conn_send() looks for it, close saying that it is the connection's
	 * last; prepared NULL with FLEET_CACERTS.
	 */
	void (*write)(const struct fleet *fleet, const struct prepared *prepared, bool close, struct conn *conn);
	/*
	 * What the connection's answer means. FLEET_OK of an enrollment: there is a certificate for the request's key
	 * in it, and issued gets the certs-only message. Otherwise *e has the words for the report.
	 */
	enum fleet_outcome (*judge)(const struct fleet *fleet, size_t device, const struct prepared *prepared,
		const struct conn *conn, struct buf *issued, struct err *e);
};

extern const struct fleet_protocol fleet_est;  /* fleet_est.c */
extern const struct fleet_protocol fleet_scep; /* fleet_scep.c */
extern const struct fleet_protocol fleet_coap; /* fleet_coap.c */

/* The key of one operation: prepared->key if there is one, else a new one; and its SubjectPublicKeyInfo. */
MUST_USE int fleet_make_key(const struct fleet *fleet, struct prepared *prepared, struct err *e);
/* Subject and subjectAltName: those of its certificate in a renewal, else CN=name. */
MUST_USE int fleet_make_names(const struct fleet *fleet, const struct device *device, struct buf *subject,
	struct buf *alt_names, struct err *e);
/*
 * Whether the octets hold the key of the request: its SubjectPublicKeyInfo is in
 * there octet for octet. Decoding every certificate would cost more than the whole exchange.
 */
bool fleet_holds_key(const struct prepared *prepared, struct bytes der);
/* What a status other than 200 means; *e gets it in words. */
enum fleet_outcome fleet_judge_status(const struct http_answer *answer, struct err *e);

#endif
