/* EST over CoAP and a CA that takes its time: the whole gateway but its process, and a client over DTLS. */
#define _GNU_SOURCE
#include "tests/unit/core_enroll_fixture.h"
#include "tests/unit/coap_client.h"

#include <pthread.h>
#include <time.h>

#include "base/timefmt.h"
#include "gateway/coap/est_coap.h"

static const char slow_labels[] =
	"listen = { https = [ \"127.0.0.1:0\" ]; coaps = [ \"127.0.0.1:0\" ]; };\n"
	"tls = { certificate = \"tls/server.pem\"; key = \"tls/server.key\"; };\n"
	"store = { path = \"registry.db\"; };\n"
	"cas = ( { name = \"issuing\"; certificate = \"ca/issuing.pem\"; key = \"ca/issuing.key\";\n"
	"          chain = [ \"ca/root.pem\" ]; } );\n"
	"trust = ( { name = \"acme\"; files = [ \"trust/acme.pem\" ]; } );\n"
	"identity = ( { name = \"acme-serial\"; trust = \"acme\"; field = \"subject_serial\"; } );\n"
	"profiles = ( { name = \"device\"; subject = \"CN={tag}\"; csr_names = \"ignore\"; lifetime = \"90d\"; } );\n"
	"labels = ( { name = \"\"; profile = \"device\"; ca = \"issuing\"; protocols = [ \"coap\" ];\n"
	"             auth = [ \"certificate\" ]; trust = [ \"acme\" ]; operations = [ \"enroll\" ]; } );\n";

/* The CA's door: who comes while it is closed waits. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool closed;
	int came;
} door = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static int
issue_slowly(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	(void)pthread_mutex_lock(&door.lock);
	door.came++;
	while (door.closed)
		(void)pthread_cond_wait(&door.changed, &door.lock);
	(void)pthread_mutex_unlock(&door.lock);
	return ca_builtin.issue(ca, request, out, e);
}

static void
door_set(bool closed)
{
	(void)pthread_mutex_lock(&door.lock);
	door.closed = closed;
	(void)pthread_cond_broadcast(&door.changed);
	(void)pthread_mutex_unlock(&door.lock);
}

struct scene {
	struct rig *rig;
	struct identity own, device;
	struct coaps_server *server;
	int port;
};

/* The factory certificate of the rig's first device, valid by the clock that est_coap_handle() reads. */
static void
make_device(struct scene *s)
{
	s->device.key = EVP_EC_gen("P-256");
	s->device.cert = rig_idevid(s->rig, s->device.key, "SN1");
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(s->device.cert), -86400));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(s->device.cert), 86400));
	assert_true(X509_sign(s->device.cert, s->rig->maker_key, EVP_sha256()) > 0);
}

static void
begin(struct scene *s, int late_ms)
{
	static const char *const listen[] = { "127.0.0.1:0" };
	struct coaps_settings settings = {
		.listen = listen,
		.listen_count = 1,
		.tls = { .cert = s->own.cert, .key = s->own.key },
		.contexts = 1,
		.workers = 4,
		.separate_ms = 50,
		.late_ms = late_ms,
		.handler = est_coap_handle,
		.arg = &s->rig->gateway,
	};
	struct err e = { 0 };

	if (coaps_server_start(&settings, &s->server, &e) != 0)
		fail_msg("%s", e.text);
	s->port = coaps_server_port(s->server, 0);
}

static int
scene_setup(void **state)
{
	static struct scene s;
	void *rig = NULL;

	s = (struct scene){ 0 };
	if (rig_setup(&rig) != 0)
		return -1;
	s.rig = rig;
	s.rig->ca_ops.issue = issue_slowly;
	rig_load(s.rig, slow_labels);
	rig_new_csr(s.rig);
	identity_make(&s.own, "gateway", 10);
	make_device(&s);
	door.came = 0;
	*state = &s;
	return 0;
}

static int
scene_teardown(void **state)
{
	struct scene *s = *state;
	void *rig = s->rig;

	door_set(false);
	coaps_server_stop(s->server, 0);
	identity_free(&s->own);
	identity_free(&s->device);
	return rig_teardown(&rig);
}

/* POST /est/sen with the rig's request; the first message that comes back. */
static void
enroll_by(struct client *c, const struct scene *s, struct answer *a)
{
	struct draft d;

	draft_begin(&d, CON, POST, ++c->next_id, "slow");
	draft_path(&d, ".well-known/est/sen");
	draft_number(&d, 12, COAPS_FORMAT_CSR);
	draft_number(&d, 17, COAPS_FORMAT_CERT);
	draft_payload(&d, buf_bytes(&s->rig->csr));
	client_ask(c, &d, a);
}

/* A late answer is confirmable, and has the request's token. */
static void
expect_late(struct client *c, struct answer *a, int code)
{
	client_receive(c, a);
	assert_int_equal(a->type, CON);
	assert_int_equal(a->code, code);
	assert_string_equal(a->token, "slow");
	client_acknowledge(c, a->id);
}

static void
assert_for_the_request(const struct scene *s, const struct answer *a)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	CLEANUP(X509) X509 *cert = NULL;
	struct err e;

	assert_int_equal(a->content_format, COAPS_FORMAT_CERT);
	assert_int_equal(x509_from_der(a->payload, &cert, &e), 0);
	assert_int_equal(est_csr_parse(buf_bytes(&s->rig->csr), EST_CSR_PROVEN, &csr, &e), 0);
	assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(cert), csr->key), 1);
	assert_int_equal(rig_certs(s->rig), 1);
	rig_chain_holds(s->rig);
}

/* RFC 9148, section 4.7, figure 3. */
static void
gateway_coap_answers_a_slow_ca_in_a_message_of_its_own(void **state)
{
	struct scene *s = *state;
	struct client c;
	struct answer a;

	begin(s, 60000);
	client_open(&c, s->port, &s->device);
	door_set(true);
	enroll_by(&c, s, &a);
	assert_true(a.type == ACK && a.code == 0);
	door_set(false);
	expect_late(&c, &a, 204);
	assert_for_the_request(s, &a);
	client_close(&c);
}

/* Figure 4: "the client SHOULD resend the identical CSR". */
static void
gateway_coap_tells_who_waits_too_long_to_ask_again(void **state)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	struct scene *s = *state;
	struct client c, later;
	struct answer a;
	int tries;

	begin(s, 200);
	client_open(&c, s->port, &s->device);
	door_set(true);
	enroll_by(&c, s, &a);
	assert_true(a.type == ACK && a.code == 0);
	expect_late(&c, &a, 503);
	assert_true(a.max_age > 0);
	client_close(&c);
	client_open(&later, s->port, &s->device);
	enroll_by(&later, s, &a);
	assert_true(a.code == 503 && a.max_age > 0);
	assert_int_equal(rig_certs(s->rig), 0);
	door_set(false);
	for (tries = 0; tries < 1000 && a.code == 503; tries++) {
		(void)nanosleep(&pause, NULL);
		enroll_by(&later, s, &a);
	}
	assert_int_equal(a.code, 204);
	assert_for_the_request(s, &a);
	assert_int_equal(door.came, 1);
	client_close(&later);
}

/* The answer is lost with the session; the certificate is not. */
static void
gateway_coap_keeps_the_certificate_of_a_device_that_has_gone(void **state)
{
	struct scene *s = *state;
	struct client c, later;
	struct answer a;

	begin(s, 60000);
	client_open(&c, s->port, &s->device);
	door_set(true);
	enroll_by(&c, s, &a);
	assert_true(a.type == ACK && a.code == 0);
	client_close(&c);
	door_set(false);
	client_open(&later, s->port, &s->device);
	enroll_by(&later, s, &a);
	if (a.code == 0)
		expect_late(&later, &a, 204);
	assert_int_equal(a.code, 204);
	assert_for_the_request(s, &a);
	client_close(&later);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(gateway_coap_answers_a_slow_ca_in_a_message_of_its_own, scene_setup, scene_teardown),
		cmocka_unit_test_setup_teardown(gateway_coap_tells_who_waits_too_long_to_ask_again, scene_setup, scene_teardown),
		cmocka_unit_test_setup_teardown(gateway_coap_keeps_the_certificate_of_a_device_that_has_gone, scene_setup, scene_teardown),
	};

	return cmocka_run_group_tests_name("gateway coap slow", tests, NULL, NULL);
}
