#define _GNU_SOURCE
#include "gateway/ca/crl.h"

#include <string.h>

/* crlEntryExtensions with reasonCode certificateHold (6), an ENUMERATED (RFC 5280, section 5.3.1). */
static const uint8_t on_hold[] = { 0x30, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x1d, 0x15, 0x04, 0x03, 0x0a, 0x01, 0x06 };

static int
put_serial(struct buf *out, const char *hex, struct err *e)
{
	uint8_t octets[SERIAL_HEX_MAX / 2];
	size_t digits = strnlen(hex, SERIAL_HEX_MAX), len = digits / 2;

	if (len == 0)
		return err_set(e, ERR_MALFORMED, "revocation list: a serial number without digits");
	if (hex_decode(bytes_of(hex, digits), octets, len, e) != 0)
		return err_prefix(e, "revocation list: serial number");
	der_put_integer(out, bytes_of(octets, len));
	return 0;
}

/*
 * RFC 5280, section 5.3.1: "the reason code CRL entry extension SHOULD be absent
 * instead of using the unspecified (0) reasonCode value".
 */
static int
put_entry(struct buf *out, const struct ca_revoked *revoked, struct err *e)
{
	size_t entry = der_begin(out, DER_SEQUENCE);

	if (put_serial(out, revoked->serial, e) != 0)
		return -1;
	der_put_time(out, revoked->revoked_s);
	if (revoked->held)
		buf_append(out, on_hold, sizeof on_hold);
	der_end(out, entry);
	return 0;
}

/* RFC 5280, section 5.1.2.6: "When there are no revoked certificates, the revoked certificates list MUST be absent." */
static int
put_entries(struct buf *out, const struct ca_revoked *revoked, size_t count, struct err *e)
{
	size_t list, i;

	if (count == 0)
		return 0;
	list = der_begin(out, DER_SEQUENCE);
	for (i = 0; i < count; i++)
		if (put_entry(out, &revoked[i], e) != 0)
			return -1;
	der_end(out, list);
	return 0;
}

/* Section 5.2: authorityKeyIdentifier and cRLNumber are what a list MUST have. */
static void
put_extensions(struct buf *out, const struct tbs_common *common, int64_t number)
{
	size_t outer = der_begin(out, DER_CONTEXT_CONS(0)), list = der_begin(out, DER_SEQUENCE);
	size_t extension, value, i;
	uint8_t octets[8];

	for (i = 0; i < sizeof octets; i++)
		octets[i] = (uint8_t)((uint64_t)number >> (56 - 8 * i));
	buf_append_bytes(out, buf_bytes(&common->key_id));
	extension = der_begin(out, DER_SEQUENCE);
	der_put_oid(out, "2.5.29.20");
	value = der_begin(out, DER_OCTET_STRING);
	der_put_integer(out, bytes_of(octets, sizeof octets));
	der_end(out, value);
	der_end(out, extension);
	der_end(out, list);
	der_end(out, outer);
}

int
crl_put(struct buf *out, const struct tbs_common *common, const struct ca_revoked *revoked, size_t count,
	int64_t number, int64_t now_s, int64_t next_s, struct err *e)
{
	static const uint8_t version_2[] = { DER_INTEGER, 1, 1 };
	size_t tbs;

	if (count > CRL_ENTRIES_MAX)
		return err_set(e, ERR_LIMIT, "a revocation list of %zu certificates; at most %d are possible", count,
			CRL_ENTRIES_MAX);
	if (number < 0 || next_s <= now_s)
		return err_set(e, ERR_BUG, "a revocation list with the number %lld that is good for %lld s",
			(long long)number, (long long)next_s - (long long)now_s);
	tbs = der_begin(out, DER_SEQUENCE);
	buf_append(out, version_2, sizeof version_2);
	buf_append_bytes(out, buf_bytes(&common->signature));
	buf_append_bytes(out, buf_bytes(&common->issuer));
	der_put_time(out, now_s);
	der_put_time(out, next_s);
	if (put_entries(out, revoked, count, e) != 0)
		return -1;
	put_extensions(out, common, number);
	der_end(out, tbs);
	if (buf_failed(out))
		return err_set(e, ERR_BUG, "the revocation list cannot be encoded");
	return 0;
}
