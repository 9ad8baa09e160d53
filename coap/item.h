/*
 * item.h - CBOR (RFC 8949) as peers send it, item by item: libcbor's decoder, without its tree. Pure.
 */
#ifndef COAP_ITEM_H
#define COAP_ITEM_H

#include <stdbool.h>

#include "base/bytes.h"

#define COAPS_ITEM_DEPTH_MAX 8 /* of what is skipped */

enum coaps_item_kind {
	COAPS_ITEM_OTHER = 0, /* a number below zero, a float, true, null: nothing here wants one */
	COAPS_ITEM_NUMBER,
	COAPS_ITEM_OCTETS,
	COAPS_ITEM_TEXT,      /* not checked to be UTF-8 */
	COAPS_ITEM_ARRAY,
	COAPS_ITEM_MAP,
	COAPS_ITEM_TAG,       /* of the item that follows */
	COAPS_ITEM_BREAK,     /* the end of an open one */
};

struct coaps_item {
	enum coaps_item_kind kind;
	bool open;            /* of indefinite length: what it holds follows, up to a break */
	uint64_t number;      /* a number; how many members an array has, or pairs a map */
	struct bytes octets;  /* of octets and text; borrowed */
};

/* Takes the next item's octets off *body; an array's or a map's members are items of their own. ERR_MALFORMED. */
MUST_USE int coaps_item_read(struct bytes *body, struct coaps_item *out, struct err *e);
/* Takes the next item off with all it holds. ERR_MALFORMED: no CBOR, or deeper than COAPS_ITEM_DEPTH_MAX. */
MUST_USE int coaps_item_skip(struct bytes *body, struct err *e);

#endif
