#include "policy/attest/evidence.h"

#include <stdio.h>
#include <string.h>

#include <openssl/objects.h>

#include "base/tlv.h"

#define OID_OCTETS_MAX 32 /* of an OID's contents; a UUID under 2.25 has 20 */

/* Its text has to fit, as a cut OID would be another one; its octets too, as OpenSSL takes quadratic time for long arcs. */
static int
dotted_of(struct tlv oid, char out[EVIDENCE_OID_MAX], struct err *e)
{
	const uint8_t *p = oid.whole.at;
	ASN1_OBJECT *object;
	int len;

	if (oid.contents.len > OID_OCTETS_MAX)
		return err_set(e, ERR_LIMIT, "statement type of %zu octets", oid.contents.len);
	object = d2i_ASN1_OBJECT(NULL, &p, (long)oid.whole.len);
	if (object == NULL)
		return err_ossl(e, ERR_MALFORMED, "statement type");
	len = OBJ_obj2txt(out, EVIDENCE_OID_MAX, object, 1);
	ASN1_OBJECT_free(object);
	if (len <= 0)
		return err_ossl(e, ERR_MALFORMED, "statement type");
	if (len >= EVIDENCE_OID_MAX)
		return err_set(e, ERR_LIMIT, "statement type of %d characters", len);
	return 0;
}

static int
parse_statements(struct cursor list, struct evidence *out, struct err *e)
{
	struct tlv element, type, stmt;
	struct cursor c;

	while (!list.failed && cursor_left(&list) != 0) {
		if (!tlv_expect(&list, DER_SEQUENCE, &element))
			return err_set(e, ERR_MALFORMED, "attestation statement is not a SEQUENCE");
		if (out->statement_count == EVIDENCE_STATEMENTS_MAX)
			return err_set(e, ERR_LIMIT, "more than %d attestation statements", EVIDENCE_STATEMENTS_MAX);
		c = cursor_of(element.contents);
		if (!tlv_expect(&c, DER_OID, &type) || !tlv_next(&c, &stmt) || !cursor_done(&c))
			return err_set(e, ERR_MALFORMED, "attestation statement is not a type and a value");
		if (dotted_of(type, out->statements[out->statement_count].type, e) != 0)
			return -1;
		out->statements[out->statement_count++].stmt = stmt.whole;
	}
	if (list.failed || out->statement_count == 0)
		return err_set(e, ERR_MALFORMED, "no attestation statement");
	return 0;
}

/* LimitedCertChoices: other forms than certificate have a context tag, and nobody here could judge them. */
static int
parse_certs(struct cursor list, struct evidence *out, struct err *e)
{
	struct tlv cert;

	while (cursor_left(&list) != 0) {
		if (!tlv_expect(&list, DER_SEQUENCE, &cert))
			return err_set(e, ERR_MALFORMED, "attestation certificates: one is not a certificate");
		if (out->cert_count == EVIDENCE_CERTS_MAX)
			return err_set(e, ERR_LIMIT, "more than %d attestation certificates", EVIDENCE_CERTS_MAX);
		out->certs[out->cert_count++] = cert.whole;
	}
	if (out->cert_count == 0)
		return err_set(e, ERR_MALFORMED, "attestation certificates: the list is empty");
	return 0;
}

int
evidence_parse(struct bytes attribute, struct evidence *out, struct err *e)
{
	struct evidence found = { .statement_count = 0 };
	struct tlv statements = { 0 }, certs = { 0 };
	struct cursor c;

	if (attribute.len > EVIDENCE_OCTETS_MAX)
		return err_set(e, ERR_LIMIT, "attestation of %zu octets; %d are the most", attribute.len,
			EVIDENCE_OCTETS_MAX);
	c = tlv_only(attribute, DER_SEQUENCE);
	if (!tlv_expect(&c, DER_SEQUENCE, &statements))
		return err_set(e, ERR_MALFORMED, "attestation is not an AttestationBundle");
	if (cursor_left(&c) != 0 && !tlv_expect(&c, DER_SEQUENCE, &certs))
		return err_set(e, ERR_MALFORMED, "attestation certificates are not a SEQUENCE");
	if (!cursor_done(&c))
		return err_set(e, ERR_MALFORMED, "octets left over in the AttestationBundle");
	if (parse_statements(cursor_of(statements.contents), &found, e) != 0)
		return -1;
	if (certs.whole.len != 0 && parse_certs(cursor_of(certs.contents), &found, e) != 0)
		return -1;
	*out = found;
	return 0;
}

/* der_put_oid() knows arcs of 32 bits; those of a UUID have 128. */
static int
put_oid(struct buf *out, const char *dotted, struct err *e)
{
	ASN1_OBJECT *object = OBJ_txt2obj(dotted, 1);
	uint8_t *der = NULL;
	int len = object == NULL ? -1 : i2d_ASN1_OBJECT(object, &der);

	if (len > 0)
		buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	ASN1_OBJECT_free(object);
	return len > 0 ? 0 : err_ossl(e, ERR_MALFORMED, "statement type");
}

/* What was put together here has to be readable here: the same limits hold. */
static int
finish(struct buf *made, size_t max, struct buf *out, struct err *e)
{
	if (buf_failed(made))
		return err_set(e, ERR_NOMEM, "no memory for an attestation");
	if (made->len > max)
		return err_set(e, ERR_LIMIT, "attestation of %zu octets; %zu are the most", made->len, max);
	buf_append_bytes(out, buf_bytes(made));
	return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory for an attestation") : 0;
}

int
evidence_encode(const struct evidence *evidence, struct buf *out, struct err *e)
{
	CLEANUP(buf) struct buf made = { 0 };
	size_t bundle, list, statement, i;

	if (evidence->statement_count == 0 || evidence->statement_count > EVIDENCE_STATEMENTS_MAX ||
	    evidence->cert_count > EVIDENCE_CERTS_MAX)
		return err_set(e, ERR_LIMIT, "attestation with %zu statements and %zu certificates",
			evidence->statement_count, evidence->cert_count);
	bundle = der_begin(&made, DER_SEQUENCE);
	list = der_begin(&made, DER_SEQUENCE);
	for (i = 0; i < evidence->statement_count; i++) {
		statement = der_begin(&made, DER_SEQUENCE);
		if (put_oid(&made, evidence->statements[i].type, e) != 0)
			return -1;
		buf_append_bytes(&made, evidence->statements[i].stmt);
		der_end(&made, statement);
	}
	der_end(&made, list);
	if (evidence->cert_count != 0) {
		list = der_begin(&made, DER_SEQUENCE);
		for (i = 0; i < evidence->cert_count; i++)
			buf_append_bytes(&made, evidence->certs[i]);
		der_end(&made, list);
	}
	der_end(&made, bundle);
	return finish(&made, EVIDENCE_OCTETS_MAX, out, e);
}

/* Neither TPMS_ATTEST (magic ff54) nor TPMT_PUBLIC (an algorithm's number) can begin with its own length less two. */
static struct bytes
unsized(struct bytes in)
{
	if (in.len > 2 && ((size_t)in.at[0] << 8 | in.at[1]) == in.len - 2)
		return bytes_of(in.at + 2, in.len - 2);
	return in;
}

int
evidence_tpm_parse(struct bytes stmt, struct evidence_tpm *out, struct err *e)
{
	struct cursor c = tlv_only(stmt, DER_SEQUENCE);
	struct tlv attest, signature, public_area = { 0 };

	if (!tlv_expect(&c, DER_OCTET_STRING, &attest) || !tlv_expect(&c, DER_OCTET_STRING, &signature) ||
	    (cursor_left(&c) != 0 && !tlv_expect(&c, DER_OCTET_STRING, &public_area)) || !cursor_done(&c))
		return err_set(e, ERR_MALFORMED, "TPM statement is not two or three OCTET STRINGs");
	if (attest.contents.len == 0 || signature.contents.len == 0 ||
	    (public_area.whole.len != 0 && public_area.contents.len == 0))
		return err_set(e, ERR_MALFORMED, "TPM statement with an empty OCTET STRING");
	*out = (struct evidence_tpm){ unsized(attest.contents), signature.contents, unsized(public_area.contents) };
	return 0;
}

int
evidence_tpm_encode(const struct evidence_tpm *tpm, struct buf *out, struct err *e)
{
	CLEANUP(buf) struct buf made = { 0 };
	size_t mark = der_begin(&made, DER_SEQUENCE);

	der_put(&made, DER_OCTET_STRING, tpm->attest);
	der_put(&made, DER_OCTET_STRING, tpm->signature);
	if (tpm->public_area.len != 0)
		der_put(&made, DER_OCTET_STRING, tpm->public_area);
	der_end(&made, mark);
	return finish(&made, EVIDENCE_OCTETS_MAX, out, e);
}

int
evidence_tpm_ak_parse(struct bytes stmt, struct bytes *public_area, struct err *e)
{
	struct cursor c = tlv_only(stmt, DER_OCTET_STRING);

	if (c.failed || cursor_left(&c) == 0)
		return err_set(e, ERR_MALFORMED, "AK statement is not an OCTET STRING with a public area");
	*public_area = unsized(bytes_of(c.at, cursor_left(&c)));
	return 0;
}

int
evidence_tpm_ak_encode(struct bytes public_area, struct buf *out, struct err *e)
{
	CLEANUP(buf) struct buf made = { 0 };

	der_put(&made, DER_OCTET_STRING, public_area);
	return finish(&made, EVIDENCE_OCTETS_MAX, out, e);
}
