/*
 * store_ownership_fixture.h - owners, certificates and audit rows for the tests of ownership.
 *
 * Include after store_fixture.h. Everything here fails the running test by itself.
 */
#ifndef TESTS_UNIT_STORE_OWNERSHIP_FIXTURE_H
#define TESTS_UNIT_STORE_OWNERSHIP_FIXTURE_H

#define EVE "operator:eve"
#define BOB "operator:bob"
#define ANN "operator:ann"
#define DAY 86400

#define assert_denied(call, words) \
	do { \
		struct err why = {0}; \
		assert_int_equal((call), -1); \
		assert_int_equal(why.code, ERR_DENIED); \
		if (strstr(why.text, (words)) == NULL) \
			fail_msg("\"%s\" does not say \"%s\"", why.text, (words)); \
	} while (0)

#define assert_done(call) \
	do { \
		struct err why = {0}; \
		if ((call) < 0) \
			fail_msg("%s", why.text); \
	} while (0)

static inline void
put_owner(struct fixture *f, const char *name, enum owner_status status, const char *operators)
{
	struct owner owner = {.kind = OWNER_PARTNER, .status = status};

	(void)snprintf(owner.name, sizeof owner.name, "%s", name);
	(void)snprintf(owner.operators, sizeof owner.operators, "%s", operators);
	assert_done(ops->owner_put(f->store, &owner, EVE, NOW, &why));
}

static inline struct owner
get_owner_of(struct fixture *f, const char *tag)
{
	struct store_read *read = begin(f->store);
	struct owner owner = {0};
	struct asset asset;

	assert_done(ops->asset_by_tag(read, tag, &asset, &owner, &why));
	ops->read_end(read);
	return owner;
}

/* A certificate for the asset as it is now; the request's id, which the certificate shares in these tests. */
static inline int64_t
issue(struct fixture *f, const char *tag, unsigned number)
{
	struct asset asset = get_asset(f->store, tag);
	struct sample s;

	sample_fill(&s, &asset, number, REQUEST_ISSUED);
	s.o.quota = true;
	return record_as(f->store, &s.o, STORE_RECORDED);
}

static inline int64_t
audits(struct fixture *f, const char *action)
{
	char sql[160];

	(void)snprintf(sql, sizeof sql, "SELECT count(*) FROM audit WHERE action = '%s'", action);
	return fixture_number(f, sql);
}

static inline void
set_state(struct fixture *f, const char *tag, enum asset_state to)
{
	assert_done(ops->asset_set_state(f->store, tag, to, "a test", EVE, NOW, NULL, &why));
}

static inline void
sweep_all(struct fixture *f, int64_t now_s, struct offboard_report *sum)
{
	struct offboard_report report;
	bool more = true;

	memset(sum, 0, sizeof *sum);
	for (int calls = 0; more; calls++) {
		assert_true(calls < 100);
		assert_done(ops->sweep(f->store, now_s, &report, &more, &why));
		sum->owners += report.owners;
		sum->assets += report.assets;
		sum->revoked += report.revoked;
	}
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#endif
