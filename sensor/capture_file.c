#include "sensor/capture_file.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/base/log.h"
#include "sensor/capture_filter.h"
#include "sensor/capture_pcap.h"
#include "sensor/capture_pcapng.h"
#include "sensor/capture_stream.h"
#include "sensor/linktype.h"

#define MAGIC_BYTES	       4
#define REPORTED_LINKTYPES_MAX 8 /* a pcapng file can name 65,536; more than these are not said */

enum format { FORMAT_PCAP, FORMAT_PCAPNG };

struct capture_file {
	char *path;
	struct capture_filter *filter;
	struct capture_block_pool *pool;
	struct capture_stream *stream; /* NULL before the first read, while suspended, at the end */
	enum format format;
	struct capture_pcap pcap;
	struct capture_pcapng pcapng;
	bool has_ended;
	bool is_damaged;
	bool has_broken_off; /* a pipe, and there was to be more */

	/* what holds for frames of the link type last met */
	bool has_verdict;
	bool is_left_out;
	uint32_t linktype;
	const struct capture_filter_program *program; /* NULL: not filtered */

	uint32_t reported[REPORTED_LINKTYPES_MAX];
	size_t reported_count;
	uint64_t read_bytes; /* once the stream is closed */
	uint64_t file_bytes;
};

int capture_file_create(struct capture_file **out, const char *path, struct capture_filter *filter,
	struct capture_block_pool *pool)
{
	struct capture_file *file = calloc(1, sizeof(*file));

	if (file == NULL)
		return -ENOMEM;
	file->filter = filter;
	file->pool = pool;
	file->path = strdup(path);
	if (file->path == NULL) {
		capture_file_destroy(file);
		return -ENOMEM;
	}
	*out = file;
	return 0;
}

static void close_stream(struct capture_file *file)
{
	if (file->stream != NULL)
		capture_stream_progress(file->stream, &file->read_bytes, &file->file_bytes);
	capture_stream_close(file->stream);
	file->stream = NULL;
	capture_pcapng_fini(&file->pcapng);
	file->has_verdict = false;
}

static void end_file(struct capture_file *file)
{
	close_stream(file);
	file->has_ended = true;
}

static void report(struct capture_file *file, uint64_t offset, const char *reason)
{
	bool is_compressed = file->stream != NULL && capture_stream_is_compressed(file->stream);

	file->is_damaged = true;
	log_plain("%s: byte %llu: %s%s",
		strcmp(file->path, "-") == 0 ? "standard input" : file->path,
		(unsigned long long)offset, reason,
		is_compressed ? " (byte of the decompressed data)" : "");
}

/* What can be read again from its start is a file whatever happens to it. */
static bool is_pipe(const struct capture_file *file)
{
	return strcmp(file->path, "-") == 0 ||
	       (file->stream != NULL && !capture_stream_is_rereadable(file->stream));
}

/* Reports damage and ends the file; memory that ran out and a stop are no damage and passed on. */
static int end_damaged(struct capture_file *file, int code, const struct capture_damage *damage)
{
	if (code == -ENOMEM || code == FAIL_STOPPED)
		return code;
	report(file, damage->offset, damage->reason.text);
	file->has_broken_off = is_pipe(file);
	end_file(file);
	return 0;
}

static int read_header(struct capture_file *file, struct capture_damage *damage)
{
	struct capture_stream *stream = file->stream;

	*damage = (struct capture_damage){ 0 };
	if (!capture_stream_has(stream, MAGIC_BYTES) && capture_stream_failure(stream) != 0)
		return capture_stream_cut(stream, 0, "file header", MAGIC_BYTES, damage);
	if (capture_stream_left(stream) == 0) {
		message_set(&damage->reason, "file is empty");
		return FAIL_TRUNCATED;
	}
	if (capture_stream_left(stream) >= MAGIC_BYTES && capture_pcap_is_magic(stream->at)) {
		file->format = FORMAT_PCAP;
		return capture_pcap_init(&file->pcap, stream, damage);
	}
	if (capture_stream_left(stream) >= MAGIC_BYTES && capture_pcapng_is_magic(stream->at)) {
		file->format = FORMAT_PCAPNG;
		return capture_pcapng_init(&file->pcapng, stream, damage);
	}
	message_set(&damage->reason, "not a pcap or pcapng capture");
	return FAIL_FORMAT;
}

/* Opens the file; one that is no capture is reported and ended. */
static int open_file(struct capture_file *file)
{
	struct capture_damage damage = { 0 };
	int rc = capture_stream_open(&file->stream, file->path, file->pool);

	if (rc != 0) {
		message_set(&damage.reason, "%s", error_text(rc));
		return end_damaged(file, rc, &damage);
	}
	rc = read_header(file, &damage);
	return rc != 0 ? end_damaged(file, rc, &damage) : 0;
}

/* True the first time it is asked for a link type. */
static bool note_reported(struct capture_file *file, uint32_t linktype)
{
	for (size_t i = 0; i < file->reported_count; i++)
		if (file->reported[i] == linktype)
			return false;
	if (file->reported_count == REPORTED_LINKTYPES_MAX)
		return false;
	file->reported[file->reported_count++] = linktype;
	return true;
}

static uint64_t declared_at(const struct capture_file *file, uint32_t linktype)
{
	return file->format == FORMAT_PCAP ? 0
					   : capture_pcapng_declared_at(&file->pcapng, linktype);
}

/* Decides what is done with frames of a link type, and says so where it is not the usual. */
static void judge_linktype(struct capture_file *file, uint32_t linktype)
{
	struct message reason = { 0 };
	struct message text;

	file->has_verdict = true;
	file->linktype = linktype;
	file->program = NULL;
	file->is_left_out = false;
	if (!linktype_is_known(linktype)) {
		message_set(&text, "link type %u (%s) is not supported, its frames count as not IP",
			linktype, linktype_name(linktype));
	} else if (file->filter != NULL) {
		file->program = capture_filter_find(file->filter, linktype, &reason);
		file->is_left_out = file->program == NULL;
		message_set(&text,
			"filter \"%.100s\" does not apply to link type %u (%s), its frames are "
			"left "
			"out: %.200s",
			capture_filter_text(file->filter), linktype, linktype_name(linktype),
			reason.text);
	}
	if ((!linktype_is_known(linktype) || file->is_left_out) && note_reported(file, linktype))
		report(file, declared_at(file, linktype), text.text);
}

/* Drops the frames that the filter does not let pass; returns how many are left. */
static int judge_frames(struct capture_file *file, struct frame *frames, int count)
{
	int kept = 0;

	for (int i = 0; i < count; i++) {
		if (frames[i].linktype != file->linktype || !file->has_verdict)
			judge_linktype(file, frames[i].linktype);
		if (file->is_left_out)
			continue;
		if (file->program != NULL && !capture_filter_matches(file->program, &frames[i]))
			continue;
		if (kept != i)
			frames[kept] = frames[i];
		kept++;
	}
	return kept;
}

static int read_frames(
	struct capture_file *file, struct frame *frames, int count, struct capture_damage *damage)
{
	switch (file->format) {
	case FORMAT_PCAP:
		return capture_pcap_read(&file->pcap, file->stream, frames, count, damage);
	case FORMAT_PCAPNG:
		return capture_pcapng_read(&file->pcapng, file->stream, frames, count, damage);
	}
	return 0;
}

/* A plain pcap file has one link type, so frames that are alike need no look at each. */
static bool is_passed_whole(const struct capture_file *file)
{
	return file->format == FORMAT_PCAP && file->has_verdict && file->filter == NULL;
}

int capture_file_read(struct capture_file *file, struct frame *frames, int count)
{
	struct capture_damage damage;

	while (!file->has_ended) {
		int n;

		if (file->stream == NULL) {
			n = open_file(file);
			if (n != 0)
				return n;
			continue;
		}
		n = read_frames(file, frames, count, &damage);
		if (n < 0)
			return end_damaged(file, n, &damage);
		if (n == 0)
			break;
		if (!is_passed_whole(file))
			n = judge_frames(file, frames, n);
		if (n > 0)
			return n;
		if (file->format == FORMAT_PCAP && file->is_left_out)
			break; /* and so would all others be */
	}
	end_file(file);
	return 0;
}

struct capture_block *capture_file_block(const struct capture_file *file)
{
	return file->stream != NULL ? file->stream->block : NULL;
}

bool capture_file_suspend(struct capture_file *file)
{
	if (file->stream == NULL || !capture_stream_is_rereadable(file->stream))
		return false;
	close_stream(file);
	file->read_bytes = 0;
	return true;
}

bool capture_file_is_damaged(const struct capture_file *file)
{
	return file->is_damaged;
}

bool capture_file_has_broken_off(const struct capture_file *file)
{
	return file->has_broken_off;
}

void capture_file_progress(const struct capture_file *file, uint64_t *read, uint64_t *total)
{
	*read = file->read_bytes;
	*total = file->file_bytes;
	if (file->stream != NULL)
		capture_stream_progress(file->stream, read, total);
}

void capture_file_destroy(struct capture_file *file)
{
	if (file == NULL)
		return;
	close_stream(file);
	free(file->path);
	free(file);
}
