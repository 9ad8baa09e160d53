#include "gateway/core/trust_crl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/timefmt.h"

void
x509_crl_stack_free(STACK_OF(X509_CRL) *crls)
{
	sk_X509_CRL_pop_free(crls, X509_CRL_free);
}

static int
read_all(const char *path, struct buf *out, struct err *e)
{
	uint8_t chunk[16384];
	FILE *in = fopen(path, "rbe");
	size_t n;
	bool bad;

	if (in == NULL)
		return err_set(e, ERR_UPSTREAM, "%s: %s", path, strerror(errno));
	while (out->len <= TRUST_CRL_FILE_MAX && (n = fread(chunk, 1, sizeof chunk, in)) > 0)
		buf_append(out, chunk, n);
	bad = ferror(in) != 0;
	(void)fclose(in);
	if (bad)
		return err_set(e, ERR_UPSTREAM, "%s: cannot be read", path);
	if (out->len > TRUST_CRL_FILE_MAX)
		return err_set(e, ERR_LIMIT, "%s: longer than %d octets", path, TRUST_CRL_FILE_MAX);
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "%s: no memory", path) : 0;
}

static int
push(STACK_OF(X509_CRL) *crls, X509_CRL *crl, struct err *e)
{
	if (sk_X509_CRL_push(crls, crl) > 0)
		return 0;
	X509_CRL_free(crl);
	return err_set(e, ERR_NOMEM, "CRL: no memory");
}

static int
read_der(const struct buf *file, STACK_OF(X509_CRL) *crls, struct err *e)
{
	const uint8_t *p = file->at;
	X509_CRL *crl = d2i_X509_CRL(NULL, &p, (long)file->len);

	if (crl == NULL)
		return err_ossl(e, ERR_MALFORMED, "not a CRL");
	if (p != file->at + file->len) {
		X509_CRL_free(crl);
		return err_set(e, ERR_MALFORMED, "%td octets after the CRL", file->at + file->len - p);
	}
	return push(crls, crl, e);
}

static int
read_pem(const struct buf *file, STACK_OF(X509_CRL) *crls, struct err *e)
{
	CLEANUP(BIO) BIO *in = BIO_new_mem_buf(file->at, (int)file->len);
	X509_CRL *crl;

	if (in == NULL)
		return err_set(e, ERR_NOMEM, "CRL: no memory");
	while ((crl = PEM_read_bio_X509_CRL(in, NULL, pem_no_password, NULL)) != NULL)
		if (push(crls, crl, e) != 0)
			return -1;
	/* "No start line" is the end; everything else is a CRL that was not read. */
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return err_ossl(e, ERR_MALFORMED, "CRL");
	ERR_clear_error();
	return sk_X509_CRL_num(crls) > 0 ? 0 : err_set(e, ERR_MALFORMED, "it holds no CRL");
}

int
trust_crls_load(const char *path, STACK_OF(X509_CRL) **out, struct err *e)
{
	CLEANUP(x509_crl_stack) STACK_OF(X509_CRL) *crls = sk_X509_CRL_new_null();
	CLEANUP(buf) struct buf file = { 0 };
	int result;

	if (crls == NULL)
		return err_set(e, ERR_NOMEM, "CRL: no memory");
	if (read_all(path, &file, e) != 0)
		return -1;
	result = file.len > 0 && file.at[0] == 0x30 ? read_der(&file, crls, e) : read_pem(&file, crls, e);
	if (result != 0)
		return err_prefix(e, "%s", path);
	*out = crls;
	crls = NULL;
	return 0;
}

int
trust_crl_until(const X509_CRL *crl, int64_t *out, struct err *e)
{
	const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
	struct tm tm;

	*out = INT64_MAX;
	if (next == NULL)
		return 0;
	if (ASN1_TIME_to_tm(next, &tm) != 1)
		return err_ossl(e, ERR_MALFORMED, "the CRL's nextUpdate");
	*out = time_from_utc(&tm);
	return 0;
}
