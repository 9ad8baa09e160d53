#define _GNU_SOURCE
/* What connectors by HTTP share: certificates taken, statuses judged, names and numbers written. */
#include "tests/unit/ca_remote_fixture.h"

#include "est/body.h"
#include "gateway/ca/certs_only.h"

static void
open_remote(struct fixture *f, struct remote *remote)
{
	*remote = (struct remote){ 0 };
	if (remote_open(remote, &f->settings, &f->e) != 0)
		fail_msg("%s", f->e.text);
}

static void
say_nothing(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	(void)server;
	(void)seen;
	(void)snprintf(reply->body, sizeof reply->body, "{}");
}

static void
issued_is_unknown(struct fixture *f, struct remote *remote, const char *pem, const char *word)
{
	assert_int_equal(remote_issued_pem(remote, pem, &f->request, "r", &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_UNKNOWN);
	assert_string_equal(f->answer.reference, "r");
	assert_null(f->answer.cert.at);
	error_is(f, ERR_UPSTREAM, word);
}

static void
put_pem_der(struct fixture *f, EVP_PKEY *key, struct buf *out)
{
	char pem[4000];
	BIO *in;
	X509 *cert;

	service_certify(f, key, pem, sizeof pem);
	in = BIO_new_mem_buf(pem, -1);
	cert = PEM_read_bio_X509(in, NULL, pem_no_password, NULL);
	assert_int_equal(x509_to_der(cert, out, &f->e), 0);
	X509_free(cert);
	BIO_free(in);
}

/* ours and another's, in both orders, in DER and in BER; the CA's own beside ours is not worth a word. */
static void
remote_finds_the_requests_certificate_in_a_message(void **state)
{
	struct fixture *f = *state;
	struct buf ours = { 0 }, other = { 0 }, own = { 0 };
	struct remote remote;
	int turn;

	open_remote(f, &remote);
	put_pem_der(f, f->certs.other_key, &other);
	put_pem_der(f, f->device_key, &ours);
	assert_int_equal(x509_to_der(sk_X509_value(remote.chain, 0), &own, &f->e), 0);
	for (turn = 0; turn < 8; turn++) {
		struct bytes second = turn & 4 ? buf_bytes(&own) : buf_bytes(&other);
		struct bytes certs[2] = { turn & 1 ? second : buf_bytes(&ours), turn & 1 ? buf_bytes(&ours) : second };
		struct buf message = { 0 }, ber = { 0 };

		assert_int_equal(est_certs_encode(certs, 2, &message, &f->e), 0);
		buf_append(&ber, "\x30\x83", 3); /* a length longer than DER's: with the NUL */
		buf_append(&ber, message.at + 2, message.len - 2);
		assert_int_equal(certs_only_take(&remote, turn & 2 ? buf_bytes(&ber) : buf_bytes(&message), &f->request, &f->answer,
			&f->e), 0);
		answer_is_issued(f);
		ca_answer_free(&f->answer);
		buf_free(&message);
		buf_free(&ber);
	}
	buf_free(&ours);
	buf_free(&other);
	buf_free(&own);
	remote_close(&remote);
}

static void
remote_says_whose_certificate_a_message_has(void **state)
{
	struct fixture *f = *state;
	struct buf other = { 0 }, own = { 0 }, message = { 0 };
	struct remote remote;
	struct bytes certs[2];

	open_remote(f, &remote);
	put_pem_der(f, f->certs.other_key, &other);
	assert_int_equal(x509_to_der(sk_X509_value(remote.chain, 0), &own, &f->e), 0);
	certs[0] = buf_bytes(&other);
	certs[1] = buf_bytes(&own);
	assert_int_equal(est_certs_encode(certs, 2, &message, &f->e), 0);
	assert_int_equal(certs_only_take(&remote, buf_bytes(&message), &f->request, &f->answer, &f->e), -1);
	error_is(f, ERR_DENIED, f->serial);
	message.len = 0;
	assert_int_equal(est_certs_encode(certs + 1, 1, &message, &f->e), 0);
	assert_int_equal(certs_only_take(&remote, buf_bytes(&message), &f->request, &f->answer, &f->e), -1);
	error_is(f, ERR_DENIED, "no certificate but its own");
	assert_int_equal(certs_only_take(&remote, bytes_of_text("0"), &f->request, &f->answer, &f->e), 1);
	error_is(f, ERR_UPSTREAM, "its answer");
	buf_free(&other);
	buf_free(&own);
	buf_free(&message);
	remote_close(&remote);
}

static void
remote_takes_one_certificate_of_the_requests_key(void **state)
{
	struct fixture *f = *state;
	struct remote remote;
	char pem[4000], two[8000];

	open_remote(f, &remote);
	service_certify(f, f->certs.other_key, two, 4000);
	service_certify(f, f->device_key, pem, sizeof pem);
	memmove(two + strlen(pem), two, strlen(two) + 1);
	memcpy(two, pem, strlen(pem)); /* ours first, another behind it */
	assert_int_equal(remote_issued_pem(&remote, two, &f->request, "r", &f->answer, &f->e), 0);
	answer_is_issued(f);
	ca_answer_free(&f->answer);
	issued_is_unknown(f, &remote, two + strlen(pem), "another key");
	issued_is_unknown(f, &remote, "x", "no certificate that can be read");
	issued_is_unknown(f, &remote, NULL, "no certificate that can be read");
	assert_int_equal(remote_take_der(&remote, bytes_of_text("0\x03\x02\x01\x05"), &f->request, &f->answer, &f->e), -1);
	error_is(f, ERR_DENIED, "no certificate");
	assert_null(f->answer.cert.at);
	remote_close(&remote);
}

static void
remote_takes_nothing_that_is_longer_than_a_certificate(void **state)
{
	struct fixture *f = *state;
	struct remote remote;
	struct buf der = { 0 };
	char pem[4000];

	open_remote(f, &remote);
	service_certify(f, f->device_key, pem, sizeof pem);
	assert_int_equal(remote_issued_pem(&remote, pem, &f->request, "r", &f->answer, &f->e), 0);
	buf_append_bytes(&der, buf_bytes(&f->answer.cert));
	ca_answer_free(&f->answer);
	assert_int_equal(remote_issued_der(&remote, buf_bytes(&der), &f->request, "r", &f->answer, &f->e), 0);
	answer_is_issued(f);
	ca_answer_free(&f->answer);
	buf_append_u8(&der, 0);
	assert_int_equal(remote_issued_der(&remote, buf_bytes(&der), &f->request, "r", &f->answer, &f->e), 0);
	assert_int_equal(f->answer.state, CA_UNKNOWN);
	assert_string_equal(f->answer.reference, "r");
	buf_free(&der);
	remote_close(&remote);
}

static void
remote_statuses_have_three_meanings(void **state)
{
	static const struct {
		int status, result;
		enum err_code code;
	} rows[] = { { 400, -1, ERR_DENIED }, { 403, -1, ERR_DENIED }, { 404, -1, ERR_DENIED }, { 409, -1, ERR_DENIED },
		{ 422, -1, ERR_DENIED }, { 401, -1, ERR_UPSTREAM }, { 408, -1, ERR_UPSTREAM }, { 425, -1, ERR_UPSTREAM },
		{ 429, -1, ERR_UPSTREAM }, { 503, -1, ERR_UPSTREAM }, { 301, -1, ERR_UPSTREAM }, { 307, -1, ERR_UPSTREAM },
		{ 308, -1, ERR_UPSTREAM }, { 302, 1, ERR_UPSTREAM }, { 303, 1, ERR_UPSTREAM }, { 500, 1, ERR_UPSTREAM },
		{ 502, 1, ERR_UPSTREAM }, { 504, 1, ERR_UPSTREAM }, { 200, 1, ERR_UPSTREAM }, { 100, 1, ERR_UPSTREAM } };
	struct fixture *f = *state;
	struct remote remote;
	int64_t retry_s = 0;
	size_t i;

	open_remote(f, &remote);
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct outbound_answer answer = { .status = rows[i].status, .retry_after_s = 9 };

		f->e = (struct err){ 0 };
		assert_int_equal(remote_status(&remote, &answer, "words\n" , &retry_s, &f->e), rows[i].result);
		error_is(f, rows[i].code, "");
		assert_int_equal(retry_s, rows[i].status == 429 || rows[i].status == 503 ? 9 : 0);
		assert_null(strchr(f->e.text, '\n'));
		(void)remote_status(&remote, &answer, "it said " SECRET " indeed", &retry_s, &f->e);
		error_is(f, rows[i].code, "");
	}
	remote_close(&remote);
}

/* Envoy says 503 both for a service it cannot connect to and for one that had the request and went away. */
static void
remote_believes_a_503_unless_the_service_had_the_request(void **state)
{
	static const struct {
		const char *body;
		int result;
	} rows[] = {
		{ "", -1 }, { "no healthy upstream", -1 },
		{ "upstream connect error or disconnect/reset before headers. reset reason: connection failure", -1 },
		{ "upstream connect error or disconnect/reset before headers. reset reason: connection termination", 1 },
		{ "upstream connect error or disconnect/reset before headers. reset reason: remote reset", 1 },
	};
	struct fixture *f = *state;
	struct remote remote;
	int64_t retry_s = 0;
	size_t i;

	open_remote(f, &remote);
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct outbound_answer answer = { .status = 503 };

		buf_append_text(&answer.body, rows[i].body);
		assert_int_equal(remote_status(&remote, &answer, NULL, &retry_s, &f->e), rows[i].result);
		error_is(f, ERR_UPSTREAM, "503");
		outbound_answer_free(&answer);
	}
	remote_close(&remote);
}

static void
remote_calls_know_whether_anything_was_sent(void **state)
{
	struct fixture *f = *state;
	struct remote remote;
	struct outbound_answer answer = { 0 };
	struct remote_json_call call = { .method = "POST", .path = "/x" };
	json_t *document = json_pack("{s:s}", "a", "b");
	char url[64];
	int taken = refusing_url(url);

	f->service = say_nothing;
	open_remote(f, &remote);
	call.document = document;
	assert_int_equal(remote_json_once(&remote, &call, &answer, &f->e), 0);
	assert_string_equal(f->server->last.body, "{\"a\":\"b\"}");
	outbound_answer_free(&answer);
	now_hostile(f, (struct reply){ .raw = "" });
	assert_int_equal(remote_json_once(&remote, &call, &answer, &f->e), 1);
	remote_close(&remote);
	f->settings.url = url;
	open_remote(f, &remote);
	assert_int_equal(remote_json_once(&remote, &call, &answer, &f->e), -1);
	error_is(f, ERR_UPSTREAM, "refused");
	assert_int_equal(remote_reach((void *)&remote, &f->e), -1);
	remote_close(&remote);
	f->settings.url = f->server->url;
	open_remote(f, &remote);
	assert_int_equal(remote_reach((void *)&remote, &f->e), 0);
	remote_close(&remote);
	json_decref(document);
	(void)close(taken);
}

/* A certificate of the request's key, signed by the CA, with this serial number, as PEM. */
static void
certify_with_serial(struct fixture *f, const uint8_t *octets, int len, bool negative, char *out, size_t size)
{
	X509 *cert = cert_make(&(struct cert_wish){ .cn = SUBJECT, .days = 5 }, f->device_key, f->issuing, f->issuing_key);
	BIO *bio = BIO_new(BIO_s_mem());
	char *at = NULL;
	long n;

	assert_int_equal(ASN1_STRING_set(X509_get_serialNumber(cert), octets, len), 1);
	if (negative)
		X509_get_serialNumber(cert)->type = V_ASN1_NEG_INTEGER;
	assert_true(X509_sign(cert, f->issuing_key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_bio_X509(bio, cert), 1);
	n = BIO_get_mem_data(bio, &at);
	assert_true(n > 0 && (size_t)n < size);
	memcpy(out, at, (size_t)n);
	out[n] = '\0';
	BIO_free(bio);
	X509_free(cert);
}

/* Whoever judges it refuses it; but it exists, and can be named and revoked. */
static void
remote_takes_certificates_with_odd_serial_numbers(void **state)
{
	static const uint8_t octets[65] = { 0x7f, 1, 2, 3 };
	static const struct {
		int len;
		bool negative;
		const char *begins;
	} cases[] = { { 24, false, "7f010203" }, { 64, false, "7f010203" }, { 16, true, "-7f010203" }, { 64, true, "-7f010203" } };
	struct fixture *f = *state;
	struct remote remote;
	char pem[4000];
	size_t i;

	open_remote(f, &remote);
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		certify_with_serial(f, octets, cases[i].len, cases[i].negative, pem, sizeof pem);
		assert_int_equal(remote_issued_pem(&remote, pem, &f->request, "r", &f->answer, &f->e), 0);
		assert_int_equal(f->answer.state, CA_ISSUED);
		assert_int_equal(strlen(f->answer.serial), 2 * cases[i].len + cases[i].negative);
		assert_memory_equal(f->answer.serial, cases[i].begins, strlen(cases[i].begins));
		ca_answer_free(&f->answer);
	}
	certify_with_serial(f, octets + 10, 1, false, pem, sizeof pem);
	assert_int_equal(remote_issued_pem(&remote, pem, &f->request, "r", &f->answer, &f->e), 0);
	assert_string_equal(f->answer.serial, "00");
	ca_answer_free(&f->answer);
	certify_with_serial(f, octets, 65, false, pem, sizeof pem);
	issued_is_unknown(f, &remote, pem, "65 octets: 7f01020300000000000000000000000000000000...");
	remote_close(&remote);
}

static void
remote_serials_are_decimal_too(void **state)
{
	struct fixture *f = *state;
	char out[REMOTE_DECIMAL_MAX], hex[130];

	assert_int_equal(remote_serial_decimal("ff", out, &f->e), 0);
	assert_string_equal(out, "255");
	assert_int_equal(remote_serial_decimal("7fffffffffffffffffffffffffffffffffffffff", out, &f->e), 0);
	assert_string_equal(out, "730750818665451459101842416358141509827966271487");
	assert_int_equal(remote_serial_decimal("", out, &f->e), -1);
	assert_int_equal(remote_serial_decimal("-", out, &f->e), -1);
	assert_int_equal(remote_serial_decimal("--1", out, &f->e), -1);
	assert_int_equal(remote_serial_decimal("1g", out, &f->e), -1);
	/* What no certificate should have, and some do; 64 octets have 155 digits. */
	assert_int_equal(remote_serial_decimal("-1ff", out, &f->e), 0);
	assert_string_equal(out, "-511");
	memset(hex, 'f', sizeof hex);
	hex[128] = '\0';
	assert_int_equal(remote_serial_decimal(hex, out, &f->e), 0);
	assert_int_equal(strlen(out), 155);
	hex[128] = 'f';
	hex[129] = '\0';
	assert_int_equal(remote_serial_decimal(hex, out, &f->e), -1);
	assert_int_equal(f->e.code, ERR_MALFORMED);
}

static void
remote_names_are_written_as_the_apis_want_them(void **state)
{
	struct fixture *f = *state;
	struct buf out = { 0 };
	json_t *names = remote_names_json(&f->spec);

	remote_sans(&f->spec, SPEC_SAN_IP, &out);
	assert_string_equal(buf_text(&out), "192.0.2.7,2001:db8::7");
	assert_int_equal(json_array_size(names), 5);
	assert_string_equal(remote_common_name(&f->spec), SUBJECT);
	assert_null(remote_rdn(&f->spec, "2.5.4.6"));
	json_decref(names);
	buf_free(&out);
}

static void
remote_opens_only_what_is_whole(void **state)
{
	struct fixture *f = *state;
	struct remote remote = { 0 };

	f->settings.certificate = f->certs.ca_file;
	assert_int_equal(remote_open(&remote, &f->settings, &f->e), -1);
	error_is(f, f->e.code, "");
	remote_close(&remote);
	remote = (struct remote){ 0 };
	f->settings.certificate = f->issuing_file;
	f->settings.tls_ca = NULL;
	assert_int_equal(remote_open(&remote, &f->settings, &f->e), -1);
	error_is(f, ERR_MALFORMED, "ca");
	remote_close(&remote);
	remote = (struct remote){ 0 };
	f->settings.url = NULL;
	assert_int_equal(remote_open(&remote, &f->settings, &f->e), -1);
	error_is(f, ERR_MALFORMED, "url is missing");
	assert_int_equal(sk_X509_num(remote_chain((void *)&remote)), 2);
	remote_close(&remote);
}

struct ca {
	struct remote remote;
};

static int
no_parts(struct ca *ca, const struct ca_settings *settings, struct err *e)
{
	(void)settings;
	assert_non_null(ca->remote.client);
	return ca->remote.secret.len == 0 ? 0 : err_set(e, ERR_MALFORMED, "%s: parts", ca->remote.name);
}

static void
plain_close(struct ca *ca)
{
	remote_close(&ca->remote);
	free(ca);
}

/* A key that stays in a token signs messages; TLS has none then. Connectors that need it for TLS say so. */
static void
remote_makes_a_connector_whose_key_is_in_a_token(void **state)
{
	struct remote_kind kind = { sizeof(struct ca), true, no_parts, plain_close };
	struct fixture *f = *state;
	struct ca *ca = NULL;

	f->settings.secret_file = NULL;
	f->settings.client_cert = f->certs.client_file;
	f->settings.client_key = "pkcs11:token=t;object=k?module-path=/nowhere.so&pin-source=/p";
	if (remote_make(&kind, &f->settings, &ca, &f->e) != 0)
		fail_msg("%s", f->e.text);
	assert_int_equal(sk_X509_num(remote_chain(ca)), 2);
	assert_int_equal(remote_reach(ca, &f->e), 0);
	plain_close(ca);
	ca = NULL;
	kind.signs = false;
	assert_int_equal(remote_make(&kind, &f->settings, &ca, &f->e), -1);
	error_is(f, ERR_UNSUPPORTED, "\"pkcs11:\" are not supported");
	f->settings.client_cert = f->settings.client_key = NULL;
	f->settings.secret_file = f->secret_file;
	assert_int_equal(remote_make(&kind, &f->settings, &ca, &f->e), -1);
	error_is(f, ERR_MALFORMED, "parts");
	assert_null(ca);
}

/* A hold that cannot end is a revocation: the others' own tests see that they refuse one. */
static void
remote_holds_are_for_those_that_can_release(void **state)
{
	static const char *const can[] = { "ejbca", "cmp" }, *const cannot[] = { "cfssl", "vault", "stepca", "est", "scep" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof can / sizeof can[0]; i++)
		assert_true(ca_ops_of(can[i])->holds && ca_ops_of(can[i])->revoke != NULL);
	for (i = 0; i < sizeof cannot / sizeof cannot[0]; i++)
		assert_false(ca_ops_of(cannot[i])->holds);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(remote_holds_are_for_those_that_can_release),
		test(remote_takes_one_certificate_of_the_requests_key),
		test(remote_takes_nothing_that_is_longer_than_a_certificate),
		test(remote_finds_the_requests_certificate_in_a_message),
		test(remote_says_whose_certificate_a_message_has),
		test(remote_statuses_have_three_meanings),
		test(remote_believes_a_503_unless_the_service_had_the_request),
		test(remote_calls_know_whether_anything_was_sent),
		test(remote_takes_certificates_with_odd_serial_numbers),
		test(remote_serials_are_decimal_too),
		test(remote_names_are_written_as_the_apis_want_them),
		test(remote_opens_only_what_is_whole),
		test(remote_makes_a_connector_whose_key_is_in_a_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
