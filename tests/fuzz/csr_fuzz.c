/*
 * Certification requests: in each mode, whatever is accepted must be what was
 * received, and must be accepted again.
 */
#include <stdlib.h>

#include "est/csr.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct err e;

	(void)argc;
	(void)argv;
	return ossl_init(&e) != 0 || key_init(&e) != 0;
}

static void
demand(bool condition)
{
	if (!condition)
		abort();
}

static void
parse(struct bytes in, enum est_csr_mode mode)
{
	CLEANUP(est_csr) struct est_csr *csr = NULL;
	CLEANUP(est_csr) struct est_csr *again = NULL;
	CLEANUP(GENERAL_NAMES) GENERAL_NAMES *names = NULL;
	struct err e = { 0 };
	char text[200];

	if (est_csr_parse(in, mode, &csr, &e) != 0) {
		demand(csr == NULL && e.code != ERR_NONE && e.code != ERR_BUG && e.text[0] != '\0');
		return;
	}
	demand(bytes_equal(csr->der, in));
	demand(csr->subject != NULL && (csr->facts.kind != KEY_OTHER) == (mode != EST_CSR_IGNORE_KEY));
	demand(csr->challenge.len <= EST_CHALLENGE_MAX);
	demand(csr->attestation.len == 0 || (csr->attestation.len < in.len && csr->attestation.at[0] == 0x30));
	x509_name_text(csr->subject, text, sizeof text);
	if (est_csr_alt_names(csr, &names, &e) != 0)
		demand(names == NULL);
	demand(est_csr_parse(csr->der, mode, &again, &e) == 0);
	demand(bytes_equal(csr->challenge, again->challenge));
	demand(bytes_equal(csr->attestation, again->attestation));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	parse(bytes_of(data, size), EST_CSR_PROVEN);
	parse(bytes_of(data, size), EST_CSR_IGNORE_KEY);
	parse(bytes_of(data, size), EST_CSR_PROVEN_MD5);
	parse(bytes_of(data, size), EST_CSR_STORED);
	return 0;
}
