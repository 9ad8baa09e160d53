/*
 * rollover.h - which CA certificates devices were given, and how far a trust group is with its next generation.
 *
 * A bundle is one set of CA certificates as it is handed out for one CA, told from others by its digest. It is entered
 * before anybody gets it. Of an asset the latest bundle for each CA is kept: a device replaces what it had by what it gets.
 * A fetch leaves no audit row, for it decides nothing; a bundle that is new leaves one.
 */
#ifndef GATEWAY_STORE_ROLLOVER_H
#define GATEWAY_STORE_ROLLOVER_H

#include "base/bytes.h"
#include "base/ossl.h"
#include "policy/record.h"

struct store;
struct store_read;

#define ROLLOVER_NAME_MAX 80
#define ROLLOVER_CERTS_MAX 64       /* in a bundle */
#define ROLLOVER_GENERATIONS_MAX 32 /* in a report */

struct rollover_bundle {
	const char *ca;             /* whose certificates are asked for */
	uint8_t sha256[32];         /* of what is handed out */
	const uint8_t (*certs)[32]; /* SHA-256 of each certificate in it */
	size_t cert_count;
};

struct rollover_given { /* an asset was given a bundle */
	int64_t asset_id;
	const char *ca;
	uint8_t sha256[32];
	int how;                    /* enum rollover_fetch of gateway/core/rollover.h; kept, not looked at */
	int64_t now_s;
};

struct rollover_known { /* a certificate that an asset was given and still has */
	char ca[ROLLOVER_NAME_MAX]; /* whose certificates it asked for */
	uint8_t cert_sha256[32];
	int how;
	int64_t at_s;               /* since when it has the bundle with it */
};

/* One generation of a trust group: its name and top certificate go in, figures come out. */
struct rollover_generation {
	const char *ca;
	uint8_t top[32];            /* SHA-256 of the certificate that ends its chain: who has that knows the generation */
	int64_t certificates;       /* of it, valid now */
	int64_t devices;            /* assets that hold them */
	int64_t know;               /* assets of the group that know it */
	int64_t last_end_s;         /* when the last certificate of it ends, be it revoked or on hold; 0: there is none */
};

/* Certificates of this CA are behind: its successor issues by now. */
struct rollover_late {
	const char *ca;
	uint8_t newest[32];         /* top certificate of what follows it */
};

struct rollover_behind_filter {
	const struct rollover_late *late;
	size_t late_count;          /* at most ROLLOVER_GENERATIONS_MAX */
	int64_t after_id;           /* rows behind that certificate; 0: from the start. One that is not there: from the start */
	int limit;                  /* 0: 1000 */
	int64_t now_s;
};
struct rollover_behind { /* the newest valid certificate that an asset has by a label, and that is behind */
	int64_t id;
	char asset_tag[REG_TEXT_MAX], owner[REG_TEXT_MAX];
	char serial[SERIAL_HEX_MAX];
	char label[ROLLOVER_NAME_MAX], ca[ROLLOVER_NAME_MAX];
	int64_t not_after_s;
	int64_t knows_s;            /* since when the asset knows the generation that follows; 0: it does not */
};

typedef bool (*rollover_known_cb)(void *arg, const struct rollover_known *row);   /* false: stop */
typedef bool (*rollover_behind_cb)(void *arg, const struct rollover_behind *row); /* false: stop */

/* Errors as in store.h. */
struct rollover_ops {
	/* All or none; those that are known already are left alone. ERR_LIMIT: more than ROLLOVER_CERTS_MAX certificates. */
	int (*enter)(struct store *, const struct rollover_bundle *, size_t count, int64_t now_s, struct err *);
	/* Is that the bundle the asset has? 1 yes, 0 no, -1. */
	int (*has)(struct store_read *, int64_t asset_id, const char *ca, const uint8_t sha256[32], struct err *);
	/* *recorded: false when it had that bundle already, which changes nothing. ERR_DENIED: no such bundle was entered. */
	int (*give)(struct store *, const struct rollover_given *, bool *recorded, struct err *);
	/* Every certificate of every bundle that the asset has, by the CA it asked for. 0 or -1. */
	int (*known)(struct store_read *, int64_t asset_id, rollover_known_cb, void *, struct err *);
	/* *devices: assets that hold a valid certificate of any of them. Reads every certificate that has not ended. 0 or -1. */
	int (*count)(struct store_read *, struct rollover_generation *, size_t count, int64_t now_s, int64_t *devices,
		struct err *);
	/* Those that end first come first. 0 or -1. */
	int (*behind)(struct store_read *, const struct rollover_behind_filter *, rollover_behind_cb, void *, struct err *);
};

extern const struct rollover_ops rollover_sqlite;

#endif
