/* Veraison's challenge-response API: a session with our nonce, the evidence, the result; one deadline over all. */
#define _GNU_SOURCE
#include "gateway/verifier/verifier.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "base/jsontext.h"
#include "base/text.h"
#include "base/timefmt.h"
#include "gateway/outbound/outbound.h"
#include "gateway/outbound/secret.h"

#define SESSION_TYPE "application/vnd.veraison.challenge-response-session+json"
#define ANSWER_MAX   (256 << 10) /* a session repeats the evidence beside the result */
#define CONNECT_MS   5000
#define DEADLINE_DEFAULT_S 10
#define DEADLINE_MAX_S     60
#define POLL_MS      250
#define SESSION_MAX  64 /* octets of a session's name */

struct verifier {
	char name[REG_TEXT_MAX + 16];
	struct outbound *client;
	struct buf bearer; /* "Bearer ..."; empty: none */
	int64_t deadline_ms;
	struct ear_settings ear;
};

/* One exchange under way. */
struct session {
	struct verifier *verifier;
	int64_t ends_us;
	char path[sizeof "/session/" + SESSION_MAX]; /* "": not begun */
};

DEFINE_CLEANUP(json, json_t *, json_decref);

static int
read_bearer(struct verifier *verifier, const char *path, struct err *e)
{
	CLEANUP(secret_buf) struct buf secret = { 0 };

	if (path == NULL)
		return 0;
	if (secret_file_read(path, &secret, e) != 0)
		return err_prefix(e, "%s", verifier->name);
	buf_append_text(&verifier->bearer, "Bearer ");
	buf_append_bytes(&verifier->bearer, buf_bytes(&secret));
	(void)buf_text(&verifier->bearer);
	return buf_failed(&verifier->bearer) ? err_set(e, ERR_NOMEM, "no memory for a verifier") : 0;
}

static int
open_parts(struct verifier *verifier, const struct verifier_settings *settings, struct err *e)
{
	struct outbound_settings client = { .name = verifier->name, .base_url = settings->url, .ca_file = settings->ca,
		.allow_plain = settings->allow_plain, .cert_file = settings->client_cert,
		.key_file = settings->client_key, .answer_max = ANSWER_MAX, .calls_max = settings->calls_max };
	int64_t deadline_s = settings->deadline_s == 0 ? DEADLINE_DEFAULT_S : settings->deadline_s;

	(void)snprintf(verifier->name, sizeof verifier->name, "attester %s", settings->ear.name);
	if (deadline_s < 1 || deadline_s > DEADLINE_MAX_S)
		return err_set(e, ERR_MALFORMED, "%s: the deadline must be 1 to %d seconds", verifier->name, DEADLINE_MAX_S);
	if (settings->ear.key_count == 0)
		return err_set(e, ERR_MALFORMED, "%s: no key of the verifier is pinned", verifier->name);
	verifier->deadline_ms = deadline_s * 1000;
	verifier->ear = settings->ear;
	client.deadline_ms = verifier->deadline_ms;
	client.connect_ms = verifier->deadline_ms < CONNECT_MS ? verifier->deadline_ms : CONNECT_MS;
	if (read_bearer(verifier, settings->secret_file, e) != 0)
		return -1;
	return outbound_open(&client, &verifier->client, e);
}

int
verifier_open(const struct verifier_settings *settings, struct verifier **out, struct err *e)
{
	struct verifier *verifier = calloc(1, sizeof *verifier);

	if (verifier == NULL)
		return err_set(e, ERR_NOMEM, "no memory for a verifier");
	if (open_parts(verifier, settings, e) != 0) {
		verifier_close(verifier);
		return -1;
	}
	*out = verifier;
	return 0;
}

void
verifier_close(struct verifier *verifier)
{
	if (verifier == NULL)
		return;
	outbound_close(verifier->client);
	buf_free_secret(&verifier->bearer);
	free(verifier);
}

static int
call(const struct session *s, const char *method, const char *path, const char *type, struct bytes body,
	struct outbound_answer *out, struct err *e)
{
	struct verifier *verifier = s->verifier;
	struct outbound_header headers[3] = { { "Accept", SESSION_TYPE } };
	struct outbound_request request = { .method = method, .path_or_url = path, .headers = headers, .header_count = 1,
		.body = body, .deadline_ms = (s->ends_us - time_monotonic_us()) / 1000 };

	if (request.deadline_ms < 1)
		return err_set(e, ERR_UPSTREAM, "%s: no result within %" PRId64 " ms", verifier->name, verifier->deadline_ms);
	if (type != NULL)
		headers[request.header_count++] = (struct outbound_header){ "Content-Type", type };
	if (verifier->bearer.len != 0)
		headers[request.header_count++] =
			(struct outbound_header){ "Authorization", (const char *)verifier->bearer.at };
	return outbound_call(verifier->client, &request, out, e);
}

static int
wrong_status(const struct session *s, const char *what, const struct outbound_answer *answer, struct err *e)
{
	if (answer->status == 401 || answer->status == 403)
		return err_set(e, ERR_UPSTREAM, "%s: %s was answered HTTP %d; check secret_file and our rights there",
			s->verifier->name, what, answer->status);
	if (answer->status == 415)
		return err_set(e, ERR_UPSTREAM, "%s: %s was answered HTTP 415; check media_type", s->verifier->name, what);
	return err_set(e, ERR_UPSTREAM, "%s: %s was answered HTTP %d; check url and the verifier's log", s->verifier->name,
		what, answer->status);
}

/* Only the session's name is taken from Location, so that nobody is sent to another host or path. */
static int
take_session(struct session *s, const struct outbound_answer *answer, struct err *e)
{
	const char *slash = strrchr(answer->location, '/');
	const char *name = slash == NULL ? answer->location : slash + 1;

	if (!text_is_name(name) || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return err_set(e, ERR_UPSTREAM, "%s: the new session's Location names no session", s->verifier->name);
	(void)snprintf(s->path, sizeof s->path, "/session/%.*s", SESSION_MAX, name);
	return 0;
}

static int
begin(struct session *s, const struct verifier_evidence *evidence, struct err *e)
{
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	CLEANUP(buf) struct buf path = { 0 };
	uint8_t nonce[EAR_SESSION_NONCE_LEN];

	if (ear_session_nonce(evidence->nonce, evidence->spki, nonce, e) != 0)
		return -1;
	buf_append_text(&path, "/newSession?nonce=");
	base64url_encode(&path, bytes_of(nonce, sizeof nonce));
	if (buf_failed(&path))
		return err_set(e, ERR_NOMEM, "no memory for a session");
	if (call(s, "POST", buf_text(&path), NULL, bytes_of(NULL, 0), &answer, e) != 0)
		return -1;
	if (answer.status != 201)
		return wrong_status(s, "a new session", &answer, e);
	return take_session(s, &answer, e);
}

/* 1: *token is there, 0: still at work, -1: *e. */
static int
read_state(const struct session *s, const struct outbound_answer *answer, struct buf *token, struct err *e)
{
	CLEANUP(json) json_t *state = !json_is_shallow(buf_bytes(&answer->body)) ? NULL :
		json_loadb((const char *)answer->body.at, answer->body.len, JSON_REJECT_DUPLICATES, NULL);
	const char *status = json_string_value(json_object_get(state, "status"));
	const json_t *result = json_object_get(state, "result");

	if (status == NULL)
		return err_set(e, ERR_UPSTREAM, "%s: the session is no JSON object with a status", s->verifier->name);
	if (strcmp(status, "processing") == 0 || strcmp(status, "waiting") == 0)
		return 0;
	if (strcmp(status, "complete") != 0 || !json_is_string(result))
		return err_set(e, ERR_UPSTREAM, "%s: the session ended without a result", s->verifier->name);
	buf_append(token, json_string_value(result), json_string_length(result));
	return buf_failed(token) ? err_set(e, ERR_NOMEM, "no memory for a result") : 1;
}

static int
wait_for_result(const struct session *s, struct buf *token, struct err *e)
{
	static const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
	int done = 0;

	while (done == 0) {
		CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };

		(void)nanosleep(&pause, NULL);
		if (call(s, "GET", s->path, NULL, bytes_of(NULL, 0), &answer, e) != 0)
			return -1;
		if (answer.status != 200)
			return wrong_status(s, "the session", &answer, e);
		done = read_state(s, &answer, token, e);
	}
	return done < 0 ? -1 : 0;
}

static int
submit(const struct session *s, const struct verifier_evidence *evidence, struct buf *token, struct err *e)
{
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	int done;

	if (call(s, "POST", s->path, evidence->media_type, evidence->octets, &answer, e) != 0)
		return -1;
	if (answer.status != 200 && answer.status != 202)
		return wrong_status(s, "the evidence", &answer, e);
	done = read_state(s, &answer, token, e);
	if (done == 0)
		return wait_for_result(s, token, e);
	return done < 0 ? -1 : 0;
}

/* Sessions end by themselves there; this only spares the verifier the waiting. */
static void
end(const struct session *s)
{
	CLEANUP(outbound_answer) struct outbound_answer answer = { 0 };
	struct err unused;

	if (call(s, "DELETE", s->path, NULL, bytes_of(NULL, 0), &answer, &unused) != 0)
		return;
}

int
verifier_ask(struct verifier *verifier, const struct verifier_evidence *evidence, int64_t now_s,
	struct attestation *out, struct err *e)
{
	CLEANUP(buf) struct buf token = { 0 };
	struct session s = { .verifier = verifier, .ends_us = time_monotonic_us() + verifier->deadline_ms * 1000 };

	if (evidence->octets.len == 0 || evidence->octets.len > VERIFIER_EVIDENCE_MAX)
		return err_set(e, ERR_MALFORMED, "%s: evidence of %zu octets", verifier->name, evidence->octets.len);
	if (begin(&s, evidence, e) != 0 || submit(&s, evidence, &token, e) != 0)
		return -1;
	end(&s);
	return ear_verify(&verifier->ear, buf_bytes(&token), evidence->nonce, evidence->spki, now_s, out, e);
}

int
verifier_reach(struct verifier *verifier, struct err *e)
{
	return outbound_reach(verifier->client, NULL, e);
}
