/* Two certificates of the request's key in one answer, or in what a search finds: the second is not passed over in silence. */
#define _GNU_SOURCE
#include "tests/unit/ca_std_fixture.h"

#include "est/body.h"
#include "gateway/ca/certs_only.h"

#define MADE_MAX 12

static struct {
	struct buf certs[MADE_MAX];
	char serials[MADE_MAX][SERIAL_ANY_MAX];
	bool revoked[MADE_MAX];
	size_t count;
	size_t asked; /* whether one is revoked */
} made;

static void
make_of(struct fixture *f, bool other)
{
	assert_true(made.count < MADE_MAX);
	if (other)
		service_issue_other(f, &made.certs[made.count]);
	else
		service_issue(f, &made.certs[made.count]);
	(void)snprintf(made.serials[made.count++], SERIAL_ANY_MAX, "%s", f->serial);
}

static int
teardown(void **state)
{
	size_t i;

	for (i = 0; i < MADE_MAX; i++)
		buf_free(&made.certs[i]);
	memset(&made, 0, sizeof made);
	return fixture_teardown(state);
}

/* What they are in a message, in this order; the issuing certificate with them. */
static int
take(struct fixture *f, const size_t *order, size_t count)
{
	CLEANUP(buf) struct buf message = { 0 }, issuing = { 0 };
	struct remote remote = { .name = "ca plant", .chain = sk_X509_new_null() };
	struct bytes certs[MADE_MAX + 1];
	size_t i;
	int result;

	assert_true(sk_X509_push(remote.chain, f->issuing) > 0);
	assert_int_equal(x509_to_der(f->issuing, &issuing, &f->e), 0);
	certs[0] = buf_bytes(&issuing);
	for (i = 0; i < count; i++)
		certs[i + 1] = buf_bytes(&made.certs[order[i]]);
	assert_int_equal(est_certs_encode(certs, count + 1, &message, &f->e), 0);
	ca_answer_free(&f->answer);
	result = certs_only_take(&remote, buf_bytes(&message), &f->request, &f->answer, &f->e);
	sk_X509_free(remote.chain);
	return result;
}

static void
are(const struct fixture *f, size_t first, size_t second)
{
	assert_int_equal(f->answer.state, CA_ISSUED);
	assert_string_equal(f->answer.serial, made.serials[first]);
	assert_true(bytes_equal(buf_bytes(&f->answer.cert), buf_bytes(&made.certs[first])));
	if (second == MADE_MAX) {
		assert_null(f->answer.second.at);
		assert_string_equal(f->answer.second_serial, "");
		return;
	}
	assert_string_equal(f->answer.second_serial, made.serials[second]);
	assert_true(bytes_equal(buf_bytes(&f->answer.second), buf_bytes(&made.certs[second])));
}

static void
certs_only_gives_the_second_of_our_key_too(void **state)
{
	struct fixture *f = *state;

	make_of(f, false);
	make_of(f, true);
	make_of(f, false);
	make_of(f, false);
	assert_int_equal(take(f, (size_t[]){ 0, 1, 2 }, 3), 0);
	are(f, 0, 2);
	assert_int_equal(take(f, (size_t[]){ 1, 2, 0 }, 3), 0);
	are(f, 2, 0);
	/* There is room for one more only. */
	assert_int_equal(take(f, (size_t[]){ 0, 2, 3 }, 3), 0);
	are(f, 0, 2);
}

static void
certs_only_gives_one_when_there_is_one(void **state)
{
	struct fixture *f = *state;

	make_of(f, false);
	make_of(f, true);
	assert_int_equal(take(f, (size_t[]){ 0 }, 1), 0);
	are(f, 0, MADE_MAX);
	assert_int_equal(take(f, (size_t[]){ 0, 1 }, 2), 0);
	are(f, 0, MADE_MAX);
	assert_int_equal(take(f, (size_t[]){ 1, 0 }, 2), 0);
	are(f, 0, MADE_MAX);
	/* The same twice is one. */
	assert_int_equal(take(f, (size_t[]){ 0, 0 }, 2), 0);
	are(f, 0, MADE_MAX);
	assert_int_equal(take(f, (size_t[]){ 1 }, 1), -1);
	assert_int_equal(f->e.code, ERR_DENIED);
}

static void
list_made(struct reply *reply)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < made.count; i++) {
		CLEANUP(buf) struct buf once = { 0 }, twice = { 0 };

		base64_encode(&once, buf_bytes(&made.certs[i]), 0);
		if (made.count == MADE_MAX) /* the server's answers are small; encoded once they are taken, too */
			buf_append_bytes(&twice, buf_bytes(&once));
		else
			base64_encode(&twice, buf_bytes(&once), 0);
		assert_int_equal(json_array_append_new(list, json_pack("{s:s}", "certificate", buf_text(&twice))), 0);
	}
	reply_json(reply, 200, json_pack("{s:o}", "certificates", list));
}

static void
ejbca(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	bool revoked = false;
	size_t i;

	(void)server;
	if (strstr(seen->path, "/revocationstatus") == NULL) {
		assert_non_null(strstr(seen->path, "/search"));
		list_made(reply);
		return;
	}
	made.asked++;
	for (i = 0; i < made.count; i++)
		revoked = revoked || (strstr(seen->path, made.serials[i]) != NULL && made.revoked[i]);
	reply_json(reply, 200, json_pack("{s:b}", "revoked", revoked));
}

static void
open_ejbca(struct fixture *f)
{
	f->settings.client_cert = f->certs.client_file;
	f->settings.client_key = f->certs.client_key;
	f->settings.profile = "DEVICE";
	f->settings.end_entity_profile = "DEVICE_EE";
	f->settings.authority = "Plant CA";
	open_ca(f, "ejbca", ejbca);
}

static int
reconcile(struct fixture *f)
{
	ca_answer_free(&f->answer);
	return f->ops->reconcile(f->ca, &f->request, "", &f->answer, &f->e);
}

static void
ejbca_gives_the_second_that_a_search_finds(void **state)
{
	struct fixture *f = *state;

	open_ejbca(f);
	make_of(f, true);
	make_of(f, false);
	assert_int_equal(reconcile(f), 0);
	are(f, 1, MADE_MAX);
	make_of(f, false);
	make_of(f, false);
	assert_int_equal(reconcile(f), 0);
	are(f, 1, 2);
}

static void
ejbca_passes_over_what_is_revoked_there_when_another_is_good(void **state)
{
	struct fixture *f = *state;

	open_ejbca(f);
	make_of(f, false);
	make_of(f, false);
	made.revoked[0] = true;
	assert_int_equal(reconcile(f), 0);
	are(f, 1, MADE_MAX);
	made.revoked[0] = false;
	made.revoked[1] = true;
	assert_int_equal(reconcile(f), 0);
	are(f, 0, MADE_MAX);
	made.revoked[0] = true;
	assert_int_equal(reconcile(f), -1);
	error_is(f, ERR_UPSTREAM, "revoked there");
}

/* A service that lists more than it was asked for is not asked about all of them. */
static void
ejbca_looks_at_no_more_than_it_has_asked_for(void **state)
{
	struct fixture *f = *state;

	open_ejbca(f);
	f->spec.san_count = 0;
	f->spec.rdn_count = 1;
	while (made.count < MADE_MAX)
		make_of(f, false);
	memset(made.revoked, true, sizeof made.revoked);
	assert_int_equal(reconcile(f), -1);
	assert_int_equal(made.asked, 10);
}

#define second_test(name) cmocka_unit_test_setup_teardown(name, fixture_setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		second_test(certs_only_gives_the_second_of_our_key_too),
		second_test(certs_only_gives_one_when_there_is_one),
		second_test(ejbca_gives_the_second_that_a_search_finds),
		second_test(ejbca_passes_over_what_is_revoked_there_when_another_is_good),
		second_test(ejbca_looks_at_no_more_than_it_has_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
