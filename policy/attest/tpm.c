/*
 * TPM 2.0 key certification: an attestation key says, in the TPM's own words, that the CSR's key lives in that TPM.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/key.h"
#include "policy/attest/attest.h"
#include "policy/attest/credential.h"
#include "policy/attest/spki.h"
#include "policy/attest/tpm_wire.h"

#define EKU_AK "2.23.133.8.3" /* tcg-kp-AIKCertificate (TCG, Credential Profile for TPM 2.0, section 3.4) */

/* One statement on its way through the checks. */
struct job {
	const struct attest_settings *settings;
	const struct attest_input *in;
	struct attestation *out;
	struct bytes attested;          /* the octets that were signed */
	struct tpm_attest attest;
	struct tpm_signature signature;
	struct bytes key_area;
	struct tpm_public key;          /* what the statement says the CSR's key is */
	bool has_ak;
	struct tpm_public ak;           /* the AK's own public area, where it came along */
	X509 *ak_cert;                  /* the AK's certificate, where it has led to a root */
	bool is_bound;
	struct attest_ak bound;         /* what is known of a bound AK */
	EVP_PKEY *ak_key;               /* borrowed from ak or ak_cert */
};

static void
job_clear(struct job *job)
{
	tpm_public_clear(&job->key);
	tpm_public_clear(&job->ak);
	X509_free(job->ak_cert);
}

static bool
failed(struct job *job, const char *name, const struct err *e)
{
	return attest_check(job->out, name, false, "%s", e->text);
}

/* 1: there is one; 0: none; -1: more than one, or not an AK's public area. */
static int
read_ak(struct job *job, struct err *e)
{
	const struct evidence *evidence = job->in->evidence;
	struct bytes area;
	size_t i;

	for (i = 0; i < evidence->statement_count; i++) {
		if (strcmp(evidence->statements[i].type, EVIDENCE_TPM_AK) != 0)
			continue;
		if (job->has_ak)
			return err_set(e, ERR_MALFORMED, "more than one AK statement");
		if (evidence_tpm_ak_parse(evidence->statements[i].stmt, &area, e) != 0 ||
		    tpm_public_parse(area, &job->ak, e) != 0)
			return err_prefix(e, "AK");
		job->has_ak = true;
	}
	return job->has_ak ? 1 : 0;
}

static bool
check_form(struct job *job)
{
	const struct attest_input *in = job->in;
	struct evidence_tpm tpm;
	struct err e;

	if (in->statement >= in->evidence->statement_count ||
	    strcmp(in->evidence->statements[in->statement].type, EVIDENCE_TPM_CERTIFY) != 0)
		return attest_check(job->out, "tpm.form", false, "not a TPM statement");
	if (evidence_tpm_parse(in->evidence->statements[in->statement].stmt, &tpm, &e) != 0)
		return failed(job, "tpm.form", &e);
	/* OPTIONAL in the draft, but without it a name is a hash of something unknown. */
	if (tpm.public_area.len == 0)
		return attest_check(job->out, "tpm.form", false, "tpmTPublic is missing");
	if (tpm_attest_parse(tpm.attest, &job->attest, &e) != 0 ||
	    tpm_signature_parse(tpm.signature, &job->signature, &e) != 0 ||
	    tpm_public_parse(tpm.public_area, &job->key, &e) != 0 || read_ak(job, &e) < 0)
		return failed(job, "tpm.form", &e);
	job->attested = tpm.attest;
	job->key_area = tpm.public_area;
	return attest_check(job->out, "tpm.form", true, "%zu, %zu and %zu octets", tpm.attest.len, tpm.signature.len,
		tpm.public_area.len);
}

static bool
check_bound_ak(struct job *job)
{
	job->ak_key = job->ak.key;
	return attest_check(job->out, "tpm.ak", true, "bound to EK %.64s", job->bound.ek_sha256);
}

static bool
check_certified_ak(struct job *job)
{
	const struct evidence *evidence = job->in->evidence;
	struct key_facts facts;
	char kind[24];

	if (attest_chain(job->settings, "tpm.ak", evidence->certs, evidence->cert_count, job->in->now_s, &job->ak_cert,
		    job->out) != 0)
		return attest_check(job->out, "tpm.ak", false, "its certificate is not accepted");
	/* Else any other key below these roots, a TLS server's say, could sign what a TPM says. */
	if (!x509_has_usage(job->ak_cert, EKU_AK))
		return attest_check(job->out, "tpm.ak", false, "its certificate is not for " EKU_AK);
	job->ak_key = X509_get0_pubkey(job->ak_cert);
	key_facts_of(job->ak_key, &facts);
	key_text(&facts, kind);
	if (facts.kind == KEY_OTHER || facts.weak != NULL)
		return attest_check(job->out, "tpm.ak", false, "%s", facts.weak == NULL ? "its key is of no known kind" :
			facts.weak);
	return attest_check(job->out, "tpm.ak", true, "by certificate, %s", kind);
}

/*
 * A bound AK is asked for first: its device may well send a certificate of somebody whom nobody here knows. Who finds
 * a public key here was shown to have its private key inside that EK's TPM, under the name of a proper AK.
 */
static bool
check_ak(struct job *job)
{
	const struct attest_settings *settings = job->settings;
	const struct attest_input *in = job->in;

	if (settings->tpm_ak_by_binding && job->has_ak && in->find_ak != NULL)
		job->is_bound = in->find_ak(in->ak_arg, job->ak.spki_sha256, &job->bound) == 1;
	if (job->is_bound)
		return check_bound_ak(job);
	if (settings->tpm_ak_by_certificate && in->evidence->cert_count != 0)
		return check_certified_ak(job);
	if (settings->tpm_ak_by_binding)
		return attest_check(job->out, "tpm.ak", false, job->has_ak ? "this AK is not bound to an EK" :
			"the AK's public area did not come along");
	return attest_check(job->out, "tpm.ak", false, "no AK certificate came along");
}

/* Only where a public area came along; of an AK with a certificate its CA has judged the attributes. */
static bool
check_ak_key(struct job *job)
{
	struct err e;

	if (!job->has_ak)
		return true;
	if (EVP_PKEY_eq(job->ak.key, job->ak_key) != 1)
		return attest_check(job->out, "tpm.ak.key", false, "the public area is not that of the certified AK");
	if (tpm_public_is_ak(&job->ak, &e) != 0)
		return failed(job, "tpm.ak.key", &e);
	return attest_check(job->out, "tpm.ak.key", true, "attributes 0x%08" PRIx32, job->ak.attributes);
}

static bool
check_signature(struct job *job)
{
	struct err e;

	if (tpm_signature_verify(&job->signature, job->ak_key, job->attested, &e) != 0)
		return failed(job, "tpm.signature", &e);
	return attest_check(job->out, "tpm.signature", true, "scheme 0x%04x, hash 0x%04x", job->signature.scheme,
		job->signature.hash);
}

/*
 * Part 1, section 31.2: a restricted key signs nothing from outside that begins with TPM_GENERATED, so what begins
 * with it was made inside. A quote begins with it too, and speaks of no key.
 */
static bool
check_kind(struct job *job)
{
	const struct tpm_attest *attest = &job->attest;

	return attest_check(job->out, "tpm.magic", attest->magic == TPM_GENERATED, "0x%08" PRIx32, attest->magic) &&
		attest_check(job->out, "tpm.type", attest->type == TPM_ST_CERTIFY || attest->type == TPM_ST_CREATION,
			"0x%04x", attest->type);
}

static void
check_nonce(struct job *job)
{
	const struct attest_input *in = job->in;
	struct bytes nonce = job->attest.nonce;

	if (nonce.len < ATTEST_NONCE_MIN || nonce.len > ATTEST_NONCE_MAX)
		(void)attest_check(job->out, "tpm.nonce", false, "%zu octets", nonce.len);
	else if (in->is_nonce == NULL)
		(void)attest_check(job->out, "tpm.nonce", false, "no nonce is known to compare with");
	else
		(void)attest_check(job->out, "tpm.nonce", in->is_nonce(in->nonce_arg, nonce), "%zu octets", nonce.len);
}

static void
check_attributes(struct job *job)
{
	static const struct {
		uint32_t bit;
		bool wanted;
		const char *trouble;
	} rules[] = {
		{ TPM_ATTR_FIXED_TPM, true, "may leave its TPM" },
		{ TPM_ATTR_FIXED_PARENT, true, "may move below another key" },
		{ TPM_ATTR_ENCRYPTED_DUPLICATION, false, "is duplicable" },
		{ TPM_ATTR_SENSITIVE_DATA_ORIGIN, true, "was not made by the TPM" },
		{ TPM_ATTR_SIGN, true, "does not sign" },
	};
	uint32_t attributes = job->key.attributes;
	size_t i;

	for (i = 0; i < sizeof rules / sizeof rules[0]; i++)
		if (((attributes & rules[i].bit) != 0) != rules[i].wanted) {
			(void)attest_check(job->out, "tpm.attributes", false, "0x%08" PRIx32 ": the key %s", attributes,
				rules[i].trouble);
			return;
		}
	(void)attest_check(job->out, "tpm.attributes", true, "0x%08" PRIx32, attributes);
}

/* The statement is about this public area, and this public area is the CSR's key. */
static void
check_key(struct job *job)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *requested = NULL;
	bool named = bytes_equal(job->attest.name, bytes_of(job->key.name, job->key.name_len));
	struct key_facts facts;
	char kind[24];
	struct err e;

	(void)attest_check(job->out, "tpm.name", named, "%s", named ? "of the public area" : "of another object");
	check_attributes(job);
	if (key_from_spki(job->in->spki, &requested, &facts, &e) != 0) {
		(void)failed(job, "tpm.key", &e);
		return;
	}
	key_text(&facts, kind);
	if (EVP_PKEY_eq(requested, job->key.key) == 1)
		(void)attest_check(job->out, "tpm.key", true, "%s", kind);
	else
		(void)attest_check(job->out, "tpm.key", false, "%s; the request is for another key", kind);
}

/* By the attester's rules; where these say nothing, the AK itself is what the certificate proves. */
static bool
certificate_anchors(struct job *job, struct anchor found[ATTEST_ANCHORS_MAX], size_t *count)
{
	const struct attest_settings *settings = job->settings;
	CLEANUP(buf) struct buf spki = { 0 };
	uint8_t digest[32];
	struct err e;

	if (identity_extract(settings->rules, settings->name, job->ak_cert, found, ATTEST_ANCHORS_MAX, count, &e) != 0)
		return failed(job, "tpm.identity", &e);
	if (*count == 0) {
		if (spki_put_key(&spki, job->ak_key, &e) != 0 || sha256(buf_bytes(&spki), digest, &e) != 0)
			return failed(job, "tpm.identity", &e);
		found[0].type = ANCHOR_SPKI_SHA256;
		(void)snprintf(found[0].issuer, sizeof found[0].issuer, "%s", settings->name);
		hex_encode(bytes_of(digest, sizeof digest), found[0].value);
		*count = 1;
	}
	return attest_check(job->out, "tpm.identity", true, "%s %s", anchor_type_name(found[0].type), found[0].value);
}

static void
identify(struct job *job, struct anchor found[ATTEST_ANCHORS_MAX], size_t *count)
{
	*count = 0;
	if (!job->is_bound) {
		if (!certificate_anchors(job, found, count))
			*count = 0;
		return;
	}
	found[0].type = ANCHOR_EK_PUB_SHA256;
	(void)snprintf(found[0].issuer, sizeof found[0].issuer, "%s", job->settings->name);
	(void)snprintf(found[0].value, sizeof found[0].value, "%.64s", job->bound.ek_sha256);
	*count = 1;
}

static void
put_claims(struct job *job)
{
	const struct tpm_attest *attest = &job->attest;
	char name[2 * TPM_NAME_MAX + 1], issuer[96];

	hex_encode(bytes_of(job->key.name, job->key.name_len), name);
	attest_claim(job->out, "tpm.statement", "%s", attest->type == TPM_ST_CERTIFY ? "certify" : "creation");
	attest_claim(job->out, "tpm.ak", "%s", job->is_bound ? "bound" : "certificate");
	if (job->is_bound)
		attest_claim(job->out, "tpm.ek", "%.64s", job->bound.ek_sha256);
	else {
		x509_name_text(X509_get_issuer_name(job->ak_cert), issuer, sizeof issuer);
		attest_claim(job->out, "tpm.ak_issuer", "%s", issuer);
	}
	attest_claim(job->out, "tpm.firmware", "%016" PRIx64, attest->firmware);
	attest_claim(job->out, "tpm.clock_ms", "%" PRIu64, attest->clock_ms);
	attest_claim(job->out, "tpm.resets", "%" PRIu32, attest->resets);
	attest_claim(job->out, "tpm.restarts", "%" PRIu32, attest->restarts);
	attest_claim(job->out, "tpm.key_attributes", "0x%08" PRIx32, job->key.attributes);
	attest_claim(job->out, "tpm.key_name", "%s", name);
}

/* Up to the first check without which the later ones would judge nobody's word. */
static void
judge(struct job *job, struct anchor anchors[ATTEST_ANCHORS_MAX], size_t *anchor_count)
{
	if (!check_form(job) || !check_ak(job) || !check_ak_key(job) || !check_signature(job) || !check_kind(job))
		return;
	check_nonce(job);
	check_key(job);
	identify(job, anchors, anchor_count);
	put_claims(job);
}

static int
tpm_verify(const struct attest_settings *settings, const struct attest_input *in, struct attestation *out,
	struct err *e)
{
	struct anchor anchors[ATTEST_ANCHORS_MAX] = { 0 };
	struct job job = { .settings = settings, .in = in, .out = out };
	size_t count = 0, i;

	(void)e;
	*out = (struct attestation){ .method = ATTEST_TPM };
	(void)snprintf(out->attester, sizeof out->attester, "%s", settings->name);
	judge(&job, anchors, &count);
	attest_conclude(out);
	job_clear(&job);
	/* Evidence that failed anywhere speaks of nobody. */
	if (!out->valid)
		return 0;
	out->fresh = true;
	out->key_bound = true;
	for (i = 0; i < count; i++)
		out->anchors[i] = anchors[i];
	out->anchor_count = count;
	return 0;
}

const struct attest_ops attest_tpm = {
	.method = ATTEST_TPM,
	.statement_type = EVIDENCE_TPM_CERTIFY,
	.verify = tpm_verify,
};
