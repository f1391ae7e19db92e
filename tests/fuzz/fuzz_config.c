/*
 * Arbitrary bytes as a configuration file, through the whole path: YAML, table, values, messages.
 *
 * The file lives in memory and is given as -c /proc/self/fd/N. A refusal must name its place, and
 * whatever was accepted must survive being read, printed without secrets and reloaded.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "schemas/base/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_values(const struct config *config)
{
	const struct text_pair *pairs;
	size_t count;
	char shown[64];

	for (int id = 0; id < OPTION_COUNT; id++) {
		const struct text_list *list = config_list(config, (enum option_id)id);

		config_redacted((enum option_id)id, config_text(config, (enum option_id)id), shown,
			sizeof(shown));
		for (size_t i = 0; i < list->count; i++)
			assert(list->items[i] != NULL);
	}
	pairs = config_pairs(config, OPT_KAFKA_PROPERTIES, &count);
	for (size_t i = 0; i < count; i++) {
		assert(pairs[i].value != NULL);
		assert(i == 0 || strcmp(pairs[i - 1].key, pairs[i].key) < 0);
		config_redacted(OPT_KAFKA_PROPERTIES, pairs[i].key, shown, sizeof(shown));
	}
	assert(config_u64(config, OPT_SENSOR_WORKERS) >= 1 &&
		config_u64(config, OPT_SENSOR_WORKERS) <= 64);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	static char path[32];
	char program[] = "fuzz";
	char flag[] = "-c";
	char *words[] = { program, flag, path, NULL };
	struct config *config = NULL;
	struct message msg = { "" };
	int rc;

	if (fd < 0) {
		fd = memfd_create("config", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	if (config_create(&config, PROGRAM_COLLECTOR) != 0)
		return 0;

	rc = config_parse(config, 3, words, &msg);

	assert(rc == 0 || rc == FAIL_CONFIG || rc == -ENOMEM);
	assert(rc != FAIL_CONFIG || strncmp(msg.text, path, strlen(path)) == 0);
	if (rc == 0) {
		read_values(config);
		assert(config_reload(config, &msg) == 0);
		read_values(config);
	}
	config_destroy(config);
	return 0;
}
