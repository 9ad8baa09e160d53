#define _GNU_SOURCE
#include "devsim/tpmc.h"

#include <stdlib.h>
#include <string.h>

#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include "devsim/tpmc_internal.h"

#define NONE3 ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE

/* Where manufacturers put certificates of L-1 and L-2 (EK Credential Profile, section 2.2.1.4). */
#define NV_EK_CERT_RSA 0x01c00002
#define NV_EK_CERT_ECC 0x01c0000a
#define NV_CHUNK       512 /* any TPM reads so much at once */
#define NV_CERT_MAX    8192

int
tpmc_error(struct err *e, const char *command, TSS2_RC rc)
{
	return err_set(e, ERR_UPSTREAM, "TPM: %s: %s (0x%x)", command, Tss2_RC_Decode(rc), rc);
}

int
tpmc_open(const char *tcti, enum tpmc_ek ek, struct tpmc **out, struct err *e)
{
	CLEANUP(tpmc) struct tpmc *tpmc = calloc(1, sizeof *tpmc);
	TSS2_RC rc;

	if (tpmc == NULL)
		return err_set(e, ERR_NOMEM, "no memory for a TPM");
	tpmc->ek = ek;
	/* The libraries tell their troubles on stderr, and so do we: once is enough. */
	(void)setenv("TSS2_LOG", "all+none", 0);
	rc = Tss2_TctiLdr_Initialize(tcti, &tpmc->tcti);
	if (rc != TSS2_RC_SUCCESS) {
		tpmc->tcti = NULL;
		return err_set(e, ERR_UPSTREAM, "no TPM at %.100s: %s", tcti, Tss2_RC_Decode(rc));
	}
	rc = Esys_Initialize(&tpmc->esys, tpmc->tcti, NULL);
	if (rc != TSS2_RC_SUCCESS) {
		tpmc->esys = NULL;
		return tpmc_error(e, "beginning", rc);
	}
	*out = tpmc;
	tpmc = NULL;
	return 0;
}

void
tpmc_flush(struct tpmc *tpmc, ESYS_TR handle)
{
	if (handle != ESYS_TR_NONE)
		(void)Esys_FlushContext(tpmc->esys, handle);
}

int
tpmc_put_area(const TPM2B_PUBLIC *area, struct buf *out, struct err *e)
{
	uint8_t octets[sizeof *area];
	size_t len = 0;

	if (Tss2_MU_TPMT_PUBLIC_Marshal(&area->publicArea, octets, sizeof octets, &len) != TSS2_RC_SUCCESS)
		return err_set(e, ERR_BUG, "public area");
	buf_append(out, octets, len);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for a public area") : 0;
}

int
tpmc_primary(struct tpmc *tpmc, ESYS_TR hierarchy, const TPM2B_PUBLIC *template, ESYS_TR *out, TPM2B_PUBLIC **area,
	struct err *e)
{
	static const TPM2B_SENSITIVE_CREATE nothing;
	static const TPM2B_DATA no_info;
	static const TPML_PCR_SELECTION no_pcrs;
	TPM2B_PUBLIC *made = NULL;
	TPM2B_CREATION_DATA *data = NULL;
	TPM2B_DIGEST *hash = NULL;
	TPMT_TK_CREATION *ticket = NULL;
	TSS2_RC rc = Esys_CreatePrimary(tpmc->esys, hierarchy, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &nothing,
		template, &no_info, &no_pcrs, out, &made, &data, &hash, &ticket);

	Esys_Free(data);
	Esys_Free(hash);
	Esys_Free(ticket);
	if (rc != TSS2_RC_SUCCESS)
		return tpmc_error(e, "TPM2_CreatePrimary", rc);
	if (area != NULL)
		*area = made;
	else
		Esys_Free(made);
	return 0;
}

static int
endorsement_area(struct tpmc *tpmc, const TPM2B_PUBLIC *template, struct buf *out, struct err *e)
{
	ESYS_TR handle = ESYS_TR_NONE;
	TPM2B_PUBLIC *area = NULL;
	int result = tpmc_primary(tpmc, ESYS_TR_RH_ENDORSEMENT, template, &handle, &area, e);

	if (result != 0)
		return -1;
	tpmc_flush(tpmc, handle);
	result = tpmc_put_area(area, out, e);
	Esys_Free(area);
	return result;
}

int
tpmc_ek_area(struct tpmc *tpmc, struct buf *area, struct err *e)
{
	TPM2B_PUBLIC template = tpmc_template_ek(tpmc->ek);

	return endorsement_area(tpmc, &template, area, e);
}

int
tpmc_ak_area(struct tpmc *tpmc, struct buf *area, struct err *e)
{
	TPM2B_PUBLIC template = tpmc_template_ak();

	return endorsement_area(tpmc, &template, area, e);
}

static int
nv_read(struct tpmc *tpmc, ESYS_TR index, size_t size, struct buf *out, struct err *e)
{
	TPM2B_MAX_NV_BUFFER *piece;
	size_t at = 0, len;
	TSS2_RC rc;

	while (at < size) {
		piece = NULL;
		len = size - at < NV_CHUNK ? size - at : NV_CHUNK;
		rc = Esys_NV_Read(tpmc->esys, index, index, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, (UINT16)len,
			(UINT16)at, &piece);
		if (rc != TSS2_RC_SUCCESS)
			return tpmc_error(e, "TPM2_NV_Read", rc);
		len = piece->size;
		buf_append(out, piece->buffer, len);
		Esys_Free(piece);
		if (len == 0)
			return err_set(e, ERR_MALFORMED, "TPM: a certificate that ends early");
		at += len;
	}
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for a certificate") : 0;
}

/* Manufacturers make the place larger than the certificate: what follows it is no part of it. */
static int
cut_certificate(struct bytes octets, struct buf *der, struct err *e)
{
	const uint8_t *at = octets.at;
	X509 *cert = d2i_X509(NULL, &at, (long)octets.len);

	if (cert == NULL)
		return err_ossl(e, ERR_MALFORMED, "the endorsement key's certificate in the TPM");
	X509_free(cert);
	buf_append(der, octets.at, (size_t)(at - octets.at));
	return buf_failed(der) ? err_set(e, ERR_NOMEM, "no memory for a certificate") : 0;
}

int
tpmc_ek_certificate(struct tpmc *tpmc, struct buf *der, struct err *e)
{
	CLEANUP(buf) struct buf octets = { 0 };
	TPM2_HANDLE place = tpmc->ek == TPMC_EK_RSA ? NV_EK_CERT_RSA : NV_EK_CERT_ECC;
	ESYS_TR index = ESYS_TR_NONE;
	TPM2B_NV_PUBLIC *about = NULL;
	size_t size;
	TSS2_RC rc;

	/* Reading the index is how one learns whether it exists. */
	if (Esys_TR_FromTPMPublic(tpmc->esys, place, NONE3, &index) != TSS2_RC_SUCCESS)
		return 0;
	rc = Esys_NV_ReadPublic(tpmc->esys, index, NONE3, &about, NULL);
	if (rc != TSS2_RC_SUCCESS)
		return tpmc_error(e, "TPM2_NV_ReadPublic", rc);
	size = about->nvPublic.dataSize;
	Esys_Free(about);
	if (size > NV_CERT_MAX)
		return err_set(e, ERR_LIMIT, "TPM: a certificate of %zu octets", size);
	if (nv_read(tpmc, index, size, &octets, e) != 0)
		return -1;
	return cut_certificate(buf_bytes(&octets), der, e);
}

/* The session in which the endorsement hierarchy's empty password opens the EK's policy. */
static int
policy_session(struct tpmc *tpmc, ESYS_TR *session, struct err *e)
{
	static const TPMT_SYM_DEF plain = { .algorithm = TPM2_ALG_NULL };
	TSS2_RC rc = Esys_StartAuthSession(tpmc->esys, ESYS_TR_NONE, ESYS_TR_NONE, NONE3, NULL, TPM2_SE_POLICY, &plain,
		TPM2_ALG_SHA256, session);

	if (rc != TSS2_RC_SUCCESS) {
		*session = ESYS_TR_NONE;
		return tpmc_error(e, "TPM2_StartAuthSession", rc);
	}
	rc = Esys_PolicySecret(tpmc->esys, ESYS_TR_RH_ENDORSEMENT, *session, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
		NULL, NULL, NULL, 0, NULL, NULL);
	return rc == TSS2_RC_SUCCESS ? 0 : tpmc_error(e, "TPM2_PolicySecret", rc);
}

/* Whatever was loaded is the caller's to flush. */
static int
activate(struct tpmc *tpmc, const TPM2B_ID_OBJECT *blob, const TPM2B_ENCRYPTED_SECRET *secret, ESYS_TR loaded[3],
	struct buf *out, struct err *e)
{
	TPM2B_PUBLIC ek = tpmc_template_ek(tpmc->ek), ak = tpmc_template_ak();
	TPM2B_DIGEST *hidden = NULL;
	TSS2_RC rc;

	if (tpmc_primary(tpmc, ESYS_TR_RH_ENDORSEMENT, &ek, &loaded[0], NULL, e) != 0 ||
	    tpmc_primary(tpmc, ESYS_TR_RH_ENDORSEMENT, &ak, &loaded[1], NULL, e) != 0 ||
	    policy_session(tpmc, &loaded[2], e) != 0)
		return -1;
	rc = Esys_ActivateCredential(tpmc->esys, loaded[1], loaded[0], ESYS_TR_PASSWORD, loaded[2], ESYS_TR_NONE, blob,
		secret, &hidden);
	if (rc != TSS2_RC_SUCCESS)
		return tpmc_error(e, "TPM2_ActivateCredential", rc);
	buf_append(out, hidden->buffer, hidden->size);
	OPENSSL_cleanse(hidden->buffer, hidden->size);
	Esys_Free(hidden);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for a credential") : 0;
}

int
tpmc_activate(struct tpmc *tpmc, struct bytes blob, struct bytes secret, struct buf *out, struct err *e)
{
	ESYS_TR loaded[3] = { ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE };
	TPM2B_ID_OBJECT id = { 0 };
	TPM2B_ENCRYPTED_SECRET encrypted = { 0 };
	size_t at = 0, at_secret = 0, i;
	int result;

	if (Tss2_MU_TPM2B_ID_OBJECT_Unmarshal(blob.at, blob.len, &at, &id) != TSS2_RC_SUCCESS || at != blob.len ||
	    Tss2_MU_TPM2B_ENCRYPTED_SECRET_Unmarshal(secret.at, secret.len, &at_secret, &encrypted) != TSS2_RC_SUCCESS ||
	    at_secret != secret.len)
		return err_set(e, ERR_MALFORMED, "not a credential for a TPM");
	result = activate(tpmc, &id, &encrypted, loaded, out, e);
	for (i = 0; i < 3; i++)
		tpmc_flush(tpmc, loaded[i]);
	return result;
}
