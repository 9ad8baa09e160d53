#define _GNU_SOURCE
/* Holds by CMP: rr with certificateHold and removeFromCRL, to a CA that answers as EJBCA does. */
#include "tests/unit/ca_cmp_server.h"

enum { REVOKE = 1, HOLD = 6, RELEASE = 8, RR = 11 };
enum standing { GOOD, REVOKED, HELD };

static struct {
	enum standing is;
	int reasons[8];
	size_t calls;
	bool holds_once; /* a hold of what is on hold is "already revoked", too */
	int refuses;     /* this reason, with badRequest */
	bool twice;      /* the first hold comes once more: its connection ended before the answer */
} at_ca;

/* reasonCode (RFC 5280, section 5.3.1) of a request: OpenSSL's server half does not tell. */
static int
reason_in(const char *body, size_t len)
{
	static const uint8_t head[] = { 0x06, 0x03, 0x55, 0x1d, 0x15 }, value[] = { 0x04, 0x03, 0x0a, 0x01 };
	const uint8_t *at = memmem(body, len, head, sizeof head);

	assert_non_null(at);
	at = memmem(at, 20, value, sizeof value);
	assert_non_null(at);
	return at[sizeof value];
}

static void
take(int reason)
{
	api.fail = reason == at_ca.refuses ? OSSL_CMP_PKIFAILUREINFO_badRequest : -1;
	api.already_revoked = api.fail < 0 && (reason == RELEASE ? at_ca.is != HELD :
		at_ca.is == REVOKED || (at_ca.holds_once && reason == HOLD && at_ca.is == HELD));
	assert_true(at_ca.calls < sizeof at_ca.reasons / sizeof at_ca.reasons[0]);
	at_ca.reasons[at_ca.calls++] = reason;
	if (api.fail < 0 && !api.already_revoked)
		at_ca.is = reason == RELEASE ? GOOD : reason == HOLD ? HELD : REVOKED;
}

static void
hold_service(struct tls_server *server, const struct seen *seen, struct reply *reply)
{
	int reason = reason_in(seen->body, seen->body_len);

	if (at_ca.twice && reason == HOLD) {
		take(reason);
		at_ca.twice = false;
	}
	take(reason);
	service(server, seen, reply);
	assert_int_equal(api.types[api.type_count - 1], RR);
}

static void
open_holding(struct fixture *f, bool by_secret)
{
	memset(&at_ca, 0, sizeof at_ca);
	open_cmp(f, by_secret);
	open_ca(f, "cmp", hold_service);
	assert_true(f->ops->holds);
}

static int
say(struct fixture *f, int reason)
{
	at_ca.calls = 0;
	return f->ops->revoke(f->ca, "0a1b2c", bytes_of(NULL, 0), reason, NOW_S, &f->e);
}

static void
cmp_holds_releases_and_revokes(void **state)
{
	struct fixture *f = *state;
	int round;

	for (round = 0; round < 2; round++) {
		open_holding(f, round == 0);
		assert_int_equal(say(f, HOLD), 0);
		assert_int_equal(at_ca.is, HELD);
		assert_int_equal(say(f, RELEASE), 0);
		assert_int_equal(at_ca.calls, 1);
		assert_int_equal(at_ca.is, GOOD);
		assert_int_equal(say(f, HOLD), 0);
		assert_int_equal(say(f, REVOKE), 0);
		assert_int_equal(at_ca.reasons[0], REVOKE);
		assert_int_equal(at_ca.is, REVOKED);
		assert_string_equal(api.revoked_serial, "0a1b2c");
	}
}

/* Whoever answers there does not know our secret: that it was done already is no more to be believed than any refusal. */
static void
cmp_believes_nobody_that_it_is_revoked_already_without_a_proof(void **state)
{
	static const int reasons[] = { REVOKE, HOLD, RELEASE };
	struct fixture *f = *state;
	char other[300];
	size_t i;

	open_holding(f, true);
	(void)OSSL_CMP_SRV_CTX_set_accept_unprotected(api.srv, 1);
	file_make(&f->certs.folder, "other", "ffffffffffffffff\n", 0600, other);
	f->settings.secret_file = other;
	open_ca(f, "cmp", hold_service);
	at_ca.is = REVOKED;
	at_ca.holds_once = true;
	for (i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
		assert_int_equal(say(f, reasons[i]), -1);
		error_is(f, ERR_UPSTREAM, "does not prove that it is the CA");
		assert_int_equal(at_ca.calls, 1);
	}
}

static void
cmp_holds_what_is_on_hold_or_revoked_already(void **state)
{
	struct fixture *f = *state;

	open_holding(f, true);
	assert_int_equal(say(f, HOLD), 0);
	assert_int_equal(say(f, HOLD), 0);
	at_ca.holds_once = true;
	assert_int_equal(say(f, HOLD), 0);
	assert_int_equal(at_ca.is, HELD);
	assert_int_equal(say(f, REVOKE), 0);
	assert_int_equal(say(f, HOLD), 0);
	assert_int_equal(at_ca.is, REVOKED);
}

/* The hold never arrived, or an earlier release did. */
static void
cmp_releases_what_is_good_already(void **state)
{
	struct fixture *f = *state;

	open_holding(f, true);
	assert_int_equal(say(f, RELEASE), 0);
	assert_int_equal(at_ca.calls, 3);
	assert_int_equal(at_ca.reasons[1], HOLD);
	assert_int_equal(at_ca.is, GOOD);
}

static void
cmp_says_that_what_is_revoked_cannot_be_released(void **state)
{
	struct fixture *f = *state;

	open_holding(f, true);
	at_ca.is = REVOKED;
	assert_int_equal(say(f, RELEASE), -1);
	error_is(f, ERR_UNSUPPORTED, "for good");
	assert_int_equal(at_ca.calls, 3);
	assert_int_equal(at_ca.is, REVOKED);
}

/* The hold that asks arrived, its connection ended, and it was sent again on another one: "already revoked" is its own doing. */
static void
cmp_releases_what_its_own_question_put_on_hold(void **state)
{
	struct fixture *f = *state;

	open_holding(f, true);
	at_ca.holds_once = at_ca.twice = true;
	assert_int_equal(say(f, RELEASE), 0);
	assert_int_equal(at_ca.is, GOOD);
}

static void
cmp_refusals_of_a_hold_or_a_release_are_told(void **state)
{
	struct fixture *f = *state;

	open_holding(f, true);
	at_ca.refuses = HOLD;
	assert_int_equal(say(f, HOLD), -1);
	error_is(f, ERR_DENIED, "badRequest");
	assert_int_equal(say(f, RELEASE), -1); /* whether it is good cannot be found out */
	error_is(f, ERR_DENIED, "badRequest");
	at_ca.refuses = RELEASE;
	assert_int_equal(say(f, RELEASE), -1);
	error_is(f, ERR_DENIED, "badRequest");
	assert_int_equal(at_ca.calls, 1);
}

#define cmp_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmp_test(cmp_believes_nobody_that_it_is_revoked_already_without_a_proof),
		cmp_test(cmp_holds_releases_and_revokes),
		cmp_test(cmp_holds_what_is_on_hold_or_revoked_already),
		cmp_test(cmp_releases_what_is_good_already),
		cmp_test(cmp_says_that_what_is_revoked_cannot_be_released),
		cmp_test(cmp_releases_what_its_own_question_put_on_hold),
		cmp_test(cmp_refusals_of_a_hold_or_a_release_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
