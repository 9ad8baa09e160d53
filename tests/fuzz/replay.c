/*
 * Runs one fuzz target over files, so that corpora and regressions are tested
 * by any compiler: replay FILE-OR-FOLDER...
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* A target may have one. */
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static long replayed;

static int
replay_file(const char *path)
{
	FILE *in = fopen(path, "rb");
	uint8_t *data = malloc(INPUT_MAX);
	size_t len;

	if (in == NULL || data == NULL) {
		(void)fprintf(stderr, "replay: %s cannot be read\n", path);
		free(data);
		if (in != NULL)
			(void)fclose(in);
		return 1;
	}
	len = fread(data, 1, INPUT_MAX, in);
	(void)fclose(in);
	/* A block of exactly this size, so that AddressSanitizer sees the first octet past it. */
	data = realloc(data, len == 0 ? 1 : len);
	(void)LLVMFuzzerTestOneInput(data, len);
	free(data);
	replayed++;
	return 0;
}

static int
replay_folder(const char *path)
{
	struct dirent **names = NULL;
	int count = scandir(path, &names, NULL, alphasort), failed = 0, i;

	for (i = 0; i < count; i++) {
		char *file = NULL;

		if (names[i]->d_name[0] != '.' && asprintf(&file, "%s/%s", path, names[i]->d_name) > 0)
			failed |= replay_file(file);
		free(file);
		free(names[i]);
	}
	free(names);
	return failed;
}

int
main(int argc, char **argv)
{
	struct stat st;
	int failed = 0, i;

	if (LLVMFuzzerInitialize != NULL)
		(void)LLVMFuzzerInitialize(&argc, &argv);
	for (i = 1; i < argc; i++)
		if (stat(argv[i], &st) == 0)
			failed |= S_ISDIR(st.st_mode) ? replay_folder(argv[i]) : replay_file(argv[i]);
	(void)printf("%s: %ld inputs replayed\n", argv[0], replayed);
	return failed != 0 || replayed == 0;
}
