/*
 * fill: a store with N assets and N certificates, through the store's own
 * interface: fill PATH N. The assets are FILL-1 ... FILL-N of owner "Fill".
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/store/store.h"

#define THREADS 16
#define CERT_OCTETS 600 /* what a P-256 device certificate takes */
#define NOW_S 1700000000

static const struct store_ops *const ops = &store_sqlite;
static struct store *store;
static int64_t total;
static atomic_long next_row, failed;

struct filling {
	int64_t next;
};

static int
next_asset(void *arg, struct import_record *out, struct err *e)
{
	struct filling *filling = arg;

	(void)e;
	if (filling->next > total)
		return 0;
	*out = (struct import_record){ .owner = "Fill", .has_state = true, .anchor_count = 1, .line = filling->next };
	out->asset.state = ASSET_DEPLOYED;
	(void)snprintf(out->asset.tag, sizeof out->asset.tag, "FILL-%" PRId64, filling->next);
	(void)snprintf(out->asset.serial, sizeof out->asset.serial, "F%" PRId64, filling->next);
	(void)snprintf(out->asset.manufacturer, sizeof out->asset.manufacturer, "fill");
	(void)snprintf(out->asset.source, sizeof out->asset.source, "fill");
	(void)snprintf(out->asset.source_key, sizeof out->asset.source_key, "%" PRId64, filling->next);
	out->anchors[0].type = ANCHOR_IDEVID_SERIAL;
	(void)snprintf(out->anchors[0].issuer, sizeof out->anchors[0].issuer, "fill");
	(void)snprintf(out->anchors[0].value, sizeof out->anchors[0].value, "F%" PRId64, filling->next);
	filling->next++;
	return 1;
}

static int
import_assets(struct err *e)
{
	struct filling filling = { .next = 1 };
	struct import_job job = { .next = next_asset,
		.arg = &filling,
		.actor = "bench",
		.source = "fill",
		.now_s = NOW_S,
		.create_owners = true };
	struct import_summary summary;

	return ops->import(store, &job, &summary, e);
}

static int
record_one(int64_t row, struct err *e)
{
	uint8_t cert[CERT_OCTETS] = { 0 }, serial_octets[16];
	char serial[SERIAL_HEX_MAX], tag[64];
	struct store_read *read = NULL;
	struct asset asset;
	struct owner owner;
	enum store_recorded what;
	int64_t request_id;
	struct store_outcome out = { .now_s = NOW_S,
		.label = "",
		.profile = "device",
		.protocol = "est",
		.operation = "simpleenroll",
		.peer = "127.0.0.1",
		.proof = "bench",
		.csr = bytes_of(cert, CERT_OCTETS / 2),
		.state = REQUEST_ISSUED,
		.reason = "ok",
		.sentence = "filled",
		.rules_json = "[]",
		.policy_version = "bench",
		.cert = bytes_of(cert, sizeof cert),
		.ca = "issuing",
		.serial = serial,
		.subject = tag,
		.sans = "",
		.not_before_s = NOW_S,
		.not_after_s = NOW_S + 86400 };
	int found;

	(void)snprintf(tag, sizeof tag, "FILL-%" PRId64, row);
	if (random_octets(cert, sizeof cert, e) != 0 || random_octets(serial_octets, 16, e) != 0 ||
	    random_octets(out.csr_sha256, 32, e) != 0 || random_octets(out.spki_sha256, 32, e) != 0 ||
	    random_octets(out.cert_sha256, 32, e) != 0 || ops->read_begin(store, &read, e) != 0)
		return -1;
	serial_octets[0] = (uint8_t)(0x40 | (serial_octets[0] & 0x3f));
	hex_encode(bytes_of(serial_octets, 16), serial);
	found = ops->asset_by_tag(read, tag, &asset, &owner, e);
	ops->read_end(read);
	if (found != 1)
		return found < 0 ? -1 : err_set(e, ERR_BUG, "%s is not there", tag);
	out.asset_id = asset.id;
	out.asset_version = asset.version;
	out.asset_tag = asset.tag;
	return ops->record(store, &out, &what, &request_id, e);
}

static void *
recorder(void *arg)
{
	struct err e;
	int64_t row;

	(void)arg;
	while ((row = atomic_fetch_add(&next_row, 1)) < total && failed == 0)
		if (record_one(row + 1, &e) != 0) {
			(void)fprintf(stderr, "fill: %s\n", e.text);
			failed = 1;
		}
	return NULL;
}

int
main(int argc, char **argv)
{
	struct store_settings settings = { .path = argc > 1 ? argv[1] : "", .readers = THREADS, .cache_kib = 262144 };
	pthread_t threads[THREADS];
	struct err e;
	int i;

	total = argc > 2 ? atol(argv[2]) : 0;
	if (total < 1 || ossl_init(&e) != 0)
		return 2;
	if (ops->open(&settings, &store, &e) != 0 || import_assets(&e) != 0) {
		(void)fprintf(stderr, "fill: %s\n", e.text);
		return 1;
	}
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, recorder, NULL) != 0)
			return 1;
	for (i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	ops->close(store);
	return failed != 0;
}
