/*
 * devsim enroll with a TPM: the key, and the evidence for it.
 */
#include "devsim/enroll_tpm.h"

#include <string.h>

#include "devsim/devsim.h"
#include "devsim/enroll.h"
#include "devsim/enroll_tpm_ask.h"
#include "devsim/files.h"
#include "policy/attest/evidence.h"

#define FRESHNESS_TYPE   "application/est-attestation-freshness+json"
#define NONCE_OCTETS_MAX 64
#define NONCE_OCTETS     40

int
enroll_tpm_open(struct enroll_run *run, struct err *e)
{
	const struct enroll_tpm_options *o = &run->options.tpm;

	return o->tcti == NULL ? 0 : tpmc_open(o->tcti, (enum tpmc_ek)o->ek, &run->tpm.tpmc, e);
}

void
enroll_tpm_close(struct enroll_tpm *tpm)
{
	buf_free(&tpm->key);
	buf_free(&tpm->device_key);
	buf_free(&tpm->evidence);
	tpmc_close(tpm->tpmc);
}

/* STEM, or STEM.pem, with another end. */
static int
stem_path(const char *stem, const char *end, char out[FILE_PATH_MAX], struct err *e)
{
	size_t len = strlen(stem);

	if (len > 4 && strcmp(stem + len - 4, ".pem") == 0)
		len -= 4;
	return file_path(out, e, "%.*s.%s", (int)len, stem, end);
}

bool
enroll_tpm_is_device(const char *stem)
{
	char key[FILE_PATH_MAX], tpm[FILE_PATH_MAX];
	struct err odd;

	return stem != NULL && stem_path(stem, "key", key, &odd) == 0 && stem_path(stem, "tpm", tpm, &odd) == 0 &&
		!file_exists(key) && file_exists(tpm);
}

int
enroll_tpm_load_device(struct enroll_run *run, struct err *e)
{
	char cert[FILE_PATH_MAX], tpm[FILE_PATH_MAX];
	EVP_PKEY *key = NULL;

	if (stem_path(run->options.device, "pem", cert, e) != 0 || stem_path(run->options.device, "tpm", tpm, e) != 0)
		return -1;
	if (run->tpm.tpmc == NULL)
		return err_set(e, ERR_MALFORMED, "%.100s: the key is in a TPM: --tpm says where that is", tpm);
	if (enroll_tpm_read(run, tpm, &run->tpm.device_key, e) != 0 ||
	    tpmc_key_open(run->tpm.tpmc, buf_bytes(&run->tpm.device_key), &key, e) != 0)
		return -1;
	if (device_load_with(cert, key, &run->device, e) == 0)
		return 0;
	EVP_PKEY_free(key);
	return err_prefix(e, "is this the TPM the key was made in?");
}

/* What is known of this device's attestation key from another time. */
int
enroll_tpm_recall(struct enroll_run *run, struct err *e)
{
	CLEANUP(buf) struct buf template = { 0 };
	char path[FILE_PATH_MAX];

	if (run->options.tpm.tcti == NULL || run->options.out == NULL)
		return 0;
	if (file_path(path, e, "%s/%s.tpm", run->options.out, run->name) != 0)
		return -1;
	return file_exists(path) ? enroll_tpm_read(run, path, &template, e) : 0;
}

int
enroll_tpm_key(struct enroll_run *run, struct err *e)
{
	struct enroll_tpm *tpm = &run->tpm;

	buf_clear(&tpm->key);
	if (run->options.reuse_key) {
		buf_append_bytes(&tpm->key, buf_bytes(&tpm->device_key));
		return buf_failed(&tpm->key) ? err_set(e, ERR_NOMEM, "no memory for a template") : 0;
	}
	return tpmc_key_template(&tpm->key, e) != 0 ||
		tpmc_key_open(tpm->tpmc, buf_bytes(&tpm->key), &run->key, e) != 0 ? -1 : 0;
}

/* The number that evidence has to carry; nothing appended: none. */
static int
take_nonce(struct enroll_run *run, struct buf *out, struct err *e)
{
	const struct enroll_tpm_options *o = &run->options.tpm;
	uint8_t octets[NONCE_OCTETS_MAX];
	size_t len = o->nonce == NULL ? NONCE_OCTETS : strlen(o->nonce) / 2;
	json_t *answer;
	int result;

	if (o->evidence == EVIDENCE_NO_NONCE)
		return 0;
	if (o->nonce != NULL || o->evidence == EVIDENCE_WRONG_NONCE) {
		if (len > sizeof octets)
			return err_set(e, ERR_MALFORMED, "--nonce: at most %d octets", NONCE_OCTETS_MAX);
		if ((o->nonce == NULL ? random_octets(octets, len, e) :
			hex_decode(bytes_of_text(o->nonce), octets, len, e)) != 0)
			return err_prefix(e, "--nonce");
		buf_append(out, octets, len);
		return 0;
	}
	if (enroll_tpm_ask(run, EST_OP_NONCE, NULL, FRESHNESS_TYPE, &answer, e) != 0)
		return -1;
	result = enroll_tpm_octets(answer, "nonce", out, e);
	json_decref(answer);
	if (result == 0 && out->len > NONCE_OCTETS_MAX)
		return err_set(e, ERR_MALFORMED, "a nonce of %zu octets", out->len);
	return result;
}

/* A request for a key of the TPM's own is attested by that key's name; the misbehaviours take another. */
static int
attested_key(struct enroll_run *run, struct buf *template, struct err *e)
{
	int evidence = run->options.tpm.evidence;

	if (evidence == EVIDENCE_OTHER_KEY || evidence == EVIDENCE_BORROWED)
		return tpmc_key_template(template, e);
	buf_append_bytes(template, buf_bytes(&run->tpm.key));
	return buf_failed(template) ? err_set(e, ERR_NOMEM, "no memory for a template") : 0;
}

static int
put_statement(struct evidence *out, const char *type, const struct buf *stmt)
{
	struct evidence_statement *to = &out->statements[out->statement_count++];

	(void)snprintf(to->type, sizeof to->type, "%s", type);
	to->stmt = buf_bytes(stmt);
	return 0;
}

/* The attestation key is told by its certificate where there is one, else by its public area. */
static int
put_ak(struct enroll_run *run, const struct buf *area, struct evidence *out, struct buf *stmt, struct buf *certs,
	struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *chain = NULL;
	size_t ends[EVIDENCE_CERTS_MAX];
	int i;

	if (run->options.tpm.ak_cert == NULL) {
		if (evidence_tpm_ak_encode(buf_bytes(area), stmt, e) != 0)
			return -1;
		return put_statement(out, EVIDENCE_TPM_AK, stmt);
	}
	if (x509_load_file(run->options.tpm.ak_cert, &chain, e) != 0)
		return -1;
	if (sk_X509_num(chain) > EVIDENCE_CERTS_MAX)
		return err_set(e, ERR_LIMIT, "--tpm-ak-cert: more than %d certificates", EVIDENCE_CERTS_MAX);
	for (i = 0; i < sk_X509_num(chain); i++) {
		if (x509_to_der(sk_X509_value(chain, i), certs, e) != 0)
			return -1;
		ends[i] = certs->len;
	}
	for (i = 0; i < sk_X509_num(chain); i++) {
		size_t begin = i == 0 ? 0 : ends[i - 1];

		out->certs[out->cert_count++] = bytes_of(certs->at + begin, ends[i] - begin);
	}
	return 0;
}

static int
make_evidence(struct enroll_run *run, const struct buf *ak, struct bytes nonce, struct err *e)
{
	CLEANUP(buf) struct buf template = { 0 }, attest = { 0 }, signature = { 0 }, area = { 0 };
	CLEANUP(buf) struct buf stmt = { 0 }, ak_stmt = { 0 }, certs = { 0 };
	struct evidence evidence = { .statement_count = 0 };
	struct evidence_tpm tpm;

	if (attested_key(run, &template, e) != 0 ||
	    tpmc_certify(run->tpm.tpmc, buf_bytes(&template), nonce, &attest, &signature, &area, e) != 0)
		return -1;
	tpm = (struct evidence_tpm){ buf_bytes(&attest), buf_bytes(&signature), buf_bytes(&area) };
	if (evidence_tpm_encode(&tpm, &stmt, e) != 0 ||
	    put_statement(&evidence, EVIDENCE_TPM_CERTIFY, &stmt) != 0 ||
	    put_ak(run, ak, &evidence, &ak_stmt, &certs, e) != 0)
		return -1;
	buf_clear(&run->tpm.evidence);
	return evidence_encode(&evidence, &run->tpm.evidence, e);
}

static bool
is_bound(const struct enroll_run *run, const char *ak_id, int64_t now_s)
{
	return strcmp(run->tpm.bound_ak, ak_id) == 0 && run->tpm.bound_until_s > now_s &&
		strcmp(run->tpm.bound_at, run->options.client.url) == 0;
}

static int
bind_if_needed(struct enroll_run *run, const struct buf *ak, struct err *e)
{
	int how = run->options.tpm.bind;
	uint8_t digest[32];
	char id[TPM_AK_ID_MAX];

	/* Once is enough, however often the connection has to be made anew. */
	if (how == BIND_NEVER || run->tpm.bound_now || (how == BIND_AUTO && run->options.tpm.ak_cert != NULL))
		return 0;
	if (sha256(buf_bytes(ak), digest, e) != 0)
		return -1;
	hex_encode(bytes_of(digest, sizeof digest), id);
	if (how == BIND_AUTO && is_bound(run, id, time_now_s()))
		return 0;
	if (enroll_tpm_bind(run, buf_bytes(ak), e) != 0)
		return -1;
	(void)snprintf(run->tpm.bound_ak, sizeof run->tpm.bound_ak, "%s", id);
	(void)snprintf(run->tpm.bound_at, sizeof run->tpm.bound_at, "%s", run->options.client.url);
	run->tpm.bound_now = true;
	return 0;
}

int
enroll_tpm_attest(struct enroll_run *run, struct err *e)
{
	CLEANUP(buf) struct buf ak = { 0 }, nonce = { 0 };

	if (run->options.tpm.evidence == EVIDENCE_NONE)
		return 0;
	if (tpmc_ak_area(run->tpm.tpmc, &ak, e) != 0 || bind_if_needed(run, &ak, e) != 0)
		return -1;
	if (run->options.tpm.ak_area != NULL) {
		buf_clear(&ak);
		if (file_read(run->options.tpm.ak_area, &ak, e) != 0)
			return -1;
	}
	if (take_nonce(run, &nonce, e) != 0)
		return -1;
	return make_evidence(run, &ak, buf_bytes(&nonce), e);
}
