#include "devsim/coapc_est.h"

#include <string.h>

#include "base/text.h"
#include "devsim/devsim.h"
#include "devsim/tls.h"
#include "est/body.h"

#define BLOCK_MIN      16
#define MTU_MAX        65507
#define RECORD_OCTETS  37   /* of a DTLS record around its message: header, explicit nonce, tag of AES-GCM */
#define HEAD_OCTETS    28   /* of a message beside path and payload: header, token, formats, blocks, marker */
#define TIMEOUT_MIN_S  0.01
#define TIMEOUT_MAX_S  60.0
#define SECOND_US      1000000
#define FORMAT_MAX     65535

int
coapc_options_settle(struct coapc_options *o, size_t link_mtu, struct err *e)
{
	if (o->block_size != 0 && (o->block_size < BLOCK_MIN || o->block_size > coapc_block_size(COAPC_SZX_MAX) ||
		(o->block_size & (o->block_size - 1)) != 0))
		return err_set(e, ERR_MALFORMED, "--block-size: 16, 32, 64, 128, 256, 512 or 1024");
	if (o->mtu != 0 && (o->mtu < DTLS_MTU_MIN || o->mtu > MTU_MAX))
		return err_set(e, ERR_MALFORMED, "--mtu: %d to %d", DTLS_MTU_MIN, MTU_MAX);
	if (o->accept != COAPC_NO_ACCEPT && o->accept > FORMAT_MAX)
		return err_set(e, ERR_MALFORMED, "--accept: a Content-Format is at most %d", FORMAT_MAX);
	if (o->ack_timeout_s != 0 && (o->ack_timeout_s < TIMEOUT_MIN_S || o->ack_timeout_s > TIMEOUT_MAX_S))
		return err_set(e, ERR_MALFORMED, "--ack-timeout: %.2f to %.0f seconds", TIMEOUT_MIN_S, TIMEOUT_MAX_S);
	if (o->mtu == 0)
		o->mtu = link_mtu >= DTLS_MTU_MIN && link_mtu < DTLS_MTU_DEFAULT ? link_mtu : DTLS_MTU_DEFAULT;
	return 0;
}

bool
coapc_options_given(const struct coapc_options *o)
{
	return o->block_size != 0 || o->mtu != 0 || o->accept != COAPC_NO_ACCEPT || o->ack_timeout_s != 0 ||
		o->lossy != NULL;
}

int64_t
coapc_ack_timeout_us(const struct coapc_options *o)
{
	return o->ack_timeout_s == 0 ? COAPC_ACK_TIMEOUT_US : (int64_t)(o->ack_timeout_s * SECOND_US);
}

/* The largest blocks with which a message fits into one datagram. */
static uint8_t
fitting_szx(const struct coapc_options *o, size_t path_len)
{
	size_t around = RECORD_OCTETS + HEAD_OCTETS + path_len;
	uint8_t szx = COAPC_SZX_MAX;

	while (szx > 0 && (o->block_size != 0 ? coapc_block_size(szx) > o->block_size :
		around + coapc_block_size(szx) > o->mtu))
		szx--;
	return szx;
}

void
coapc_est_request(const struct coapc_options *options, const struct url *url, const char *label, enum coaps_op op,
	struct bytes body, struct buf *path, struct coapc_request *out)
{
	bool get = op == COAPS_OP_NONE || op == COAPS_OP_CRTS || op == COAPS_OP_ATT ||
		op == COAPS_OP_NONCE;

	buf_clear(path);
	if (op == COAPS_OP_NONE)
		buf_append_text(path, "/.well-known/core");
	else
		url_path(url, label, coaps_op_name(op), path);
	*out = (struct coapc_request){ .code = get ? COAPC_GET : COAPC_POST, .path = buf_text(path),
		.query = op == COAPS_OP_NONE ? COAPC_DISCOVERY : NULL,
		.content_format = get ? -1 : COAPS_FORMAT_CSR,
		.accept = options->accept == COAPC_NO_ACCEPT ? -1 : (int)options->accept,
		.szx = fitting_szx(options, path->len) };
	if (!get)
		out->body = body;
}

void
coapc_est_reason(const struct coapc_answer *answer, char *out, size_t size)
{
	struct bytes body = buf_bytes(&answer->body);
	size_t len = 0;

	out[0] = '\0';
	/* RFC 7252, section 5.5.2: a diagnostic payload has no Content-Format; some say 0, text/plain. */
	if (answer->code / 100 < 4 || answer->content_format > 0)
		return;
	while (len < body.len && body.at[len] != '\n' && body.at[len] != '\r')
		len++;
	text_escape(out, size, bytes_of(body.at, len));
}

int64_t
coapc_est_retry_s(const struct coapc_answer *answer)
{
	return answer->max_age_s < 0 ? COAPC_MAX_AGE_S : answer->max_age_s;
}

int
coapc_est_exit(const struct coapc_answer *answer, struct err *e)
{
	char code[COAPC_CODE_TEXT], reason[ERR_TEXT_MAX];
	int exit_code = DEVSIM_SERVER;

	if (answer->code == COAPC_CHANGED || answer->code == COAPC_CONTENT)
		return DEVSIM_OK;
	coapc_code_text(answer->code, code);
	coapc_est_reason(answer, reason, sizeof reason);
	if (answer->code == 401 || answer->code == 403)
		exit_code = DEVSIM_REFUSED;
	/* RFC 9148, section 4.7: "response code 5.03 (Service unavailable) and a Max-Age Option". */
	if (answer->code == 503 && answer->max_age_s >= 0) {
		(void)err_set(e, ERR_PENDING, "pending: CoAP 5.03, ask again in %lld s%s%s", (long long)answer->max_age_s,
			reason[0] == '\0' ? "" : ": ", reason);
		return DEVSIM_PENDING;
	}
	(void)err_set(e, exit_code == DEVSIM_REFUSED ? ERR_DENIED : ERR_UPSTREAM, "CoAP %s%s%s", code,
		reason[0] == '\0' ? "" : ": ", reason);
	return exit_code;
}

int
coapc_est_octets(const struct coapc_answer *answer, int format, struct bytes *out, struct err *e)
{
	if (answer->content_format != format)
		return err_set(e, ERR_MALFORMED, "the answer is of Content-Format %d where %d belongs",
			answer->content_format, format);
	*out = buf_bytes(&answer->body);
	return 0;
}

int
coapc_est_certs(int format, struct bytes body, STACK_OF(X509) **out, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	CLEANUP(X509) X509 *cert = NULL;

	if (format == COAPS_FORMAT_CERTS)
		return est_certs_decode(body, out, e) == 0 ? 0 : err_prefix(e, "answer");
	if (format != COAPS_FORMAT_CERT)
		return err_set(e, ERR_MALFORMED, "the answer is of Content-Format %d where %d or %d belongs", format,
			COAPS_FORMAT_CERTS, COAPS_FORMAT_CERT);
	if (x509_from_der(body, &cert, e) != 0)
		return err_prefix(e, "answer");
	certs = sk_X509_new_null();
	if (certs == NULL || sk_X509_push(certs, cert) <= 0)
		return err_ossl(e, ERR_NOMEM, "answer");
	cert = NULL;
	*out = certs;
	certs = NULL;
	return 0;
}
