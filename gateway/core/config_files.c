/*
 * The checks of what settings name on this machine: files, addresses, groups.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "gateway/ca/ca.h"
#include "gateway/core/config_reader.h"
#include "gateway/core/trust_crl.h"
#include "gateway/core/world_parts.h"
#include "gateway/outbound/secret.h"

#define GROUP_BUFFER 65536

DEFINE_CLEANUP(SSL_CTX, SSL_CTX *, SSL_CTX_free);

/* A listening address, taken apart. */
struct address {
	char host[INET6_ADDRSTRLEN];
	bool loopback;
	bool any_port; /* port 0 */
};

static bool
port_is_valid(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits >= 1 && digits <= 5 && text[digits] == '\0' && strtol(text, NULL, 10) <= 65535;
}

/* "[::1]:8443" or "127.0.0.1:8443"; names are not looked up. */
static bool
address_parse(const char *text, struct address *out)
{
	const char *colon = strrchr(text, ':');
	bool v6 = text[0] == '[';
	const char *from = v6 ? text + 1 : text;
	struct in6_addr six;
	struct in_addr four;
	const char *end = colon;

	if (colon == NULL || !port_is_valid(colon + 1) || (v6 && (colon == text || colon[-1] != ']')))
		return false;
	if (v6)
		end--;
	if (end <= from || (size_t)(end - from) >= sizeof out->host)
		return false;
	memcpy(out->host, from, (size_t)(end - from));
	out->host[end - from] = '\0';
	out->any_port = strtol(colon + 1, NULL, 10) == 0;
	if (v6 && inet_pton(AF_INET6, out->host, &six) == 1) {
		out->loopback = IN6_IS_ADDR_LOOPBACK(&six);
		return true;
	}
	if (v6 || inet_pton(AF_INET, out->host, &four) != 1)
		return false;
	out->loopback = (ntohl(four.s_addr) >> 24) == 127;
	return true;
}

static bool
contains(const struct config_list *list, size_t count, const char *text)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (strcmp(list->at[i], text) == 0)
			return true;
	return false;
}

/* other: addresses that are taken already. */
static void
check_addresses(struct config_reader *r, const char *key, const struct config_list *list, const char *port,
	const struct config_list *other)
{
	struct address address;
	size_t i;

	for (i = 0; i < list->count; i++) {
		const char *text = list->at[i];

		if (!address_parse(text, &address))
			config_complain(r, SECTION_LISTEN, 0, key,
				"\"%.60s\" is not an address and port like \"[::]:%s\" or \"0.0.0.0:%s\"", text, port, port);
		else if (!address.any_port && contains(list, i, text))
			config_complain(r, SECTION_LISTEN, 0, key, "\"%.60s\" stands there twice", text);
		else if (!address.any_port && contains(other, other->count, text))
			config_complain(r, SECTION_LISTEN, 0, key,
				"\"%.60s\" stands in https too; plain HTTP needs a port of its own", text);
	}
}

static void
check_listen(struct config_reader *r)
{
	static const struct config_list none = { .count = 0 };
	const struct config *config = r->config;
	struct address address;

	check_addresses(r, "https", &config->listen_https, "8443", &none);
	check_addresses(r, "coaps", &config->listen_coaps, "5684", &none);
	check_addresses(r, "http", &config->listen_http, "8080", &config->listen_https);
	if (config->listen_admin[0] == '\0')
		return;
	if (!address_parse(config->listen_admin, &address))
		config_complain(r, SECTION_LISTEN, 0, "admin", "\"%.60s\" is not an address and port like "
			"\"127.0.0.1:9180\"", config->listen_admin);
	else if (!address.loopback)
		config_complain(r, SECTION_LISTEN, 0, "admin",
			"%s is not a loopback address; this port asks nobody for a password: use 127.0.0.1 or [::1]",
			address.host);
}

static void
check_control(struct config_reader *r)
{
	const struct config *config = r->config;
	struct group group, *found = NULL;
	struct sockaddr_un un;
	char *buffer;

	if (config->control_socket[0] == '\0')
		config_complain(r, SECTION_LISTEN, 0, "control", "enrollctl needs a socket; name a path");
	if (strlen(config->control_socket) >= sizeof un.sun_path)
		config_complain(r, SECTION_LISTEN, 0, "control", "a socket's path has at most %zu octets, not %zu",
			sizeof un.sun_path - 1, strlen(config->control_socket));
	if (config->control_group[0] == '\0')
		return;
	buffer = malloc(GROUP_BUFFER);
	if (buffer == NULL || getgrnam_r(config->control_group, &group, buffer, GROUP_BUFFER, &found) != 0 ||
	    found == NULL)
		config_complain(r, SECTION_LISTEN, 0, "control_group", "there is no group \"%.60s\" on this machine",
			config->control_group);
	free(buffer);
}

static void
check_groups(struct config_reader *r)
{
	CLEANUP(SSL_CTX) SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	char list[TEMPLATE_MAX], *rest = list, *group;

	(void)snprintf(list, sizeof list, "%s", r->config->tls_groups);
	while (ctx != NULL && (group = strsep(&rest, ":")) != NULL)
		if (group[0] == '\0' || SSL_CTX_set1_groups_list(ctx, group) != 1)
			config_complain(r, SECTION_TLS, 0, "groups", "OpenSSL knows no group \"%.40s\"", group);
	ERR_clear_error();
}

const char *
config_file_trouble(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return strerror(errno);
	return S_ISREG(st.st_mode) ? NULL : "not a regular file";
}

STACK_OF(X509) *
config_load_certificates(struct config_reader *r, enum config_section_id section, size_t i, const char *key,
	const char *path)
{
	STACK_OF(X509) *certs = NULL;
	const char *trouble;
	struct err e;

	if (path[0] == '\0')
		return NULL;
	trouble = config_file_trouble(path);
	if (trouble != NULL)
		config_complain(r, section, i, key, "%s: %s", path, trouble);
	else if (x509_load_file(path, &certs, &e) != 0)
		config_complain(r, section, i, key, "%s", e.text);
	return certs;
}

bool
config_check_certificates(struct config_reader *r, enum config_section_id section, size_t i, const char *key,
	const struct config_list *paths)
{
	bool good = true;
	size_t n;

	for (n = 0; n < paths->count; n++) {
		CLEANUP(x509_stack) STACK_OF(X509) *certs =
			config_load_certificates(r, section, i, key, paths->at[n]);

		good = good && certs != NULL;
	}
	return good;
}

static void
check_crls(struct config_reader *r, size_t i)
{
	const struct config_list *paths = &r->config->trust[i].crls;
	size_t n;

	for (n = 0; n < paths->count; n++) {
		CLEANUP(x509_crl_stack) STACK_OF(X509_CRL) *crls = NULL;
		const char *trouble = config_file_trouble(paths->at[n]);
		struct err e;

		if (trouble != NULL)
			config_complain(r, SECTION_TRUST, i, "crls", "%s: %s", paths->at[n], trouble);
		else if (trust_crls_load(paths->at[n], &crls, &e) != 0)
			config_complain(r, SECTION_TRUST, i, "crls", "%s", e.text);
	}
}

/* A certificate, its key, and whether they belong together. */
static bool
check_pair(struct config_reader *r, enum config_section_id section, size_t i, const char *certificate,
	const char *key_uri)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs =
		config_load_certificates(r, section, i, "certificate", certificate);
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	bool good, is_ca;
	struct err e;

	if (key_uri[0] == '\0')
		return false;
	if (key_open(key_uri, &key, &e) != 0) {
		config_complain(r, section, i, "key", "%s", e.text);
		return false;
	}
	if (certs == NULL)
		return false;
	good = X509_check_private_key(sk_X509_value(certs, 0), key) == 1;
	if (!good)
		config_complain(r, section, i, "key", "this is not the key of the certificate in %s", certificate);
	is_ca = section != SECTION_CAS || X509_check_ca(sk_X509_value(certs, 0)) == 1;
	if (!is_ca)
		config_complain(r, section, i, "certificate",
			"%s: its first certificate is not a CA's (basicConstraints CA:TRUE)", certificate);
	ERR_clear_error();
	return good && is_ca;
}

/* The issuing certificate, with its key when that is here. */
static bool
check_issuer(struct config_reader *r, size_t i)
{
	const struct config_ca *config = &r->config->cas[i];
	const struct ca_ops *ops = ca_ops_of(config->type);
	STACK_OF(X509) *certs;

	if (ops == NULL || !ops->remote)
		return check_pair(r, SECTION_CAS, i, config->certificate, config->key);
	certs = config_load_certificates(r, SECTION_CAS, i, "certificate", config->certificate);
	x509_stack_free(certs);
	return certs != NULL;
}

/* The last question, when all else is in order: the connector knows whether its files fit together. */
static void
check_ca(struct config_reader *r, size_t i)
{
	const struct config_ca *config = &r->config->cas[i];
	const struct ca_ops *ops;
	struct ca *ca = NULL;
	struct err e;

	config_check_secret_file(r, SECTION_CAS, i, config->secret_file);
	if (r->source->problems != 0)
		return;
	if (world_ca_open(config, &ops, &ca, &e) == 0)
		ops->close(ca);
	else
		config_complain(r, SECTION_CAS, i, ops != NULL && ops->remote ? "type" :
			config->chain.count == 0 ? "certificate" : "chain", "%s", e.text);
}

static void
check_store(struct config_reader *r)
{
	const char *path = r->config->store_path;
	char folder[CONFIG_PATH_MAX];
	struct stat st;

	if (path[0] == '\0') {
		config_complain(r, SECTION_STORE, 0, "path", "name a file");
		return;
	}
	config_folder(path, folder, sizeof folder);
	if (stat(folder, &st) != 0)
		config_complain(r, SECTION_STORE, 0, "path", "its folder %s: %s", folder, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		config_complain(r, SECTION_STORE, 0, "path", "%s is not a folder", folder);
	else if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		config_complain(r, SECTION_STORE, 0, "path", "%s is not a regular file", path);
}

static void
check_master(struct config_reader *r)
{
	CLEANUP(secret_buf) struct buf master = { 0 };
	struct err e;

	if (world_master_load(r->config->keygen_master, &master, &e) != 0)
		config_complain(r, SECTION_KEYGEN, 0, "master", "%s", e.text);
}

void
config_check_secret_file(struct config_reader *r, enum config_section_id section, size_t i, const char *source)
{
	CLEANUP(secret_buf) struct buf secret = { 0 };
	struct err e;

	if (source[0] != '\0' && secret_file_read(source, &secret, &e) != 0)
		config_complain(r, section, i, "secret_file", "%s", e.text);
}

void
config_check_files(struct config_reader *r)
{
	const struct config *config = r->config;
	size_t i;

	check_listen(r);
	check_control(r);
	check_groups(r);
	(void)check_pair(r, SECTION_TLS, 0, config->tls_certificate, config->tls_key);
	check_store(r);
	check_master(r);
	for (i = 0; i < config->trust_count; i++) {
		(void)config_check_certificates(r, SECTION_TRUST, i, "files", &config->trust[i].files);
		check_crls(r, i);
	}
	for (i = 0; i < config->ca_count; i++) {
		bool pair = check_issuer(r, i);

		if (config_check_certificates(r, SECTION_CAS, i, "chain", &config->cas[i].chain) && pair)
			check_ca(r, i);
	}
	config_check_group_files(r);
	config_check_scep_files(r);
	config_check_coap(r);
	config_check_policy_files(r);
}
