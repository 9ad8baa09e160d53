#include <openssl/asn1t.h>
#include <openssl/err.h>

#include "scep/read.h"

#define SERIAL_OCTETS_MAX 20 /* RFC 5280, section 4.1.2.2 */

/* Section 3.3.3. */
typedef struct {
	X509_NAME *issuer;
	X509_NAME *subject;
} ISSUER_SUBJECT;

ASN1_SEQUENCE(ISSUER_SUBJECT) = {
	ASN1_SIMPLE(ISSUER_SUBJECT, issuer, X509_NAME),
	ASN1_SIMPLE(ISSUER_SUBJECT, subject, X509_NAME),
} static_ASN1_SEQUENCE_END(ISSUER_SUBJECT)

static void
issuer_subject_free(ISSUER_SUBJECT *names)
{
	ASN1_item_free((ASN1_VALUE *)names, ASN1_ITEM_rptr(ISSUER_SUBJECT));
}
DEFINE_CLEANUP(issuer_subject, ISSUER_SUBJECT *, issuer_subject_free);

int
scep_issuer_and_subject_parse(struct bytes der, struct scep_issuer_and_subject *out, struct err *e)
{
	CLEANUP(issuer_subject) ISSUER_SUBJECT *names = NULL;
	const uint8_t *p = der.at;

	if (scep_scan(der, e) != 0)
		return err_prefix(e, "issuerAndSubject");
	names = (ISSUER_SUBJECT *)ASN1_item_d2i(NULL, &p, (long)der.len, ASN1_ITEM_rptr(ISSUER_SUBJECT));
	if (names == NULL || p != der.at + der.len)
		return err_ossl(e, ERR_MALFORMED, "issuerAndSubject");
	*out = (struct scep_issuer_and_subject){ .issuer = names->issuer, .subject = names->subject };
	names->issuer = NULL;
	names->subject = NULL;
	return 0;
}

void
scep_issuer_and_subject_free(struct scep_issuer_and_subject *ias)
{
	X509_NAME_free(ias->issuer);
	X509_NAME_free(ias->subject);
	*ias = (struct scep_issuer_and_subject){ 0 };
}

int
scep_issuer_and_serial_parse(struct bytes der, struct scep_issuer_and_serial *out, struct err *e)
{
	CLEANUP(scep_issuer_serial) SCEP_ISSUER_SERIAL *id = scep_issuer_serial_decode(der, e);
	struct bytes serial;

	if (id == NULL)
		return -1;
	serial = scep_string_bytes(id->serial);
	if (serial.len == 0 || serial.len > SERIAL_OCTETS_MAX || id->serial->type == V_ASN1_NEG_INTEGER)
		return err_set(e, ERR_MALFORMED, "serial number is negative, empty or too long");
	hex_encode(serial, out->serial);
	out->issuer = id->issuer;
	id->issuer = NULL;
	return 0;
}

void
scep_issuer_and_serial_free(struct scep_issuer_and_serial *ias)
{
	X509_NAME_free(ias->issuer);
	*ias = (struct scep_issuer_and_serial){ 0 };
}
