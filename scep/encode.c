#include <openssl/err.h>
#include <openssl/objects.h>

#include "base/der.h"
#include "scep/internal.h"

void
scep_put_algorithm(struct buf *out, int nid, bool null_parameters)
{
	const ASN1_OBJECT *oid = OBJ_nid2obj(nid);
	size_t algorithm = der_begin(out, DER_SEQUENCE);

	if (oid == NULL || OBJ_length(oid) == 0)
		out->failed = true;
	else
		der_put(out, DER_OID, bytes_of(OBJ_get0_data(oid), OBJ_length(oid)));
	if (null_parameters)
		der_put(out, V_ASN1_NULL, bytes_of(NULL, 0));
	der_end(out, algorithm);
}

static void
put_encoded(struct buf *out, uint8_t *der, int len)
{
	if (len <= 0)
		out->failed = true;
	else
		buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
}

void
scep_put_name(struct buf *out, const X509_NAME *name)
{
	uint8_t *der = NULL;
	int len = name == NULL ? 0 : i2d_X509_NAME(name, &der);

	put_encoded(out, der, len);
}

void
scep_put_issuer_and_serial(struct buf *out, const X509 *cert)
{
	size_t sequence = der_begin(out, DER_SEQUENCE);
	const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
	uint8_t *der = NULL;
	int len = serial == NULL ? 0 : i2d_ASN1_INTEGER(serial, &der);

	scep_put_name(out, X509_get_issuer_name(cert));
	put_encoded(out, der, len);
	der_end(out, sequence);
}

bool
scep_is_one_sequence(struct bytes der)
{
	const uint8_t *p = der.at;
	long len = 0;
	int tag = 0, class = 0, flags;

	if (der.len < 2 || der.len > BUF_MAX)
		return false;
	flags = ASN1_get_object(&p, &len, &tag, &class, (long)der.len);
	if (flags != V_ASN1_CONSTRUCTED) {
		ERR_clear_error();
		return false;
	}
	return tag == V_ASN1_SEQUENCE && class == V_ASN1_UNIVERSAL && p + len == der.at + der.len;
}

static int
finish(struct buf *out, size_t mark, const char *what, struct err *e)
{
	if (!buf_failed(out))
		return 0;
	out->len = mark;
	ERR_clear_error();
	return err_set(e, ERR_NOMEM, "%s: no memory, or a name that cannot be encoded", what);
}

int
scep_issuer_and_subject_encode(const X509_NAME *issuer, const X509_NAME *subject, struct buf *out, struct err *e)
{
	size_t mark = out->len, sequence = der_begin(out, DER_SEQUENCE);

	scep_put_name(out, issuer);
	scep_put_name(out, subject);
	der_end(out, sequence);
	return finish(out, mark, "issuerAndSubject", e);
}

int
scep_issuer_and_serial_encode(const X509 *cert, struct buf *out, struct err *e)
{
	size_t mark = out->len;

	scep_put_issuer_and_serial(out, cert);
	return finish(out, mark, "issuerAndSerialNumber", e);
}
