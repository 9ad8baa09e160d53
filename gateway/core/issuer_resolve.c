/*
 * A certificate that an operator found in the records of a CA which cannot be asked: taken as if the CA had answered. What is certainly
 * a mistake is refused and changes nothing; the rest begins with one step that takes the intent away from its lane, or fails. And what an
 * operator gives up.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/core/issuer_internal.h"
#include "gateway/core/issuer_resolve.h"
#include "gateway/core/log.h"
#include "gateway/core/rule_limits.h"
#include "gateway/core/spec_json.h"

struct hand {
	struct issuer_job job;
	struct issuer_found *found;
	struct intent_row row;
	struct kept_spec kept;
	struct buf spki;
	struct ca_answer answer;
};

static void
hand_auto(struct hand *h)
{
	buf_free(&h->spki);
	buf_free(&h->job.given);
	ca_answer_free(&h->answer);
}

/* With what was approved when spec is wanted. */
static int
load(struct hand *h, bool spec, struct err *e)
{
	CLEANUP(buf) struct buf json = { 0 };
	struct gateway *gateway = h->job.gateway;
	struct store_read *read = NULL;
	int result;

	if (gateway->store_ops->read_begin(gateway->store, &read, e) != 0)
		return -1;
	result = gateway->store_ops->intents->by_id(read, h->found->intent_id, &h->row, spec ? &json : NULL, spec ? &h->spki : NULL, e);
	gateway->store_ops->read_end(read);
	if (result == 0)
		return err_set(e, ERR_DENIED, "there is no intent %lld", (long long)h->found->intent_id);
	if (result < 0 || (spec && spec_from_json(buf_bytes(&json), &h->kept, e) != 0))
		return -1;
	return 0;
}

static int
find_ca(struct hand *h, struct err *e)
{
	const struct world *world = h->job.world;
	const struct config_ca *config = config_ca(world->config, h->row.ca);

	if (config == NULL || !world->cas[config - world->config->cas].ops->remote)
		return err_set(e, ERR_DENIED, "CA %.79s is not one elsewhere in the configuration: nothing is known to judge its certificates by",
			h->row.ca);
	h->job.ca = &world->cas[config - world->config->cas];
	return 0;
}

static bool
has_key(const X509 *cert, const struct buf *spki)
{
	uint8_t *der = NULL;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
	bool same = len > 0 && bytes_equal(bytes_of(der, (size_t)len), buf_bytes(spki));

	OPENSSL_free(der);
	return same;
}

static X509 *
next_pem(BIO *in)
{
	X509 *cert = PEM_read_bio_X509(in, NULL, pem_no_password, NULL);

	if (cert == NULL)
		ERR_clear_error();
	return cert;
}

/* What CAs export often has their own certificates behind it, or before it: the one of the request's key is meant. */
static int
choose(const struct hand *h, X509 **out, struct err *e)
{
	CLEANUP(X509) X509 *first = NULL;
	CLEANUP(BIO) BIO *in = BIO_new_mem_buf(h->found->file.at, (int)h->found->file.len);
	char serial[SERIAL_ANY_MAX] = "";
	X509 *cert = NULL;

	if (in == NULL)
		return err_set(e, ERR_NOMEM, "no memory for the certificate");
	if (x509_from_der(h->found->file, &cert, e) != 0)
		cert = next_pem(in);
	for (; cert != NULL; cert = next_pem(in)) {
		if (has_key(cert, &h->spki)) {
			*out = cert;
			return 0;
		}
		if (first == NULL)
			first = cert;
		else
			X509_free(cert);
	}
	if (first == NULL)
		return err_set(e, ERR_MALFORMED, "no certificate in the file, neither PEM nor DER");
	if (asn1_serial_hex(X509_get0_serialNumber(first), serial, e) != 0)
		return -1;
	return err_set(e, ERR_DENIED, "the certificate in the file, serial number %s, is of another key than the request", serial);
}

static int
read_certificate(struct hand *h, struct err *e)
{
	CLEANUP(X509) X509 *cert = NULL;
	struct ca_answer *answer = &h->answer;

	if (h->found->file.len > ISSUER_FOUND_MAX)
		return err_set(e, ERR_LIMIT, "the file with the certificate has more than %d octets", ISSUER_FOUND_MAX);
	if (h->found->file.len == 0)
		return err_set(e, ERR_MALFORMED, "the file with the certificate is empty");
	if (choose(h, &cert, e) != 0)
		return -1;
	answer->state = CA_ISSUED;
	if (asn1_serial_hex(X509_get0_serialNumber(cert), answer->serial, e) != 0 ||
	    x509_validity(cert, &answer->not_before_s, &answer->not_after_s, e) != 0 || x509_to_der(cert, &answer->cert, e) != 0)
		return -1;
	memcpy(h->found->serial, answer->serial, sizeof h->found->serial);
	if (answer->not_after_s <= h->job.now_s)
		return err_set(e, ERR_DENIED, "certificate %s has ended by now: nobody needs it; the request can be given up", answer->serial);
	return 0;
}

/* One that was let out before is its holder's, and no answer to this request. */
static int
refuse_known(const struct hand *h, struct err *e)
{
	struct gateway *gateway = h->job.gateway;
	struct store_read *read = NULL;
	struct cert_row known;
	uint8_t digest[32];
	int found;

	if (sha256(buf_bytes(&h->answer.cert), digest, e) != 0 || gateway->store_ops->read_begin(gateway->store, &read, e) != 0)
		return -1;
	found = gateway->store_ops->cert_by_serial(read, h->answer.serial, digest, &known, e);
	gateway->store_ops->read_end(read);
	if (found > 0)
		return err_set(e, ERR_DENIED, "certificate %s is recorded here already, for request %lld of %.79s", known.serial,
			(long long)known.request_id, known.asset_tag);
	return found;
}

/* What no key known here signed is not the CA's, whatever it says. What is the CA's and not what was approved goes on: it exists. */
static int
refuse_strange(const struct hand *h, struct err *e)
{
	struct ca_request approved = { .spec = &h->kept.spec, .spki = buf_bytes(&h->spki), .key_kind = (enum key_kind)h->row.key_kind,
		.now_s = h->job.now_s };
	const struct config_ca *by = NULL;
	const char *reason = "";
	bool other = false;
	struct err wrong = { 0 };
	int result = issuer_judge(&h->job, &approved, buf_bytes(&h->answer.cert), &by, &other, &reason, &wrong);

	if (result == 0 || (result == 1 && strcmp(reason, "ca.unknown_issuer") != 0))
		return 0;
	*e = wrong;
	return -1;
}

/* The one transaction that decides between this, another operator, and what the CA has told the lane meanwhile. */
static int
claim(const struct hand *h, struct err *e)
{
	struct intent_step step = { .id = h->row.id, .ca = h->row.ca, .from = h->row.state, .to = INTENT_SENT, .error = h->found->why,
		.next_try_s = h->job.now_s + ISSUER_RETRY_MAX_S, .actor = h->found->actor, .audit = "ca.resolved",
		.serial = h->answer.serial, .now_s = h->job.now_s };
	bool done = false, open = h->row.state == INTENT_UNKNOWN || h->row.state == INTENT_WAITING;

	if (open && h->job.gateway->store_ops->intents->step(h->job.gateway->store, &step, &done, e) != 0)
		return -1;
	return done ? 0 : err_set(e, ERR_DENIED, "intent %lld has just changed; look again", (long long)h->row.id);
}

/* It could not be recorded, and says so: as unknown, or waiting, as before. Should the store not take this either, the lane does it. */
static void
let_go(const struct hand *h, const struct err *why)
{
	struct intent_step step = { .id = h->row.id, .from = INTENT_SENT, .to = h->row.state, .error = why->text,
		.next_try_s = h->job.now_s, .audit = h->row.state == INTENT_UNKNOWN ? "ca.unknown" : NULL, .now_s = h->job.now_s };
	bool done;
	struct err e;

	if (h->job.gateway->store_ops->intents->step(h->job.gateway->store, &step, &done, &e) != 0)
		log_rare(LOG_LEVEL_ERROR, "ca", "%s: %s: %s", h->row.ca, h->row.ca_request_id, e.text);
}

/* Whoever waits for it, and else the MDM. */
static void
tell_end(struct issuer_job *job)
{
	struct issuer *issuer = job->gateway->issuer;

	if (issuer == NULL)
		return;
	(void)pthread_mutex_lock(&issuer->lock);
	issuer_tell(issuer, job);
	(void)pthread_mutex_unlock(&issuer->lock);
	if (job->untold)
		issuer_tell_mdm(job);
}

static int
take(struct hand *h, struct err *e)
{
	struct issuer_kept *kept = calloc(1, sizeof *kept);
	int result;

	if (kept == NULL)
		return err_set(e, ERR_NOMEM, "no memory for the certificate");
	result = claim(h, e);
	if (result != 0) {
		free(kept);
		return -1;
	}
	*kept = (struct issuer_kept){ .id = h->row.id, .answered = true, .state = INTENT_SENT, .answer = h->answer };
	h->answer = (struct ca_answer){ 0 };
	h->job.kept = kept;
	result = issuer_carry_out(&h->job, e);
	if (result != 0) {
		issuer_kept_free(h->job.kept);
		let_go(h, e);
	}
	if (h->job.over)
		tell_end(&h->job);
	return result;
}

int
issuer_resolve(struct gateway *gateway, const struct world *world, struct issuer_found *found, struct err *e)
{
	CLEANUP(hand) struct hand h = { .found = found,
		.job = { .gateway = gateway, .world = world, .now_s = found->now_s, .intent_id = found->intent_id, .found = true } };

	if (load(&h, true, e) != 0 || find_ca(&h, e) != 0 || read_certificate(&h, e) != 0 || refuse_known(&h, e) != 0 ||
	    refuse_strange(&h, e) != 0 || take(&h, e) != 0 || load(&h, false, e) != 0)
		return -1;
	found->state = h.row.state;
	memcpy(found->said, h.row.error, sizeof found->said);
	issuer_wake(gateway->issuer, NULL); /* a revocation may be due at another generation */
	return 0;
}

static int
is_vouched(const struct gateway *gateway, int64_t request_id, bool *out, struct err *e)
{
	struct store_read *read = NULL;
	struct request_row row;
	int found;

	if (gateway->store_ops->read_begin(gateway->store, &read, e) != 0)
		return -1;
	found = gateway->store_ops->request_by_id(read, request_id, &row, NULL, e);
	gateway->store_ops->read_end(read);
	*out = found == 1 && row.proof_kind == PROOF_MDM;
	return found < 0 ? -1 : 0;
}

int
issuer_give_up(struct gateway *gateway, const struct world *world, const struct intent_row *row, const struct intent_end *end,
	bool *done, struct err *e)
{
	struct rule_limits_key key = { .asset = row->asset_tag, .label = row->label, .csr_sha256 = row->csr_sha256 };
	struct issuer_job job = { .gateway = gateway, .world = world, .now_s = end->now_s, .intent_id = row->id,
		.request_id = row->request_id, .over = true, .refused = true };

	if (is_vouched(gateway, row->request_id, &job.vouched, e) != 0 ||
	    gateway->store_ops->intents->end(gateway->store, end, done, e) != 0)
		return -1;
	if (!*done)
		return 0;
	rule_limits_settle(gateway->rule_limits, &key, false);
	memcpy(job.csr_sha256, row->csr_sha256, sizeof job.csr_sha256);
	tell_end(&job);
	return 0;
}
