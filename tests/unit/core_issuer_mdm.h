/*
 * core_issuer_mdm.h - a device that an MDM vouches for asks a CA elsewhere for its certificate.
 */
#ifndef TESTS_UNIT_CORE_ISSUER_MDM_H
#define TESTS_UNIT_CORE_ISSUER_MDM_H

#include "tests/unit/core_issuer_threads_fixture.h"

#define MDMS "mdms = ( { name = \"fleet\"; type = \"webhook\"; url = \"https://127.0.0.1:1/\"; ca = \"ca/root.pem\"; } );\n"

/* What it was told. */
static struct {
	struct mdm_ops ops;
	_Atomic int issued, refused, strange;
} service;

static inline int
validate(struct mdm *mdm, const struct mdm_request *request, struct mdm_verdict *out, struct err *e)
{
	(void)mdm;
	(void)request;
	(void)e;
	*out = (struct mdm_verdict){ .allowed = true, .code = "Success", .device = "DEV-7" };
	return 0;
}

static inline bool
is_strange(const struct mdm_request *request)
{
	return request->transaction == NULL || strcmp(request->transaction, "T1") != 0 || request->csr.len == 0 || request->challenge != NULL;
}

static inline int
issued(struct mdm *mdm, const struct mdm_request *request, struct bytes cert, struct err *e)
{
	(void)mdm;
	(void)e;
	service.issued++;
	service.strange += is_strange(request) || cert.len == 0;
	return 0;
}

static inline int
refused(struct mdm *mdm, const struct mdm_request *request, const struct mdm_refusal *why, struct err *e)
{
	(void)mdm;
	(void)e;
	service.refused++;
	service.strange += is_strange(request) || why->code != ERR_DENIED;
	return 0;
}

static inline int
one_record(void *arg, struct import_record *out, struct err *e)
{
	bool *given = arg;

	(void)e;
	if (*given)
		return 0;
	*given = true;
	*out = (struct import_record){ .asset = { .state = ASSET_DEPLOYED, .tag = "mac-7", .source = "mdm" },
		.has_state = true, .owner = "Fleet", .anchor_count = 1 };
	out->anchors[0] = (struct anchor){ .type = ANCHOR_MDM_ID, .issuer = "fleet", .value = "DEV-7" };
	return 1;
}

static inline void
begin(struct rig *r, const char *settings)
{
	bool given = false;
	struct import_job job = { .next = one_record, .arg = &given, .actor = "operator:test", .source = "mdm", .now_s = NOW - DAY };
	struct import_summary sum;
	struct buf attributes = { 0 };
	struct config_label *label;
	struct err e = { 0 };

	issuer_load_more(r, settings, MDMS);
	memset(&service, 0, sizeof service);
	service.ops = *r->world->mdms[0].ops;
	service.ops.validate = validate;
	service.ops.issued = issued;
	service.ops.refused = refused;
	r->world->mdms[0].ops = &service.ops;
	assert_int_equal(store_sqlite.import(r->gateway.store, &job, &sum, &e), 0);
	label = &r->world->config->labels[0];
	label->policy.auth = AUTH_MDM | AUTH_OWN;
	(void)snprintf(label->scep_mdm, sizeof label->scep_mdm, "fleet");
	r->request = (struct enroll_request){ .protocol = "scep", .operation = "PKCSReq", .op = ENROLL_EITHER, .label = label,
		.challenge = true, .renewal_names_free = true, .transaction = "T1", .peer = "192.0.2.7", .now_s = NOW };
	make_text_attribute(&attributes, "1.2.840.113549.1.9.7", 0x13, bytes_of_text("3f9aQ+challenge+of+an+MDM"));
	rig_csr(r, r->key, &attributes);
	buf_free(&attributes);
}

static inline void
is_told(int issues, int refusals)
{
	assert_int_equal(service.issued, issues);
	assert_int_equal(service.refused, refusals);
	assert_int_equal(service.strange, 0);
}

#endif
