/*
 * A new segment begins only between closes, and the newest one is never deleted: so what a close
 * has appended is still there when an interrupted close is repeated.
 *
 * Sequence numbers that opening misses are gaps, unless a later record names them as lost: so a
 * loss is named once, whenever the process dies.
 */
#include "sensor/spool.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schemas/base/log.h"
#include "sensor/entry_store.h"
#include "sensor/spool_internal.h"

#define SEGMENTS_OF_LIMIT 16 /* so large a part of the spool is given up at once */
#define SEGMENT_MIN_BYTES (64u << 10)
#define SEGMENT_MAX_BYTES (64u << 20)
#define NAME_FORMAT	  "%020" PRIu64 ".spool"
#define LOCK_NAME	  "lock"

/* ---- segments ---- */

void spool_segment_name(uint64_t first, char out[NAME_BYTES])
{
	snprintf(out, NAME_BYTES, NAME_FORMAT, first);
}

struct segment *spool_newest(struct spool *spool)
{
	return spool->segment_count > 0 ? &spool->segments[spool->segment_count - 1] : NULL;
}

struct segment *spool_segment_of(struct spool *spool, uint64_t first)
{
	for (size_t i = 0; i < spool->segment_count; i++)
		if (spool->segments[i].first == first)
			return &spool->segments[i];
	return NULL;
}

int spool_add_segment(struct spool *spool, uint64_t first, uint64_t bytes)
{
	struct segment *segments =
		realloc(spool->segments, (spool->segment_count + 1) * sizeof(*spool->segments));

	if (segments == NULL)
		return -ENOMEM;
	spool->segments = segments;
	segments[spool->segment_count++] = (struct segment){ first, first - 1, bytes, 0 };
	spool->bytes += bytes;
	return 0;
}

void spool_remove_segment(struct spool *spool, struct segment *segment)
{
	size_t index = (size_t)(segment - spool->segments);
	char name[NAME_BYTES];

	spool_segment_name(segment->first, name);
	if (unlinkat(spool->directory_fd, name, 0) != 0 && errno != ENOENT)
		log_warning("spool segment cannot be removed file=%s/%s error=\"%s\"",
			spool->directory, name, error_text(-errno));
	spool->bytes -= segment->bytes;
	memmove(segment, segment + 1,
		(spool->segment_count - index - 1) * sizeof(*spool->segments));
	spool->segment_count--;
}

/* A record of the segment is committed or given up. */
static void one_less(struct spool *spool, uint64_t first)
{
	struct segment *segment = spool_segment_of(spool, first);

	if (segment != NULL && segment->remaining > 0 && --segment->remaining == 0 &&
		segment != spool_newest(spool))
		spool_remove_segment(spool, segment);
}

static int create_segment(struct spool *spool, uint64_t first, int *fd)
{
	struct spool_segment_header header = { spool->id, first, spool->last };
	uint8_t bytes[SPOOL_SEGMENT_HEADER_BYTES];
	char name[NAME_BYTES];
	int rc;

	spool_segment_name(first, name);
	*fd = openat(spool->directory_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (*fd < 0)
		return -errno;
	spool_segment_header_write(&header, bytes);
	rc = spool_write_at(*fd, bytes, sizeof(bytes), 0);
	if (rc == 0 && (fdatasync(*fd) != 0 || fsync(spool->directory_fd) != 0))
		rc = -errno;
	if (rc == 0)
		rc = spool_add_segment(spool, first, SPOOL_SEGMENT_HEADER_BYTES);
	if (rc != 0) {
		close(*fd);
		(void)unlinkat(spool->directory_fd, name, 0);
	}
	return rc;
}

static int begin_segment(struct spool *spool)
{
	uint64_t first = spool->skip_to > spool->last ? spool->skip_to + 1 : spool->last + 1;
	struct segment *before;
	int fd, rc = create_segment(spool, first, &fd);

	if (rc != 0)
		return rc;
	if (spool->fd >= 0)
		close(spool->fd);
	spool->fd = fd;
	spool->last = first - 1;
	before = spool->segment_count > 1 ? &spool->segments[spool->segment_count - 2] : NULL;
	if (before != NULL && before->remaining == 0)
		spool_remove_segment(spool, before);
	return 0;
}

/* ---- opening ---- */

static int make_directories(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		int rc;

		*slash = '\0';
		rc = mkdir(path, 0750) != 0 && errno != EEXIST ? -errno : 0;
		*slash = '/';
		if (rc != 0)
			return rc;
	}
	return mkdir(path, 0750) != 0 && errno != EEXIST ? -errno : 0;
}

static int take_lock(struct spool *spool, struct message *msg)
{
	spool->lock_fd = openat(spool->directory_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (spool->lock_fd < 0) {
		int rc = -errno;

		message_set(msg, "%s/%s: %s", spool->directory, LOCK_NAME, error_text(rc));
		return rc;
	}
	if (flock(spool->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	message_set(msg,
		"%s is in use by another sensor; give each its own --sensor NAME or --state DIR",
		spool->directory);
	return FAIL_FENCED;
}

static int open_directory(struct spool *spool, struct message *msg)
{
	int rc = make_directories(spool->directory);

	if (rc == 0) {
		spool->directory_fd = open(spool->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		rc = spool->directory_fd < 0 ? -errno : 0;
	}
	if (rc != 0) {
		message_set(msg, "%s: %s", spool->directory, error_text(rc));
		return rc;
	}
	rc = take_lock(spool, msg);
	if (rc != 0)
		return rc;
	rc = spool_scan(spool);
	if (rc != 0)
		message_set(msg, "%s: %s", spool->directory, error_text(rc));
	return rc;
}

static int settle_id(struct spool *spool)
{
	while (spool->id == 0)
		if (getrandom(&spool->id, sizeof(spool->id), 0) != (ssize_t)sizeof(spool->id))
			return -EIO;
	snprintf(spool->id_text, sizeof(spool->id_text), "%016" PRIx64, spool->id);
	return 0;
}

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
	return value < low ? low : value > high ? high : value;
}

int spool_open(struct spool **out, const char *directory, uint64_t bytes_max, struct message *msg)
{
	struct spool *spool = calloc(1, sizeof(*spool));
	int rc;

	if (spool == NULL)
		return -ENOMEM;
	pthread_mutex_init(&spool->lock, NULL);
	spool->directory_fd = spool->lock_fd = spool->fd = -1;
	spool->bytes_max = bytes_max;
	spool->segment_bytes =
		clamp(bytes_max / SEGMENTS_OF_LIMIT, SEGMENT_MIN_BYTES, SEGMENT_MAX_BYTES);
	spool->directory = strdup(directory);
	rc = spool->directory != NULL ? open_directory(spool, msg) : -ENOMEM;
	if (rc == 0)
		rc = settle_id(spool);
	if (rc != 0) {
		spool_close(spool);
		return rc;
	}
	*out = spool;
	return 0;
}

void spool_close(struct spool *spool)
{
	if (spool == NULL)
		return;
	if (spool->fd >= 0)
		close(spool->fd);
	if (spool->lock_fd >= 0)
		close(spool->lock_fd);
	if (spool->directory_fd >= 0)
		close(spool->directory_fd);
	pthread_mutex_destroy(&spool->lock);
	buffer_fini(&spool->scratch);
	free(spool->segments);
	free(spool->found);
	free(spool->gaps);
	free(spool->directory);
	free(spool);
}

const char *spool_id(const struct spool *spool)
{
	return spool->id_text;
}

const struct spool_item *spool_found(const struct spool *spool, size_t *count)
{
	*count = spool->found_count;
	return spool->found;
}

struct spool_gap spool_unnamed_gap(struct spool *spool)
{
	struct spool_gap gap = { 0 };

	pthread_mutex_lock(&spool->lock);
	if (spool->gap_count > 0)
		gap = spool->gaps[0];
	pthread_mutex_unlock(&spool->lock);
	return gap;
}

bool spool_has_part(const struct spool *spool, uint64_t close_id, uint32_t close_part)
{
	if (close_id == 0)
		return false;
	for (size_t i = 0; i < spool->found_count; i++)
		if (spool->found[i].close_id == close_id &&
			spool->found[i].close_part == close_part)
			return true;
	return false;
}

uint64_t spool_last(const struct spool *spool)
{
	return spool->skip_to > spool->last ? spool->skip_to : spool->last;
}

void spool_note_committed(struct spool *spool, uint64_t sequence)
{
	uint8_t bytes[SPOOL_COMMITTED_BYTES];
	int fd;

	pthread_mutex_lock(&spool->lock);
	if (spool->gap_count > 0 && spool->gaps[0].from <= sequence)
		sequence = spool->gaps[0].from - 1; /* a loss that no record names yet */
	spool_committed_write(spool->id, sequence, bytes);
	fd = openat(
		spool->directory_fd, SPOOL_COMMITTED_NAME, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	/* not flushed: a note that is lost, or too old, costs nothing while the cursor answers */
	if (fd < 0 || spool_write_at(fd, bytes, sizeof(bytes), 0) != 0)
		log_debug("spool: what is committed cannot be noted");
	if (fd >= 0)
		close(fd);
	pthread_mutex_unlock(&spool->lock);
}

void spool_skip_to(struct spool *spool, uint64_t sequence)
{
	pthread_mutex_lock(&spool->lock);
	if (sequence > spool->last)
		spool->skip_to = sequence;
	pthread_mutex_unlock(&spool->lock);
}

/* ---- appending ---- */

/* Puts header and payload into the scratch buffer. */
static int build_record(struct spool *spool, const struct entry *entry,
	const struct spool_note *note, struct spool_record *record)
{
	static const uint8_t zeros[SPOOL_RECORD_HEADER_BYTES];
	struct buffer *out = &spool->scratch;
	size_t size;

	buffer_clear(out);
	buffer_append(out, zeros, sizeof(zeros));
	entry_encode(entry, out);
	if (out->failed)
		return -ENOMEM;
	size = out->size - sizeof(zeros);
	if (size > SPOOL_RECORD_MAX)
		return -EFBIG;
	buffer_append(out, zeros, (size_t)spool_record_bytes(size) - out->size);
	if (out->failed)
		return -ENOMEM;
	*record = (struct spool_record){
		.item = { .payload_bytes = (uint32_t)size,
			.minute_ms = entry->ledger.minute_ms,
			.flows = entry->flows,
			.packets = entry->packets,
			.lost_entries = (uint64_t)entry->ledger.lost_entries,
			.lost_flows = (uint64_t)entry->ledger.lost_flows,
			.lost_packets = (uint64_t)entry->ledger.lost_packets,
			.close_id = note->close_id,
			.close_part = note->close_part },
		.gap = note->gap,
		.id = spool->id,
		.payload_sum = spool_payload_sum(out->data + sizeof(zeros), size),
	};
	return 0;
}

static int write_record(struct spool *spool, struct spool_record *record)
{
	struct segment *segment = spool_newest(spool);
	struct buffer *bytes = &spool->scratch;
	int rc = 0;

	record->item.sequence = spool->last + 1;
	record->item.segment = segment->first;
	record->item.offset = segment->bytes;
	spool_record_write(record, bytes->data);
	if (ftruncate(spool->fd, (off_t)segment->bytes) != 0) /* a tail that opening left */
		return -errno;
	rc = spool_write_at(spool->fd, bytes->data, bytes->size, segment->bytes);
	if (rc == 0 && fdatasync(spool->fd) != 0)
		rc = -errno;
	if (rc != 0) {
		if (ftruncate(spool->fd, (off_t)segment->bytes) != 0)
			log_warning(
				"spool segment keeps a torn tail error=\"%s\"", error_text(-errno));
		return rc;
	}
	segment->bytes += bytes->size;
	segment->last = spool->last = record->item.sequence;
	segment->remaining++;
	spool->bytes += bytes->size;
	return 0;
}

static bool needs_segment(struct spool *spool, const struct spool_note *note)
{
	return spool->fd < 0 || spool->skip_to > spool->last ||
	       (note->close_part == 0 && spool_newest(spool)->bytes >= spool->segment_bytes);
}

/* An interrupted append that is done again has lost nothing, and takes its number. */
static void forgive_torn(struct spool *spool, const struct spool_note *note)
{
	const struct spool_item *torn = &spool->torn;
	struct spool_gap gap = { torn->sequence, torn->sequence, 0, 0, 0 };

	if (torn->sequence == 0 || torn->sequence != spool->last ||
		torn->close_id != note->close_id || torn->close_part != note->close_part)
		return;
	spool_forget_gaps(spool, &gap);
	spool->last--;
	spool->torn.sequence = 0;
}

static int append(struct spool *spool, const struct entry *entry, const struct spool_note *note,
	struct spool_item *item)
{
	struct spool_record record;
	int rc = build_record(spool, entry, note, &record);

	if (rc != 0)
		return rc;
	if (note->gap.from == 0 && spool->bytes + spool->scratch.size > spool->bytes_max)
		return FAIL_LIMIT;
	forgive_torn(spool, note);
	if (needs_segment(spool, note))
		rc = begin_segment(spool);
	if (rc == 0)
		rc = write_record(spool, &record);
	if (rc != 0)
		return rc;
	if (note->gap.from != 0)
		spool_forget_gaps(spool, &note->gap);
	*item = record.item;
	return 0;
}

int spool_append(struct spool *spool, const struct entry *entry, const struct spool_note *note,
	struct spool_item *item)
{
	int rc;

	pthread_mutex_lock(&spool->lock);
	rc = append(spool, entry, note, item);
	pthread_mutex_unlock(&spool->lock);
	return rc;
}

uint64_t spool_give_up_through(
	struct spool *spool, const struct entry *entry, uint64_t first_queued)
{
	uint64_t needed, through = 0;

	pthread_mutex_lock(&spool->lock);
	needed = spool->bytes + spool_record_bytes(entry->bytes);
	needed = needed > spool->bytes_max ? needed - spool->bytes_max : 1;
	for (size_t i = 0; needed > 0 && i + 1 < spool->segment_count; i++) {
		const struct segment *segment = &spool->segments[i];

		if (segment->last < first_queued)
			continue;
		through = segment->last;
		if (segment->first >= first_queued)
			needed -= needed < segment->bytes ? needed : segment->bytes;
	}
	pthread_mutex_unlock(&spool->lock);
	return needed == 0 ? through : 0;
}

/* ---- reading back ---- */

static int read_payload(struct spool *spool, const struct spool_item *item)
{
	uint8_t header[SPOOL_RECORD_HEADER_BYTES];
	struct spool_record record;
	uint64_t bytes;
	int fd = spool_open_file(spool, item->segment, &bytes);
	int rc;

	if (fd < 0)
		return fd;
	rc = spool_read_at(fd, header, sizeof(header), item->offset);
	if (rc == 0 && !spool_record_read(&record, header))
		rc = FAIL_FORMAT;
	if (rc == 0) {
		record.item.offset = item->offset;
		if (record.item.sequence != item->sequence ||
			!spool_payload_is_whole(spool, fd, &record))
			rc = FAIL_FORMAT;
	}
	close(fd);
	return rc == FAIL_TRUNCATED ? FAIL_FORMAT : rc;
}

int spool_load(
	struct spool *spool, const struct spool_item *item, struct entry **out, struct message *msg)
{
	char name[NAME_BYTES];
	int rc;

	spool_segment_name(item->segment, name);
	pthread_mutex_lock(&spool->lock);
	rc = read_payload(spool, item);
	if (rc == 0)
		rc = entry_decode(
			out, (struct bytes){ spool->scratch.data, item->payload_bytes }, msg);
	else
		message_set(msg, "%s/%s: byte %" PRIu64 ": %s", spool->directory, name,
			item->offset,
			rc == FAIL_FORMAT ? "record does not match its checksum" : error_text(rc));
	pthread_mutex_unlock(&spool->lock);
	if (rc == 0)
		(*out)->spool_sequence = item->sequence;
	return rc;
}

int spool_lose(struct spool *spool, const struct spool_item *item)
{
	struct spool_gap gap = spool_gap_of(item);
	int rc;

	pthread_mutex_lock(&spool->lock);
	rc = spool_add_gap(spool, &gap);
	pthread_mutex_unlock(&spool->lock);
	return rc;
}

void spool_done(struct spool *spool, const struct spool_item *item)
{
	pthread_mutex_lock(&spool->lock);
	one_less(spool, item->segment);
	pthread_mutex_unlock(&spool->lock);
}

uint64_t spool_bytes(struct spool *spool)
{
	uint64_t bytes;

	pthread_mutex_lock(&spool->lock);
	bytes = spool->bytes;
	pthread_mutex_unlock(&spool->lock);
	return bytes;
}
