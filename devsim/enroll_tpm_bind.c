/*
 * The attestation key is bound to the TPM's endorsement key (TPM2_ActivateCredential), and what is remembered of it.
 */
#include <stdlib.h>
#include <string.h>

#include "devsim/devsim.h"
#include "devsim/enroll_tpm_ask.h"
#include "devsim/files.h"
#include "policy/attest/credential.h"

#define JSON_TYPE "application/json"

/* Its certificate where the TPM has one, else the bare key. */
static int
ek_octets(struct tpmc *tpmc, struct buf *out, struct err *e)
{
	CLEANUP(buf) struct buf area = { 0 };
	struct tpm_public ek;
	uint8_t *der = NULL;
	int len;

	if (tpmc_ek_certificate(tpmc, out, e) != 0)
		return -1;
	if (out->len != 0)
		return 0;
	if (tpmc_ek_area(tpmc, &area, e) != 0 || tpm_public_parse(buf_bytes(&area), &ek, e) != 0)
		return -1;
	len = i2d_PUBKEY(ek.key, &der);
	tpm_public_clear(&ek);
	if (len <= 0)
		return err_ossl(e, ERR_BUG, "endorsement key");
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for an endorsement key") : 0;
}

static int
begin(struct enroll_run *run, struct bytes area, json_t **challenge, struct err *e)
{
	CLEANUP(buf) struct buf ek = { 0 };
	json_t *question = json_object();
	int result = ek_octets(run->tpm.tpmc, &ek, e);

	if (result == 0 && (enroll_tpm_set(question, "ek", buf_bytes(&ek), e) != 0 ||
		enroll_tpm_set(question, "ak", area, e) != 0))
		result = -1;
	if (result == 0)
		result = enroll_tpm_ask(run, EST_OP_TPM_BIND, question, JSON_TYPE, challenge, e);
	json_decref(question);
	return result;
}

/* What the TPM makes of the challenge. */
static int
solve(struct enroll_run *run, const json_t *challenge, struct buf *answer, struct err *e)
{
	CLEANUP(buf) struct buf blob = { 0 }, secret = { 0 };

	if (enroll_tpm_octets(challenge, "blob", &blob, e) != 0 || enroll_tpm_octets(challenge, "secret", &secret, e) != 0) {
		run->tpm.refused = DEVSIM_MALFORMED;
		return -1;
	}
	if (tpmc_activate(run->tpm.tpmc, buf_bytes(&blob), buf_bytes(&secret), answer, e) != 0)
		return -1;
	if (run->options.tpm.bind == BIND_WRONG && answer->len != 0)
		answer->at[0] ^= 1;
	return 0;
}

static int
finish(struct enroll_run *run, const json_t *challenge, struct bytes answer, struct err *e)
{
	json_t *question = json_object(), *told = NULL;
	int result = enroll_tpm_set(question, "answer", answer, e);

	if (result == 0 && json_object_set(question, "token", json_object_get(challenge, "token")) != 0)
		result = err_set(e, ERR_MALFORMED, "the challenge has no token");
	if (result == 0)
		result = enroll_tpm_ask(run, EST_OP_TPM_BIND, question, JSON_TYPE, &told, e);
	json_decref(question);
	if (result == 0)
		run->tpm.bound_until_s = time_now_s() + json_integer_value(json_object_get(told, "expiry"));
	json_decref(told);
	return result;
}

int
enroll_tpm_bind(struct enroll_run *run, struct bytes area, struct err *e)
{
	struct buf answer = { 0 };
	json_t *challenge = NULL;
	int result = begin(run, area, &challenge, e);

	if (result == 0)
		result = solve(run, challenge, &answer, e);
	if (result == 0)
		result = finish(run, challenge, buf_bytes(&answer), e);
	json_decref(challenge);
	buf_free_secret(&answer);
	if (result == 0 && run->options.verbose)
		(void)fprintf(stderr, "* the attestation key is bound to the TPM's endorsement key\n");
	return result;
}

int
enroll_tpm_save(const struct enroll_run *run, const char *path, struct err *e)
{
	json_t *object = json_object(), *bound;
	char *text = NULL;
	int result = enroll_tpm_set(object, "template", buf_bytes(&run->tpm.key), e);

	if (result == 0 && run->tpm.bound_ak[0] != '\0') {
		bound = json_pack("{s:s, s:s, s:I}", "ak", run->tpm.bound_ak, "at", run->tpm.bound_at, "until",
			(json_int_t)run->tpm.bound_until_s);
		(void)json_object_set_new(object, "bound", bound);
	}
	if (result == 0)
		text = json_dumps(object, JSON_INDENT(2));
	if (result == 0 && text == NULL)
		result = err_set(e, ERR_NOMEM, "no memory for a key's template");
	if (result == 0)
		result = file_write(path, bytes_of_text(text), FILE_MODE_SECRET, e);
	free(text);
	json_decref(object);
	return result;
}

/* What was bound at another time; anything odd is as if nothing was. */
static void
take_bound(struct enroll_tpm *tpm, const json_t *bound)
{
	const char *ak = json_string_value(json_object_get(bound, "ak"));
	const char *at = json_string_value(json_object_get(bound, "at"));

	if (ak == NULL || at == NULL || strlen(ak) >= sizeof tpm->bound_ak || strlen(at) >= sizeof tpm->bound_at)
		return;
	memcpy(tpm->bound_ak, ak, strlen(ak) + 1);
	memcpy(tpm->bound_at, at, strlen(at) + 1);
	tpm->bound_until_s = json_integer_value(json_object_get(bound, "until"));
}

int
enroll_tpm_read(struct enroll_run *run, const char *path, struct buf *template, struct err *e)
{
	CLEANUP(buf) struct buf text = { 0 };
	json_t *object;
	int result;

	if (file_read(path, &text, e) != 0)
		return -1;
	object = json_loadb((const char *)text.at, text.len, 0, NULL);
	result = enroll_tpm_octets(object, "template", template, e);
	if (result == 0)
		take_bound(&run->tpm, json_object_get(object, "bound"));
	json_decref(object);
	return result == 0 ? 0 : err_prefix(e, "%.100s", path);
}
