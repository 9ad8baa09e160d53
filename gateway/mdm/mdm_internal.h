/* mdm_internal.h - what the validators share. */
#ifndef GATEWAY_MDM_MDM_INTERNAL_H
#define GATEWAY_MDM_MDM_INTERNAL_H

#include "base/ossl.h"
#include "base/timefmt.h"
#include "gateway/mdm/mdm.h"
#include "gateway/outbound/outbound.h"
#include "gateway/outbound/secret.h"

/* The first member of every validator's own structure. */
struct mdm {
	char name[80]; /* "mdm <name>" */
	struct outbound *client;
	int64_t deadline_ms;
	struct buf secret; /* of secret_file; empty when there is none */
};

/* url: what paths are appended to. Frees nothing on failure: mdm_common_close() does, in any case. */
MUST_USE int mdm_common_open(struct mdm *mdm, const struct mdm_settings *settings, const char *url, struct err *e);
void mdm_common_close(struct mdm *mdm);

/* A URL that a setting holds; what names the setting. */
MUST_USE int mdm_url_check(const struct mdm *mdm, const struct mdm_settings *settings, const char *what, const char *url,
	struct err *e);

/* transaction, CSR and challenge are there and not too long: ERR_MALFORMED. */
MUST_USE int mdm_request_check(const struct mdm *mdm, const struct mdm_request *request, struct err *e);

/* When a call that begins now must have ended, by time_monotonic_us(). */
int64_t mdm_ends_us(const struct mdm *mdm);

/* outbound_call() in what is left of the time. */
MUST_USE int mdm_call(struct mdm *mdm, struct outbound_request *request, int64_t ends_us, struct outbound_answer *out,
	struct err *e);

/* A status that is no answer: ERR_UPSTREAM with a sentence. what: "validateRequest". */
int mdm_status_error(const struct mdm *mdm, const char *what, const struct outbound_answer *answer, struct err *e);

/* What services are told of a certificate. */
struct mdm_cert {
	char sha1[41], sha256[65]; /* thumbprints, upper case as Windows shows them */
	char serial[SERIAL_HEX_MAX]; /* upper case */
	char not_after[TIME_TEXT_MAX];
	char issuer[256];
};
MUST_USE int mdm_cert_read(struct bytes der, struct mdm_cert *out, struct err *e);

/* "key":"base64 of octets" into a JSON object. */
void mdm_put_octets(struct buf *out, const char *key, struct bytes octets);

#endif
