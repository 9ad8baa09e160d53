/*
 * policy_attest_android_fixture.h - an Android KeyDescription, octet by octet, with every field open to lies.
 */
#ifndef TESTS_UNIT_POLICY_ATTEST_ANDROID_FIXTURE_H
#define TESTS_UNIT_POLICY_ATTEST_ANDROID_FIXTURE_H

#include "policy_attest_leaf.h"

#define OID_DESCRIPTION "1.3.6.1.4.1.11129.2.1.17"

/* Numbers below 0 and texts of NULL are left out. */
struct list_wish {
	int purpose, origin, locked, boot_state, os_version, patch_level;
	const char *serial, *imei, *second_imei, *model;
	int twice;     /* a tag that is there twice */
	bool unordered; /* origin before purpose */
};

#define NOTHING_ENFORCED { -1, -1, -1, -1, -1, -1, NULL, NULL, NULL, NULL, -1, false }

struct description_wish {
	int version, level, key_level;
	struct bytes challenge;
	struct list_wish software, hardware;
	bool rest; /* an octet after the last field */
};

/* A context tag of any number, constructed; the mark is for der_end(). */
static inline size_t
tag_begin(struct buf *b, int tag)
{
	if (tag < 31)
		return der_begin(b, (uint8_t)(0xa0 | tag));
	buf_append_u8(b, 0xbf);
	if (tag > 127)
		buf_append_u8(b, (uint8_t)(0x80 | tag >> 7));
	return der_begin(b, (uint8_t)(tag & 0x7f));
}

static inline void
put_int(struct buf *b, uint8_t tag, int number)
{
	uint8_t octets[4] = { (uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number };
	size_t at = b->len;

	der_put_integer(b, bytes_of(octets, sizeof octets));
	b->at[at] = tag;
}

static inline void
put_number_entry(struct buf *b, int tag, int number)
{
	size_t mark;

	if (number < 0)
		return;
	mark = tag_begin(b, tag);
	put_int(b, DER_INTEGER, number);
	der_end(b, mark);
}

static inline void
put_text_entry(struct buf *b, int tag, const char *text)
{
	size_t mark;

	if (text == NULL)
		return;
	mark = tag_begin(b, tag);
	der_put(b, DER_OCTET_STRING, bytes_of_text(text));
	der_end(b, mark);
}

static inline void
put_purpose_entry(struct buf *b, int purpose)
{
	size_t mark, set;

	if (purpose < 0)
		return;
	mark = tag_begin(b, 1);
	set = der_begin(b, DER_SET);
	put_int(b, DER_INTEGER, purpose);
	der_end(b, set);
	der_end(b, mark);
}

static inline void
put_root_entry(struct buf *b, const struct list_wish *wish)
{
	size_t mark, root;

	if (wish->locked < 0)
		return;
	mark = tag_begin(b, 704);
	root = der_begin(b, DER_SEQUENCE);
	der_put(b, DER_OCTET_STRING, OUR_NONCE);
	der_put_bool(b, wish->locked);
	put_int(b, 0x0a, wish->boot_state);
	der_put(b, DER_OCTET_STRING, OUR_NONCE);
	der_end(b, root);
	der_end(b, mark);
}

static inline void
put_list(struct buf *b, const struct list_wish *wish)
{
	size_t list = der_begin(b, DER_SEQUENCE), mark;

	if (wish->unordered)
		put_number_entry(b, 702, wish->origin);
	put_purpose_entry(b, wish->purpose);
	put_number_entry(b, 2, 3); /* algorithm: EC */
	mark = tag_begin(b, 503);  /* noAuthRequired */
	buf_append(b, "\x05\x00", 2);
	der_end(b, mark);
	if (!wish->unordered)
		put_number_entry(b, 702, wish->origin);
	put_root_entry(b, wish);
	put_number_entry(b, 705, wish->os_version);
	put_number_entry(b, 706, wish->patch_level);
	put_text_entry(b, 713, wish->serial);
	put_text_entry(b, 714, wish->imei);
	put_text_entry(b, 717, wish->model);
	put_text_entry(b, 723, wish->second_imei);
	put_number_entry(b, wish->twice, wish->twice < 0 ? -1 : 0);
	der_end(b, list);
}

static inline void
put_description(struct buf *b, const struct description_wish *wish)
{
	size_t mark = der_begin(b, DER_SEQUENCE);

	put_int(b, DER_INTEGER, wish->version);
	put_int(b, 0x0a, wish->level);
	put_int(b, DER_INTEGER, wish->version);
	put_int(b, 0x0a, wish->key_level);
	der_put(b, DER_OCTET_STRING, wish->challenge);
	der_put(b, DER_OCTET_STRING, bytes_of(NULL, 0));
	put_list(b, &wish->software);
	put_list(b, &wish->hardware);
	der_end(b, mark);
	if (wish->rest)
		buf_append_u8(b, 0);
}

/* A phone as it should be. */
static inline struct description_wish
good_phone(void)
{
	return (struct description_wish){
		.version = 300, .level = 1, .key_level = 1, .challenge = OUR_NONCE, .software = NOTHING_ENFORCED,
		.hardware = { .purpose = 2, .origin = 0, .locked = 1, .boot_state = 0, .os_version = 150000,
			.patch_level = 202611, .serial = "ZY22ABCDEF", .imei = "356938035643809", .model = "Phone 9",
			.twice = -1 },
	};
}

#endif
