#include "est/bind.h"

#include "est/csr.h"

enum est_binding_verdict
est_binding_check(const struct est_binding *binding, struct bytes challenge)
{
	CLEANUP(buf) struct buf value = { 0 };
	bool unique, exporter;
	struct err ignored;

	if (challenge.len == 0)
		return EST_BINDING_ABSENT;
	if (binding == NULL || challenge.len > EST_CHALLENGE_MAX ||
	    base64_decode(challenge, &value, &ignored) != 0 || value.len == 0)
		return EST_BINDING_DIFFERS;
	/* Both are compared always; a value that does not exist here has no octets and equals nothing. */
	unique = bytes_equal_secret(buf_bytes(&value), bytes_of(binding->unique, binding->unique_len));
	exporter = bytes_equal_secret(buf_bytes(&value), bytes_of(binding->exporter, binding->exporter_len));
	return unique || exporter ? EST_BINDING_MATCHES : EST_BINDING_DIFFERS;
}

void
est_binding_text(const struct est_binding *binding, struct buf *out)
{
	/* RFC 9266, section 3: tls-unique where it is defined, which TLS 1.3 does not do. */
	if (binding->unique_len > 0)
		base64_encode(out, bytes_of(binding->unique, binding->unique_len), 0);
	else if (binding->exporter_len > 0)
		base64_encode(out, bytes_of(binding->exporter, binding->exporter_len), 0);
}
