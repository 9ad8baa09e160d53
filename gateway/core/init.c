#define _GNU_SOURCE
#include "gateway/core/init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/pem.h>

#include "base/text.h"
#include "gateway/ca/ca.h"
#include "gateway/core/init_internal.h"

#define ORGANISATION "Example fleet"
#define YEAR_S ((int64_t)365 * 86400)
#define ROOT_YEARS 20
#define ISSUING_YEARS 10
#define SERVER_DAYS 397
#define RA_YEARS 2 /* devices remember it, so not too often; its key lies on a machine that the network reaches */
#define RA_BITS 2048
#define MASTER_OCTETS 64

static int
make_folder(const char *path, struct err *e)
{
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return err_set(e, ERR_UPSTREAM, "%s: %s", path, strerror(errno));
	return 0;
}

/* A new file; an existing one is never touched. */
static FILE *
create(const struct init_options *o, const char *name, mode_t mode, struct err *e)
{
	char path[4096];
	FILE *out;
	int fd;

	(void)snprintf(path, sizeof path, "%s/%s", o->dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	out = fd < 0 ? NULL : fdopen(fd, "w");
	if (out == NULL) {
		(void)err_set(e, ERR_UPSTREAM, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			(void)close(fd);
	}
	return out;
}

static int
finish(FILE *out, const char *name, bool good, struct err *e)
{
	bool failed = ferror(out) != 0;

	if (fclose(out) != 0 || failed || !good)
		return err_set(e, ERR_UPSTREAM, "%s: could not be written", name);
	return 0;
}

static int
write_key(const struct init_options *o, const char *name, EVP_PKEY *key, struct err *e)
{
	FILE *out = create(o, name, 0600, e);

	if (out == NULL)
		return -1;
	return finish(out, name, PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1, e);
}

static int
write_certs(const struct init_options *o, const char *name, X509 *first, X509 *second, struct err *e)
{
	FILE *out = create(o, name, 0644, e);

	if (out == NULL)
		return -1;
	return finish(out, name,
		PEM_write_X509(out, first) == 1 && (second == NULL || PEM_write_X509(out, second) == 1), e);
}

static int
new_key(EVP_PKEY **out, struct err *e)
{
	*out = EVP_EC_gen(SN_X9_62_prime256v1);
	return *out == NULL ? err_ossl(e, ERR_BUG, "making a key") : 0;
}

static int
make_cas(const struct init_options *o, X509 **issuing, struct err *e)
{
	CLEANUP(EVP_PKEY) EVP_PKEY *root_key = NULL;
	CLEANUP(EVP_PKEY) EVP_PKEY *issuing_key = NULL;
	CLEANUP(X509) X509 *root = NULL;
	struct ca_make make = { .common_name = "enrolld root CA",
		.organisation = ORGANISATION,
		.path_len = 1,
		.not_before_s = o->now_s - 300,
		.not_after_s = o->now_s + ROOT_YEARS * YEAR_S };

	if (new_key(&root_key, e) != 0 || new_key(&issuing_key, e) != 0)
		return -1;
	make.key = make.issuer_key = root_key;
	if (ca_make_certificate(&make, &root, e) != 0)
		return -1;
	make.common_name = "enrolld issuing CA";
	make.key = issuing_key;
	make.issuer = root;
	make.path_len = 0;
	make.not_after_s = o->now_s + ISSUING_YEARS * YEAR_S;
	if (ca_make_certificate(&make, issuing, e) != 0)
		return -1;
	if (write_key(o, "offline/root.key", root_key, e) != 0 || write_certs(o, "ca/root.pem", root, NULL, e) != 0 ||
	    write_key(o, "ca/issuing.key", issuing_key, e) != 0)
		return -1;
	return write_certs(o, "ca/issuing.pem", *issuing, NULL, e);
}

static void
add_san(struct cert_spec *spec, enum spec_san_type type, const char *value)
{
	spec->sans[spec->san_count].type = type;
	(void)snprintf(spec->sans[spec->san_count].value, sizeof spec->sans[0].value, "%s", value);
	spec->san_count++;
}

static int
issue(const struct init_options *o, struct ca *ca, const struct cert_spec *spec, EVP_PKEY *key, enum key_kind kind,
	X509 **out, struct err *e)
{
	struct ca_request request = { .spec = spec, .key_kind = kind, .now_s = o->now_s };
	struct ca_answer answer = { 0 };
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(key, &der), result;

	if (len <= 0)
		return err_ossl(e, ERR_BUG, "encoding a key");
	request.spki = bytes_of(der, (size_t)len);
	result = ca_builtin.issue(ca, &request, &answer, e);
	if (result == 0)
		result = x509_from_der(buf_bytes(&answer.cert), out, e);
	ca_answer_free(&answer);
	OPENSSL_free(der);
	return result;
}

static int
make_server(const struct init_options *o, struct ca *ca, X509 *issuing, struct err *e)
{
	static const char eku[1][64] = { "1.3.6.1.5.5.7.3.1" };
	struct cert_spec spec = { .key_usage = USAGE_DIGITAL_SIGNATURE,
		.eku = eku,
		.eku_count = 1,
		.not_before_s = o->now_s - 300,
		.not_after_s = o->now_s + (int64_t)SERVER_DAYS * 86400,
		.rdn_count = 1,
		.rdns = { { .oid = "2.5.4.3", .value = "localhost" } } };
	CLEANUP(EVP_PKEY) EVP_PKEY *key = NULL;
	CLEANUP(X509) X509 *cert = NULL;
	char host[65] = "";

	add_san(&spec, SPEC_SAN_DNS, "localhost");
	if (gethostname(host, sizeof host - 1) == 0 && text_is_name(host))
		add_san(&spec, SPEC_SAN_DNS, host);
	add_san(&spec, SPEC_SAN_IP, "127.0.0.1");
	add_san(&spec, SPEC_SAN_IP, "::1");
	if (new_key(&key, e) != 0 || issue(o, ca, &spec, key, KEY_EC_P256, &cert, e) != 0 ||
	    write_certs(o, "tls/server.pem", cert, issuing, e) != 0)
		return -1;
	return write_key(o, "tls/server.key", key, e);
}

/*
 * The one EKU is emailProtection, which is CMS signing and encryption: clients
 * whose verifier asks for a purpose at all (OpenSSL's CMS_verify() by default)
 * take no other, some want an EKU to be there, and TLS takes this one for
 * nothing. id-kp-cmcRA would make whoever holds the key a registrar here.
 */
static int
make_ra(const struct init_options *o, struct ca *ca, struct err *e)
{
	static const char eku[1][64] = { "1.3.6.1.5.5.7.3.4" };
	const struct cert_spec spec = { .key_usage = USAGE_DIGITAL_SIGNATURE | USAGE_KEY_ENCIPHERMENT,
		.eku = eku,
		.eku_count = 1,
		.not_before_s = o->now_s - 300,
		.not_after_s = o->now_s + RA_YEARS * YEAR_S,
		.rdn_count = 2,
		.rdns = { { .oid = "2.5.4.10", .value = ORGANISATION }, { .oid = "2.5.4.3", .value = "enrolld SCEP RA" } } };
	CLEANUP(EVP_PKEY) EVP_PKEY *key = EVP_RSA_gen(RA_BITS);
	CLEANUP(X509) X509 *cert = NULL;

	if (key == NULL)
		return err_ossl(e, ERR_BUG, "making the RA's key");
	if (issue(o, ca, &spec, key, KEY_RSA, &cert, e) != 0 || write_certs(o, "ra/ra.pem", cert, NULL, e) != 0)
		return -1;
	return write_key(o, "ra/ra.key", key, e);
}

static int
make_leaves(const struct init_options *o, X509 *issuing, struct err *e)
{
	char certificate[4096], key_path[4096], root[4096];
	const char *chain[] = { root };
	struct ca_settings settings = { .name = "init",
		.type = "builtin",
		.certificate = certificate,
		.key = key_path,
		.chain = chain,
		.chain_count = 1 };
	struct ca *ca = NULL;
	int result;

	(void)snprintf(certificate, sizeof certificate, "%s/ca/issuing.pem", o->dir);
	(void)snprintf(key_path, sizeof key_path, "file:%s/ca/issuing.key", o->dir);
	(void)snprintf(root, sizeof root, "%s/ca/root.pem", o->dir);
	if (ca_builtin.open(&settings, &ca, e) != 0)
		return -1;
	result = make_server(o, ca, issuing, e);
	if (result == 0)
		result = make_ra(o, ca, e);
	ca_builtin.close(ca);
	return result;
}

static int
write_master(const struct init_options *o, struct err *e)
{
	uint8_t octets[MASTER_OCTETS];
	FILE *out;
	bool good;

	if (random_octets(octets, sizeof octets, e) != 0 || (out = create(o, "keygen.master", 0600, e)) == NULL)
		return -1;
	good = fwrite(octets, sizeof octets, 1, out) == 1;
	OPENSSL_cleanse(octets, sizeof octets);
	return finish(out, "keygen.master", good, e);
}

static int
copy_trust(const struct init_options *o, struct err *e)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	char name[128];
	bool good = true;
	FILE *out;
	int i;

	if (o->trust_name == NULL)
		return 0;
	if (!text_is_name(o->trust_name))
		return err_set(e, ERR_MALFORMED, "\"%.60s\" is not a name: letters, digits, \".\", \"_\" and \"-\"",
			o->trust_name);
	(void)snprintf(name, sizeof name, "trust/%s.pem", o->trust_name);
	if (x509_load_file(o->trust_file, &certs, e) != 0 || (out = create(o, name, 0644, e)) == NULL)
		return -1;
	for (i = 0; i < sk_X509_num(certs); i++)
		good = good && PEM_write_X509(out, sk_X509_value(certs, i)) == 1;
	return finish(out, name, good, e);
}

static int
write_config(const struct init_options *o, struct err *e)
{
	FILE *out = create(o, "enrolld.conf", 0644, e);

	if (out == NULL)
		return -1;
	init_print_config(out, o);
	return finish(out, "enrolld.conf", true, e);
}

int
init_directory(const struct init_options *o, struct err *e)
{
	static const char *const folders[] = { "", "/offline", "/ca", "/tls", "/ra", "/trust" };
	CLEANUP(X509) X509 *issuing = NULL;
	char path[4096];
	size_t i;

	if (o->port < 1 || o->port > INIT_PORT_MAX)
		return err_set(e, ERR_MALFORMED, "port %d: the two after it are taken too, so from 1 to %d", o->port,
			INIT_PORT_MAX);
	(void)snprintf(path, sizeof path, "%s/enrolld.conf", o->dir);
	if (access(path, F_OK) == 0)
		return err_set(e, ERR_DENIED, "%s is there already; serve it with: enrolld -c %s", path, path);
	for (i = 0; i < sizeof folders / sizeof folders[0]; i++) {
		(void)snprintf(path, sizeof path, "%s%s", o->dir, folders[i]);
		if (make_folder(path, e) != 0)
			return -1;
	}
	/* What the caller may have got wrong comes first: nothing of a directory half made has to be removed. */
	if (copy_trust(o, e) != 0 || make_cas(o, &issuing, e) != 0 || make_leaves(o, issuing, e) != 0 ||
	    write_master(o, e) != 0)
		return -1;
	return write_config(o, e);
}
