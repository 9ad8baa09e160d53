#define _GNU_SOURCE
#include "base/der.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define YEAR_2050_S 2524608000
#define ARC_MAX     0xfffffffUL

size_t
der_begin(struct buf *b, uint8_t tag)
{
	buf_append_u8(b, tag);
	buf_append_u8(b, 0);
	return b->len;
}

static size_t
length_octets(size_t len, uint8_t out[sizeof(size_t)])
{
	size_t n = 0, shift;

	for (shift = sizeof(size_t); shift-- > 0;)
		if (n != 0 || (len >> (8 * shift) & 0xff) != 0)
			out[n++] = (uint8_t)(len >> (8 * shift));
	return n;
}

void
der_end(struct buf *b, size_t mark)
{
	uint8_t octets[sizeof(size_t)] = { 0 };
	size_t len, n, i;

	if (buf_failed(b))
		return;
	len = b->len - mark;
	if (len < 0x80) {
		b->at[mark - 1] = (uint8_t)len;
		return;
	}
	n = length_octets(len, octets);
	buf_append(b, octets, n); /* makes room; the contents move over it */
	if (buf_failed(b))
		return;
	memmove(b->at + mark + n, b->at + mark, len);
	b->at[mark - 1] = (uint8_t)(0x80 | n);
	for (i = 0; i < n; i++)
		b->at[mark + i] = octets[i];
}

void
der_put(struct buf *b, uint8_t tag, struct bytes contents)
{
	size_t mark = der_begin(b, tag);

	buf_append_bytes(b, contents);
	der_end(b, mark);
}

void
der_put_integer(struct buf *b, struct bytes magnitude)
{
	size_t mark = der_begin(b, DER_INTEGER);

	while (magnitude.len > 1 && magnitude.at[0] == 0) {
		magnitude.at++;
		magnitude.len--;
	}
	if (magnitude.len == 0 || (magnitude.at[0] & 0x80) != 0)
		buf_append_u8(b, 0);
	buf_append_bytes(b, magnitude);
	der_end(b, mark);
}

void
der_put_bool(struct buf *b, int value)
{
	uint8_t octet = value ? 0xff : 0x00;

	der_put(b, DER_BOOLEAN, bytes_of(&octet, 1));
}

static void
put_arc(struct buf *b, unsigned long arc)
{
	int shift;

	for (shift = 28; shift > 0; shift -= 7)
		if (arc >> shift != 0)
			buf_append_u8(b, (uint8_t)(0x80 | (arc >> shift & 0x7f)));
	buf_append_u8(b, (uint8_t)(arc & 0x7f));
}

/* X.660: the first arc is 0, 1 or 2, and the second below 40 under the first two. */
static bool
arc_fits(int index, unsigned long first, unsigned long arc)
{
	if (index == 0)
		return arc <= 2;
	return index != 1 || first == 2 || arc < 40;
}

void
der_put_oid(struct buf *b, const char *dotted)
{
	size_t mark = der_begin(b, DER_OID);
	unsigned long first = 0, arc;
	char *end = NULL;
	int index = 0;

	for (;; dotted = end + 1) {
		arc = *dotted >= '0' && *dotted <= '9' ? strtoul(dotted, &end, 10) : ARC_MAX + 1;
		if (arc > ARC_MAX || (*end != '.' && *end != '\0') || !arc_fits(index, first, arc)) {
			b->failed = true;
			return;
		}
		if (index == 0)
			first = arc;
		else
			put_arc(b, index == 1 ? first * 40 + arc : arc);
		index++;
		if (*end == '\0')
			break;
	}
	if (index < 2)
		b->failed = true;
	der_end(b, mark);
}

void
der_put_time(struct buf *b, int64_t at_s)
{
	time_t t = (time_t)at_s;
	char text[80];
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || at_s < 0 || tm.tm_year > 8099) {
		b->failed = true;
		return;
	}
	if (at_s < YEAR_2050_S) {
		(void)snprintf(text, sizeof text, "%02d%02d%02d%02d%02d%02dZ", tm.tm_year % 100,
			tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
		der_put(b, 0x17, bytes_of_text(text));
	} else {
		(void)strftime(text, sizeof text, "%Y%m%d%H%M%SZ", &tm);
		der_put(b, 0x18, bytes_of_text(text));
	}
}
