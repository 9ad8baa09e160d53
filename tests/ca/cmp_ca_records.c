#define _GNU_SOURCE
/* What the CMP CA remembers: transactions, certificates, and a journal that a restart reads. */
#include "tests/ca/cmp_ca.h"

#include <errno.h>
#include <stdlib.h>

#define LINE_WORDS_MAX 5

/* --- in memory ---------------------------------------------------------------- */

static size_t
bucket_of(struct bytes id)
{
	size_t sum = 0, i;

	for (i = 0; i < id.len; i++)
		sum = sum * 31 + id.at[i];
	return sum % BUCKETS;
}

struct transaction *
records_find(const struct records *records, struct bytes id)
{
	struct transaction *one = records->transactions[bucket_of(id)];

	while (one != NULL && !bytes_equal(bytes_of(one->id, one->id_len), id))
		one = one->next;
	return one;
}

static struct transaction *
add(struct records *records, struct bytes id)
{
	struct transaction **bucket = &records->transactions[bucket_of(id)];
	struct transaction *one = id.len == 0 || id.len > ID_OCTETS_MAX ? NULL : calloc(1, sizeof *one);

	if (one == NULL)
		return NULL;
	memcpy(one->id, id.at, id.len);
	one->id_len = id.len;
	one->stage = STAGE_OVER;
	one->next = *bucket;
	*bucket = one;
	return one;
}

struct issued *
records_find_serial(const struct records *records, const char *serial)
{
	struct issued *one = records->issued;

	while (one != NULL && strcmp(one->serial, serial) != 0)
		one = one->next;
	return one;
}

static bool
request_set(struct transaction *transaction, const OSSL_CMP_MSG *request)
{
	OSSL_CMP_MSG_free(transaction->request);
	transaction->request = OSSL_CMP_MSG_dup(request);
	return transaction->request != NULL;
}

static void
wait_set(struct transaction *transaction, long polls)
{
	transaction->polls_left = polls;
	transaction->stage = STAGE_WAITS;
}

static struct issued *
issued_add(struct records *records, struct transaction *transaction, X509 *cert)
{
	struct issued *one = calloc(1, sizeof *one);

	if (one == NULL)
		return NULL;
	cmp_serial_hex(X509_get0_serialNumber(cert), one->serial);
	one->cert = cert;
	(void)X509_up_ref(cert);
	one->next = records->issued;
	records->issued = one;
	transaction->made = one;
	return one;
}

static void
given_set(struct transaction *transaction, X509 *cert)
{
	X509_free(transaction->given);
	transaction->given = cert;
	(void)X509_up_ref(cert);
	transaction->stage = STAGE_UNCONFIRMED;
}

static void
revoked_set(struct issued *issued, int reason)
{
	issued->revoked = reason != CRL_REASON_REMOVE_FROM_CRL;
	issued->held = reason == CRL_REASON_CERTIFICATE_HOLD;
}

static void
nonce_set(struct transaction *transaction, struct bytes nonce)
{
	transaction->nonce_len = nonce.len > NONCE_OCTETS_MAX ? 0 : nonce.len;
	if (transaction->nonce_len != 0)
		memcpy(transaction->nonce, nonce.at, transaction->nonce_len);
}

static void
transaction_free(struct transaction *one)
{
	OSSL_CMP_SRV_CTX_free(one->srv);
	OSSL_CMP_MSG_free(one->request);
	X509_free(one->given);
	free(one);
}

void
records_close(struct records *records)
{
	size_t i;

	for (i = 0; i < BUCKETS; i++)
		while (records->transactions[i] != NULL) {
			struct transaction *one = records->transactions[i];

			records->transactions[i] = one->next;
			transaction_free(one);
		}
	while (records->issued != NULL) {
		struct issued *one = records->issued;

		records->issued = one->next;
		X509_free(one->cert);
		free(one);
	}
	if (records->journal != NULL)
		(void)fclose(records->journal);
	records->journal = NULL;
}

/* --- the journal, written ------------------------------------------------------- */

static void
put_hex(struct buf *line, struct bytes octets)
{
	char pair[3];
	size_t i;

	for (i = 0; i < octets.len; i++) {
		hex_encode(bytes_of(octets.at + i, 1), pair);
		buf_append(line, pair, 2);
	}
}

static void
begin_line(struct buf *line, const char *event, const struct transaction *transaction)
{
	buf_printf(line, "%s ", event);
	put_hex(line, bytes_of(transaction->id, transaction->id_len));
}

static void
put_cert(struct buf *line, const X509 *cert)
{
	CLEANUP(buf) struct buf der = { 0 };
	struct err e;

	buf_append_u8(line, ' ');
	if (x509_to_der(cert, &der, &e) == 0)
		put_hex(line, buf_bytes(&der));
}

/* One write for each line: whoever reads along meets whole ones. */
static bool
end_line(struct records *records, struct buf *line)
{
	buf_append_u8(line, '\n');
	if (records->journal == NULL)
		return true;
	return !buf_failed(line) && fwrite(line->at, 1, line->len, records->journal) == line->len &&
		fflush(records->journal) == 0;
}

struct transaction *
records_asked(struct records *records, struct bytes id, const OSSL_CMP_MSG *request)
{
	CLEANUP(buf) struct buf line = { 0 };
	struct transaction *one = add(records, id);
	uint8_t *der = NULL;
	int len = i2d_OSSL_CMP_MSG(request, &der);

	if (one != NULL) {
		begin_line(&line, "asked", one);
		buf_append_u8(&line, ' ');
		put_hex(&line, bytes_of(der, len > 0 ? (size_t)len : 0));
	}
	OPENSSL_free(der);
	return one != NULL && len > 0 && request_set(one, request) && end_line(records, &line) ? one : NULL;
}

bool
records_waits(struct records *records, struct transaction *transaction, long polls)
{
	CLEANUP(buf) struct buf line = { 0 };

	wait_set(transaction, polls);
	begin_line(&line, "waiting", transaction);
	buf_printf(&line, " %ld", polls);
	return end_line(records, &line);
}

bool
records_issued(struct records *records, struct transaction *transaction, X509 *cert, const X509_REQ *request)
{
	CLEANUP(buf) struct buf line = { 0 };
	struct issued *one = issued_add(records, transaction, cert);
	uint8_t hash[32], *der = NULL;
	int len = i2d_X509_REQ(request, &der);
	struct err e;
	bool made = one != NULL && len > 0 && sha256(bytes_of(der, (size_t)len), hash, &e) == 0;

	OPENSSL_free(der);
	if (!made)
		return false;
	begin_line(&line, "issued", transaction);
	buf_printf(&line, " %s ", one->serial);
	put_hex(&line, bytes_of(hash, sizeof hash));
	put_cert(&line, cert);
	return end_line(records, &line);
}

bool
records_given(struct records *records, struct transaction *transaction, X509 *cert)
{
	CLEANUP(buf) struct buf line = { 0 };

	given_set(transaction, cert);
	begin_line(&line, "given", transaction);
	put_cert(&line, cert);
	return end_line(records, &line);
}

void
records_answered(struct records *records, struct transaction *transaction, struct bytes nonce)
{
	CLEANUP(buf) struct buf line = { 0 };

	nonce_set(transaction, nonce);
	begin_line(&line, "answered", transaction);
	buf_append_u8(&line, ' ');
	put_hex(&line, nonce);
	(void)end_line(records, &line);
}

void
records_told(struct records *records, struct transaction *transaction, bool accepted)
{
	CLEANUP(buf) struct buf line = { 0 };

	transaction->stage = STAGE_OVER;
	OSSL_CMP_MSG_free(transaction->request);
	transaction->request = NULL;
	begin_line(&line, accepted ? "confirmed" : "refused", transaction);
	(void)end_line(records, &line);
}

void
records_revoked(struct records *records, struct issued *issued, int reason)
{
	CLEANUP(buf) struct buf line = { 0 };

	revoked_set(issued, reason);
	if (issued->revoked)
		buf_printf(&line, "revoked %s %d", issued->serial, reason);
	else
		buf_printf(&line, "released %s", issued->serial);
	(void)end_line(records, &line);
}

/* --- ... and read --------------------------------------------------------------- */

static bool
octets_of(const char *word, struct buf *out)
{
	size_t len = word == NULL ? 0 : strlen(word) / 2;
	uint8_t *octets = len == 0 ? NULL : malloc(len);
	struct err e;
	bool read = octets != NULL && hex_decode(bytes_of_text(word), octets, len, &e) == 0;

	if (read)
		buf_append(out, octets, len);
	free(octets);
	return read && !buf_failed(out);
}

static X509 *
cert_of(const char *word)
{
	CLEANUP(buf) struct buf der = { 0 };
	X509 *cert = NULL;
	struct err e;

	return octets_of(word, &der) && x509_from_der(buf_bytes(&der), &cert, &e) == 0 ? cert : NULL;
}

static bool
replay_asked(struct transaction *one, const char *word)
{
	CLEANUP(buf) struct buf der = { 0 };
	OSSL_CMP_MSG *request = octets_of(word, &der) ? cmp_service_decode(buf_bytes(&der)) : NULL;
	bool kept = request != NULL && request_set(one, request);

	OSSL_CMP_MSG_free(request);
	return kept;
}

static bool
replay_cert(struct records *records, struct transaction *one, char *words[LINE_WORDS_MAX])
{
	bool issued = strcmp(words[0], "issued") == 0;
	CLEANUP(X509) X509 *cert = cert_of(words[issued ? 4 : 2]);

	if (cert == NULL || (issued && issued_add(records, one, cert) == NULL))
		return false;
	if (!issued)
		given_set(one, cert);
	return true;
}

static bool
replay_revoked(const struct records *records, char *words[LINE_WORDS_MAX])
{
	struct issued *issued = records_find_serial(records, words[1]);

	if (issued != NULL)
		revoked_set(issued, strcmp(words[0], "released") == 0 ? CRL_REASON_REMOVE_FROM_CRL :
			words[2] == NULL ? CRL_REASON_UNSPECIFIED : atoi(words[2]));
	return issued != NULL;
}

static bool
replay(struct records *records, char *words[LINE_WORDS_MAX])
{
	CLEANUP(buf) struct buf id = { 0 }, nonce = { 0 };
	struct transaction *one;

	if (words[0] == NULL || words[1] == NULL)
		return false;
	if (strcmp(words[0], "revoked") == 0 || strcmp(words[0], "released") == 0)
		return replay_revoked(records, words);
	if (!octets_of(words[1], &id))
		return false;
	one = records_find(records, buf_bytes(&id));
	if (one == NULL && (one = add(records, buf_bytes(&id))) == NULL)
		return false;
	if (strcmp(words[0], "asked") == 0)
		return replay_asked(one, words[2]);
	if (strcmp(words[0], "issued") == 0 || strcmp(words[0], "given") == 0)
		return replay_cert(records, one, words);
	if (strcmp(words[0], "waiting") == 0)
		wait_set(one, words[2] == NULL ? 0 : atol(words[2]));
	else if (strcmp(words[0], "answered") == 0)
		nonce_set(one, octets_of(words[2], &nonce) ? buf_bytes(&nonce) : bytes_of(NULL, 0));
	else
		one->stage = STAGE_OVER;
	return true;
}

int
records_open(struct records *records, const char *path, struct err *e)
{
	char *line = NULL;
	size_t size = 0, number = 0;
	bool good = true;

	if (path == NULL)
		return 0;
	records->journal = fopen(path, "a+e");
	if (records->journal == NULL)
		return err_set(e, ERR_UPSTREAM, "%s: %s", path, strerror(errno));
	rewind(records->journal);
	while (good && getline(&line, &size, records->journal) > 0) {
		char *words[LINE_WORDS_MAX] = { NULL }, *rest = line;
		size_t i;

		for (i = 0; i < LINE_WORDS_MAX && (words[i] = strsep(&rest, " \n")) != NULL; i++)
			continue;
		number++;
		good = replay(records, words);
	}
	free(line);
	return good ? 0 : err_set(e, ERR_MALFORMED, "%s: line %zu is none of mine", path, number);
}
