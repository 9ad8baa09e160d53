#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/jsontext.h"
#include "base/text.h"
#include "gateway/mdm/mdm_internal.h"

#define CONNECT_MS 5000 /* most of a deadline should be left for the answer */

int
mdm_common_open(struct mdm *mdm, const struct mdm_settings *settings, const char *url, struct err *e)
{
	struct outbound_settings out = { .name = mdm->name, .base_url = url, .ca_file = settings->ca,
		.system_trust = settings->system_trust, .allow_plain = settings->allow_plain,
		.cert_file = settings->client_cert, .key_file = settings->client_key,
		.answer_max = MDM_ANSWER_MAX, .calls_max = settings->calls_max };
	int64_t deadline_s = settings->deadline_s == 0 ? MDM_DEADLINE_DEFAULT_S : settings->deadline_s;

	if (settings->name == NULL || !text_is_name(settings->name))
		return err_set(e, ERR_MALFORMED, "an MDM service needs a name of letters, digits, \".\", \"_\" and \"-\"");
	(void)snprintf(mdm->name, sizeof mdm->name, "mdm %s", settings->name);
	if (deadline_s < 1 || deadline_s > MDM_DEADLINE_MAX_S)
		return err_set(e, ERR_MALFORMED, "%s: the deadline must be 1 to %d seconds", mdm->name, MDM_DEADLINE_MAX_S);
	if (url == NULL)
		return err_set(e, ERR_MALFORMED, "%s: its URL is missing", mdm->name);
	mdm->deadline_ms = deadline_s * 1000;
	out.deadline_ms = mdm->deadline_ms;
	out.connect_ms = mdm->deadline_ms < CONNECT_MS ? mdm->deadline_ms : CONNECT_MS;
	if (settings->secret_file != NULL && secret_file_read(settings->secret_file, &mdm->secret, e) != 0)
		return err_prefix(e, "%s", mdm->name);
	return outbound_open(&out, &mdm->client, e);
}

void
mdm_common_close(struct mdm *mdm)
{
	outbound_close(mdm->client);
	buf_free_secret(&mdm->secret);
}

int
mdm_url_check(const struct mdm *mdm, const struct mdm_settings *settings, const char *what, const char *url, struct err *e)
{
	if (url == NULL)
		return err_set(e, ERR_MALFORMED, "%s: its %s is missing", mdm->name, what);
	if (outbound_url_check(url, settings->allow_plain, e) != 0)
		return err_prefix(e, "%s: %s", mdm->name, what);
	return 0;
}

int
mdm_request_check(const struct mdm *mdm, const struct mdm_request *request, struct err *e)
{
	if (request->transaction == NULL || request->transaction[0] == '\0')
		return err_set(e, ERR_MALFORMED, "%s: a request without transaction", mdm->name);
	if (request->csr.len < 1 || request->csr.len > MDM_CSR_MAX)
		return err_set(e, ERR_MALFORMED, "%s: a request of %zu octets", mdm->name, request->csr.len);
	if (request->challenge != NULL && strlen(request->challenge) > MDM_CHALLENGE_MAX)
		return err_set(e, ERR_MALFORMED, "%s: a challenge of more than %d octets", mdm->name, MDM_CHALLENGE_MAX);
	return 0;
}

int64_t
mdm_ends_us(const struct mdm *mdm)
{
	return time_monotonic_us() + mdm->deadline_ms * 1000;
}

int
mdm_call(struct mdm *mdm, struct outbound_request *request, int64_t ends_us, struct outbound_answer *out, struct err *e)
{
	request->deadline_ms = (ends_us - time_monotonic_us()) / 1000;
	if (request->deadline_ms < 1)
		return err_set(e, ERR_UPSTREAM, "%s: the deadline of %" PRId64 " ms passed before the service was asked",
			mdm->name, mdm->deadline_ms);
	return outbound_call(mdm->client, request, out, e);
}

int
mdm_status_error(const struct mdm *mdm, const char *what, const struct outbound_answer *answer, struct err *e)
{
	if (answer->status == 401 || answer->status == 403)
		return err_set(e, ERR_UPSTREAM, "%s: %s answered HTTP %d; check our credentials there and their permissions",
			mdm->name, what, answer->status);
	if (answer->status >= 300 && answer->status < 400)
		return err_set(e, ERR_UPSTREAM, "%s: %s answered HTTP %d; redirects are not followed, check the URL", mdm->name,
			what, answer->status);
	if (answer->retry_after_s > 0)
		return err_set(e, ERR_UPSTREAM, "%s: %s answered HTTP %d and asks to wait %" PRId64 " s", mdm->name, what,
			answer->status, answer->retry_after_s);
	return err_set(e, ERR_UPSTREAM, "%s: %s answered HTTP %d", mdm->name, what, answer->status);
}

static void
upper(char *text)
{
	for (; *text != '\0'; text++)
		*text = (char)toupper((unsigned char)*text);
}

int
mdm_cert_read(struct bytes der, struct mdm_cert *out, struct err *e)
{
	CLEANUP(X509) X509 *cert = NULL;
	uint8_t digest[32];
	int64_t not_before_s, not_after_s;

	if (x509_from_der(der, &cert, e) != 0 || x509_serial_hex(cert, out->serial, e) != 0 ||
	    x509_validity(cert, &not_before_s, &not_after_s, e) != 0 || sha256(der, digest, e) != 0)
		return -1;
	hex_encode(bytes_of(digest, 32), out->sha256);
	if (EVP_Digest(der.at, der.len, digest, NULL, EVP_sha1(), NULL) != 1)
		return err_ossl(e, ERR_BUG, "SHA-1");
	hex_encode(bytes_of(digest, 20), out->sha1);
	upper(out->sha1);
	upper(out->sha256);
	upper(out->serial);
	time_text(not_after_s, out->not_after);
	x509_name_text(X509_get_issuer_name(cert), out->issuer, sizeof out->issuer);
	return 0;
}

void
mdm_put_octets(struct buf *out, const char *key, struct bytes octets)
{
	if (out->len != 0 && out->at[out->len - 1] != '{')
		buf_append_u8(out, ',');
	json_put_text(out, key);
	buf_append_text(out, ":\"");
	base64_encode(out, octets, 0);
	buf_append_u8(out, '"');
}
