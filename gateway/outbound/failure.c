#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <openssl/x509.h>

#include "base/text.h"
#include "gateway/outbound/outbound_internal.h"

/* An answer that breaks HTTP or ends too early. */
static const char no_answer[] = "the answer broke off or is no HTTP/1.1; does something else listen there?";

/* "https://host:port" of the call, without path: that may hold a key. */
static void
where(CURL *handle, char *out, size_t size)
{
	CURLU *parsed = curl_url();
	char *url = NULL, *short_url = NULL;

	text_escape(out, size, bytes_of_text("the service"));
	if (curl_easy_getinfo(handle, CURLINFO_EFFECTIVE_URL, &url) == CURLE_OK && url != NULL && parsed != NULL &&
	    curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_set(parsed, CURLUPART_PATH, NULL, 0) == CURLUE_OK &&
	    curl_url_set(parsed, CURLUPART_QUERY, NULL, 0) == CURLUE_OK &&
	    curl_url_get(parsed, CURLUPART_URL, &short_url, 0) == CURLUE_OK) {
		text_escape(out, size, bytes_of_text(short_url));
		if (out[0] != '\0' && out[strlen(out) - 1] == '/')
			out[strlen(out) - 1] = '\0';
	}
	curl_free(short_url);
	curl_url_cleanup(parsed);
}

static int
untrusted(const char *name, const char *host, CURL *handle, struct err *e)
{
	long verdict = X509_V_OK;

	(void)curl_easy_getinfo(handle, CURLINFO_SSL_VERIFYRESULT, &verdict);
	/* libcurl leaves "unspecified" there when the chain was good and the name was not. */
	if (verdict == X509_V_OK || verdict == X509_V_ERR_UNSPECIFIED)
		return err_set(e, ERR_UPSTREAM, "%s: the certificate of %s is for another name; check the URL", name, host);
	return err_set(e, ERR_UPSTREAM, "%s: the certificate of %s is not trusted (%s); check the pinned CA file and the clock",
		name, host, X509_verify_cert_error_string(verdict));
}

static int
unconnected(const char *name, const char *host, CURL *handle, struct err *e)
{
	long number = 0;

	(void)curl_easy_getinfo(handle, CURLINFO_OS_ERRNO, &number);
	if (number == ECONNREFUSED)
		return err_set(e, ERR_UPSTREAM, "%s: connection refused by %s; is the service up, and the port right?", name, host);
	return err_set(e, ERR_UPSTREAM, "%s: no connection to %s (%s); check routes and firewalls", name, host,
		number > 0 && number < 4096 && strerrordesc_np((int)number) != NULL ? strerrordesc_np((int)number) : "no reason given");
}

static bool
happened(CURL *handle, CURLINFO what)
{
	curl_off_t us = 0;

	return curl_easy_getinfo(handle, what, &us) == CURLE_OK && us > 0;
}

static int
too_late(const char *name, const char *host, CURL *handle, int64_t deadline_ms, struct err *e)
{
	long port = 0; /* of our end: TCP has connected */

	if (happened(handle, CURLINFO_PRETRANSFER_TIME_T))
		return err_set(e, ERR_UPSTREAM, "%s: no complete answer from %s within the deadline of %" PRId64 " ms",
			name, host, deadline_ms);
	(void)curl_easy_getinfo(handle, CURLINFO_LOCAL_PORT, &port);
	if (port > 0)
		return err_set(e, ERR_UPSTREAM, "%s: %s accepted the connection but did not finish TLS within the deadline",
			name, host);
	if (happened(handle, CURLINFO_NAMELOOKUP_TIME_T))
		return err_set(e, ERR_UPSTREAM, "%s: no connection to %s within the deadline; check routes and firewalls",
			name, host);
	return err_set(e, ERR_UPSTREAM, "%s: the name of %s was not resolved within the deadline; check DNS", name, host);
}

static int
stopped(const struct outbound *client, const char *host, enum outbound_stop stop, struct err *e)
{
	switch (stop) {
	case STOP_BODY:
		return err_set(e, ERR_UPSTREAM, "%s: the answer of %s is longer than %zu octets", client->name, host,
			client->answer_max);
	case STOP_HEAD:
		return err_set(e, ERR_UPSTREAM, "%s: the headers of %s are longer than %d octets", client->name, host,
			OUTBOUND_HEAD_MAX);
	case STOP_NOMEM:
		return err_set(e, ERR_NOMEM, "%s: no memory for the answer of %s", client->name, host);
	case STOP_NONE:
		break;
	}
	return err_set(e, ERR_BUG, "%s: the answer of %s was not taken", client->name, host);
}

/* Codes that the cases above do not name, and those that only libcurl's own text explains. */
static int
other(const char *name, const char *host, CURLcode code, const char *detail, struct err *e)
{
	char text[100];

	text_escape(text, sizeof text, bytes_of_text(detail[0] != '\0' ? detail : curl_easy_strerror(code)));
	if (code == CURLE_SSL_CONNECT_ERROR)
		return err_set(e, ERR_UPSTREAM,
			"%s: no TLS with %s (%s); check its certificate against the CA file, TLS 1.2, and the client certificate",
			name, host, text);
	if (code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR)
		return err_set(e, ERR_UPSTREAM, "%s: %s closed the connection (%s); does it want a client certificate?",
			name, host, text);
	return err_set(e, ERR_UPSTREAM, "%s: %s: %s", name, host, text);
}

int
outbound_failure(const struct outbound *client, CURL *handle, CURLcode code, enum outbound_stop stop,
	const char *detail, int64_t deadline_ms, struct err *e)
{
	char host[96];

	where(handle, host, sizeof host);
	if (code == CURLE_COULDNT_RESOLVE_HOST)
		return err_set(e, ERR_UPSTREAM, "%s: the name of %s is not known; check the URL and DNS", client->name, host);
	if (code == CURLE_COULDNT_CONNECT)
		return unconnected(client->name, host, handle, e);
	if (code == CURLE_OPERATION_TIMEDOUT)
		return too_late(client->name, host, handle, deadline_ms, e);
	if (code == CURLE_PEER_FAILED_VERIFICATION)
		return untrusted(client->name, host, handle, e);
	if (code == CURLE_SSL_CACERT_BADFILE)
		return err_set(e, ERR_UPSTREAM, "%s: the CA certificates cannot be used; is what the system trusts still there?",
			client->name);
	if (code == CURLE_SSL_CERTPROBLEM)
		return err_set(e, ERR_UPSTREAM, "%s: the client certificate or key cannot be used any more", client->name);
	if (code == CURLE_WRITE_ERROR)
		return stopped(client, host, stop, e);
	if (code == CURLE_FILESIZE_EXCEEDED)
		return stopped(client, host, STOP_BODY, e);
	if (code == CURLE_OUT_OF_MEMORY)
		return err_set(e, ERR_NOMEM, "%s: no memory for a call", client->name);
	if (code == CURLE_GOT_NOTHING || code == CURLE_PARTIAL_FILE || code == CURLE_WEIRD_SERVER_REPLY ||
	    code == CURLE_UNSUPPORTED_PROTOCOL)
		return err_set(e, ERR_UPSTREAM, "%s: %s: %s", client->name, host, no_answer);
	return other(client->name, host, code, detail, e);
}
