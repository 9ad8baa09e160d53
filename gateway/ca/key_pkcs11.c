#define _GNU_SOURCE
#include "gateway/ca/key_pkcs11.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <libp11.h>
#include <openssl/err.h>

#include "base/text.h"
#include "gateway/outbound/secret.h"

#define SCHEME_LEN 7 /* "pkcs11:" */

/* A module is the process's: it is initialised once, whoever asks. Never unloaded, since keys come and go. */
static struct module {
	char path[PKCS11_VALUE_MAX];
	PKCS11_CTX *ctx;
	PKCS11_SLOT *slots;
	unsigned slot_count;
} modules[PKCS11_MODULES_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards modules, and all of libp11 that is not signing */

/* --- the URI ------------------------------------------------------------------ */

static int
hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* RFC 7512, section 2.3: percent-encoded values. */
static int
decode(struct bytes in, uint8_t *out, size_t size, size_t *len, struct err *e)
{
	struct cursor c = cursor_of(in);
	size_t n = 0;

	while (cursor_left(&c) > 0) {
		uint8_t octet = cursor_u8(&c);

		if (octet == '%') {
			int high = hex_digit(cursor_u8(&c)), low = hex_digit(cursor_u8(&c));

			if (c.failed || high < 0 || low < 0)
				return err_set(e, ERR_MALFORMED, "bad percent-encoding");
			octet = (uint8_t)(high << 4 | low);
		}
		if (n == size)
			return err_set(e, ERR_LIMIT, "a value longer than %zu octets", size);
		out[n++] = octet;
	}
	*len = n;
	return 0;
}

static int
decode_text(struct bytes in, char out[PKCS11_VALUE_MAX], struct err *e)
{
	uint8_t value[PKCS11_VALUE_MAX];
	size_t len = 0;

	if (decode(in, value, sizeof value, &len, e) != 0)
		return -1;
	return text_copy(out, PKCS11_VALUE_MAX, bytes_of(value, len), "value", e);
}

static int
take_attribute(struct pkcs11_uri *uri, struct bytes name, struct bytes value, bool query, struct err *e)
{
	char shown[40];

	if (!query && bytes_equal_text(name, "token"))
		return decode_text(value, uri->token, e);
	if (!query && bytes_equal_text(name, "object"))
		return decode_text(value, uri->object, e);
	if (!query && bytes_equal_text(name, "id"))
		return decode(value, uri->id, sizeof uri->id, &uri->id_len, e);
	if (!query && bytes_equal_text(name, "type") && bytes_equal_text(value, "private"))
		return 0;
	if (query && bytes_equal_text(name, "module-path"))
		return decode_text(value, uri->module, e);
	if (query && bytes_equal_text(name, "pin-source"))
		return decode_text(value, uri->pin_source, e);
	if (query && bytes_equal_text(name, "pin-value"))
		return err_set(e, ERR_UNSUPPORTED, "a PIN belongs elsewhere (pin-source), not in a URI");
	text_escape(shown, sizeof shown, name);
	return err_set(e, ERR_UNSUPPORTED, "attribute \"%s\"", shown);
}

/* name "=" value, separated by ";" in the path and by "&" in the query. */
static int
take_attributes(struct pkcs11_uri *uri, struct bytes text, uint8_t separator, bool query, struct err *e)
{
	struct cursor c = cursor_of(text);

	while (cursor_left(&c) > 0) {
		struct cursor at = c, pair;
		struct bytes one = cursor_until(&c, separator), name;

		if (c.failed)
			one = bytes_of(at.at, cursor_left(&at));
		pair = cursor_of(one);
		name = cursor_until(&pair, '=');
		if (pair.failed)
			return err_set(e, ERR_MALFORMED, "an attribute without \"=\"");
		if (take_attribute(uri, name, cursor_take(&pair, cursor_left(&pair)), query, e) != 0)
			return -1;
	}
	return 0;
}

static int
check_uri(const struct pkcs11_uri *uri, struct err *e)
{
	const char *pin = secret_path_of(uri->pin_source);

	if (uri->token[0] == '\0')
		return err_set(e, ERR_MALFORMED, "it names no token");
	if (uri->object[0] == '\0' && uri->id_len == 0)
		return err_set(e, ERR_MALFORMED, "it names neither object nor id");
	if (uri->module[0] != '/')
		return err_set(e, ERR_MALFORMED, "module-path is not an absolute path");
	if (pin != NULL && pin[0] != '/')
		return err_set(e, ERR_MALFORMED, "pin-source is not an absolute path, nor credential: or env:");
	return 0;
}

int
pkcs11_uri_parse(const char *text, struct pkcs11_uri *out, struct err *e)
{
	struct pkcs11_uri uri = { .token = "" };
	const char *path = text + SCHEME_LEN, *query;

	if (strlen(text) > PKCS11_URI_MAX)
		return err_set(e, ERR_LIMIT, "key: a URI longer than %d octets", PKCS11_URI_MAX);
	query = strchr(path, '?');
	if (take_attributes(&uri, bytes_of(path, query == NULL ? strlen(path) : (size_t)(query - path)), ';', false, e) != 0 ||
	    (query != NULL && take_attributes(&uri, bytes_of_text(query + 1), '&', true, e) != 0) || check_uri(&uri, e) != 0)
		return err_prefix(e, "key by pkcs11 URI");
	*out = uri;
	return 0;
}

/* --- the token ------------------------------------------------------------------ */

/* libp11's own failures and the token's, which is what its error texts name. */
static int
failed(const char *what, struct err *e)
{
	return err_ossl(e, ERR_UPSTREAM, what);
}

static int
module_load(struct module *module, const char *path, struct err *e)
{
	PKCS11_CTX *ctx;

	/* libp11 would tell stderr. */
	if (access(path, R_OK) != 0)
		return err_set(e, ERR_UPSTREAM, "module %.120s cannot be read: %s", path, strerrordesc_np(errno));
	ctx = PKCS11_CTX_new();
	if (ctx == NULL)
		return err_ossl(e, ERR_NOMEM, "PKCS#11");
	if (PKCS11_CTX_load(ctx, path) != 0) {
		PKCS11_CTX_free(ctx);
		return failed(path, e);
	}
	if (PKCS11_enumerate_slots(ctx, &module->slots, &module->slot_count) != 0) {
		PKCS11_CTX_unload(ctx);
		PKCS11_CTX_free(ctx);
		return failed(path, e);
	}
	module->ctx = ctx;
	(void)snprintf(module->path, sizeof module->path, "%s", path);
	return 0;
}

static int
module_of(const char *path, struct module **out, struct err *e)
{
	size_t i;

	for (i = 0; i < PKCS11_MODULES_MAX; i++) {
		if (modules[i].ctx == NULL && module_load(&modules[i], path, e) != 0)
			return -1;
		if (strcmp(modules[i].path, path) == 0) {
			*out = &modules[i];
			return 0;
		}
	}
	return err_set(e, ERR_LIMIT, "more than %d PKCS#11 modules", PKCS11_MODULES_MAX);
}

static int
token_of(const struct module *module, const char *label, PKCS11_SLOT **out, struct err *e)
{
	PKCS11_SLOT *found = NULL;
	unsigned i;

	for (i = 0; i < module->slot_count; i++) {
		PKCS11_SLOT *slot = &module->slots[i];

		if (slot->token == NULL || slot->token->label == NULL || strcmp(slot->token->label, label) != 0)
			continue;
		if (found != NULL)
			return err_set(e, ERR_UPSTREAM, "two tokens are called \"%.60s\"", label);
		found = slot;
	}
	if (found == NULL)
		return err_set(e, ERR_UPSTREAM, "%.100s has no token \"%.60s\"", module->path, label);
	*out = found;
	return 0;
}

static int
log_in(PKCS11_SLOT *slot, const char *pin_source, struct err *e)
{
	CLEANUP(secret_buf) struct buf pin = { 0 };
	int there = 0;

	if (PKCS11_is_logged_in(slot, 0, &there) == 0 && there != 0)
		return 0;
	if (secret_file_read(pin_source, &pin, e) != 0)
		return -1;
	return PKCS11_login(slot, 0, buf_text(&pin)) == 0 ? 0 : failed("the token refuses the login", e);
}

static bool
fits(const PKCS11_KEY *key, const struct pkcs11_uri *uri)
{
	if (uri->object[0] != '\0' && (key->label == NULL || strcmp(key->label, uri->object) != 0))
		return false;
	return uri->id_len == 0 || (key->id_len == uri->id_len && memcmp(key->id, uri->id, uri->id_len) == 0);
}

static int
key_of(PKCS11_SLOT *slot, const struct pkcs11_uri *uri, EVP_PKEY **out, struct err *e)
{
	PKCS11_KEY *keys = NULL, *found = NULL;
	unsigned count = 0, i;

	if (PKCS11_enumerate_keys(slot->token, &keys, &count) != 0)
		return failed("the token's keys", e);
	for (i = 0; i < count; i++) {
		if (!keys[i].isPrivate || !fits(&keys[i], uri))
			continue;
		if (found != NULL)
			return err_set(e, ERR_UPSTREAM, "more than one private key in the token is meant");
		found = &keys[i];
	}
	if (found == NULL)
		return err_set(e, ERR_UPSTREAM, "token \"%.60s\" has no such private key", uri->token);
	*out = PKCS11_get_private_key(found);
	return *out == NULL ? failed("the token's key", e) : 0;
}

int
key_pkcs11_open(const char *text, EVP_PKEY **out, struct err *e)
{
	struct pkcs11_uri uri;
	struct module *module = NULL;
	PKCS11_SLOT *slot = NULL;
	EVP_PKEY *key = NULL;
	int result;

	if (pkcs11_uri_parse(text, &uri, e) != 0)
		return -1;
	(void)pthread_mutex_lock(&lock);
	result = module_of(uri.module, &module, e);
	if (result == 0)
		result = token_of(module, uri.token, &slot, e);
	if (result == 0)
		result = log_in(slot, uri.pin_source, e);
	if (result == 0)
		result = key_of(slot, &uri, &key, e);
	(void)pthread_mutex_unlock(&lock);
	if (result != 0)
		return err_prefix(e, "key by pkcs11 URI");
	*out = key;
	return 0;
}
