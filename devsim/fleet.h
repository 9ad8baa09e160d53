/*
 * fleet.h - many devices at once: a plan made before the clock starts, workers that carry it out, a report.
 *
 * A batch is one connection: one device and keep_alive operations on it.
 * Operation n is the (n % keep_alive)th of batch n / keep_alive, whose device
 * is batch % count. A lane carries one batch at a time; a worker thread
 * drives its share of the lanes with epoll.
 */
#ifndef DEVSIM_FLEET_H
#define DEVSIM_FLEET_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/progress.h"
#include "devsim/challenges.h"
#include "devsim/client.h"
#include "devsim/histogram.h"
#include "devsim/keys.h"
#include "devsim/primes.h"
#include "scep/scep.h"

enum fleet_op { FLEET_ENROLL, FLEET_REENROLL, FLEET_CACERTS };
#define FLEET_OPS       "enroll|reenroll|cacerts"
#define FLEET_PROTOCOLS "est|scep|coap"

#define FLEET_CONCURRENCY_MAX 20000
#define FLEET_THREADS_MAX     64
#define FLEET_ERRORS_MAX      48
#define FLEET_SECONDS_MAX     (7 * 86400)

struct fleet_options {
	struct client_options client;
	int protocol;          /* index into FLEET_PROTOCOLS */
	const char *devices;
	const char *challenges;
	uint64_t count;        /* devices to use; 0: all */
	int op;                /* enum fleet_op */
	uint64_t concurrency;
	double rate;           /* arrivals per second; 0: closed loop */
	int64_t duration_s;    /* 0: no limit of time */
	uint64_t operations;   /* 0: keep_alive for each device, or as many as fit into duration_s */
	bool once;             /* the default, said aloud */
	uint64_t keep_alive;   /* operations a connection */
	uint64_t threads;
	uint64_t pool;         /* requests made beforehand; 0: chosen */
	uint64_t sources;
	uint64_t hold_idle, slow;
	const char *key;       /* NULL: the protocol's default */
	bool shared_primes;
	bool bind;             /* channel binding in every request, which is then signed inside the measurement */
	int digest, cipher;    /* SCEP: indices into SCEP_DIGEST_CHOICES, SCEP_CIPHER_CHOICES */
	bool oaep, get, unopened;
	const char *out, *report;
	bool json, quiet;
};

/* One operation's request, made beforehand. */
struct prepared {
	EVP_PKEY *key;         /* NULL unless it is needed later: for --out, to sign with a binding, to open the answer */
	struct buf body;       /* base64 of the CSR, DER with CoAP, SCEP's pkiMessage; empty when it is made later */
	struct buf spki;
	X509 *signer;          /* SCEP: the self-signed certificate; NULL: the device's own signs */
	uint8_t nonce[SCEP_NONCE_LEN];
};

/* An issued certificate to store afterwards. */
struct kept {
	size_t device;
	EVP_PKEY *key;
	struct buf der;        /* certs-only message */
};

struct fleet_error {
	char text[96];
	uint64_t count;
};

/* What one worker counted; added up at the end. */
struct fleet_stats {
	struct histogram latency;   /* closed loop: from the start of the operation; open loop: from its intended start */
	struct histogram handshake; /* connect and TLS, or DTLS */
	uint64_t ok, pending, refused, failed;
	uint64_t connections, reopened, retried, late_requests;
	uint64_t messages, retransmissions; /* CoAP */
	struct fleet_error errors[FLEET_ERRORS_MAX];
	size_t error_count;
	uint32_t *seconds;          /* operations completed in each second */
	size_t second_count;
	struct kept *kept;
	size_t kept_count;
};

struct fleet_protocol; /* fleet_protocol.h */

struct fleet {
	struct fleet_options options;
	const struct fleet_protocol *protocol;
	void *protocol_state;       /* the protocol's own */
	bool keep_keys;             /* of prepared requests, until they are answered */
	struct target target;
	struct tls *tls;            /* NULL: plain HTTP */
	struct lossy lossy;         /* --lossy */
	struct proxy *link;         /* NULL: the link as it is */
	struct proxy_stats link_stats;
	struct device_names names;
	struct challenges challenges; /* of the devices, in their order; empty without --challenges */
	struct device *devices;
	size_t device_count;
	struct key_spec key_spec;
	struct primes *primes;      /* --shared-primes */
	struct prepared *pool;
	size_t pool_count;
	uint64_t batches;           /* 0: until stop_us */
	uint64_t operations;        /* 0: until stop_us */
	int64_t start_us, stop_us;  /* stop_us 0: none */
	double prepare_s;

	atomic_uint_fast64_t next_batch, next_ticket, done;
	atomic_size_t running;      /* workers not finished */
	atomic_bool stop;           /* the user asked */
	struct fleet_stats total;
	int64_t elapsed_us;
	double cpu_user_s, cpu_system_s;

	/* what fleet_hold.c saw */
	uint64_t held_at_start, held_least, held_closed, held_failed;
};

/* fleet_plan.c */
MUST_USE int fleet_load(struct fleet *fleet, struct err *e);    /* devices */
MUST_USE int fleet_prepare(struct fleet *fleet, struct err *e); /* keys and requests */
void prepared_free(struct prepared *prepared);
void fleet_free(struct fleet *fleet);

/* fleet_run.c */
MUST_USE int fleet_run(struct fleet *fleet, struct err *e);

/* fleet_stats.c */
void fleet_stats_error(struct fleet_stats *stats, const char *text);
void fleet_stats_second(struct fleet_stats *stats, int64_t since_start_us);
MUST_USE int fleet_stats_keep(struct fleet_stats *stats, struct kept *kept, struct err *e);
MUST_USE int fleet_stats_merge(struct fleet_stats *to, struct fleet_stats *from, struct err *e); /* empties from */
void fleet_stats_free(struct fleet_stats *stats);

/* fleet_hold.c: connections that do nothing, or almost nothing, while the others work. */
struct fleet_hold;
MUST_USE int fleet_hold_start(struct fleet *fleet, struct fleet_hold **out, struct err *e); /* *out NULL: none asked for */
void fleet_hold_stop(struct fleet_hold *hold, struct fleet *fleet);

/* fleet_report.c */
MUST_USE int fleet_report(const struct fleet *fleet, struct err *e);
/* fleet_store.c: --out */
MUST_USE int fleet_store(const struct fleet *fleet, struct err *e);

/* A signal handler's way to end a run early with a report. */
void fleet_interrupt(struct fleet *fleet);

#endif
