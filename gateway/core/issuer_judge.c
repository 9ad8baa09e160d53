/*
 * What a CA gave, compared with what was approved, by the key that it should have been signed with: the CA's own, or that of another
 * generation of it, when the CA has changed its key before the label was pointed at it.
 */
#include <stdio.h>

#include "base/text.h"
#include "gateway/core/issuer_internal.h"

#define AKI_SHOWN  20 /* octets */
#define NAME_SHOWN 120

/* Of somebody's certificate: escaped, and cut. */
static void
tell_issuer(X509 *cert, struct err *wrong)
{
	const ASN1_OCTET_STRING *id = X509_get0_authority_key_id(cert);
	char name[2 * NAME_SHOWN], shown[NAME_SHOWN], hex[2 * AKI_SHOWN + 1] = "none";
	struct bytes octets = { 0 };

	x509_name_text(X509_get_issuer_name(cert), name, sizeof name);
	text_escape(shown, sizeof shown, bytes_of_text(name));
	if (id != NULL)
		octets = bytes_of(ASN1_STRING_get0_data(id), (size_t)ASN1_STRING_length(id));
	if (octets.len > AKI_SHOWN)
		octets.len = AKI_SHOWN;
	if (octets.len != 0)
		hex_encode(octets, hex);
	(void)err_set(wrong, ERR_DENIED, "no key that is known here signed it; its issuer: %s, authority key identifier: %s", shown, hex);
}

/* 1: some key that is known here signed it; 0: none, *wrong tells whose it says it is; -1: it is no certificate. */
static int
find_signer(const struct issuer_job *job, const struct config_ca *config, struct bytes cert, const struct config_ca **by,
	struct err *wrong)
{
	const struct config_ca *generation = world_generation_of(job->world, config, cert);
	CLEANUP(X509) X509 *parsed = NULL;
	struct err e;

	if (generation != NULL) {
		*by = generation;
		return 1;
	}
	if (x509_from_der(cert, &parsed, &e) != 0)
		return -1;
	tell_issuer(parsed, wrong);
	return 0;
}

/* By its issuing certificate and those above that. */
static int
verify_by(const struct world_ca *ca, const struct ca_request *approved, struct bytes cert, struct err *wrong)
{
	const struct ca_ops *ops = ca->ops;

	return ops->verify != NULL ? ops->verify(ca->ca, cert, approved, wrong) :
		ca_verify_below(cert, approved, ops->chain(ca->ca), wrong);
}

/* By the key of another generation: the present one of an entry, or that which an entry changes to. */
static int
verify_other(const struct issuer_job *job, const struct config_ca *by, const X509 *signer, const struct ca_request *approved,
	struct bytes cert, struct err *wrong)
{
	const struct world_ca *ca = &job->world->cas[by - job->world->config->cas];

	if (sk_X509_value(ca->ops->chain(ca->ca), 0) == signer)
		return verify_by(ca, approved, cert, wrong);
	return ca_verify_below(cert, approved, ca->next, wrong);
}

int
issuer_ask(const struct issuer_job *job, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	if (world_ca_is_valid(job->world, issuer_job_config(job), request->now_s, e) != 0)
		return err_prefix(e, "nothing is sent, nobody would accept the certificate");
	return job->ca->ops->issue(job->ca->ca, request, out, e);
}

int
issuer_judge(const struct issuer_job *job, const struct ca_request *approved, struct bytes cert, const struct config_ca **by,
	bool *other, const char **reason, struct err *wrong)
{
	X509 *own = sk_X509_value(job->ca->ops->chain(job->ca->ca), 0), *signer;
	int found;

	*by = issuer_job_config(job);
	*other = false;
	*reason = "ca.verification";
	if ((job->ca->ops->verified && !job->found) || verify_by(job->ca, approved, cert, wrong) == 0)
		return 0;
	if (wrong->code == ERR_NOMEM)
		return -1;
	found = find_signer(job, *by, cert, by, wrong);
	if (found != 1)
		*by = NULL;
	if (found == 0)
		*reason = "ca.unknown_issuer";
	signer = found == 1 ? world_signer_of(job->world, issuer_job_config(job), cert) : NULL;
	/* Its own key: then it is something else that is wrong, and said already. */
	if (signer == NULL || signer == own)
		return 1;
	*other = true;
	if (verify_other(job, *by, signer, approved, cert, wrong) == 0)
		return 0;
	return wrong->code == ERR_NOMEM ? -1 : 1;
}
