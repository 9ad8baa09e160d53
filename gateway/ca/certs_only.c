#include "gateway/ca/certs_only.h"

#include "est/body.h"

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
	for (i = 0; i < sk_X509_num(certs) && result != 0; i++) {
		CLEANUP(buf) struct buf one = { 0 };

		if (x509_to_der(sk_X509_value(certs, i), &one, e) != 0)
			return -1;
		result = remote_take_der(remote, buf_bytes(&one), request, out, e);
		if (result != 0 && e->code == ERR_NOMEM)
			return -1;
	}
	return result;
}
