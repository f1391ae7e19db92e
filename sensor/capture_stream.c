/*
 * Files are read with read(2) into blocks rather than mapped: a mapped file that someone cuts
 * short, or whose disk fails, ends the process with SIGBUS, while read returns what there is. It
 * costs 2 to 3 ns more for a frame of 60 bytes than a mapping does, 10 instead of 8, where
 * libpcap's own loop takes 50. Since frames point into the blocks, nothing is copied but the part
 * of a record that crosses the border of two blocks.
 *
 * Blocks are read full however slowly input arrives, so their borders depend on the input alone. A
 * file that grows is read to where it ends when the reader gets there.
 */
#include "sensor/capture_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define RAW_BYTES	   ((size_t)64 << 10) /* read at once from compressed files */
#define PIPE_BYTES	   (1 << 20)	      /* what pipe(7) lets everyone have */
#define GZIP_WINDOW_BITS   (15 + 16)	      /* zlib.h: the largest window, gzip format only */
#define GZIP_MAGIC	   0x1f8b	      /* RFC 1952, section 2.3.1 */
#define ZSTD_FRAME_MAGIC   0xfd2fb528u	      /* RFC 8878, section 3.1.1, little endian */
#define ZSTD_SKIP_MAGIC	   0x184d2a50u	      /* RFC 8878, section 3.1.2; the low four bits vary */
#define ZSTD_SKIP_MASK	   0xfffffff0u
#define DETECT_MAGIC_BYTES 4
#define STOP_LOOK_MS	   200 /* how soon a stop is seen while a pipe is silent */

enum packing { PACKING_NONE, PACKING_GZIP, PACKING_ZSTD };

struct capture_source {
	int fd;	      /* -1 for memory */
	uint8_t *raw; /* first bytes of the file; all of it, piece by piece, when compressed */
	const uint8_t *raw_at;
	const uint8_t *raw_end;
	uint64_t taken;		 /* bytes that came from the file */
	uint64_t file_bytes;	 /* 0 when unknown */
	const atomic_bool *stop; /* NULL: never */
	bool is_regular;
	bool has_ended;	    /* no more bytes in the file */
	bool inside_packed; /* a gzip member or zstd frame has begun and not ended */
	enum packing packing;
	z_stream gzip;
	ZSTD_DStream *zstd;
	int failure;
	struct message reason;
};

static void source_fail(struct capture_source *source, int code, const char *what, const char *why)
{
	source->failure = code;
	message_set(
		&source->reason, "%s%s%s", what, why != NULL ? ": " : "", why != NULL ? why : "");
}

/* Until a pipe has something to be read, or the run is to stop. */
static bool wait_for_input(struct capture_source *source)
{
	struct pollfd input = { .fd = source->fd, .events = POLLIN };

	while (!source->is_regular && source->stop != NULL) {
		if (*source->stop) {
			source_fail(source, FAIL_STOPPED, "stopped", NULL);
			return false;
		}
		if (poll(&input, 1, STOP_LOOK_MS) > 0)
			break;
	}
	return true;
}

/* Fills `data` from the file; less than `size` only at its end or failure. */
static size_t read_file(struct capture_source *source, uint8_t *data, size_t size)
{
	size_t count = 0;

	while (count < size && source->fd >= 0 && !source->has_ended) {
		ssize_t got;

		if (!wait_for_input(source)) {
			source->has_ended = true;
			break;
		}
		got = read(source->fd, data + count, size - count);
		if (got > 0)
			count += (size_t)got;
		else if (got == 0)
			source->has_ended = true;
		else if (errno != EINTR) {
			source_fail(source, -errno, strerror(errno), NULL);
			source->has_ended = true;
		}
	}
	source->taken += count;
	return count;
}

/* Makes raw bytes available; false at the end of the file. */
static bool refill_raw(struct capture_source *source)
{
	if (source->raw_at < source->raw_end)
		return true;
	if (source->fd < 0)
		return false;
	source->raw_at = source->raw;
	source->raw_end = source->raw + read_file(source, source->raw, RAW_BYTES);
	return source->raw_at < source->raw_end;
}

static size_t read_plain(struct capture_source *source, uint8_t *data, size_t size)
{
	size_t ready = (size_t)(source->raw_end - source->raw_at);

	if (ready > size)
		ready = size;
	memcpy(data, source->raw_at, ready);
	source->raw_at += ready;
	return ready + read_file(source, data + ready, size - ready);
}

/* Between two members: true when another begins. Zeros are padding, as gzip itself takes them. */
static bool next_gzip_member(struct capture_source *source)
{
	bool is_padded = false;

	while (refill_raw(source) && *source->raw_at == 0) {
		source->raw_at++;
		is_padded = true;
	}
	if (!refill_raw(source))
		return false;
	if (is_padded || *source->raw_at != GZIP_MAGIC >> 8) {
		source_fail(source, FAIL_FORMAT, "gzip data is followed by something else", NULL);
		return false;
	}
	inflateReset(&source->gzip);
	source->inside_packed = true;
	return true;
}

static size_t read_gzip(struct capture_source *source, uint8_t *data, size_t size)
{
	z_stream *gzip = &source->gzip;

	gzip->next_out = data;
	gzip->avail_out = (uInt)size;
	while (gzip->avail_out > 0 && source->failure == 0) {
		int rc;

		if (!source->inside_packed && !next_gzip_member(source))
			break;
		if (!refill_raw(source)) {
			if (source->failure == 0)
				source_fail(source, FAIL_TRUNCATED, "gzip data ends early", NULL);
			break;
		}
		gzip->next_in = (Bytef *)(uintptr_t)source->raw_at; /* zlib does not write to it */
		gzip->avail_in = (uInt)(source->raw_end - source->raw_at);
		rc = inflate(gzip, Z_NO_FLUSH);
		source->raw_at = source->raw_end - gzip->avail_in;
		if (rc == Z_STREAM_END)
			source->inside_packed = false;
		else if (rc == Z_MEM_ERROR)
			source_fail(source, -ENOMEM, strerror(ENOMEM), NULL);
		else if (rc != Z_OK && rc != Z_BUF_ERROR)
			source_fail(source, FAIL_FORMAT, "gzip data is damaged", gzip->msg);
	}
	return size - gzip->avail_out;
}

static size_t read_zstd(struct capture_source *source, uint8_t *data, size_t size)
{
	ZSTD_outBuffer out = { .dst = data, .size = size };

	while (out.pos < size && source->failure == 0) {
		size_t before = out.pos;
		bool has_input = refill_raw(source);
		ZSTD_inBuffer in = { source->raw_at, (size_t)(source->raw_end - source->raw_at),
			0 };
		size_t rc;

		/* inside a frame the decoder may hold output even without input */
		if (source->failure != 0 || (!has_input && !source->inside_packed))
			break;
		rc = ZSTD_decompressStream(source->zstd, &out, &in);
		source->raw_at += in.pos;
		source->inside_packed = rc != 0;
		if (ZSTD_isError(rc))
			source_fail(
				source, FAIL_FORMAT, "zstd data is damaged", ZSTD_getErrorName(rc));
		else if (!has_input && out.pos == before && source->inside_packed)
			source_fail(source, FAIL_TRUNCATED, "zstd data ends early", NULL);
	}
	return out.pos;
}

static size_t read_source(struct capture_source *source, uint8_t *data, size_t size)
{
	switch (source->packing) {
	case PACKING_NONE:
		return read_plain(source, data, size);
	case PACKING_GZIP:
		return read_gzip(source, data, size);
	case PACKING_ZSTD:
		return read_zstd(source, data, size);
	}
	return 0;
}

static enum packing detect_packing(const uint8_t *data, size_t size)
{
	uint32_t magic;

	if (size < DETECT_MAGIC_BYTES)
		return PACKING_NONE;
	magic = (uint32_t)data[3] << 24 | (uint32_t)data[2] << 16 | (uint32_t)data[1] << 8 |
		data[0];
	if (magic == ZSTD_FRAME_MAGIC || (magic & ZSTD_SKIP_MASK) == ZSTD_SKIP_MAGIC)
		return PACKING_ZSTD;
	return (data[0] << 8 | data[1]) == GZIP_MAGIC ? PACKING_GZIP : PACKING_NONE;
}

/* Looks at the first bytes, which are in `raw`, and prepares to decompress. */
static int start_source(struct capture_source *source)
{
	size_t size = (size_t)(source->raw_end - source->raw_at);

	source->packing = detect_packing(source->raw_at, size);
	if (source->packing == PACKING_GZIP) {
		source->inside_packed = true;
		if (inflateInit2(&source->gzip, GZIP_WINDOW_BITS) != Z_OK) {
			source->packing = PACKING_NONE;
			return -ENOMEM;
		}
	}
	if (source->packing == PACKING_ZSTD) {
		source->zstd = ZSTD_createDStream();
		if (source->zstd == NULL)
			return -ENOMEM;
	}
	return 0;
}

static void close_source(struct capture_source *source)
{
	if (source == NULL)
		return;
	if (source->packing == PACKING_GZIP)
		inflateEnd(&source->gzip);
	ZSTD_freeDStream(source->zstd);
	if (source->fd >= 0)
		close(source->fd);
	free(source->raw);
	free(source);
}

static int create_stream(struct capture_stream **out, struct capture_block_pool *pool)
{
	struct capture_stream *stream = calloc(1, sizeof(*stream));

	if (stream == NULL)
		return -ENOMEM;
	stream->pool = pool;
	stream->block = capture_block_create(pool, CAPTURE_BLOCK_BYTES);
	stream->source = calloc(1, sizeof(*stream->source));
	if (stream->block == NULL || stream->source == NULL) {
		capture_stream_close(stream);
		return -ENOMEM;
	}
	stream->source->fd = -1;
	stream->at = stream->block->data;
	stream->end = stream->block->data;
	*out = stream;
	return 0;
}

/* As many files as overlap in time are open together; the soft limit is often only 1,024. */
static bool raise_open_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max)
		return false;
	limit.rlim_cur = limit.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

static int open_path(const char *path)
{
	int fd;

	if (strcmp(path, "-") == 0)
		fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
	else
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 && errno == EMFILE && raise_open_limit())
		return open_path(path);
	return fd >= 0 ? fd : -errno;
}

static void note_kind(struct capture_source *source, const char *path, const struct stat *status)
{
	if (S_ISREG(status->st_mode)) {
		source->is_regular = strcmp(path, "-") != 0;
		source->file_bytes = (uint64_t)status->st_size;
		posix_fadvise(source->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	} else if (S_ISFIFO(status->st_mode)) {
		fcntl(source->fd, F_SETPIPE_SZ, PIPE_BYTES); /* refused beyond a limit: then not */
	}
}

int capture_stream_open(
	struct capture_stream **out, const char *path, struct capture_block_pool *pool)
{
	struct capture_stream *stream;
	struct capture_source *source;
	struct stat status;
	int rc = create_stream(&stream, pool);

	if (rc != 0)
		return rc;
	source = stream->source;
	source->stop = pool->stop;
	source->raw = malloc(RAW_BYTES);
	rc = -ENOMEM;
	if (source->raw == NULL)
		goto fail;
	rc = open_path(path);
	if (rc < 0)
		goto fail;
	source->fd = rc;
	if (fstat(source->fd, &status) == 0)
		note_kind(source, path, &status);

	source->raw_at = source->raw;
	source->raw_end = source->raw + read_file(source, source->raw, RAW_BYTES);
	rc = source->raw_at == source->raw_end ? source->failure : 0;
	if (rc == 0)
		rc = start_source(source);
	if (rc != 0)
		goto fail;
	*out = stream;
	return 0;

fail:
	capture_stream_close(stream);
	return rc;
}

int capture_stream_open_memory(
	struct capture_stream **out, const void *data, size_t size, struct capture_block_pool *pool)
{
	struct capture_stream *stream;
	int rc = create_stream(&stream, pool);

	if (rc != 0)
		return rc;
	stream->source->raw_at = data;
	stream->source->raw_end = stream->source->raw_at + size;
	stream->source->file_bytes = size;
	stream->source->taken = size;
	rc = start_source(stream->source);
	if (rc != 0) {
		capture_stream_close(stream);
		return rc;
	}
	*out = stream;
	return 0;
}

void capture_stream_close(struct capture_stream *stream)
{
	if (stream == NULL)
		return;
	close_source(stream->source);
	capture_block_release(stream->block, stream->pool);
	free(stream);
}

/* Moves the unread bytes to a new block and reads it full. */
static bool next_block(struct capture_stream *stream, size_t capacity)
{
	size_t left = capture_stream_left(stream);
	struct capture_block *block = capture_block_create(stream->pool, capacity);

	if (block == NULL) {
		source_fail(stream->source, -ENOMEM, strerror(ENOMEM), NULL);
		return false;
	}
	memcpy(block->data, stream->at, left);
	stream->block_offset = capture_stream_offset(stream);
	capture_block_release(stream->block, stream->pool);
	stream->block = block;
	stream->at = block->data;
	stream->end = block->data + left;
	stream->end += read_source(stream->source, block->data + left, capacity - left);
	return stream->end == block->data + capacity;
}

bool capture_stream_fill(struct capture_stream *stream, size_t count)
{
	size_t capacity = CAPTURE_BLOCK_BYTES;

	/* by doubling, so that a length that lies costs no more memory than the file is long */
	while (capture_stream_left(stream) < count) {
		while (capacity <= capture_stream_left(stream))
			capacity *= 2;
		if (stream->source->failure != 0 || !next_block(stream, capacity))
			break;
	}
	return capture_stream_left(stream) >= count;
}

bool capture_stream_skip(struct capture_stream *stream, uint64_t count)
{
	while (count > capture_stream_left(stream)) {
		count -= capture_stream_left(stream);
		stream->at = stream->end;
		if (!capture_stream_fill(stream, 1))
			return false;
	}
	stream->at += count;
	return true;
}

uint64_t capture_stream_offset(const struct capture_stream *stream)
{
	return stream->block_offset + (uint64_t)(stream->at - stream->block->data);
}

int capture_stream_failure(const struct capture_stream *stream)
{
	return stream->source->failure;
}

int capture_stream_cut(const struct capture_stream *stream, uint64_t offset, const char *what,
	uint64_t needed, struct capture_damage *damage)
{
	uint64_t reached = capture_stream_offset(stream) + capture_stream_left(stream);

	if (stream->source->failure != 0) {
		damage->offset = reached;
		damage->reason = stream->source->reason;
		return stream->source->failure;
	}
	damage->offset = offset;
	message_set(&damage->reason, "%s of %llu bytes is cut after %llu", what,
		(unsigned long long)needed, (unsigned long long)(reached - offset));
	return FAIL_TRUNCATED;
}

bool capture_stream_is_compressed(const struct capture_stream *stream)
{
	return stream->source->packing != PACKING_NONE;
}

bool capture_stream_is_rereadable(const struct capture_stream *stream)
{
	return stream->source->is_regular;
}

void capture_stream_progress(const struct capture_stream *stream, uint64_t *read, uint64_t *total)
{
	*read = stream->source->taken;
	*total = stream->source->file_bytes;
}
