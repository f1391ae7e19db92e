#include "sensor/replay_id.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define EDGE_BYTES	 (1u << 20) /* DESIGN: the first and last MiB of each file */
#define LONG_VALUE_BYTES 200

/* Hashes `EDGE_BYTES` from an offset on; fewer when the file ends. */
static void hash_edge(XXH3_state_t *state, int fd, off_t offset, uint8_t *block)
{
	size_t done = 0;

	while (done < EDGE_BYTES) {
		ssize_t got = pread(fd, block + done, EDGE_BYTES - done, offset + (off_t)done);

		if (got <= 0)
			break;
		done += (size_t)got;
	}
	XXH3_128bits_update(state, block, done);
}

static void hash_file(XXH3_state_t *state, const char *path, uint8_t *block)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat status = { 0 };
	uint64_t size;

	if (fd >= 0 && (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)))
		status.st_size = 0;
	size = (uint64_t)status.st_size;
	XXH3_128bits_update(state, &size, sizeof(size));
	if (fd < 0)
		return;
	if (size > 0) {
		hash_edge(state, fd, 0, block);
		hash_edge(state, fd, size > EDGE_BYTES ? (off_t)(size - EDGE_BYTES) : 0, block);
	}
	close(fd);
}

/* The first input that is a pipe, or NULL. */
static const char *find_pipe(const struct config *config)
{
	const struct text_list *files = config_list(config, OPT_SENSOR_READ);
	struct stat status;

	for (size_t i = 0; i < files->count; i++) {
		if (strcmp(files->items[i], "-") == 0)
			return files->items[i];
		if (stat(files->items[i], &status) == 0 &&
			(S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)))
			return files->items[i];
	}
	return NULL;
}

bool replay_reads_pipe(const struct config *config)
{
	return find_pipe(config) != NULL;
}

int replay_id(char out[REPLAY_ID_BYTES], const struct config *config, struct message *msg)
{
	const struct text_list *files = config_list(config, OPT_SENSOR_READ);
	const char *given = config_text(config, OPT_SENSOR_REPLAY_ID);
	const char *pipe = find_pipe(config);
	XXH3_state_t *state;
	XXH128_hash_t hash;
	uint8_t *block;

	if (given != NULL) {
		snprintf(out, REPLAY_ID_BYTES, "%s", given);
		return 0;
	}
	if (pipe != NULL) {
		message_set(msg,
			"-r %.200s into Kafka needs --replay-id NAME: a pipe cannot be recognised "
			"when it is read again",
			pipe);
		return FAIL_USAGE;
	}
	state = XXH3_createState();
	block = malloc(EDGE_BYTES);
	if (state == NULL || block == NULL) {
		XXH3_freeState(state);
		free(block);
		return -ENOMEM;
	}
	XXH3_128bits_reset(state);
	for (size_t i = 0; i < files->count; i++)
		hash_file(state, files->items[i], block);
	hash = XXH3_128bits_digest(state);
	XXH3_freeState(state);
	free(block);
	snprintf(out, REPLAY_ID_BYTES, "%016" PRIx64 "%016" PRIx64, hash.high64, hash.low64);
	return 0;
}

static void add_setting(struct buffer *out, const char *name, struct bytes value)
{
	if (value.size > LONG_VALUE_BYTES)
		buffer_format(out, "%s=#%016" PRIx64 "\n", name,
			(uint64_t)XXH3_64bits(value.data, value.size));
	else
		buffer_format(out, "%s=%.*s\n", name, (int)value.size, (const char *)value.data);
}

static void add_list(struct buffer *out, const char *name, const struct text_list *list)
{
	struct buffer joined = { 0 };

	buffer_append_text(&joined, "");
	for (size_t i = 0; i < list->count; i++)
		buffer_format(&joined, "%s%s", i > 0 ? "," : "", list->items[i]);
	add_setting(out, name, (struct bytes){ joined.data, joined.size });
	buffer_fini(&joined);
}

static void add_text(struct buffer *out, const char *name, const char *text)
{
	text = text != NULL ? text : "";
	add_setting(out, name, (struct bytes){ (const uint8_t *)text, strlen(text) });
}

/* The dark-file's content counts, not its name. */
static void add_file(struct buffer *out, const char *name, const char *path)
{
	struct buffer content = { 0 };
	FILE *file = path != NULL ? fopen(path, "re") : NULL;
	char block[4096];
	size_t got;

	while (file != NULL && (got = fread(block, 1, sizeof(block), file)) > 0)
		buffer_append(&content, block, got);
	if (file != NULL)
		fclose(file);
	add_setting(out, name, (struct bytes){ content.data, content.size });
	buffer_fini(&content);
}

void replay_settings(char *out, size_t size, const struct config *config, uint32_t partitions)
{
	struct buffer text = { 0 };

	add_text(&text, "sensor", config_text(config, OPT_SENSOR_NAME));
	add_list(&text, "dark", config_list(config, OPT_SENSOR_DARK));
	add_file(&text, "dark-file", config_text(config, OPT_SENSOR_DARK_FILE));
	add_text(&text, "filter", config_text(config, OPT_SENSOR_FILTER));
	buffer_format(&text, "max-flows=%" PRIu64 "\n", config_u64(config, OPT_SENSOR_MAX_FLOWS));
	buffer_format(&text, "partitions=%u\n", partitions);
	snprintf(out, size, "%.*s", text.failed ? 0 : (int)text.size,
		text.data != NULL ? (const char *)text.data : "");
	buffer_fini(&text);
}
