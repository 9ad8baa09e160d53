/* One-time and static secrets, and key-wrap keys. Each is shown once and stored as a hash, or not at all. */
#include <stdio.h>
#include <string.h>

#include "base/timefmt.h"
#include "gateway/core/admin_json.h"
#include "gateway/core/enroll_internal.h"

#define SECRET_LIFETIME "7d"

/* 128 random bits in base32 without letters that look alike, in groups: people type these. */
#define SECRET_CHARS 26

static int
make_secret(char out[40], struct err *e)
{
	static const char alphabet[] = "abcdefghijkmnpqrstuvwxyz2345678";
	uint8_t random[SECRET_CHARS];
	size_t i, n = 0;

	if (random_octets(random, sizeof random, e) != 0)
		return -1;
	for (i = 0; i < sizeof random; i++) {
		if (i != 0 && i % 5 == 0 && i != 25)
			out[n++] = '-';
		/* 31 letters; the few octets past 248 are drawn again. */
		while (random[i] >= 248)
			if (random_octets(&random[i], 1, e) != 0)
				return -1;
		out[n++] = alphabet[random[i] % 31];
	}
	out[n] = '\0';
	OPENSSL_cleanse(random, sizeof random);
	return 0;
}

static int
find_asset(const struct admin_call *call, struct asset *asset, struct err *e)
{
	CLEANUP(snapshot) struct snapshot s = { 0 };
	struct owner owner;
	const char *tag;
	int found;

	if (admin_text(call, "tag", &tag, e) != 0 || snapshot_begin(call, &s, e) != 0)
		return -1;
	found = s.ops->asset_by_tag(s.read, tag, asset, &owner, e);
	if (found == 0)
		return err_set(e, ERR_DENIED, "no asset \"%.100s\"", tag);
	return found < 0 ? -1 : 0;
}

/* A secret for a door that does not take it would only be found out in the field. */
static int
check_label(const struct config *config, const char *name, bool scep, struct err *e)
{
	const struct config_label *label = config_label(config, name);

	if (label == NULL)
		return err_set(e, ERR_MALFORMED, "no label \"%.60s\"", name);
	if (scep && (label->protocols & PROTOCOL_SCEP) == 0)
		return err_set(e, ERR_MALFORMED, "label \"%.60s\" does not speak SCEP; leave --scep out", name);
	if (!scep && (label->protocols & PROTOCOL_EST) == 0)
		return err_set(e, ERR_MALFORMED, "label \"%.60s\" does not speak EST; add --scep", name);
	return 0;
}

/* "" is a label too, the one of paths without a name; only an absent argument, or "*", means any. */
static int
choose_label(const struct admin_call *call, char out[STORE_NAME_MAX], struct err *e)
{
	const json_t *given = json_object_get(call->args, "label");
	const char *name = given == NULL ? "*" : json_string_value(given);
	struct world *world;
	int result = 0;

	if (strcmp(name, "*") != 0) {
		world = world_get();
		result = check_label(world->config, name, admin_flag(call, "scep"), e);
		world_put(world);
	}
	if (result == 0)
		(void)snprintf(out, STORE_NAME_MAX, "%s", name);
	return result;
}

/* What is hashed is the secret alone, without the number of its row, which is not known before. */
static int
put_secret(struct admin_call *call, const struct asset *asset, struct secret_row *row, const char *secret,
	struct err *e)
{
	bool scep = strcmp(row->protocol, "scep") == 0;
	char challenge[CHALLENGE_MAX];
	int64_t id = 0;

	if (random_octets(row->salt, sizeof row->salt, e) != 0 || secret_hash(row->salt, secret, row->hash, e) != 0 ||
	    call->gateway->store_ops->secret_put(call->gateway->store, row, call->actor, call->now_s, &id, e) != 0)
		return -1;
	challenge_text(id, secret, challenge);
	call->result = json_pack("{s:s, s:s, s:s, s:s, s:b, s:o}", "tag", asset->tag, "secret",
		scep ? challenge : secret, "protocol", row->protocol, "label", row->label, "once", row->once, "expires",
		json_of_time(row->expires_s));
	OPENSSL_cleanse(challenge, sizeof challenge);
	return 0;
}

int
admin_secret_new(struct admin_call *call, struct err *e)
{
	struct secret_row row = { .created_s = call->now_s, .once = !admin_flag(call, "static") };
	struct asset asset;
	char secret[40];
	int64_t lifetime_s;
	int result;

	if (find_asset(call, &asset, e) != 0 || choose_label(call, row.label, e) != 0 ||
	    duration_parse(admin_text_or(call, "expires", row.once ? SECRET_LIFETIME : "0"), &lifetime_s, e) != 0)
		return -1;
	row.asset_id = asset.id;
	row.expires_s = lifetime_s == 0 ? 0 : call->now_s + lifetime_s;
	(void)snprintf(row.protocol, sizeof row.protocol, "%s", admin_flag(call, "scep") ? "scep" : "est");
	result = make_secret(secret, e);
	if (result == 0)
		result = put_secret(call, &asset, &row, secret, e);
	OPENSSL_cleanse(secret, sizeof secret);
	return result;
}

static int
put_keywrap(struct admin_call *call, const char *tag, struct bytes id, struct bytes key, struct err *e)
{
	char id_hex[2 * KEYWRAP_ID_LEN + 1], key_hex[2 * KEYWRAP_KEY_LEN + 1];

	if (call->gateway->store_ops->audit(call->gateway->store, call->now_s, call->actor, "secret.keywrap", tag, "{}",
		    e) != 0)
		return -1;
	hex_encode(id, id_hex);
	hex_encode(key, key_hex);
	call->result = json_pack("{s:s, s:s, s:s}", "tag", tag, "key_id", id_hex, "key", key_hex);
	OPENSSL_cleanse(key_hex, sizeof key_hex);
	return 0;
}

int
admin_keywrap_new(struct admin_call *call, struct err *e)
{
	struct world *world = world_get();
	uint8_t id[KEYWRAP_ID_LEN], key[KEYWRAP_KEY_LEN];
	struct asset asset;
	int result;

	result = find_asset(call, &asset, e);
	if (result == 0)
		result = keywrap_new_id(&world->master, asset.id, id, e);
	if (result == 0)
		result = keywrap_derive(&world->master, asset.id, bytes_of(id, sizeof id), key, e);
	world_put(world);
	if (result == 0)
		result = put_keywrap(call, asset.tag, bytes_of(id, sizeof id), bytes_of(key, sizeof key), e);
	OPENSSL_cleanse(key, sizeof key);
	return result;
}
