/*
 * import_internal.h - what the files of an import share; nobody else includes it.
 */
#ifndef GATEWAY_STORE_IMPORT_INTERNAL_H
#define GATEWAY_STORE_IMPORT_INTERNAL_H

#include "gateway/store/sqlite_internal.h"

/* import_anchors.c. *changed: the record names anchors and they are not the asset's. locked: none may go. */
MUST_USE int import_compare_anchors(struct tx *tx, const struct import_record *rec, int64_t id, bool locked,
	bool *changed, struct err *e);
MUST_USE int import_replace_anchors(struct tx *tx, const struct import_record *rec, int64_t id, struct err *e);

/* import_gate.c: a second operator's word for a large import. */
struct import_gate {
	const struct import_job *job;
	uint8_t digest[32];
	int64_t records, moved; /* between owners */
	int64_t approval_id;    /* 0: none is needed, or none is there */
	bool given;
	bool waits;             /* it was undone: it moves assets between owners, and nobody was asked */
};
/* 1: it may go in, 0: nobody was asked yet, -1: ERR_PENDING, it waits already, or failure. */
MUST_USE int import_gate_find(struct store *store, struct import_gate *gate, struct err *e);
/* Always -1: ERR_PENDING when it has asked. */
MUST_USE int import_gate_ask(struct store *store, struct import_gate *gate, struct err *e);
/* In the import's own transaction: the approval is still good, and used now. */
MUST_USE int import_gate_pass(struct tx *tx, const struct import_gate *gate, struct err *e);

/* import_merge.c: what the line says nothing of is what the known asset has. */
void import_merge(struct import_record *rec, const struct asset *found);
bool import_same_identity(const struct asset *a, const struct asset *b);
bool import_same_fields(const struct asset *a, const struct asset *b); /* the identity, and all else but owner and state */
struct import_change {
	const struct import_job *job;
	const struct import_record *rec;
	const struct asset *found; /* as it was */
	int64_t owner_id;          /* now */
	bool anchors, moves;       /* it has other anchors now, another state */
	struct rights_ended ended; /* with another owner */
};
/* What decides about certificates leaves a row for each asset. */
MUST_USE int import_append_change(struct tx *tx, const struct import_change *change, struct err *e);

/* stage.c: import records in an unlinked file, so that a slow source never holds the writer. */
struct stage;
MUST_USE int stage_digest(struct stage *stage, const struct import_job *job, uint8_t out[32], struct err *e);
MUST_USE int stage_new(const char *folder_of, struct stage **out, struct err *e);
MUST_USE int stage_put(struct stage *stage, const struct import_record *record, struct err *e);
MUST_USE int stage_rewind(struct stage *stage, struct err *e);
/* 1 and *out, 0 at the end, -1. */
MUST_USE int stage_next(struct stage *stage, struct import_record *out, struct err *e);
void stage_free(struct stage *stage);
DEFINE_CLEANUP(stage, struct stage *, stage_free);

#endif
