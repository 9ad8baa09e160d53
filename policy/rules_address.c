#include <arpa/inet.h>
#include <string.h>

#include "policy/rules_internal.h"

#define V4_BITS     32u
#define V6_BITS     128u
#define MAPPED_BITS 96u /* ::ffff:0:0/96 (RFC 4291, section 2.5.5.2) */
#define MAPPED_LOW  ((uint64_t)0xffff << 32)
#define PEER_MAX    80  /* "[", an address with a zone, "]", a port */

static uint64_t
read_be(const uint8_t *at, size_t len)
{
	uint64_t value = 0;
	size_t i;

	for (i = 0; i < len; i++)
		value = value << 8 | at[i];
	return value;
}

/* v4 and v6 alike; a mapped address stays v6 here, for a prefix may be shorter than the mapping. */
static bool
parse(const char *text, struct address *out)
{
	uint8_t octets[16];

	if (inet_pton(AF_INET, text, octets) == 1) {
		*out = (struct address){ .low = read_be(octets, 4) };
		return true;
	}
	if (inet_pton(AF_INET6, text, octets) != 1)
		return false;
	*out = (struct address){ .v6 = true, .high = read_be(octets, 8), .low = read_be(octets + 8, 8) };
	return true;
}

static bool
is_mapped(const struct address *address)
{
	return address->v6 && address->high == 0 && address->low >> V4_BITS == MAPPED_LOW >> V4_BITS;
}

static void
unmap(struct address *address)
{
	address->v6 = false;
	address->low &= 0xffffffffu;
}

/* The highest bits of a word, none to all. */
static uint64_t
mask_of(unsigned bits, unsigned word_bits)
{
	if (bits == 0)
		return 0;
	return (~(uint64_t)0 << (word_bits - bits)) & (word_bits == 64 ? ~(uint64_t)0 : ((uint64_t)1 << word_bits) - 1);
}

/* Up to three digits, nothing else. */
static int
parse_length(const char *text, unsigned max, unsigned *out)
{
	size_t len = strspn(text, "0123456789"), i;
	unsigned value = 0;

	if (len < 1 || len > 3 || text[len] != '\0' || (len > 1 && text[0] == '0'))
		return -1;
	for (i = 0; i < len; i++)
		value = value * 10 + (unsigned)(text[i] - '0');
	if (value > max)
		return -1;
	*out = value;
	return 0;
}

int
prefix_parse(const char *text, struct prefix *out, struct err *e)
{
	struct prefix prefix = { .high_mask = 0 };
	const char *slash = strchr(text, '/');
	size_t len = slash == NULL ? strlen(text) : (size_t)(slash - text);
	char host[INET6_ADDRSTRLEN];
	unsigned bits;

	if (len >= sizeof host)
		return err_set(e, ERR_MALFORMED, "\"%s\" is no address", text);
	memcpy(host, text, len);
	host[len] = '\0';
	if (!parse(host, &prefix.at))
		return err_set(e, ERR_MALFORMED, "\"%s\" is no address", text);
	bits = prefix.at.v6 ? V6_BITS : V4_BITS;
	if (slash != NULL && parse_length(slash + 1, bits, &bits) != 0)
		return err_set(e, ERR_MALFORMED, "\"%s\": the length of the prefix is not from 0 to %u", text, bits);
	if (is_mapped(&prefix.at) && bits >= MAPPED_BITS) {
		unmap(&prefix.at);
		bits -= MAPPED_BITS;
	}
	if (prefix.at.v6) {
		prefix.high_mask = mask_of(bits < 64 ? bits : 64, 64);
		prefix.low_mask = mask_of(bits < 64 ? 0 : bits - 64, 64);
	} else
		prefix.low_mask = mask_of(bits, V4_BITS);
	/* "10.1.2.3/16" is either too long or too short, and which of them nobody can tell. */
	if ((prefix.at.high & ~prefix.high_mask) != 0 || (prefix.at.low & ~prefix.low_mask) != 0)
		return err_set(e, ERR_MALFORMED, "\"%s\" has bits past its length", text);
	*out = prefix;
	return 0;
}

/* Takes brackets, port and zone off. */
bool
address_parse(const char *peer, struct address *out)
{
	char text[PEER_MAX], *at = text, *end;
	struct address address;

	if (peer == NULL || strlen(peer) >= sizeof text)
		return false;
	memcpy(text, peer, strlen(peer) + 1);
	if (text[0] == '[') {
		end = strchr(text, ']');
		if (end == NULL || (end[1] != '\0' && end[1] != ':'))
			return false;
		*end = '\0';
		at = text + 1;
	} else if (strchr(text, '.') != NULL && strchr(text, ':') == strrchr(text, ':')) {
		end = strchr(text, ':');
		if (end != NULL)
			*end = '\0';
	}
	end = strchr(at, '%');
	if (end != NULL)
		*end = '\0';
	if (!parse(at, &address))
		return false;
	if (is_mapped(&address))
		unmap(&address);
	*out = address;
	return true;
}

bool
prefix_holds(const struct prefix *prefix, const struct address *address)
{
	return prefix->at.v6 == address->v6 && ((prefix->at.high ^ address->high) & prefix->high_mask) == 0 &&
		((prefix->at.low ^ address->low) & prefix->low_mask) == 0;
}
