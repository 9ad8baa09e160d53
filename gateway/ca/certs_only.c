#include "gateway/ca/certs_only.h"

#include "est/body.h"

static bool
is_of_chain(const struct remote *remote, const X509 *cert)
{
	int i;

	for (i = 0; i < sk_X509_num(remote->chain); i++)
		if (X509_cmp(cert, sk_X509_value(remote->chain, i)) == 0)
			return true;
	return false;
}

int
certs_only_take(const struct remote *remote, struct bytes der, const struct ca_request *request, struct ca_answer *out,
	struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	int i, result = 1;

	if (est_certs_decode(der, &certs, e) != 0) {
		e->code = e->code == ERR_NOMEM ? ERR_NOMEM : ERR_UPSTREAM;
		(void)err_prefix(e, "%s: its answer", remote->name);
		return 1;
	}
	(void)err_set(e, ERR_DENIED, "%s: it sent no certificate but its own", remote->name);
	for (i = 0; i < sk_X509_num(certs) && result != 0; i++) {
		X509 *cert = sk_X509_value(certs, i);
		struct err why;

		result = remote_take_x509(remote, cert, request, out, &why);
		if (result != 0 && (why.code == ERR_NOMEM || !is_of_chain(remote, cert)))
			*e = why;
		if (result != 0 && why.code == ERR_NOMEM)
			return -1;
	}
	return result;
}
