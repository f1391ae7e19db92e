/*
 * What makes two replays the same one: their files, and the settings that shape their records.
 *
 * Threads: pure but for reading the files.
 */
#pragma once

#include "schemas/base/bytes.h"
#include "schemas/base/options.h"

#define REPLAY_ID_BYTES 65

/**
 * The id of a replay: --replay-id, or a hash of each file's length and first and last MiB, in
 * order. A file that cannot be read counts as empty: the capture reader reports it.
 *
 * @return 0, or FAIL_USAGE when standard input or another pipe is read without --replay-id
 */
int replay_id(
	char out[REPLAY_ID_BYTES], const struct config *config, struct message *msg) MUST_CHECK;

/** True when any input is standard input or another pipe, which can be read only once. */
bool replay_reads_pipe(const struct config *config);

/** The settings as "name=value" lines, cut to `size`; long values are given as their hash. */
void replay_settings(char *out, size_t size, const struct config *config, uint32_t partitions);
