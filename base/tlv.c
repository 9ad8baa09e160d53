#include "base/tlv.h"

#define LONG_FORM       0x80 /* the length follows, in so many octets */
#define LENGTH_OCTETS   3

/* The octets of the header; 0: not one. */
static size_t
header_of(struct bytes from, size_t *len)
{
	size_t octets, i;

	if (from.len < 2)
		return 0;
	*len = from.at[1];
	if (*len < LONG_FORM)
		return 2;
	octets = *len - LONG_FORM;
	if (octets == 0 || octets > LENGTH_OCTETS || from.len < 2 + octets || from.at[2] == 0)
		return 0;
	for (*len = 0, i = 0; i < octets; i++)
		*len = *len << 8 | from.at[2 + i];
	return *len < LONG_FORM ? 0 : 2 + octets;
}

bool
tlv_take(struct bytes *from, uint8_t identifier, struct bytes *contents, struct bytes *all)
{
	size_t len = 0, header = header_of(*from, &len);
	struct bytes whole = *from;

	if (header == 0 || from->at[0] != identifier || len > from->len - header)
		return false;
	if (contents != NULL)
		*contents = bytes_of(whole.at + header, len);
	if (all != NULL)
		*all = bytes_of(whole.at, header + len);
	*from = bytes_of(whole.at + header + len, whole.len - header - len);
	return true;
}
