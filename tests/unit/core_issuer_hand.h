/* core_issuer_hand.h - an operator, and what he found at a CA: for the tests of `ca resolve`. */
#ifndef TESTS_UNIT_CORE_ISSUER_HAND_H
#define TESTS_UNIT_CORE_ISSUER_HAND_H

#include "tests/unit/core_issuer_second.h"
#undef test
#include "tests/unit/core_admin_fixture.h"

#define UNCHANGED "SELECT count(*) FROM intent JOIN request r ON r.id = request_id WHERE intent.state = 3 AND r.state = 0"

static enum act lost_act; /* what the CA made, whose answer was lost */

static inline int
hand_teardown(void **state)
{
	json_decref(answer.rows);
	json_decref(answer.result);
	answer = (struct answer){ .rows = NULL };
	return issuer_teardown(state);
}

static inline int
issue_and_lose(struct ca *ca, const struct ca_request *request, struct ca_answer *out, struct err *e)
{
	int result;

	fake_lock();
	fake.issues++;
	result = fake_make(ca, request, lost_act, out, e);
	ca_answer_free(out);
	*out = (struct ca_answer){ .state = CA_UNKNOWN };
	(void)err_set(e, ERR_UPSTREAM, "no answer");
	fake_unlock();
	return result;
}

/* One whose answer was lost by a CA that cannot be asked: fake.made is there, in its records. */
static inline void
one_lost(struct rig *r, enum act act)
{
	lost_act = act;
	r->ca_ops.issue = issue_and_lose;
	r->ca_ops.reconcile = NULL;
	issuer_open_idle(r);
	ask(r, ERR_PENDING);
	assert_int_equal(step_all(r), 1);
	assert_int_equal(rig_number(r, UNCHANGED), 1);
}

static inline int
hand_in(struct rig *r, struct bytes file)
{
	int fd = file_of(r, file), result = run_with(r, "ca resolve", "{\"id\": 1, \"reason\": \"found it\"}", fd, -1);

	assert_int_equal(close(fd), 0);
	return result;
}

static inline void
hand_in_well(struct rig *r, struct bytes file, const char *state)
{
	if (hand_in(r, file) != 0)
		fail_msg("%s", answer.e.text);
	assert_string_equal(text_of(answer.result, "state"), state);
	assert_string_equal(text_of(answer.result, "serial"), fake.made_serial);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM audit WHERE action = 'ca.resolved' AND actor = 'operator:test'"
		" AND subject = 'rtr-1' AND detail_json ->> 'reason' = 'found it' AND length(detail_json ->> 'serial') > 8"), 1);
}

/* ... and nothing has changed. */
static inline void
hand_in_badly(struct rig *r, struct bytes file, enum err_code code, const char *part)
{
	assert_int_equal(hand_in(r, file), -1);
	if (answer.e.code != code || strstr(answer.e.text, part) == NULL)
		fail_msg("%s: %s", err_code_name(answer.e.code), answer.e.text);
	assert_int_equal(rig_number(r, UNCHANGED), 1);
	assert_int_equal(rig_certs(r), 0);
	assert_int_equal(audits_of(r, "ca.resolved") + audits_of(r, "ca.quarantined"), 0);
	assert_int_equal(rig_number(r, "SELECT count(*) FROM ca_revocation"), 0);
}

static inline void
put_pem(struct buf *out, X509 *cert)
{
	CLEANUP(BIO) BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	long len;

	assert_int_equal(PEM_write_bio_X509(bio, cert), 1);
	len = BIO_get_mem_data(bio, &text);
	buf_append(out, (const uint8_t *)text, (size_t)len);
}

static inline void
put_made(struct buf *out)
{
	CLEANUP(X509) X509 *cert = NULL;
	struct err e = { 0 };

	assert_int_equal(x509_from_der(buf_bytes(&fake.made), &cert, &e), 0);
	put_pem(out, cert);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, issuer_setup, hand_teardown)

#endif
