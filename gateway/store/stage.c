#define _GNU_SOURCE
#include "gateway/store/import_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * An import's source may be slow (a client that sends line by line) and the
 * writer must not wait for it. So the records are first taken from it in the
 * caller's thread into a file without a name, next to the database, and read
 * back in the writer's. Records are mostly empty arrays: texts go without
 * their padding.
 */
struct stage {
	FILE *file;
};

#define STAGE_BLOCK 16384

struct field {
	size_t offset, size;
};
#define ASSET_FIELD(name) {offsetof(struct import_record, asset.name), FIELD_SIZE(struct asset, name)}

static const struct field texts[] = {
	ASSET_FIELD(tag),
	ASSET_FIELD(manufacturer),
	ASSET_FIELD(model),
	ASSET_FIELD(serial),
	ASSET_FIELD(class_name),
	ASSET_FIELD(site),
	ASSET_FIELD(hostname),
	ASSET_FIELD(source),
	ASSET_FIELD(source_key),
	{offsetof(struct import_record, owner), FIELD_SIZE(struct import_record, owner)},
};
#define TEXTS (sizeof texts / sizeof texts[0])

struct numbers { /* the rest of a record; written as it is, so without padding */
	int64_t line, anchor_count, absent;
	int32_t state, holding, tier, has_state;
};

static int
lost(struct err *e)
{
	return err_set(e, ERR_UPSTREAM, "the import's temporary file: %s", strerror(errno));
}

int
stage_new(const char *folder_of, struct stage **out, struct err *e)
{
	CLEANUP(buf) struct buf path = {0};
	CLEANUP(stage) struct stage *stage = calloc(1, sizeof *stage);
	int fd;

	buf_printf(&path, "%s-import-XXXXXX", folder_of);
	buf_append_u8(&path, '\0');
	if (stage == NULL || buf_failed(&path))
		return err_set(e, ERR_NOMEM, "import");
	fd = mkostemp((char *)path.at, O_CLOEXEC);
	/* CLEANUP frees it, which cppcheck does not know. */
	if (fd < 0)
		return lost(e); /* cppcheck-suppress memleak */
	(void)unlink((const char *)path.at);
	stage->file = fdopen(fd, "w+");
	if (stage->file == NULL) {
		(void)close(fd);
		return lost(e); /* cppcheck-suppress memleak */
	}
	*out = stage;
	stage = NULL;
	return 0;
}

void
stage_free(struct stage *stage)
{
	if (stage == NULL)
		return;
	if (stage->file != NULL)
		(void)fclose(stage->file);
	free(stage);
}

static bool
put_text(FILE *file, const char *text, size_t size)
{
	size_t len = strnlen(text, size - 1);

	return fwrite(text, 1, len, file) == len && fputc('\0', file) != EOF;
}

int
stage_put(struct stage *stage, const struct import_record *record, struct err *e)
{
	struct numbers n = {
		.line = record->line,
		.state = (int32_t)record->asset.state,
		.holding = (int32_t)record->asset.holding,
		.tier = record->asset.tier,
		.has_state = record->has_state,
		.anchor_count = (int64_t)record->anchor_count,
		.absent = (int64_t)record->absent,
	};
	bool ok;

	if (record->anchor_count > IMPORT_ANCHORS_MAX)
		return err_set(e, ERR_BUG, "line %lld: %zu anchors", (long long)record->line,
			record->anchor_count);
	ok = fwrite(&n, sizeof n, 1, stage->file) == 1;
	for (size_t i = 0; ok && i < TEXTS; i++)
		ok = put_text(stage->file, (const char *)record + texts[i].offset, texts[i].size);
	for (size_t i = 0; ok && i < record->anchor_count; i++) {
		const struct anchor *anchor = &record->anchors[i];

		ok = fputc((int)anchor->type, stage->file) != EOF &&
			put_text(stage->file, anchor->issuer, sizeof anchor->issuer) &&
			put_text(stage->file, anchor->value, sizeof anchor->value);
	}
	return ok ? 0 : lost(e);
}

int
stage_rewind(struct stage *stage, struct err *e)
{
	if (fflush(stage->file) != 0 || fseek(stage->file, 0, SEEK_SET) != 0)
		return lost(e);
	return 0;
}

static bool
hash_file(EVP_MD_CTX *md, FILE *file)
{
	char block[STAGE_BLOCK];
	size_t n;

	while ((n = fread(block, 1, sizeof block, file)) > 0)
		if (EVP_DigestUpdate(md, block, n) != 1)
			return false;
	return !ferror(file);
}

/* Of all that the import would do: the records in order, and the options. */
int
stage_digest(struct stage *stage, const struct import_job *job, uint8_t out[32], struct err *e)
{
	CLEANUP(EVP_MD_CTX) EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint8_t owners = job->create_owners;

	if (md == NULL)
		return err_set(e, ERR_NOMEM, "import");
	if (stage_rewind(stage, e) != 0)
		return -1;
	if (EVP_DigestInit_ex(md, ossl_sha256(), NULL) != 1 || EVP_DigestUpdate(md, &owners, 1) != 1 ||
		EVP_DigestUpdate(md, job->source, strlen(job->source) + 1) != 1)
		return err_ossl(e, ERR_BUG, "digest of an import");
	if (!hash_file(md, stage->file))
		return lost(e);
	if (EVP_DigestFinal_ex(md, out, NULL) != 1)
		return err_ossl(e, ERR_BUG, "digest of an import");
	return stage_rewind(stage, e);
}

static bool
get_text(FILE *file, char *out, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		int c = getc_unlocked(file);

		if (c == EOF)
			return false;
		out[i] = (char)c;
		if (c == '\0')
			return true;
	}
	return false;
}

static bool
get_anchor(FILE *file, struct anchor *out)
{
	int type = getc_unlocked(file);

	out->type = (enum anchor_type)type;
	return type != EOF && get_text(file, out->issuer, sizeof out->issuer) &&
		get_text(file, out->value, sizeof out->value);
}

int
stage_next(struct stage *stage, struct import_record *out, struct err *e)
{
	struct numbers n;
	bool ok = true;

	if (fread(&n, sizeof n, 1, stage->file) != 1)
		return ferror(stage->file) ? lost(e) : 0;
	memset(out, 0, sizeof *out);
	out->line = n.line;
	out->asset.state = (enum asset_state)n.state;
	out->asset.holding = (enum asset_holding)n.holding;
	out->asset.tier = n.tier;
	out->has_state = n.has_state != 0;
	out->absent = (unsigned)n.absent;
	out->anchor_count = (size_t)n.anchor_count;
	for (size_t i = 0; ok && i < TEXTS; i++)
		ok = get_text(stage->file, (char *)out + texts[i].offset, texts[i].size);
	for (size_t i = 0; ok && i < out->anchor_count; i++)
		ok = get_anchor(stage->file, &out->anchors[i]);
	if (!ok)
		return err_set(e, ERR_UPSTREAM, "the import's temporary file was cut short");
	return 1;
}
