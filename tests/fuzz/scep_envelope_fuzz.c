/*
 * Envelopes, without the signature around them: opened with a key that some of
 * the seeds name. What is wrong is always the same error.
 */
#include "scep/read.h"
#include "tests/unit/scep_make.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct scep_recipient recipient;

static void
demand(bool condition)
{
	if (!condition)
		abort();
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct err e;

	(void)argc;
	(void)argv;
	demand(ossl_init(&e) == 0 && (scep_init(&e) == 0 || e.code == ERR_UNSUPPORTED));
	/* Made anew each time, and short; its octets never match, its name and length do. */
	recipient.key = EVP_RSA_gen(1024);
	demand(recipient.key != NULL);
	recipient.cert = make_cert(recipient.key, "RA", recipient.key, "CA", 8, 0);
	return 0;
}

static void
names(struct bytes in)
{
	struct scep_issuer_and_subject ias = { 0 };
	struct scep_issuer_and_serial serial = { 0 };
	struct err e = { 0 };

	if (scep_issuer_and_subject_parse(in, &ias, &e) != 0)
		demand(ias.issuer == NULL && (e.code == ERR_MALFORMED || e.code == ERR_LIMIT));
	else
		demand(ias.issuer != NULL && ias.subject != NULL);
	scep_issuer_and_subject_free(&ias);
	if (scep_issuer_and_serial_parse(in, &serial, &e) != 0)
		demand(serial.issuer == NULL && (e.code == ERR_MALFORMED || e.code == ERR_LIMIT));
	else
		demand(serial.issuer != NULL && serial.serial[0] != '\0');
	scep_issuer_and_serial_free(&serial);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(scep_envelope) struct scep_envelope *envelope = NULL;
	CLEANUP(buf) struct buf out = { 0 };
	struct err e = { 0 };

	names(bytes_of(data, size));
	if (scep_envelope_parse(bytes_of(data, size), &envelope, &e) != 0) {
		demand(envelope == NULL && e.text[0] != '\0' && (e.code == ERR_MALFORMED || e.code == ERR_LIMIT));
		return 0;
	}
	if (scep_envelope_open(envelope, &recipient, 1, &out, &e) == 0)
		demand(out.len != 0 && out.len < size);
	else
		demand(out.len == 0 && (e.code == ERR_UNAUTHENTIC ||
					(e.code == ERR_UNSUPPORTED && scep_cipher(envelope->cipher) == NULL)));
	return 0;
}
