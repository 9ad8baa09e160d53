/*
 * Translates EST over CoAP to the pipeline and back (RFC 9148, section 4).
 */
#include <stdio.h>
#include <string.h>

#include "base/timefmt.h"
#include "coap/formats.h"
#include "est/body.h"
#include "est/csr.h"
#include "gateway/coap/est_coap.h"
#include "gateway/core/metrics.h"
#include "gateway/core/outcome.h"
#include "gateway/core/rollover.h"
#include "gateway/core/work.h"

#define OFFERS_MAX    64 /* labels that discovery lists; others are served all the same */
#define NONCE_RETRY_S 30

struct call {
	struct gateway *gateway;
	const struct world *world;
	const struct config_label *label;
	const struct coaps_request *request;
	struct coaps_answer *answer;
	int64_t now_s, began_us;
};

/* A diagnostic payload (RFC 7252, section 5.5.2): "a brief human-readable diagnostic message". */
static void
fail(struct call *c, int code, const char *text)
{
	buf_free_secret(&c->answer->body);
	c->answer->secret = false;
	c->answer->code = code;
	c->answer->content_format = COAPS_FORMAT_NONE;
	buf_append_text(&c->answer->body, text);
}

static void
internal_error(struct call *c, const struct err *e)
{
	log_rare(LOG_LEVEL_ERROR, "coap", "an answer could not be made: %s", e->text);
	fail(c, 500, "internal error");
}

static bool
makes_key(const struct call *c)
{
	return c->request->op == COAPS_OP_SKG || c->request->op == COAPS_OP_SKC;
}

static bool
fetches(const struct call *c)
{
	return c->request->op == COAPS_OP_CRTS || c->request->op == COAPS_OP_ATT || c->request->op == COAPS_OP_NONCE;
}

/* RFC 9148, section 4.3: which Content-Format may be asked for; none expresses no preference. */
static bool
accept_fits(const struct call *c)
{
	int accept = c->request->accept;

	if (accept == COAPS_FORMAT_NONE)
		return true;
	if (makes_key(c))
		return accept == COAPS_FORMAT_MULTIPART;
	if (c->request->op == COAPS_OP_ATT)
		return accept == COAPS_FORMAT_CSRATTRS;
	if (c->request->op == COAPS_OP_NONCE)
		return accept == COAPS_FORMAT_CBOR;
	return accept == COAPS_FORMAT_CERTS || accept == COAPS_FORMAT_CERT;
}

/* "Content-Format 287 can be used in place of 281 to carry a single certificate". */
static void
answer_crts(struct call *c)
{
	const struct world_ca *ca = world_ca_of(c->world, c->label->ca);
	bool bare = c->request->accept == COAPS_FORMAT_CERT;
	struct err e;

	c->answer->content_format = bare ? COAPS_FORMAT_CERT : COAPS_FORMAT_CERTS;
	if (bare && ca->cacerts_count != 1) {
		fail(c, 406, "there is more than one CA certificate; ask for format 281");
		return;
	}
	if (!bare)
		buf_append_bytes(&c->answer->body, buf_bytes(&ca->cacerts));
	else if (x509_to_der(sk_X509_value(ca->ops->chain(ca->ca), 0), &c->answer->body, &e) != 0) {
		internal_error(c, &e);
		return;
	}
	rollover_fetched(c->gateway, c->world, c->label, FETCH_CRTS, c->request->peer->cert, c->now_s);
}

/* RFC 9148, section 4.5: "4.04 is used when the resource is not available for the client." */
static void
answer_att(struct call *c)
{
	const struct buf *attrs = world_csrattrs_of(c->world, c->label);

	if (attrs->len == 0) {
		fail(c, 404, "this label asks for no attributes");
		return;
	}
	c->answer->content_format = COAPS_FORMAT_CSRATTRS;
	buf_append_bytes(&c->answer->body, buf_bytes(attrs));
}

/*
 * draft-ietf-lamps-attestation-freshness, "EST over Secure CoAP": a mistake is 4.00; "unable or unwilling to deliver the
 * requested nonce" is 5.03.
 */
static bool
nonce_fits(struct call *c)
{
	size_t len = 0;
	struct err e;

	if (!c->request->post)
		return true;
	if (c->request->content_format != COAPS_FORMAT_CBOR)
		fail(c, 415, "the body must have Content-Format 60");
	else if (coaps_nonce_request_parse(c->request->body, &len, &e) != 0)
		fail(c, 400, e.text);
	else if (len != 0 && len != NONCE_LEN)
		fail(c, 503, "nonces have another length here; ask for none");
	else
		return true;
	return false;
}

static void
answer_nonce(struct call *c)
{
	uint8_t nonce[NONCE_LEN];
	int64_t life_s;
	struct err e;

	if (!nonce_fits(c))
		return;
	if (enroll_nonce(c->gateway, c->world, c->label, c->now_s, nonce, &life_s, &e) == 0) {
		c->answer->content_format = COAPS_FORMAT_CBOR;
		c->answer->max_age_s = COAPS_NO_STORE;
		coaps_nonce_write(&c->answer->body, bytes_of(nonce, sizeof nonce), life_s);
	} else if (e.code == ERR_UNSUPPORTED) {
		fail(c, 404, e.text);
	} else {
		fail(c, 503, "temporarily unavailable");
		c->answer->max_age_s = NONCE_RETRY_S;
	}
}

/* Section 4.8: with /skg the certificate is in a PKCS #7 container, with /skc it is bare. */
static void
answer_key(struct call *c, const struct enroll_result *result)
{
	bool bare = c->request->op == COAPS_OP_SKC;
	CLEANUP(buf) struct buf certs = { 0 };
	struct err e;

	if (!bare && outcome_certs(c->world, c->label, result, 0, &certs, &e) != 0) {
		internal_error(c, &e);
		return;
	}
	c->answer->content_format = COAPS_FORMAT_MULTIPART;
	c->answer->secret = true;
	coaps_multipart_write(&c->answer->body, result->key_encrypted ? COAPS_FORMAT_KEY_CMS : COAPS_FORMAT_KEY,
		buf_bytes(&result->key), bare ? COAPS_FORMAT_CERT : COAPS_FORMAT_CERTS,
		bare ? buf_bytes(&result->cert) : buf_bytes(&certs));
}

static void
answer_issued(struct call *c, const struct enroll_result *result)
{
	struct err e;

	if (makes_key(c)) {
		answer_key(c, result);
		return;
	}
	c->answer->content_format = c->request->accept == COAPS_FORMAT_CERT ? COAPS_FORMAT_CERT : COAPS_FORMAT_CERTS;
	if (c->answer->content_format == COAPS_FORMAT_CERT)
		buf_append_bytes(&c->answer->body, buf_bytes(&result->cert));
	else if (outcome_certs(c->world, c->label, result, c->label->include_chain ? EST_CERTS_MAX : 0, &c->answer->body,
			 &e) != 0)
		internal_error(c, &e);
}

/* Section 4.5 and 4.7. CoAP has no word for "too many" but 5.03: Max-Age says when it is worth while again. */
static int
code_of(const struct enroll_result *result)
{
	switch (result->code) {
	case ERR_NONE:
		return 204;
	case ERR_MALFORMED:
	case ERR_UNSUPPORTED:
		return 400;
	case ERR_UNAUTHENTIC:
		return 401;
	case ERR_DENIED:
		return 403;
	case ERR_PENDING:
	case ERR_UPSTREAM:
		return 503;
	case ERR_LIMIT:
		/* Either too often, or one of the limits on what a request may hold. */
		return result->retry_after_s > 0 ? 503 : 400;
	case ERR_NOMEM:
	case ERR_BUG:
		break;
	}
	return 500;
}

static void
answer_result(struct call *c, const struct enroll_result *result)
{
	char text[OUTCOME_TEXT_MAX];
	int code = code_of(result);

	c->answer->code = code;
	if (code == 204) {
		answer_issued(c, result);
		return;
	}
	if (code == 400)
		(void)snprintf(text, sizeof text, "%s", result->sentence);
	else
		outcome_public_text(result, text);
	fail(c, code, text);
	if (code == 503)
		c->answer->max_age_s = result->retry_after_s;
}

static enum enroll_op
enroll_op_of(enum coaps_op op)
{
	if (op == COAPS_OP_SREN)
		return ENROLL_RENEW;
	return op == COAPS_OP_SKG || op == COAPS_OP_SKC ? ENROLL_KEYGEN : ENROLL_NEW;
}

static struct enroll_request
request_of(const struct call *c)
{
	return (struct enroll_request){
		.protocol = "coap",
		.operation = coaps_op_name(c->request->op),
		.op = enroll_op_of(c->request->op),
		.label = c->label,
		.client_cert = c->request->peer->cert,
		.client_chain = c->request->peer->chain,
		.binding = &c->request->peer->binding,
		.peer = c->request->peer->address,
		.now_s = c->now_s,
	};
}

static void
log_call(const struct call *c, const struct enroll_result *result)
{
	const struct log_field more[] = { { "cipher", c->request->peer->cipher } };
	const struct outcome_log line = {
		.protocol = "coap",
		.operation = coaps_op_name(c->request->op),
		.peer = c->request->peer->address,
		.done = "issued",
		.label = c->label,
		.status = c->answer->code,
		.began_us = c->began_us,
		.more = more,
		.more_count = 1,
	};

	outcome_log(&line, result);
}

static void
enroll(struct call *c)
{
	struct enroll_request request = request_of(c);
	struct enroll_result result;
	struct err e;

	if (c->request->content_format != COAPS_FORMAT_CSR) {
		(void)err_set(&e, ERR_MALFORMED, "Content-Format %d is not 286, application/pkcs10",
			c->request->content_format);
		enroll_refuse(c->gateway, &request, &e);
		fail(c, 415, "the body must have Content-Format 286");
		return;
	}
	request.csr = c->request->body;
	enroll_run(c->gateway, c->world, &request, &result);
	answer_result(c, &result);
	if (result.code == ERR_LIMIT && request.csr.len > EST_CSR_MAX) {
		fail(c, 413, "");
		buf_printf(&c->answer->body, "a certificate request has at most %d octets", EST_CSR_MAX);
	}
	log_call(c, &result);
	enroll_result_free(&result);
}

/* RFC 9148, section 4: "this specification requires that the client MUST be authenticated for all functions." */
static void
fetch(struct call *c)
{
	struct enroll_request request = request_of(c);
	struct err e;

	if (enroll_admit(c->gateway, c->world, &request, &e) != 0) {
		fail(c, e.code == ERR_UPSTREAM ? 503 : e.code == ERR_UNAUTHENTIC ? 401 : 403,
			e.code == ERR_UPSTREAM ? "temporarily unavailable" : "this label does not know you");
		return;
	}
	c->answer->code = c->request->post ? 204 : 205;
	if (c->request->op == COAPS_OP_CRTS)
		answer_crts(c);
	else if (c->request->op == COAPS_OP_ATT)
		answer_att(c);
	else
		answer_nonce(c);
}

/* What a label lets its devices do: bits 1U << enum coaps_op. */
static unsigned
functions_of(const struct call *c, const struct config_label *label)
{
	unsigned operations = label->policy.operations;
	unsigned out = 1U << COAPS_OP_CRTS;

	if (world_csrattrs_of(c->world, label)->len > 0)
		out |= 1U << COAPS_OP_ATT;
	if ((operations & 1U << POLICY_ENROLL) != 0)
		out |= 1U << COAPS_OP_SEN;
	if ((operations & 1U << POLICY_RENEW) != 0)
		out |= 1U << COAPS_OP_SREN;
	if ((operations & 1U << POLICY_KEYGEN) != 0)
		out |= 1U << COAPS_OP_SKG | 1U << COAPS_OP_SKC;
	if (c->gateway->nonces != NULL && world_wants_of(c->world, label)->evidence)
		out |= 1U << COAPS_OP_NONCE;
	return out;
}

/* RFC 9148, section 4.1. Tells what there is, and nobody's business: whom a label knows is asked by its functions. */
static void
discover(struct call *c)
{
	const struct config *config = c->world->config;
	const char *roots[CONFIG_LIST_MAX];
	struct coaps_offer offers[OFFERS_MAX];
	size_t i, count = 0;

	if (c->request->accept != COAPS_FORMAT_NONE && c->request->accept != COAPS_FORMAT_LINKS) {
		fail(c, 406, "links have Content-Format 40");
		return;
	}
	for (i = 0; i < config->coap_roots.count; i++)
		roots[i] = config->coap_roots.at[i];
	for (i = 0; i < config->label_count && count < OFFERS_MAX; i++) {
		const struct config_label *label = &config->labels[i];

		if ((label->protocols & PROTOCOL_COAP) != 0)
			offers[count++] = (struct coaps_offer){ label->policy.name, functions_of(c, label) };
	}
	c->answer->code = 205;
	c->answer->content_format = COAPS_FORMAT_LINKS;
	coaps_links_write(&c->answer->body, roots, config->coap_roots.count, offers, count,
		bytes_of_text(c->request->query));
}

static void
dispatch(struct call *c)
{
	if (c->request->op == COAPS_OP_NONE) {
		discover(c);
		return;
	}
	c->label = config_label(c->world->config, c->request->label);
	if (c->label == NULL || (c->label->protocols & PROTOCOL_COAP) == 0)
		fail(c, 404, "no such label");
	else if (c->request->peer->cert == NULL)
		fail(c, 401, "a client certificate is needed");
	else if (!accept_fits(c))
		fail(c, 406, "this function does not give that Content-Format");
	else if (fetches(c))
		fetch(c);
	else
		enroll(c);
}

void
est_coap_handle(void *arg, const struct coaps_request *request, struct coaps_answer *answer)
{
	struct world *world = world_get();
	struct call c = {
		.gateway = arg,
		.world = world,
		.request = request,
		.answer = answer,
		.now_s = time_now_s(),
		.began_us = time_monotonic_us(),
	};

	answer->content_format = COAPS_FORMAT_NONE;
	work_begin(c.gateway);
	dispatch(&c);
	work_end(c.gateway);
	if (buf_failed(&answer->body)) {
		buf_clear(&answer->body);
		fail(&c, 500, "internal error");
	}
	world_put(world);
	metric_request("coap", request->op == COAPS_OP_NONE ? "core" : coaps_op_name(request->op), answer->code,
		time_monotonic_us() - c.began_us);
}
