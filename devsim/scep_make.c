/*
 * devsim scep: what is sent.
 */
#include <openssl/err.h>

#include "devsim/csr.h"
#include "devsim/scep.h"

X509 *
scep_signer(const struct scep_run *run)
{
	return run->device.cert != NULL ? run->device.cert : run->self_signed;
}

EVP_PKEY *
scep_signer_key(const struct scep_run *run)
{
	return run->device.cert != NULL ? run->device.key : run->key;
}

static int
make_key(struct scep_run *run, struct err *e)
{
	if (run->key != NULL)
		return 0;
	if (!run->options.reuse_key)
		return key_make(&run->key_spec, &run->key, e);
	if (EVP_PKEY_up_ref(run->device.key) != 1)
		return err_ossl(e, ERR_BUG, "key");
	run->key = run->device.key;
	return 0;
}

static int
make_names(struct scep_run *run, struct err *e)
{
	const struct scep_options *o = &run->options;
	char common_name[DEVICE_NAME_MAX + 8];

	if (o->subject == NULL && o->alt_names.count == 0 && run->device.cert != NULL)
		return csr_names_of(run->device.cert, &run->subject, &run->alt_names, e);
	(void)snprintf(common_name, sizeof common_name, "CN=%s", run->name);
	if (csr_subject(o->subject != NULL ? o->subject : common_name, &run->subject, e) != 0)
		return -1;
	return o->alt_names.count == 0 ? 0 :
		csr_alt_names(o->alt_names.at, o->alt_names.count, &run->alt_names, e);
}

/* Key, names, transaction and signer: what every PKIOperation has. */
static int
make_identity(struct scep_run *run, struct err *e)
{
	const char *transaction = run->options.transaction;

	if (make_key(run, e) != 0 || make_names(run, e) != 0 || key_spki(run->key, &run->spki, e) != 0)
		return -1;
	if (transaction != NULL)
		(void)snprintf(run->transaction, sizeof run->transaction, "%s", transaction);
	else if (scep_transaction_of(buf_bytes(&run->spki), run->transaction, e) != 0)
		return -1;
	return run->device.cert != NULL ? 0 : scep_self_sign(run->key, buf_bytes(&run->subject), &run->self_signed, e);
}

int
scep_make_request(struct scep_run *run, struct err *e)
{
	struct csr_spec spec = { .ask_ca = run->options.ask_ca };

	if (make_identity(run, e) != 0)
		return -1;
	spec.subject = buf_bytes(&run->subject);
	spec.alt_names = buf_bytes(&run->alt_names);
	spec.challenge = (const char *)run->challenge.at;
	return csr_build(&spec, run->key, &run->csr, e);
}

int
scep_make_poll(const struct scep_run *run, struct buf *content, struct err *e)
{
	CLEANUP(X509_NAME) X509_NAME *subject = NULL;
	const uint8_t *at = run->subject.at;
	X509 *ca = run->server.ca != NULL ? run->server.ca : sk_X509_value(run->server.certs, 0);

	subject = d2i_X509_NAME(NULL, &at, (long)run->subject.len);
	if (subject == NULL)
		return err_ossl(e, ERR_BUG, "subject");
	return scep_issuer_and_subject_encode(X509_get_subject_name(ca), subject, content, e);
}

int
scep_make_question(struct scep_run *run, struct buf *content, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *of = NULL;

	if (make_identity(run, e) != 0)
		return -1;
	if (run->options.of != NULL && x509_load_file(run->options.of, &of, e) != 0)
		return -1;
	return scep_issuer_and_serial_encode(of != NULL ? sk_X509_value(of, 0) : run->device.cert, content, e);
}

int
scep_make_message(struct scep_run *run, enum scep_type type, struct bytes content, struct err *e)
{
	struct scep_build build = {
		.type = type,
		.transaction = run->transaction,
		.digest = run->digest,
		.cipher = run->cipher,
		.oaep = run->options.oaep,
		.signer = scep_signer(run),
		.signer_key = scep_signer_key(run),
		.recipients = run->server.recipients,
		.content = content,
		.made_nonce = run->nonce,
	};

	buf_clear(&run->message);
	return scep_build(&build, &run->message, e);
}
