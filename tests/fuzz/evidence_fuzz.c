/*
 * The attestation attribute and TPM statements in it: what is taken is inside the input, and encodes to the
 * same meaning again.
 */
#include <stdlib.h>
#include <string.h>

#include "policy/attest/evidence.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct err e;

	(void)argc;
	(void)argv;
	return ossl_init(&e) != 0;
}

static void
demand(bool condition)
{
	if (!condition)
		abort();
}

static bool
inside(struct bytes part, struct bytes whole)
{
	return part.len == 0 || (part.at >= whole.at && part.at + part.len <= whole.at + whole.len);
}

static void
statement(struct bytes stmt)
{
	struct evidence_tpm tpm, again;
	struct bytes area;
	CLEANUP(buf) struct buf b = { 0 };
	struct err e;

	if (evidence_tpm_ak_parse(stmt, &area, &e) == 0)
		demand(inside(area, stmt));
	if (evidence_tpm_parse(stmt, &tpm, &e) != 0)
		return;
	demand(inside(tpm.attest, stmt) && inside(tpm.signature, stmt) && inside(tpm.public_area, stmt));
	demand(evidence_tpm_encode(&tpm, &b, &e) == 0);
	/* A size that was taken off may stand before another one. */
	demand(evidence_tpm_parse(buf_bytes(&b), &again, &e) == 0 && again.attest.len <= tpm.attest.len);
	demand(bytes_equal(tpm.signature, again.signature));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = bytes_of(data, size);
	struct evidence evidence, again;
	CLEANUP(buf) struct buf b = { 0 };
	struct err e = { 0 };
	size_t i;

	if (evidence_parse(in, &evidence, &e) != 0) {
		demand(e.code == ERR_MALFORMED || e.code == ERR_LIMIT);
		return 0;
	}
	demand(evidence.statement_count >= 1 && evidence.statement_count <= EVIDENCE_STATEMENTS_MAX &&
		evidence.cert_count <= EVIDENCE_CERTS_MAX);
	for (i = 0; i < evidence.statement_count; i++) {
		demand(inside(evidence.statements[i].stmt, in) && strlen(evidence.statements[i].type) < EVIDENCE_OID_MAX);
		statement(evidence.statements[i].stmt);
	}
	for (i = 0; i < evidence.cert_count; i++)
		demand(inside(evidence.certs[i], in));
	demand(evidence_encode(&evidence, &b, &e) == 0 && bytes_equal(buf_bytes(&b), in));
	demand(evidence_parse(buf_bytes(&b), &again, &e) == 0);
	return 0;
}
