/*
 * store_holds.h - a certificate that a CA elsewhere issued to rtr-1, and what that CA is told of it.
 */
#ifndef TESTS_UNIT_STORE_HOLDS_H
#define TESTS_UNIT_STORE_HOLDS_H

#include "gateway/store/sqlite_internal.h"
#include "tests/unit/store_fixture.h"

#define CA "issuing"

/* A certificate that a CA elsewhere issued to rtr-1. */
static inline int
setup(void **state)
{
	struct intent_new intent = {.ca = CA, .spec_json = "{}", .spki = {(const uint8_t *)"a key", 5}, .key_kind = 2};
	struct asset asset;
	struct sample s;
	struct fixture *f;
	int64_t request;

	if (fixture_setup(state) != 0)
		return -1;
	f = *state;
	asset = add_asset(f->store, "rtr-1");
	sample_fill(&s, &asset, 1, REQUEST_PENDING);
	s.o.intent = &intent;
	request = record_as(f->store, &s.o, STORE_RECORDED);
	sample_fill(&s, &asset, 1, REQUEST_ISSUED);
	s.o.request_id = request;
	s.o.intent_id = 1;
	record_as(f->store, &s.o, STORE_RECORDED);
	return 0;
}

static inline void
become(struct fixture *f, enum asset_state state)
{
	int64_t touched;
	struct err e = {0};

	if (ops->asset_set_state(f->store, "rtr-1", state, "test", "operator:test", NOW, &touched, &e) != 0)
		fail_msg("state: %s", e.text);
}

static inline bool
see(void *arg, const struct revocation_row *row, struct bytes cert)
{
	assert_true(cert.len > 0);
	*(struct revocation_row *)arg = *row;
	return false;
}

/* What is due to be told; id 0: nothing. */
static inline struct revocation_row
due(struct fixture *f)
{
	struct store_read *read = begin(f->store);
	struct revocation_row row = {.id = 0};
	struct err e = {0};

	assert_int_equal(ops->intents->revocations(read, CA, NOW, 1, see, &row, &e), 0);
	ops->read_end(read);
	return row;
}

static inline bool
begin_to_tell(struct fixture *f, const struct revocation_row *row)
{
	struct err e = {0};
	bool done = false;

	if (ops->intents->revocation_begin(f->store, row->id, row->wanted, &done, &e) != 0)
		fail_msg("begin: %s", e.text);
	return done;
}

static inline void
end_telling(struct fixture *f, const struct revocation_row *row, enum revocation_end to, enum upstream told)
{
	struct revocation_step s = {.id = row->id, .wanted = row->wanted, .told = told, .to = to, .error = "why",
		.next_try_s = to == REVOCATION_LATER ? NOW + 60 : 0, .now_s = NOW};
	struct err e = {0};

	if (ops->intents->revocation_step(f->store, &s, &e) != 0)
		fail_msg("step: %s", e.text);
}

/* What is due, told as a CA that answers takes it. */
static inline void
tell(struct fixture *f, enum upstream wanted)
{
	struct revocation_row row = due(f);

	assert_int_not_equal(row.id, 0);
	assert_int_equal(row.wanted, wanted);
	if (wanted != UPSTREAM_REVOKED)
		assert_true(begin_to_tell(f, &row));
	end_telling(f, &row, REVOCATION_DONE, UPSTREAM_GOOD);
}

static inline void
expect_nothing_due(struct fixture *f)
{
	assert_int_equal(due(f).id, 0);
}

static inline int64_t
audits(struct fixture *f, const char *where)
{
	char sql[320];

	(void)snprintf(sql, sizeof sql, "SELECT count(*) FROM audit WHERE %s", where);
	return fixture_number(f, sql);
}

static inline struct intent_counts
counts(struct fixture *f)
{
	struct store_read *read = begin(f->store);
	struct intent_counts out;
	struct err e = {0};

	assert_int_equal(ops->intents->counts(read, CA, &out, &e), 0);
	ops->read_end(read);
	return out;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

#endif
