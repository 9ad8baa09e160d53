#include "gateway/ca/certs_only.h"

#include "est/body.h"

static bool
is_of_chain(const struct remote *remote, struct bytes der)
{
	CLEANUP(X509) X509 *cert = NULL;
	struct err e;
	int i;

	if (x509_from_der(der, &cert, &e) != 0)
		return false;
	for (i = 0; i < sk_X509_num(remote->chain); i++)
		if (X509_cmp(cert, sk_X509_value(remote->chain, i)) == 0)
			return true;
	return false;
}

/* 0: it is the request's, or not the first one that is. 1: it is not; *e says whose, unless it is of the CA's own chain. -1: no memory. */
static int
take_one(const struct remote *remote, struct bytes der, const struct ca_request *request, bool first, struct ca_answer *out,
	struct err *e)
{
	struct ca_answer another = { 0 };
	struct err why;

	if (!first) {
		if (remote_take_der(remote, der, request, &another, &why) == 0)
			ca_answer_add(out, &another);
		return 0;
	}
	if (remote_take_der(remote, der, request, out, &why) == 0)
		return 0;
	if (why.code == ERR_NOMEM || !is_of_chain(remote, der))
		*e = why;
	return why.code == ERR_NOMEM ? -1 : 1;
}

/* A message that is not DER throughout. */
static int
take_decoded(const struct remote *remote, const STACK_OF(X509) *certs, const struct ca_request *request,
	struct ca_answer *out, struct err *e)
{
	int i, result = 1;

	for (i = 0; i < sk_X509_num(certs) && result != -1; i++) {
		CLEANUP(buf) struct buf der = { 0 };

		if (x509_to_der(sk_X509_value(certs, i), &der, e) != 0)
			return -1;
		result = take_one(remote, buf_bytes(&der), request, result == 1, out, e);
	}
	return result;
}

int
certs_only_take(const struct remote *remote, struct bytes der, const struct ca_request *request, struct ca_answer *out,
	struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	struct bytes found[EST_CERTS_MAX];
	size_t i, count = 0;
	bool strict = est_certs_find(der, found, &count);
	int result = 1;

	if (!strict && est_certs_decode(der, &certs, e) != 0) {
		e->code = e->code == ERR_NOMEM ? ERR_NOMEM : ERR_UPSTREAM;
		(void)err_prefix(e, "%s: its answer", remote->name);
		return 1;
	}
	(void)err_set(e, ERR_DENIED, "%s: it sent no certificate but its own", remote->name);
	for (i = 0; i < count && result != -1; i++)
		result = take_one(remote, found[i], request, result == 1, out, e);
	if (!strict)
		result = take_decoded(remote, certs, request, out, e);
	return result == 0 ? 0 : -1;
}
