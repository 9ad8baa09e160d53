/*
 * What was asked for before: the outcome of a request that waited (SCEP
 * CertPoll), and a certificate that was issued (SCEP GetCert). Both are the
 * holder's only. And what only wants to know who asks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsontext.h"
#include "gateway/core/enroll_internal.h"

#define TRANSACTION_ROWS 16

static void
refuse(struct attempt *a, const struct err *e, const char *reason)
{
	attempt_conclude(a, e->code, e->code == ERR_DENIED ? reason : err_code_name(e->code), e->text);
	attempt_audit_failure(a, e);
}

/* The SHA-256 of the key that asks: the poll key, or the presented certificate's. */
static int
asking_key(const struct enroll_request *request, struct bytes poll_key, uint8_t out[32], struct err *e)
{
	if (poll_key.len != 0)
		return sha256(poll_key, out, e);
	if (request->client_cert == NULL)
		return err_set(e, ERR_UNAUTHENTIC, "nobody asks");
	return attempt_key_digest(request->client_cert, out, e);
}

/*
 * The stored request of this transaction. A key finds its own; a certificate may
 * ask for a request with a new key, as in a renewal, and whether that is its
 * asset's is judged when it has been authenticated.
 */
static int
choose_request(struct attempt *a, struct bytes poll_key, struct request_row *rows, struct request_row *out, struct err *e)
{
	const struct request_row *found = NULL;
	uint8_t key[32];
	int count, i;

	if (asking_key(a->request, poll_key, key, e) != 0)
		return -1;
	count = a->gateway->store_ops->requests_of_transaction(a->read, a->request->label->policy.name,
		a->request->transaction, rows, TRANSACTION_ROWS, e);
	for (i = 0; i < count && found == NULL; i++)
		if (memcmp(rows[i].spki_sha256, key, sizeof key) == 0)
			found = &rows[i];
	if (found == NULL && count > 0 && a->request->client_cert != NULL)
		found = &rows[0];
	if (found == NULL)
		return count < 0 ? -1 : err_set(e, ERR_DENIED, "no such transaction of this device");
	*out = *found;
	return 0;
}

static int
find_request(struct attempt *a, struct bytes poll_key, struct request_row *out, struct err *e)
{
	struct request_row *rows = calloc(TRANSACTION_ROWS, sizeof *rows);
	int result = rows == NULL ? err_set(e, ERR_NOMEM, "no memory for requests")
				  : choose_request(a, poll_key, rows, out, e);

	free(rows);
	return result;
}

static int
load_request(struct attempt *a, struct bytes poll_key, struct request_row *row, struct buf *csr, struct err *e)
{
	const struct store_ops *ops = a->gateway->store_ops;
	CLEANUP(buf) struct buf stored = { 0 };
	int result;

	if (ops->read_begin(a->gateway->store, &a->read, e) != 0)
		return -1;
	result = find_request(a, poll_key, row, e);
	if (result == 0 && ops->request_by_id(a->read, row->id, row, &stored, e) != 1)
		result = err_set(e, ERR_UPSTREAM, "request %lld cannot be read", (long long)row->id);
	ops->read_end(a->read);
	a->read = NULL;
	if (result != 0)
		return -1;
	if (a->gateway->seal == NULL)
		return err_set(e, ERR_BUG, "there is no key to unseal requests with");
	return seal_open(a->gateway->seal, bytes_of(row->csr_sha256, sizeof row->csr_sha256), buf_bytes(&stored), csr, e);
}

void
enroll_poll(struct gateway *gateway, const struct world *world, const struct enroll_request *request,
	struct bytes poll_key, struct enroll_result *out)
{
	struct enroll_request again = *request;
	struct buf csr = { 0 };
	struct request_row row;
	struct attempt *a = attempt_begin(gateway, world, &again, out);
	struct err e = { 0 };

	if (a == NULL)
		return;
	if (load_request(a, poll_key, &row, &csr, &e) != 0)
		refuse(a, &e, "request.unknown");
	else {
		again.csr = buf_bytes(&csr);
		again.op = ENROLL_EITHER;
		again.challenge = false;
		a->polled = &row;
		attempt_run(a);
	}
	attempt_free(a);
	buf_free_secret(&csr);
}

static bool
keep_row(void *arg, const struct cert_row *row)
{
	*(struct cert_row *)arg = *row;
	return false;
}

/* A certificate of ours shows who asks as long as it could renew. */
static int
check_asker(struct attempt *a, struct err *e)
{
	const struct label_policy *label = &a->request->label->policy;

	if (attempt_authenticate(a, e) != 0)
		return -1;
	if (a->proof.kind == PROOF_OWN &&
	    (a->proof.cert_revoked || a->request->now_s > a->proof.cert_not_after_s + label->expired_grace_s))
		return err_set(e, ERR_DENIED, "the presented certificate is revoked or has ended");
	return 0;
}

/* Entry i of cas, when the label's devices may know it by this name: two generations, or two stand-ins, may share one. */
static const struct config_ca *
named(const struct world *world, const struct config_label *label, const X509_NAME *issuer, size_t i)
{
	const struct config_ca *ca = &world->config->cas[i];

	return world_same_group(world, label->ca, ca->name) && world_ca_is(&world->cas[i], issuer) ? ca : NULL;
}

/* The CA of that name that issued the serial number; row->id is 0 when none did. *any: one that has the name, NULL: none. */
static int
find_issued(const struct store_ops *ops, struct store_read *read, const struct world *world, const struct config_label *label,
	const X509_NAME *issuer, const char *serial, const struct config_ca **any, struct cert_row *row, struct err *e)
{
	struct cert_filter filter = { .limit = 1, .serial = serial, .status = -1 };
	const struct config_ca *ca;
	size_t i;

	*any = NULL;
	for (i = 0; i < world->config->ca_count && row->id == 0; i++) {
		ca = named(world, label, issuer, i);
		if (ca == NULL)
			continue;
		/* Where nothing tells them apart it is the label's own. */
		if (*any == NULL || strcmp(ca->name, label->ca) == 0)
			*any = ca;
		filter.ca = ca->name;
		if (ops->cert_list(read, &filter, keep_row, row, e) != 0)
			return -1;
		if (row->id != 0)
			*any = ca;
	}
	return 0;
}

static int
fetch(struct attempt *a, struct bytes poll_key, const X509_NAME *issuer, const char *serial, struct err *e)
{
	const struct store_ops *ops = a->gateway->store_ops;
	const struct config_ca *ca;
	struct cert_row row = { 0 };
	uint8_t key[32];

	if (find_issued(ops, a->read, a->world, a->request->label, issuer, serial, &ca, &row, e) != 0 ||
	    asking_key(a->request, poll_key, key, e) != 0)
		return -1;
	if (ca == NULL)
		return err_set(e, ERR_DENIED, "the certificate asked for is of another CA");
	if (row.id == 0)
		return err_set(e, ERR_DENIED, "no certificate %.40s", serial);
	if (poll_key.len != 0 && memcmp(key, row.spki_sha256, sizeof key) != 0)
		return err_set(e, ERR_DENIED, "the certificate has another key than who asks for it");
	if (poll_key.len == 0 && check_asker(a, e) != 0)
		return -1;
	if (poll_key.len == 0 && (a->asset_matches != 1 || a->asset.id != row.asset_id))
		return err_set(e, ERR_DENIED, "the certificate is another device's");
	if (ops->cert_der(a->read, row.id, &a->result->cert, e) != 1)
		return err_set(e, ERR_UPSTREAM, "certificate %s cannot be read", row.serial);
	(void)snprintf(a->result->asset_tag, sizeof a->result->asset_tag, "%s", row.asset_tag);
	(void)snprintf(a->result->ca, sizeof a->result->ca, "%s", row.ca);
	a->result->request_id = row.request_id;
	a->result->replayed = true;
	return 0;
}

static int
audit_fetched(struct attempt *a, const char *serial, struct err *e)
{
	CLEANUP(buf) struct buf detail = { 0 };
	char actor[REG_VALUE_MAX];

	(void)snprintf(actor, sizeof actor, "device:%s", a->result->asset_tag);
	buf_append_u8(&detail, '{');
	json_put_int(&detail, "request", a->result->request_id);
	json_put_pair(&detail, "serial", serial);
	json_put_pair(&detail, "protocol", a->request->protocol);
	json_put_pair(&detail, "peer", a->request->peer);
	buf_append_u8(&detail, '}');
	return a->gateway->store_ops->audit(a->gateway->store, a->request->now_s, actor, "certificate.fetched",
		a->result->asset_tag, buf_text(&detail), e);
}

void
enroll_fetch(struct gateway *gateway, const struct world *world, const struct enroll_request *request,
	struct bytes poll_key, const X509_NAME *issuer, const char *serial, struct enroll_result *out)
{
	const struct store_ops *ops = gateway->store_ops;
	struct attempt *a = attempt_begin(gateway, world, request, out);
	struct err e = { 0 };
	int result;

	if (a == NULL)
		return;
	result = ops->read_begin(gateway->store, &a->read, &e);
	if (result == 0)
		result = fetch(a, poll_key, issuer, serial, &e);
	ops->read_end(a->read);
	a->read = NULL;
	if (result == 0)
		result = audit_fetched(a, serial, &e);
	if (result == 0)
		attempt_conclude(a, ERR_NONE, "ok", "a certificate issued before");
	else {
		buf_free(&out->cert);
		refuse(a, &e, "certificate.unknown");
	}
	attempt_free(a);
}

int
enroll_crl_of(struct gateway *gateway, const struct world *world, const struct config_label *label, const X509_NAME *issuer,
	const char *serial, int64_t now_s, struct buf *out, struct err *e)
{
	const struct config_ca *ca = NULL;
	struct cert_row row = { 0 };
	struct store_read *read = NULL;
	int result = gateway->store_ops->read_begin(gateway->store, &read, e);

	if (result == 0)
		result = find_issued(gateway->store_ops, read, world, label, issuer, serial, &ca, &row, e);
	gateway->store_ops->read_end(read);
	if (result != 0)
		return -1;
	if (ca == NULL)
		return err_set(e, ERR_DENIED, "a revocation list of another CA");
	return enroll_crl(gateway, world, ca->name, now_s, out, e);
}

int
enroll_admit(struct gateway *gateway, const struct world *world, const struct enroll_request *request, struct err *e)
{
	const struct store_ops *ops = gateway->store_ops;
	struct enroll_result unused;
	struct attempt *a = attempt_begin(gateway, world, request, &unused);
	int result;

	if (a == NULL)
		return err_set(e, ERR_NOMEM, "no memory to look at who asks");
	result = ops->read_begin(gateway->store, &a->read, e);
	if (result == 0)
		result = check_asker(a, e);
	ops->read_end(a->read);
	a->read = NULL;
	if (result != 0)
		attempt_audit_failure(a, e);
	attempt_free(a);
	return result;
}
