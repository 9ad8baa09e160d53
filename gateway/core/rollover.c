#include "gateway/core/rollover.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/core/log.h"
#include "gateway/core/metrics.h"

static const char *const fetches[] = {
	[FETCH_CACERTS] = "cacerts",
	[FETCH_CRTS] = "crts",
	[FETCH_GETCACERT] = "getcacert",
	[FETCH_GETNEXTCACERT] = "getnextcacert",
};

const char *
rollover_fetch_name(enum rollover_fetch what)
{
	return (size_t)what < sizeof fetches / sizeof fetches[0] ? fetches[what] : "?";
}

/* The certificate's row, when it was issued here and still is somebody's: 1, 0, -1. */
static int
find_device(const struct gateway *gateway, struct store_read *read, const X509 *cert, struct cert_row *out, struct err *e)
{
	char serial[SERIAL_HEX_MAX];
	uint8_t digest[32];
	struct err odd;
	int found;

	if (x509_serial_hex(cert, serial, &odd) != 0)
		return 0; /* no CA here gives such a number */
	if (x509_sha256(cert, digest, e) != 0)
		return -1;
	found = gateway->store_ops->cert_by_serial(read, serial, digest, out, e);
	return found == 1 && out->status != CERT_VALID ? 0 : found;
}

/* *given and *tag are for a write; *has: none is needed. 1 somebody we know, 0 nobody, -1. */
static int
look(const struct gateway *gateway, X509 *client_cert, struct rollover_given *given, char tag[REG_TEXT_MAX], bool *has,
	struct err *e)
{
	struct store_read *read = NULL;
	struct cert_row row;
	int found, result = 0;

	if (gateway->store_ops->read_begin(gateway->store, &read, e) != 0)
		return -1;
	found = find_device(gateway, read, client_cert, &row, e);
	if (found == 1)
		result = gateway->store_ops->rollover->has(read, row.asset_id, given->ca, given->sha256, e);
	gateway->store_ops->read_end(read);
	if (found != 1 || result < 0)
		return found < 0 || result < 0 ? -1 : 0;
	*has = result == 1;
	given->asset_id = row.asset_id;
	memcpy(tag, row.asset_tag, REG_TEXT_MAX);
	return 1;
}

/* 1 it was somebody we know, 0 nobody, -1. */
static int
record(const struct gateway *gateway, const struct world *world, const struct config_label *label, enum rollover_fetch what,
	X509 *client_cert, int64_t now_s, struct err *e)
{
	struct rollover_given given = { .ca = label->ca, .how = (int)what, .now_s = now_s };
	bool has = false, recorded = false;
	char tag[REG_TEXT_MAX];
	int known;

	if (sha256(buf_bytes(&world_ca_of(world, label->ca)->cacerts), given.sha256, e) != 0)
		return -1;
	known = look(gateway, client_cert, &given, tag, &has, e);
	if (known != 1 || has || (what != FETCH_CACERTS && what != FETCH_CRTS))
		return known;
	if (gateway->store_ops->rollover->give(gateway->store, &given, &recorded, e) != 0)
		return -1;
	if (recorded)
		log_text(LOG_LEVEL_DEBUG, "rollover", "%s has the certificates of CA \"%s\" now", tag, label->ca);
	return 1;
}

void
rollover_fetched(struct gateway *gateway, const struct world *world, const struct config_label *label,
	enum rollover_fetch what, X509 *client_cert, int64_t now_s)
{
	struct err e;
	int known = client_cert == NULL ? 0 : record(gateway, world, label, what, client_cert, now_s, &e);

	if (known < 0)
		log_rare(LOG_LEVEL_WARN, "rollover", "who fetched the CA certificates is not recorded: %s", e.text);
	metric_ca_fetch(fetches[what], known == 1);
}

/* What one CA hands out, and room for the digests of its certificates. */
struct entered {
	uint8_t digests[ROLLOVER_CERTS_MAX][32];
};

static int
fill_bundle(const struct config_ca *config, const struct world_ca *ca, struct entered *room, struct rollover_bundle *out,
	struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	int i;

	if (sha256(buf_bytes(&ca->cacerts), out->sha256, e) != 0 || est_certs_decode(buf_bytes(&ca->cacerts), &certs, e) != 0)
		return -1;
	if (sk_X509_num(certs) > ROLLOVER_CERTS_MAX)
		return err_set(e, ERR_LIMIT, "%d certificates to hand out; at most %d", sk_X509_num(certs), ROLLOVER_CERTS_MAX);
	for (i = 0; i < sk_X509_num(certs); i++)
		if (x509_sha256(sk_X509_value(certs, i), room->digests[i], e) != 0)
			return -1;
	out->ca = config->name;
	out->certs = (const uint8_t (*)[32])room->digests;
	out->cert_count = (size_t)i;
	return 0;
}

int
rollover_enter(const struct gateway *gateway, const struct world *world, int64_t now_s, struct err *e)
{
	size_t count = world->config->ca_count, i;
	struct rollover_bundle *bundles = calloc(count + 1, sizeof *bundles);
	struct entered *rooms = calloc(count + 1, sizeof *rooms);
	int result = 0;

	if (bundles == NULL || rooms == NULL) {
		free(bundles);
		free(rooms);
		return err_set(e, ERR_NOMEM, "no memory for the CAs' certificates");
	}
	for (i = 0; result == 0 && i < count; i++)
		if (fill_bundle(&world->config->cas[i], &world->cas[i], &rooms[i], &bundles[i], e) != 0)
			result = err_prefix(e, "CA \"%s\"", world->config->cas[i].name);
	if (result == 0)
		result = gateway->store_ops->rollover->enter(gateway->store, bundles, count, now_s, e);
	free(bundles);
	free(rooms);
	return result;
}

int
rollover_top(const struct world *world, const struct config_ca *ca, uint8_t out[32], struct err *e)
{
	const struct world_ca *of = world_ca_of(world, ca->name);
	const STACK_OF(X509) *chain = of->ops->chain(of->ca);

	return x509_sha256(sk_X509_value(chain, sk_X509_num(chain) - 1), out, e);
}
