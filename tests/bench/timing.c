/*
 * timing: is there a padding oracle in how long answers take? Sends SCEP
 * messages whose envelopes are wrong in different ways, in turns and in random
 * order, one at a time over a kept connection, and prints how many nanoseconds
 * each answer took, as one JSON object. Statistics: bench.py.
 *
 *   timing --port P --path /scep/LABEL --ra RA.pem --count N
 *
 * Everything is made beforehand: EnvelopedData octet by octet, so that it can be wrong
 * anywhere; the signature by OpenSSL's CMS functions with a self-signed certificate, as an attacker's would be.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/rsa.h>

#include "base/der.h"
#include "base/key.h"
#include "scep/internal.h"
#include "scep/message.h"

#define BLOCK       256  /* octets of an RSA-2048 modulus */
#define KEY         16   /* AES-128 */
#define CONTENT     1008 /* octets, a few more than a request with a challenge takes */
#define ANSWER_MAX  65536
#define WARM        64   /* exchanges before the clock starts */
#define OID_DATA    "1.2.840.113549.1.7.1"
#define OID_WRAPPED "1.2.840.113549.1.7.3"

enum kind { BAD_RSA_PADDING, WRONG_KEY_LENGTH, ANOTHER_KEY, NOT_FOR_US, BAD_CONTENT_PADDING, GARBAGE, FOREIGN, KINDS };

static const char *const names[KINDS] = { "no PKCS#1 padding", "a key of another length", "another key",
	"no RecipientInfo of ours", "a wrong content padding", "content that is garbage", "somebody else's good request" };

static struct {
	int port;
	long count;
	const char *path, *ra_file;
} options;

static EVP_PKEY *signer_key, *other_key;
static X509 *signer, *ra;
static uint8_t request[CONTENT]; /* of other_key, filled up with an attribute */
static size_t request_len;

static void
die(const char *what)
{
	(void)fprintf(stderr, "timing: %s\n", what);
	exit(1);
}

static void
random_fill(uint8_t *out, size_t len)
{
	struct err e;

	if (random_octets(out, len, &e) != 0)
		die(e.text);
}

/* RFC 8017, section 7.2.1: 00 02, at least eight octets that are not zero, 00, the key. */
static void
make_block(enum kind kind, const uint8_t key[KEY], uint8_t out[BLOCK])
{
	size_t len = kind == WRONG_KEY_LENGTH ? KEY - 1 : KEY, i;

	random_fill(out, BLOCK);
	for (i = 2; i < BLOCK - len; i++)
		out[i] |= 1;
	out[0] = 0;
	out[1] = kind == BAD_RSA_PADDING ? 1 : 2;
	out[BLOCK - len - 1] = 0;
	if (kind != ANOTHER_KEY)
		memcpy(out + BLOCK - len, key, len);
}

static void
encrypt_block(const uint8_t block[BLOCK], uint8_t out[BLOCK])
{
	CLEANUP(EVP_PKEY_CTX) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(X509_get0_pubkey(ra), NULL);
	size_t len = BLOCK;

	if (ctx == NULL || EVP_PKEY_encrypt_init(ctx) != 1 || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) != 1 ||
	    EVP_PKEY_encrypt(ctx, out, &len, block, BLOCK) != 1 || len != BLOCK)
		die("the RA's key is not RSA-2048");
}

static void
make_content(enum kind kind, uint8_t out[CONTENT])
{
	if (kind == FOREIGN)
		memcpy(out, request, CONTENT);
	else
		random_fill(out, CONTENT);
	memset(out + request_len, (int)(CONTENT - request_len), CONTENT - request_len);
	if (kind == BAD_CONTENT_PADDING)
		out[CONTENT - 1] = 0xff; /* more than a block */
}

static void
encrypt_content(const uint8_t key[KEY], const uint8_t iv[16], const uint8_t in[CONTENT], uint8_t out[CONTENT])
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int len = 0;

	if (ctx == NULL || EVP_EncryptInit_ex(ctx, EVP_aes_128_cbc(), NULL, key, iv) != 1 ||
	    EVP_EncryptUpdate(ctx, out, &len, in, CONTENT) != 1 || len != CONTENT)
		die("AES");
	EVP_CIPHER_CTX_free(ctx);
}

/* KeyTransRecipientInfo (RFC 5652, section 6.2.1). */
static void
put_recipient(enum kind kind, const uint8_t key[KEY], struct buf *out)
{
	uint8_t block[BLOCK], encrypted[BLOCK];
	size_t info = der_begin(out, DER_SEQUENCE);

	make_block(kind, key, block);
	encrypt_block(block, encrypted);
	der_put_integer(out, bytes_of(NULL, 0));
	scep_put_issuer_and_serial(out, ra);
	if (kind == NOT_FOR_US)
		out->at[out->len - 1] ^= 1; /* of the serial number */
	scep_put_algorithm(out, NID_rsaEncryption, true);
	der_put(out, DER_OCTET_STRING, bytes_of(encrypted, BLOCK));
	der_end(out, info);
}

static void
put_encrypted_content(enum kind kind, const uint8_t key[KEY], struct buf *out)
{
	uint8_t content[CONTENT], encrypted[CONTENT], iv[16];
	size_t sequence = der_begin(out, DER_SEQUENCE), algorithm;

	make_content(kind, content);
	random_fill(iv, sizeof iv);
	encrypt_content(key, iv, content, encrypted);
	der_put_oid(out, OID_DATA);
	algorithm = der_begin(out, DER_SEQUENCE);
	der_put_oid(out, "2.16.840.1.101.3.4.1.2");
	der_put(out, DER_OCTET_STRING, bytes_of(iv, sizeof iv));
	der_end(out, algorithm);
	der_put(out, DER_CONTEXT(0), bytes_of(encrypted, CONTENT));
	der_end(out, sequence);
}

static void
put_envelope(enum kind kind, struct buf *out)
{
	uint8_t key[KEY];
	size_t info = der_begin(out, DER_SEQUENCE), explicit, enveloped, set;

	random_fill(key, KEY);
	der_put_oid(out, OID_WRAPPED);
	explicit = der_begin(out, DER_CONTEXT_CONS(0));
	enveloped = der_begin(out, DER_SEQUENCE);
	der_put_integer(out, bytes_of(NULL, 0));
	set = der_begin(out, DER_SET);
	put_recipient(kind, key, out);
	der_end(out, set);
	put_encrypted_content(kind, key, out);
	der_end(out, enveloped);
	der_end(out, explicit);
	der_end(out, info);
}

static void
add_attribute(CMS_SignerInfo *info, const char *oid, int type, const void *value, int len)
{
	if (CMS_signed_add1_attr_by_txt(info, oid, type, value, len) != 1)
		die("signed attributes");
}

/* PKCSReq around an envelope. */
static void
put_message(struct bytes envelope, struct buf *out)
{
	BIO *in = BIO_new_mem_buf(envelope.at, (int)envelope.len);
	CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, CMS_PARTIAL | CMS_BINARY);
	CMS_SignerInfo *info = CMS_add1_signer(cms, signer, signer_key, EVP_sha256(), CMS_BINARY | CMS_NOSMIMECAP);
	uint8_t octets[16], *der = NULL;
	char transaction[33];
	int len = 0;

	random_fill(octets, sizeof octets);
	hex_encode(bytes_of(octets, sizeof octets), transaction);
	if (info == NULL)
		die("signing");
	add_attribute(info, "2.16.840.1.113733.1.9.2", V_ASN1_PRINTABLESTRING, "19", 2);
	add_attribute(info, "2.16.840.1.113733.1.9.7", V_ASN1_PRINTABLESTRING, transaction, 32);
	random_fill(octets, sizeof octets);
	add_attribute(info, "2.16.840.1.113733.1.9.5", V_ASN1_OCTET_STRING, octets, sizeof octets);
	if (CMS_final(cms, in, NULL, CMS_BINARY) != 1 || (len = i2d_CMS_ContentInfo(cms, &der)) <= 0)
		die("signing");
	buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	CMS_ContentInfo_free(cms);
	BIO_free(in);
}

static void
put_http(enum kind kind, struct buf *out)
{
	struct buf envelope = { 0 }, message = { 0 };

	put_envelope(kind, &envelope);
	put_message(buf_bytes(&envelope), &message);
	buf_printf(out, "POST %s?operation=PKIOperation HTTP/1.1\r\nHost: localhost\r\n"
		"Content-Type: application/x-pki-message\r\nContent-Length: %zu\r\n\r\n", options.path, message.len);
	buf_append_bytes(out, buf_bytes(&message));
	if (buf_failed(out))
		die("no memory");
	buf_free(&envelope);
	buf_free(&message);
}

static void
make_signer(void)
{
	X509_NAME *name;

	signer_key = EVP_RSA_gen(2048);
	signer = X509_new();
	name = X509_get_subject_name(signer);
	if (X509_set_version(signer, X509_VERSION_3) != 1 ||
	    ASN1_INTEGER_set(X509_get_serialNumber(signer), 1) != 1 ||
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"timing", -1, -1, 0) != 1 ||
	    X509_set_issuer_name(signer, name) != 1 || X509_gmtime_adj(X509_getm_notBefore(signer), -60) == NULL ||
	    X509_gmtime_adj(X509_getm_notAfter(signer), 86400) == NULL || X509_set_pubkey(signer, signer_key) != 1 ||
	    X509_sign(signer, signer_key, EVP_sha256()) <= 0)
		die("cannot make a certificate");
}

/* A request as long as leaves room for a content padding of 1 to 16 octets. */
static void
make_request(void)
{
	X509_REQ *req = X509_REQ_new();
	uint8_t *der = NULL;
	char filler[512];
	int len = 0, n;

	other_key = EVP_RSA_gen(2048);
	memset(filler, 'x', sizeof filler);
	for (n = 256; len < CONTENT - 16 && n < (int)sizeof filler; n++) {
		X509_REQ_free(req);
		req = X509_REQ_new();
		OPENSSL_free(der);
		der = NULL;
		if (X509_REQ_set_pubkey(req, other_key) != 1 ||
		    X509_REQ_add1_attr_by_NID(req, NID_pkcs9_challengePassword, V_ASN1_PRINTABLESTRING,
			    (const uint8_t *)filler, n) != 1 ||
		    X509_REQ_sign(req, other_key, EVP_sha256()) <= 0 || (len = i2d_X509_REQ(req, &der)) <= 0)
			die("cannot make a request");
	}
	if (len < CONTENT - 16 || len >= CONTENT)
		die("the request is of another length than intended");
	memcpy(request, der, (size_t)len);
	request_len = (size_t)len;
	OPENSSL_free(der);
	X509_REQ_free(req);
}

static int
connect_to_server(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)options.port),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct timeval limit = { .tv_sec = 20 };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
	    connect(fd, (struct sockaddr *)&at, sizeof at) != 0)
		die("cannot connect");
	return fd;
}

/* Where the body begins once the answer is whole, else 0. */
static size_t
whole(const char *answer, size_t len)
{
	const char *end = strstr(answer, "\r\n\r\n"), *length = strstr(answer, "\r\nContent-Length:");
	size_t head;

	if (end == NULL || length == NULL || length > end)
		return 0;
	head = (size_t)(end - answer) + 4;
	return len >= head + strtoul(length + 17, NULL, 10) ? head : 0;
}

/* A FAILURE badMessageCheck, or all of this measures something else. */
static void
check_answer(const char *answer, size_t head, size_t len)
{
	CLEANUP(scep_message) struct scep_message *reply = NULL;
	struct err e;

	if (strncmp(answer, "HTTP/1.1 200", 12) != 0)
		die(answer);
	if (scep_message_parse(bytes_of((const uint8_t *)answer + head, len - head), &reply, &e) != 0)
		die(e.text);
	if (reply->status != SCEP_FAILURE || reply->fail != SCEP_BAD_MESSAGE_CHECK)
		die("an answer is not FAILURE badMessageCheck");
}

static int64_t
now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t
exchange(int *fd, struct bytes http)
{
	static char answer[ANSWER_MAX];
	int64_t began = now_ns(), took;
	size_t len = 0, head = 0;
	ssize_t n;

	if (send(*fd, http.at, http.len, MSG_NOSIGNAL) != (ssize_t)http.len)
		die("cannot send");
	while (head == 0 && len < sizeof answer - 1 && (n = recv(*fd, answer + len, sizeof answer - 1 - len, 0)) > 0) {
		len += (size_t)n;
		answer[len] = '\0';
		head = whole(answer, len);
	}
	took = now_ns() - began;
	if (head == 0)
		die("no whole answer");
	check_answer(answer, head, len);
	if (strstr(answer, "Connection: close") != NULL) { /* so many requests and no more */
		(void)close(*fd);
		*fd = connect_to_server();
	}
	return took;
}

static void
shuffle(enum kind order[KINDS])
{
	uint8_t dice[KINDS];
	size_t i;

	random_fill(dice, sizeof dice);
	for (i = 0; i < KINDS; i++)
		order[i] = (enum kind)i;
	for (i = KINDS - 1; i > 0; i--) {
		size_t j = dice[i] % (i + 1);
		enum kind kept = order[i];

		order[i] = order[j];
		order[j] = kept;
	}
}

static void
measure(struct buf (*https)[KINDS], int64_t (*took)[KINDS])
{
	int fd = connect_to_server();
	enum kind order[KINDS];
	long i;
	size_t k;

	for (i = 0; i < WARM; i++)
		(void)exchange(&fd, buf_bytes(&https[i % options.count][(size_t)i % KINDS]));
	for (i = 0; i < options.count; i++) {
		shuffle(order);
		for (k = 0; k < KINDS; k++)
			took[i][order[k]] = exchange(&fd, buf_bytes(&https[i][order[k]]));
	}
	(void)close(fd);
}

static void
print(int64_t (*took)[KINDS])
{
	size_t k;
	long i;

	(void)printf("{");
	for (k = 0; k < KINDS; k++) {
		(void)printf("%s\"%s\": [", k == 0 ? "" : ", ", names[k]);
		for (i = 0; i < options.count; i++)
			(void)printf("%s%" PRId64, i == 0 ? "" : ", ", took[i][k]);
		(void)printf("]");
	}
	(void)printf("}\n");
}

static void
parse(int argc, char **argv)
{
	static const struct option longs[] = { { "port", required_argument, NULL, 'p' },
		{ "path", required_argument, NULL, 'u' }, { "ra", required_argument, NULL, 'r' },
		{ "count", required_argument, NULL, 'n' }, { NULL, 0, NULL, 0 } };
	int o;

	while ((o = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (o == 'p')
			options.port = atoi(optarg);
		else if (o == 'u')
			options.path = optarg;
		else if (o == 'r')
			options.ra_file = optarg;
		else if (o == 'n')
			options.count = atol(optarg);
		else
			die("see the head of timing.c");
	}
	if (options.port == 0 || options.path == NULL || options.ra_file == NULL || options.count < 1)
		die("--port, --path, --ra and --count are needed");
}

int
main(int argc, char **argv)
{
	CLEANUP(x509_stack) STACK_OF(X509) *certs = NULL;
	struct buf (*https)[KINDS];
	int64_t (*took)[KINDS];
	struct err e;
	size_t k;
	long i;

	parse(argc, argv);
	if (ossl_init(&e) != 0 || key_init(&e) != 0 || (scep_init(&e) != 0 && e.code != ERR_UNSUPPORTED) ||
	    x509_load_file(options.ra_file, &certs, &e) != 0)
		die(e.text);
	ra = sk_X509_value(certs, 0);
	make_signer();
	make_request();
	https = calloc((size_t)options.count, sizeof *https);
	took = calloc((size_t)options.count, sizeof *took);
	if (https == NULL || took == NULL)
		die("no memory");
	for (i = 0; i < options.count; i++)
		for (k = 0; k < KINDS; k++)
			put_http((enum kind)k, &https[i][k]);
	measure(https, took);
	print(took);
	return 0;
}
