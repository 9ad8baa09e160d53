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

int
admin_secret_new(struct admin_call *call, struct err *e)
{
	struct secret_row row = { .created_s = call->now_s, .once = !admin_flag(call, "static") };
	struct asset asset;
	char secret[40];
	int64_t lifetime_s;

	if (find_asset(call, &asset, e) != 0 ||
	    duration_parse(admin_text_or(call, "expires", row.once ? SECRET_LIFETIME : "0"), &lifetime_s, e) != 0 ||
	    make_secret(secret, e) != 0 || random_octets(row.salt, sizeof row.salt, e) != 0 ||
	    secret_hash(row.salt, secret, row.hash, e) != 0)
		return -1;
	row.asset_id = asset.id;
	row.expires_s = lifetime_s == 0 ? 0 : call->now_s + lifetime_s;
	(void)snprintf(row.label, sizeof row.label, "%s", admin_text_or(call, "label", "*"));
	(void)snprintf(row.protocol, sizeof row.protocol, "%s", admin_flag(call, "scep") ? "scep" : "est");
	if (call->gateway->store_ops->secret_put(call->gateway->store, &row, call->actor, call->now_s, e) != 0)
		return -1;
	call->result = json_pack("{s:s, s:s, s:s, s:s, s:b, s:o}", "tag", asset.tag, "secret", secret, "protocol",
		row.protocol, "label", row.label, "once", row.once, "expires", json_of_time(row.expires_s));
	OPENSSL_cleanse(secret, sizeof secret);
	return 0;
}

int
admin_keywrap_new(struct admin_call *call, struct err *e)
{
	struct world *world = world_get();
	uint8_t id[KEYWRAP_ID_LEN], key[KEYWRAP_KEY_LEN];
	char id_hex[2 * KEYWRAP_ID_LEN + 1], key_hex[2 * KEYWRAP_KEY_LEN + 1];
	struct asset asset;
	int result;

	result = find_asset(call, &asset, e);
	if (result == 0)
		result = keywrap_new_id(&world->master, asset.id, id, e);
	if (result == 0)
		result = keywrap_derive(&world->master, asset.id, bytes_of(id, sizeof id), key, e);
	world_put(world);
	if (result != 0)
		return -1;
	hex_encode(bytes_of(id, sizeof id), id_hex);
	hex_encode(bytes_of(key, sizeof key), key_hex);
	if (call->gateway->store_ops->audit(call->gateway->store, call->now_s, call->actor, "secret.keywrap",
		    asset.tag, "{}", e) != 0)
		return -1;
	call->result = json_pack("{s:s, s:s, s:s}", "tag", asset.tag, "key_id", id_hex, "key", key_hex);
	OPENSSL_cleanse(key, sizeof key);
	OPENSSL_cleanse(key_hex, sizeof key_hex);
	return 0;
}
