/*
 * The bytes of a capture file, read from its start to its end.
 *
 * Plain files, pipes, standard input ("-") and memory; what is compressed with gzip or zstd is
 * recognised by its first bytes, never by its name, and decompressed on the way (several gzip
 * members or zstd frames one after another too). Readers see the unread bytes as one contiguous
 * piece, `at` to `end`, and ask for more with capture_stream_has.
 *
 * Threads: one reader at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/errors.h"
#include "sensor/capture_block.h"

struct capture_source;

struct capture_stream {
	const uint8_t *at; /* unread bytes, in `block`; a reader moves `at` forward */
	const uint8_t *end;
	struct capture_block *block;
	struct capture_block_pool *pool;
	struct capture_source *source;
	uint64_t block_offset; /* of the block's first byte */
};

/** What is wrong with a file, and where. */
struct capture_damage {
	uint64_t offset; /* in the decompressed data where the file is compressed */
	struct message reason;
};

/**
 * Opens a file, or standard input for "-". A FIFO is waited for.
 *
 * @param pool  stays with the caller and must outlive the stream
 * @return 0, -ENOMEM, FAIL_STOPPED when the pool's stop came first, or -errno of open or of the
 *         first read
 */
int capture_stream_open(
	struct capture_stream **out, const char *path, struct capture_block_pool *pool) MUST_CHECK;

/** The same over memory, which must outlive the stream. */
int capture_stream_open_memory(struct capture_stream **out, const void *data, size_t size,
	struct capture_block_pool *pool) MUST_CHECK;

void capture_stream_close(struct capture_stream *stream);

/**
 * Makes `count` bytes available: moves the unread ones to the front of a new block and reads the
 * block full. Frames in the old block stay valid for those who hold it.
 *
 * @return false when the input ends or fails first; then everything that was left is available
 */
bool capture_stream_fill(struct capture_stream *stream, size_t count);

static inline size_t capture_stream_left(const struct capture_stream *stream)
{
	return (size_t)(stream->end - stream->at);
}

/** True when `count` bytes are available, reading on if needed. */
static inline bool capture_stream_has(struct capture_stream *stream, size_t count)
{
	return capture_stream_left(stream) >= count || capture_stream_fill(stream, count);
}

/** Passes over `count` bytes without keeping them; false when the input ends or fails first. */
bool capture_stream_skip(struct capture_stream *stream, uint64_t count);

/** Offset of `at`, from the start of the file or of the decompressed data. */
uint64_t capture_stream_offset(const struct capture_stream *stream);

/** Why the input ended: 0 at its end, else a failure (-errno, FAIL_FORMAT, FAIL_TRUNCATED). */
int capture_stream_failure(const struct capture_stream *stream);

/**
 * Describes input that ended inside `what`: the failure of the input at the place it had come to,
 * otherwise a cut of what begins at `offset`.
 *
 * @param needed  length of `what`
 * @return the code of the failure, FAIL_TRUNCATED for a cut
 */
int capture_stream_cut(const struct capture_stream *stream, uint64_t offset, const char *what,
	uint64_t needed, struct capture_damage *damage);

bool capture_stream_is_compressed(const struct capture_stream *stream);

/** True for regular files, which can be closed and read again. */
bool capture_stream_is_rereadable(const struct capture_stream *stream);

/** Bytes taken from the file, and its length (0 when unknown), both as compressed. */
void capture_stream_progress(const struct capture_stream *stream, uint64_t *read, uint64_t *total);
