/*
 * coapc_est.h - an EST client over CoAP (RFC 9148): requests made, answers judged. Pure.
 *
 * Exit codes are enum devsim_exit.
 */
#ifndef DEVSIM_COAPC_EST_H
#define DEVSIM_COAPC_EST_H

#include "base/ossl.h"
#include "coap/formats.h"
#include "devsim/coapc_exchange.h"
#include "devsim/url.h"

#define COAPC_NO_ACCEPT UINT64_MAX
#define COAPC_DISCOVERY "rt=ace.est*"

/* Options that enroll and fleet share. */
struct coapc_options {
	uint64_t block_size;   /* 0: the largest that fits into mtu */
	uint64_t mtu;          /* 0: the link's, or DTLS_MTU_DEFAULT */
	uint64_t accept;       /* a Content-Format; COAPC_NO_ACCEPT: none */
	double ack_timeout_s;  /* 0: COAPC_ACK_TIMEOUT_US */
	const char *lossy;     /* NULL: the link as it is */
};

/* ERR_MALFORMED: a value out of range. Fills in mtu; link_mtu: what the lossy link lets pass, 0: anything. */
MUST_USE int coapc_options_settle(struct coapc_options *options, size_t link_mtu, struct err *e);
/* Whether any of them was given. */
bool coapc_options_given(const struct coapc_options *options);
int64_t coapc_ack_timeout_us(const struct coapc_options *options);

/* --- one request ------------------------------------------------------- */

/*
 * A request for an operation, COAPS_OP_NONE being discovery: path is filled with what it has to stay
 * for. body: DER, borrowed; ignored with GET.
 */
void coapc_est_request(const struct coapc_options *options, const struct url *url, const char *label, enum coaps_op op,
	struct bytes body, struct buf *path, struct coapc_request *out);

/* --- one answer -------------------------------------------------------- */

/* What a code means for an EST client. *e has it in words unless it is DEVSIM_OK. */
int coapc_est_exit(const struct coapc_answer *answer, struct err *e);
/* Until when to ask again, in seconds: Max-Age. */
int64_t coapc_est_retry_s(const struct coapc_answer *answer);
/* The first line of a diagnostic payload (RFC 7252, section 5.5.2), control characters escaped; "": none. */
void coapc_est_reason(const struct coapc_answer *answer, char *out, size_t size);

/* The body, when it is of that Content-Format. ERR_MALFORMED: another one. */
MUST_USE int coapc_est_octets(const struct coapc_answer *answer, int format, struct bytes *out, struct err *e);
/* Certificates: 281, or one as 287. The stack is the caller's. */
MUST_USE int coapc_est_certs(int format, struct bytes body, STACK_OF(X509) **out, struct err *e);

#endif
