/*
 * ca_std_fixture.h - what the tests of connectors by CMP, EST and SCEP share: a service that issues by the built-in CA,
 * and the troubles it may be in.
 */
#ifndef TESTS_UNIT_CA_STD_FIXTURE_H
#define TESTS_UNIT_CA_STD_FIXTURE_H

#include "tests/unit/ca_remote_fixture.h"

/* A certificate as approved, by the service's CA, as DER; f->serial names it. */
static inline void
service_issue(struct fixture *f, struct buf *out)
{
	struct ca_settings settings = { .name = "service", .certificate = f->issuing_file, .chain = f->chain, .chain_count = 1 };
	struct ca_answer answer = { 0 };
	struct ca *ca = NULL;
	struct err e = { 0 };
	char key[128];

	pem_write(&f->certs, "issuing.key", NULL, f->issuing_key, key);
	settings.key = key;
	if (ca_builtin.open(&settings, &ca, &e) != 0 || ca_builtin.issue(ca, &f->request, &answer, &e) != 0)
		fail_msg("%s", e.text);
	buf_append_bytes(out, buf_bytes(&answer.cert));
	(void)snprintf(f->serial, sizeof f->serial, "%s", answer.serial);
	ca_answer_free(&answer);
	ca_builtin.close(ca);
	f->made++;
}

/* One of nobody's key. */
static inline void
service_issue_other(struct fixture *f, struct buf *out)
{
	X509 *cert = cert_make(&(struct cert_wish){ .cn = SUBJECT, .days = 5 }, f->certs.other_key, f->issuing, f->issuing_key);

	assert_int_equal(x509_to_der(cert, out, &f->e), 0);
	assert_int_equal(x509_serial_hex(cert, f->serial, &f->e), 0);
	X509_free(cert);
	f->made++;
}

static inline void
reply_octets(struct reply *reply, const char *type, struct bytes body)
{
	assert_true(body.len != 0 && body.len < sizeof reply->body);
	memcpy(reply->body, body.at, body.len);
	reply->body_len = body.len;
	reply->status = 200;
	(void)snprintf(reply->headers, sizeof reply->headers, "Content-Type: %s\r\n", type);
}

static inline struct reply
reply_typed(int status, const char *type, const char *body)
{
	struct reply reply = reply_of(status, body);

	(void)snprintf(reply.headers, sizeof reply.headers, "Content-Type: %s\r\n", type);
	return reply;
}

/*
 * What every connector must make of a service in trouble while it issues. type is open and works, and the next request is
 * the one that issues; media: what its answers are.
 */
static inline void
std_hostile(struct fixture *f, const char *type, const char *media)
{
	char head[200];

	now_hostile(f, reply_of(500, "{}"));
	issue_unknown(f, "500");
	now_hostile(f, reply_of(502, "<html>bad gateway</html>"));
	issue_unknown(f, "502");
	now_hostile(f, reply_of(503, "{}"));
	issue_fails(f, ERR_UPSTREAM, "503");
	now_hostile(f, reply_of(429, "{}"));
	issue_fails(f, ERR_UPSTREAM, "429");
	issue_put_off(f, 429, "77", 77);
	issue_put_off(f, 503, "78", 78);
	issue_put_off(f, 503, NULL, 0);
	issue_put_off(f, 408, "79", 0);
	now_hostile(f, reply_of(400, "{}"));
	issue_fails(f, ERR_DENIED, "400");
	now_hostile(f, reply_of(303, ""));
	issue_unknown(f, "303");
	f->hostile = reply_of(307, "");
	(void)snprintf(f->hostile.headers, sizeof f->hostile.headers, "Location: https://elsewhere.example/\r\n");
	issue_fails(f, ERR_UPSTREAM, "https://elsewhere.example/");
	now_hostile(f, reply_typed(200, "text/html", "<html>welcome</html>"));
	issue_unknown(f, "text/html");
	now_hostile(f, reply_typed(200, media, "garbage"));
	issue_unknown(f, "answer");
	now_hostile(f, reply_typed(200, media, "MIIB"));
	issue_unknown(f, "answer");
	(void)snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: 1000\r\n\r\n\x30\x82", media);
	now_hostile(f, (struct reply){ .raw = head });
	issue_unknown(f, "broke off");
	now_hostile(f, (struct reply){ .raw = "" });
	issue_unknown(f, f->server->url);
	now_hostile(f, (struct reply){ .raw = "HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n", .raw_tail = "0" });
	issue_unknown(f, "longer than");
	assert_int_equal(f->made, 0);
	issue_ok(f);
	assert_int_equal(f->made, 1);
	(void)type;
}

/* The same CA, opened by changed settings: what a restart of the gateway is. */
static inline void
reopen(struct fixture *f, const char *type)
{
	open_ca(f, type, f->service);
}

#endif
