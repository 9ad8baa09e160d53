/*
 * CSR attributes: DER as a client reads it, and the same octets as a
 * configuration entry, whose encoding must decode.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "est/csrattrs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
demand(bool condition)
{
	if (!condition)
		abort();
}

static void
read_der(struct bytes der)
{
	struct buf text = { 0 };
	struct err e;

	if (est_csrattrs_decode(der, &text, &e) != 0)
		demand(text.len == 0 && !est_csrattrs_asks(der, "1.2.840.113549.1.9.7") &&
			!est_csrattrs_asks(der, "2.5.4.3"));
	else
		(void)est_csrattrs_asks(der, "1.2.840.113549.1.9.7");
	buf_free(&text);
}

static void
read_entry(struct bytes in)
{
	struct buf text = { 0 }, der = { 0 }, shown = { 0 };
	const char *entry;
	struct err e;

	buf_append_bytes(&text, in);
	entry = buf_text(&text);
	if (est_csrattrs_encode(&entry, 1, &der, &e) == 0)
		demand(est_csrattrs_decode(buf_bytes(&der), &shown, &e) == 0);
	else
		demand(der.len == 0);
	buf_free(&text);
	buf_free(&der);
	buf_free(&shown);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_der(bytes_of(data, size));
	read_entry(bytes_of(data, size));
	return 0;
}
