/*
 * A registrar passes a device's request on (RFC 7030, section 3.7, and RFC 6402,
 * section 2.10): it presents a certificate of ours with id-kp-cmcRA, and the
 * request's common name is the tag of the asset it asks for. Whether it may is
 * the policy's matter; here is only who is meant.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "gateway/core/enroll_internal.h"

/* The one common name of a subject, or "" when there is none, more than one, or it is not clean text. */
static void
common_name(const X509_NAME *subject, char out[REG_TEXT_MAX])
{
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1), len;
	const ASN1_STRING *value;
	uint8_t *utf8 = NULL;
	struct err e;

	out[0] = '\0';
	if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
		return;
	value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
	len = ASN1_STRING_to_UTF8(&utf8, value);
	if (len > 0 && text_copy(out, REG_TEXT_MAX, bytes_of(utf8, (size_t)len), "common name", &e) != 0)
		out[0] = '\0';
	OPENSSL_free(utf8);
}

static bool
keep_newest(void *arg, const struct cert_row *row)
{
	*(struct cert_row *)arg = *row;
	return true;
}

int
attempt_newest_cert(struct attempt *a, struct cert_row *row, X509 **cert, struct err *e)
{
	const struct store_ops *ops = a->gateway->store_ops;
	struct cert_filter filter = { .status = CERT_VALID, .asset_tag = a->asset.tag, .newest = true, .limit = 1 };
	CLEANUP(buf) struct buf der = { 0 };

	*row = (struct cert_row){ 0 };
	if (ops->cert_list(a->read, &filter, keep_newest, row, e) != 0)
		return -1;
	if (row->id == 0)
		return 0;
	if (ops->cert_der(a->read, row->id, &der, e) != 1)
		return err_set(e, ERR_UPSTREAM, "certificate %s cannot be read", row->serial);
	return x509_from_der(buf_bytes(&der), cert, e) == 0 ? 1 : -1;
}

/* The certificate the device has now; an ended one is none: the device enrolls anew. */
static int
find_renewed(struct attempt *a, struct err *e)
{
	struct cert_row row;
	int found;

	X509_free(a->renewed);
	a->renewed = NULL;
	a->renewed_not_after_s = 0;
	a->current = NULL;
	a->proof.cert_label[0] = '\0';
	found = attempt_newest_cert(a, &row, &a->renewed, e);
	if (found != 1)
		return found;
	if (row.not_after_s < a->request->now_s)
		return 0;
	a->current = a->renewed;
	a->renewed_id = row.id;
	(void)snprintf(a->proof.cert_label, sizeof a->proof.cert_label, "%s", row.label);
	a->renewed_not_after_s = row.not_after_s;
	return 0;
}

int
attempt_check_name(struct attempt *a, struct err *e)
{
	struct asset *other;
	struct owner owner;
	char tag[REG_TEXT_MAX];
	int found;

	if (!a->request->renewal_names_free || a->profile->csr_names != CSR_NAMES_IGNORE || a->proof.kind != PROOF_OWN ||
	    a->asset_matches != 1)
		return 0;
	common_name(a->csr->subject, tag);
	if (tag[0] == '\0' || strcmp(tag, a->asset.tag) == 0)
		return 0;
	other = calloc(1, sizeof *other);
	if (other == NULL)
		return err_set(e, ERR_NOMEM, "no memory for an asset");
	found = a->gateway->store_ops->asset_by_tag(a->read, tag, other, &owner, e);
	free(other);
	if (found < 0)
		return err_prefix(e, "registry");
	return found == 0 ? 0 : err_set(e, ERR_DENIED, "the request names another device, %.100s: it was made by that one", tag);
}

int
attempt_registrar(struct attempt *a, struct err *e)
{
	char tag[REG_TEXT_MAX];
	int found;

	a->has_registrar = false;
	/* A poll is by the stored proof: who asks need not present the certificate again. */
	if (a->proof.kind != PROOF_OWN || (a->request->label->policy.auth & AUTH_REGISTRAR) == 0 ||
	    a->request->client_cert == NULL || !x509_has_usage(a->request->client_cert, OID_CMC_RA))
		return 0;
	common_name(a->csr->subject, tag);
	if (tag[0] == '\0' || strcmp(tag, a->asset.tag) == 0)
		return 0; /* it asks for itself */
	a->current = NULL;
	a->registrar = a->asset;
	a->has_registrar = a->asset_matches == 1;
	a->proof.kind = PROOF_REGISTRAR;
	(void)snprintf(a->proof.text, sizeof a->proof.text, "registrar %.80s for %.80s", a->registrar.tag, tag);
	found = a->gateway->store_ops->asset_by_tag(a->read, tag, &a->asset, &a->owner, e);
	if (found < 0)
		return err_prefix(e, "registry");
	a->asset_matches = found;
	return found == 0 ? 0 : find_renewed(a, e);
}
