/*
 * blockwise.h - Block1 and Block2 (RFC 7959): the option, a body put together, a body cut.
 *
 * Pure: no libcoap, no clock, no I/O. All memory an upload takes is bounded by
 * body_max and by what the peer really sent: Size1 is never looked at.
 */
#ifndef COAP_BLOCKWISE_H
#define COAP_BLOCKWISE_H

#include "coap/coaps.h"

#define COAPS_SZX_MAX 6 /* blocks of 1024 octets; 7 is reserved */

/* The value of a Block1 or Block2 option. */
struct coaps_block {
	uint32_t num;
	bool more;
	uint8_t szx;
};

/* ERR_MALFORMED: longer than three octets, or the reserved size. */
MUST_USE int coaps_block_decode(struct bytes value, struct coaps_block *out, struct err *e);
/* The shortest form; returns its length. */
size_t coaps_block_encode(const struct coaps_block *block, uint8_t out[3]);
/* Octets of a block: 16 to 1024. */
size_t coaps_block_size(uint8_t szx);
/* The largest block that fits into so many octets; 16 octets always do. */
uint8_t coaps_block_fit(size_t room);

/* A request body on its way in. Blocks may come in any order and more than once. */
struct coaps_upload;

enum coaps_upload_verdict {
	COAPS_UPLOAD_CONTINUE,   /* 2.31 */
	COAPS_UPLOAD_COMPLETE,   /* the body is there: coaps_upload_take() */
	COAPS_UPLOAD_INCOMPLETE, /* 4.08: blocks are missing, or contradict each other; start again */
	COAPS_UPLOAD_TOO_LARGE,  /* 4.13 */
	COAPS_UPLOAD_BAD,        /* 4.00: the block breaks RFC 7959, section 2.2 */
	COAPS_UPLOAD_NOMEM,
};

/* NULL: no memory. */
struct coaps_upload *coaps_upload_new(void);
void coaps_upload_free(struct coaps_upload *upload); /* NULL is allowed */
/*
 * Puts one block in its place. After COMPLETE, TOO_LARGE, BAD, NOMEM, or once
 * coaps_upload_broken(), the upload is of no more use.
 */
enum coaps_upload_verdict coaps_upload_put(struct coaps_upload *upload, const struct coaps_block *block,
	struct bytes payload, size_t body_max);
/* Block 0 has come already: another one begins anew. */
bool coaps_upload_has_first(const struct coaps_upload *upload);
/* Two blocks claimed the same place with different octets: nothing can be made of it. */
bool coaps_upload_broken(const struct coaps_upload *upload);
/* The whole body; the caller's from now on. */
struct buf coaps_upload_take(struct coaps_upload *upload);
size_t coaps_upload_held(const struct coaps_upload *upload); /* octets of memory */

/* Block num of a body. False: there is no such block. The first one of an empty body is empty. */
bool coaps_body_slice(struct bytes body, uint32_t num, uint8_t szx, struct bytes *out, bool *more);

#endif
