#define _GNU_SOURCE
#include "devsim/challenges.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "devsim/files.h"

#define SUFFIX ".challenge"

void
challenges_free(struct challenges *challenges)
{
	size_t i;

	for (i = 0; i < challenges->count; i++)
		buf_free_secret(&challenges->at[i].text);
	free(challenges->at);
	*challenges = (struct challenges){ 0 };
}

static struct bytes
trim(struct bytes text)
{
	while (text.len > 0 && strchr(" \t\r", text.at[0]) != NULL)
		text = bytes_of(text.at + 1, text.len - 1);
	while (text.len > 0 && strchr(" \t\r", text.at[text.len - 1]) != NULL)
		text.len--;
	return text;
}

/* A tag names files too. */
static int
add(struct challenges *list, struct bytes tag, struct bytes text, struct err *e)
{
	struct challenge *one;
	size_t n = list->count;

	if (tag.len == 0 || text.len == 0 || memchr(tag.at, '/', tag.len) != NULL)
		return err_set(e, ERR_MALFORMED, "a tag and a challenge belong here");
	if ((n & (n - 1)) == 0) {
		one = realloc(list->at, (n == 0 ? 1 : 2 * n) * sizeof *one);
		if (one == NULL)
			return err_set(e, ERR_NOMEM, "challenges: no memory");
		list->at = one;
	}
	one = &list->at[n];
	*one = (struct challenge){ 0 };
	if (text_copy(one->tag, sizeof one->tag, tag, "tag", e) != 0)
		return -1;
	buf_append_bytes(&one->text, text);
	list->count++;
	return buf_text(&one->text)[0] == '\0' ? err_set(e, ERR_MALFORMED, "no challenge, or no memory for it") : 0;
}

static int
parse_line(struct bytes line, struct challenges *list, struct err *e)
{
	struct cursor c;
	struct bytes tag;

	line = trim(line);
	if (line.len == 0 || line.at[0] == '#')
		return 0;
	c = cursor_of(line);
	tag = cursor_until(&c, ',');
	return add(list, trim(tag), trim(bytes_of(c.at, cursor_left(&c))), e);
}

int
challenges_parse(struct bytes text, struct challenges *out, struct err *e)
{
	struct challenges list = { 0 };
	struct cursor c = cursor_of(text);
	size_t number = 0;

	while (cursor_left(&c) > 0) {
		struct cursor at = c;
		struct bytes line = cursor_until(&c, '\n');

		if (c.failed)
			line = bytes_of(at.at, cursor_left(&at));
		if (++number == 1 && bytes_equal_text(trim(line), "tag,challenge"))
			continue;
		if (parse_line(line, &list, e) != 0) {
			challenges_free(&list);
			return err_prefix(e, "line %zu", number);
		}
	}
	*out = list;
	return 0;
}

static int
read_one(const char *dir, const char *name, struct challenges *list, struct err *e)
{
	size_t len = strlen(name), suffix = sizeof SUFFIX - 1;
	struct buf text = { 0 };
	char path[FILE_PATH_MAX];
	struct cursor c;
	int rc;

	if (name[0] == '.')
		return 0;
	rc = file_path(path, e, "%s/%s", dir, name) != 0 || file_read(path, &text, e) != 0 ? -1 : 0;
	if (rc == 0) {
		struct bytes line;

		if (len > suffix && strcmp(name + len - suffix, SUFFIX) == 0)
			len -= suffix;
		buf_append_u8(&text, '\n');
		c = cursor_of(buf_bytes(&text));
		line = cursor_until(&c, '\n');
		rc = add(list, bytes_of(name, len), trim(line), e);
		if (rc != 0)
			(void)err_prefix(e, "%.200s", path);
	}
	buf_free_secret(&text);
	return rc;
}

static int
by_tag(const void *a, const void *b)
{
	return strcmp(((const struct challenge *)a)->tag, ((const struct challenge *)b)->tag);
}

static int
read_folder(DIR *folder, const char *path, struct challenges *list, struct err *e)
{
	struct dirent *entry;
	int rc = 0;

	while (rc == 0 && (entry = readdir(folder)) != NULL)
		rc = read_one(path, entry->d_name, list, e);
	if (list->count > 1)
		qsort(list->at, list->count, sizeof *list->at, by_tag);
	return rc;
}

int
challenges_read(const char *path, size_t max, struct challenges *out, struct err *e)
{
	struct challenges list = { 0 };
	struct buf text = { 0 };
	DIR *folder = opendir(path);
	int rc;

	if (folder != NULL) {
		rc = read_folder(folder, path, &list, e);
		(void)closedir(folder);
	} else {
		rc = file_read(path, &text, e);
		if (rc == 0 && challenges_parse(buf_bytes(&text), &list, e) != 0)
			rc = err_prefix(e, "%.200s", path);
		buf_free_secret(&text);
	}
	if (rc == 0 && list.count == 0)
		rc = err_set(e, ERR_MALFORMED, "%s: no challenge in it", path);
	if (rc != 0) {
		challenges_free(&list);
		return -1;
	}
	while (max != 0 && list.count > max)
		buf_free_secret(&list.at[--list.count].text);
	*out = list;
	return 0;
}
