/*
 * Runs a fuzz target over a corpus without the fuzzer: each file, and each beginning of a short
 * one, in memory of exactly its size, so that the sanitizers see a byte read past the end.
 *
 *   replay_NAME FILE|FOLDER…
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CUT_BYTES_MAX  1024 /* longer files are cut at their first so many places */
#define FILE_BYTES_MAX ((size_t)16 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run_beginning(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	if (copy == NULL)
		abort();
	if (size > 0)
		memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static int run_file(const char *path)
{
	uint8_t *data = malloc(FILE_BYTES_MAX);
	FILE *file = fopen(path, "re");
	size_t size;

	if (data == NULL || file == NULL) {
		perror(path);
		free(data);
		return 1;
	}
	size = fread(data, 1, FILE_BYTES_MAX, file);
	fclose(file);
	run_beginning(data, size);
	for (size_t cut = 0; cut < size && cut < CUT_BYTES_MAX; cut++)
		run_beginning(data, cut);
	free(data);
	return 0;
}

static int run_folder(const char *folder, unsigned *files)
{
	struct dirent *found;
	DIR *listing = opendir(folder);
	int failed = 0;

	if (listing == NULL) {
		perror(folder);
		return 1;
	}
	while ((found = readdir(listing)) != NULL) {
		char path[4096];

		if (found->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, found->d_name);
		failed += run_file(path);
		*files += 1;
	}
	closedir(listing);
	return failed;
}

int main(int argc, char **argv)
{
	unsigned files = 0;
	int failed = 0;

	for (int i = 1; i < argc; i++) {
		struct stat status;

		if (stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode)) {
			failed += run_folder(argv[i], &files);
		} else {
			failed += run_file(argv[i]);
			files++;
		}
	}
	printf("%u files\n", files);
	return failed != 0 || files == 0;
}
