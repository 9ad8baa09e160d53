/* Revocation lists for everyone who checks certificates: GET /crl/<ca>.crl (RFC 5280, section 4.2.1.13). */
#include <string.h>

#include "gateway/http/exchange.h"

static const char suffix[] = ".crl";

/* The CA that the path names; NULL: none, or one that makes its lists itself. */
static const struct config_ca *
find_ca(const struct exchange *x)
{
	const char *name = exchange_path(x) + sizeof CRL_ROOT;
	size_t len = strlen(name);
	char ca[REG_TEXT_MAX];
	const struct config_ca *found;

	if (len < sizeof suffix || len - (sizeof suffix - 1) >= sizeof ca ||
		strcmp(name + len - (sizeof suffix - 1), suffix) != 0)
		return NULL;
	len -= sizeof suffix - 1;
	memcpy(ca, name, len);
	ca[len] = '\0';
	found = config_ca(x->world->config, ca);
	return found != NULL && world_ca_of(x->world, ca)->ops->crl != NULL ? found : NULL;
}

int
crl_http_handle(struct exchange *x)
{
	CLEANUP(buf) struct buf crl = { 0 };
	const struct config_ca *ca = find_ca(x);
	const char *method = exchange_method(x);
	struct err e;

	x->protocol = "crl";
	x->operation = "crl";
	if (ca == NULL)
		return server_answer_text(x->conn, 404, NULL, "no such revocation list");
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return exchange_wrong_method(x, "GET, HEAD");
	if (enroll_crl(x->gateway, x->world, ca->name, x->now_s, &crl, &e) == 0)
		return server_answer(x->conn, 200, "application/pkix-crl", NULL, buf_bytes(&crl));
	log_rare(LOG_LEVEL_ERROR, "crl", "%s: %s", ca->name, e.text);
	if (e.code == ERR_UPSTREAM)
		return server_answer_text(x->conn, 503, "Retry-After: 30\r\n", "temporarily unavailable");
	return server_answer_text(x->conn, 500, NULL, "internal error");
}
