/*
 * The checks of what EST over CoAP needs.
 */
#include <string.h>

#include <openssl/err.h>

#include "base/key.h"
#include "gateway/ca/ca.h"
#include "gateway/core/config_reader.h"

#define ROOT_MAX 63
#define ROOT_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/"

static bool
is_root(const char *root)
{
	size_t len = strlen(root);

	return root[0] == '/' && len > 1 && len <= ROOT_MAX && root[strspn(root, ROOT_CHARACTERS)] == '\0' &&
		root[len - 1] != '/' && strstr(root, "//") == NULL;
}

static void
check_roots(struct config_reader *r)
{
	const struct config_list *roots = &r->config->coap_roots;
	size_t i, k;

	for (i = 0; i < roots->count; i++) {
		if (!is_root(roots->at[i]))
			config_complain(r, SECTION_COAP, 0, "roots",
				"\"%.60s\" is not a path like \"/est\": at most %d characters, no slash at its end", roots->at[i],
				ROOT_MAX);
		else if (strncmp(roots->at[i], "/.well-known", sizeof "/.well-known" - 1) == 0)
			config_complain(r, SECTION_COAP, 0, "roots", "\"/.well-known/est\" is there always");
		for (k = 0; k < i; k++)
			if (strcmp(roots->at[i], roots->at[k]) == 0)
				config_complain(r, SECTION_COAP, 0, "roots", "\"%.60s\" stands there twice", roots->at[i]);
	}
}

static void
check_labels(struct config_reader *r)
{
	const struct config *config = r->config;
	size_t i;

	for (i = 0; i < config->label_count; i++) {
		if ((config->labels[i].protocols & PROTOCOL_COAP) == 0)
			continue;
		if (config->listen_coaps.count == 0)
			config_complain(r, SECTION_LABELS, i, "protocols", "\"coap\" needs an address in coaps of listen");
		/* RFC 9148, section 3: the client is authenticated by a certificate. */
		if ((config->labels[i].policy.auth & ~(AUTH_SECRET | AUTH_MDM)) == 0)
			config_complain(r, SECTION_LABELS, i, "auth",
				"over \"coap\" devices come in by a certificate: add \"certificate\" or \"own\"");
	}
}

static void
check_certificate(struct config_reader *r)
{
	const struct config *config = r->config;
	bool own = config->coap_certificate[0] != '\0';
	CLEANUP(x509_stack) STACK_OF(X509) *certs = config_load_certificates(r, own ? SECTION_COAP : SECTION_TLS, 0,
		"certificate", own ? config->coap_certificate : config->tls_certificate);
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	struct key_facts facts;
	struct err e;

	if (certs == NULL)
		return;
	key_facts_of(X509_get0_pubkey(sk_X509_value(certs, 0)), &facts);
	if (facts.kind != KEY_EC_P256)
		config_complain(r, SECTION_COAP, 0, "certificate",
			"RFC 9148 wants a key on P-256; make a certificate for CoAP and name it here");
	if (!own)
		return;
	if (key_open(config->coap_key, &key, &e) != 0)
		config_complain(r, SECTION_COAP, 0, "key", "%s", e.text);
	else if (X509_check_private_key(sk_X509_value(certs, 0), key) != 1)
		config_complain(r, SECTION_COAP, 0, "key", "this is not the key of the certificate in %s",
			config->coap_certificate);
	ERR_clear_error();
}

void
config_check_coap(struct config_reader *r)
{
	const struct config *config = r->config;

	check_roots(r);
	check_labels(r);
	if ((config->coap_certificate[0] == '\0') != (config->coap_key[0] == '\0'))
		config_complain(r, SECTION_COAP, 0, config->coap_key[0] == '\0' ? "certificate" : "key",
			"certificate and key go together");
	else if (config->listen_coaps.count != 0)
		check_certificate(r);
}
