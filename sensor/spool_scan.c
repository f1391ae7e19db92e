/*
 * What opening finds in the spool's directory: whole records, and numbers that are missing.
 */
#include "sensor/spool_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schemas/base/log.h"

static int reserve(void *array, size_t count, size_t *capacity, size_t item_bytes)
{
	size_t more = *capacity != 0 ? *capacity * 2 : 64;
	void **items = array;
	void *grown;

	if (count < *capacity)
		return 0;
	grown = realloc(*items, more * item_bytes);
	if (grown == NULL)
		return -ENOMEM;
	*items = grown;
	*capacity = more;
	return 0;
}

static int add_found(struct spool *spool, const struct spool_item *item)
{
	int rc = reserve(&spool->found, spool->found_count, &spool->found_capacity, sizeof(*item));

	if (rc == 0)
		spool->found[spool->found_count++] = *item;
	return rc;
}

int spool_add_gap(struct spool *spool, const struct spool_gap *gap)
{
	struct spool_gap *last = spool->gap_count > 0 ? &spool->gaps[spool->gap_count - 1] : NULL;
	int rc;

	if (last != NULL && last->through + 1 == gap->from) {
		last->through = gap->through;
		last->entries += gap->entries;
		last->flows += gap->flows;
		last->packets += gap->packets;
		return 0;
	}
	rc = reserve(&spool->gaps, spool->gap_count, &spool->gap_capacity, sizeof(*gap));
	if (rc == 0)
		spool->gaps[spool->gap_count++] = *gap;
	return rc;
}

/* Records found before that a later one names as lost. */
static void forget_found(struct spool *spool, const struct spool_gap *named)
{
	size_t kept = 0;

	for (size_t i = 0; i < spool->found_count; i++) {
		const struct spool_item item = spool->found[i];

		if (item.sequence >= named->from && item.sequence <= named->through)
			spool_segment_of(spool, item.segment)->remaining--;
		else
			spool->found[kept++] = item;
	}
	spool->found_count = kept;
}

void spool_forget_gaps(struct spool *spool, const struct spool_gap *named)
{
	size_t kept = 0;

	for (size_t i = 0; i < spool->gap_count; i++)
		if (spool->gaps[i].from < named->from || spool->gaps[i].through > named->through)
			spool->gaps[kept++] = spool->gaps[i];
	spool->gap_count = kept;
}

static void say_damage(const struct spool *spool, uint64_t first, const char *what, uint64_t offset)
{
	char name[NAME_BYTES];

	spool_segment_name(first, name);
	log_warning("spool damaged file=%s/%s byte=%" PRIu64 " reason=\"%s\"", spool->directory,
		name, offset, what);
}

bool spool_payload_is_whole(struct spool *spool, int fd, const struct spool_record *record)
{
	size_t size = record->item.payload_bytes;
	uint64_t offset = record->item.offset + SPOOL_RECORD_HEADER_BYTES;

	buffer_clear(&spool->scratch);
	return buffer_reserve(&spool->scratch, size + 1) &&
	       spool_read_at(fd, spool->scratch.data, size, offset) == 0 &&
	       spool_payload_sum(spool->scratch.data, size) == record->payload_sum;
}

/* The next place from `offset` on where a whole record begins; `end` when there is none. */
static uint64_t find_record(int fd, uint64_t offset, uint64_t end, struct spool_record *record)
{
	uint8_t header[SPOOL_RECORD_HEADER_BYTES];

	for (; offset + sizeof(header) <= end; offset += 8)
		if (spool_read_at(fd, header, sizeof(header), offset) == 0 &&
			spool_record_read(record, header) &&
			offset + sizeof(header) + record->item.payload_bytes <= end)
			return offset;
	return end;
}

struct spool_gap spool_gap_of(const struct spool_item *item)
{
	return (struct spool_gap){ item->sequence, item->sequence, 1 + item->lost_entries,
		item->flows + item->lost_flows, item->packets + item->lost_packets };
}

static int lose(struct spool *spool, struct segment *segment, const struct spool_item *item,
	const char *what)
{
	struct spool_gap gap = spool_gap_of(item);

	say_damage(spool, segment->first, what, item->offset);
	return spool_add_gap(spool, &gap);
}

/* Numbers between the last record and `next` were there once. */
static int miss(struct spool *spool, const struct segment *segment, uint64_t next, uint64_t offset)
{
	struct spool_gap gap = { spool->last + 1, next - 1, next - 1 - spool->last, 0, 0 };

	if (next <= spool->last + 1)
		return 0;
	say_damage(spool, segment->first, "records are missing before here", offset);
	return spool_add_gap(spool, &gap);
}

/* A record of the scan. Payloads are looked at in the newest segment only, where an append may
 * have been interrupted; in the others when they are read. */
static int take_record(struct spool *spool, int fd, struct segment *segment,
	struct spool_record *record, bool is_newest)
{
	struct spool_item *item = &record->item;
	int rc = miss(spool, segment, item->sequence, item->offset);

	item->segment = segment->first;
	if (spool->id == 0)
		spool->id = record->id;
	if (rc == 0 && is_newest && !spool_payload_is_whole(spool, fd, record)) {
		rc = lose(spool, segment, item, "payload does not match its checksum");
	} else if (rc == 0) {
		segment->remaining++;
		rc = add_found(spool, item);
	}
	segment->last = spool->last = item->sequence;
	if (record->gap.from != 0) {
		forget_found(spool, &record->gap);
		spool_forget_gaps(spool, &record->gap);
	}
	return rc;
}

/* What lies behind the last whole record. A sound header whose payload is not all there is an
 * append that was interrupted, and so is what is shorter than a header. */
static int take_tail(struct spool *spool, int fd, struct segment *segment, uint64_t offset)
{
	uint8_t header[SPOOL_RECORD_HEADER_BYTES];
	struct spool_record record;

	if (segment->bytes - offset < sizeof(header))
		return 0;
	if (spool_read_at(fd, header, sizeof(header), offset) == 0 &&
		spool_record_read(&record, header))
		spool->torn = record.item;
	else
		record.item = (struct spool_item){ .sequence = spool->last + 1 };
	record.item.offset = offset;
	segment->last = spool->last = record.item.sequence;
	return lose(spool, segment, &record.item, "torn tail");
}

/* @return 0, -ENOMEM */
static int scan_records(struct spool *spool, int fd, struct segment *segment, bool is_newest)
{
	uint64_t offset = SPOOL_SEGMENT_HEADER_BYTES;
	int rc = 0;

	while (rc == 0 && offset < segment->bytes) {
		struct spool_record record;
		uint64_t at = find_record(fd, offset, segment->bytes, &record);

		if (at == segment->bytes)
			break;
		if (at != offset)
			say_damage(spool, segment->first, "bytes that are no record", offset);
		record.item.offset = at;
		rc = take_record(spool, fd, segment, &record, is_newest);
		offset = at + spool_record_bytes(record.item.payload_bytes);
	}
	if (rc == 0 && offset < segment->bytes)
		rc = take_tail(spool, fd, segment, offset);
	if (is_newest && segment->bytes >= SPOOL_SEGMENT_HEADER_BYTES) {
		spool->bytes += offset - segment->bytes;
		segment->bytes = offset; /* appending goes on here; until then the bytes stay */
	}
	return rc;
}

/* Takes over the segment's header: the spool's id, and what must lie before it. */
static int take_header(struct spool *spool, int fd, struct segment *segment)
{
	uint8_t bytes[SPOOL_SEGMENT_HEADER_BYTES];
	struct spool_segment_header header;
	int rc = 0;

	if (spool_read_at(fd, bytes, sizeof(bytes), 0) != 0 ||
		!spool_segment_header_read(&header, bytes) || header.first != segment->first) {
		say_damage(spool, segment->first, "no header of a segment", 0);
		if (spool->last == 0)
			spool->last = segment->first - 1;
		return 0;
	}
	spool->id = header.id;
	if (spool->last != 0)
		rc = miss(spool, segment, header.follows + 1, 0);
	spool->last = segment->first - 1;
	return rc;
}

int spool_open_file(const struct spool *spool, uint64_t first, uint64_t *bytes)
{
	char name[NAME_BYTES];
	struct stat status;
	int fd;

	spool_segment_name(first, name);
	fd = openat(spool->directory_fd, name, O_RDWR | O_CLOEXEC);
	if (fd < 0 && (errno == EROFS || errno == EACCES))
		fd = openat(spool->directory_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) != 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	*bytes = (uint64_t)status.st_size;
	return fd;
}

static int scan_segment(struct spool *spool, uint64_t first, bool is_newest)
{
	uint64_t bytes;
	int fd = spool_open_file(spool, first, &bytes);
	int rc;

	if (fd < 0)
		return fd;
	rc = spool_add_segment(spool, first, bytes);
	if (rc == 0)
		rc = take_header(spool, fd, spool_newest(spool));
	if (rc == 0)
		rc = scan_records(spool, fd, spool_newest(spool), is_newest);
	if (rc == 0 && is_newest && spool_newest(spool)->bytes >= SPOOL_SEGMENT_HEADER_BYTES) {
		spool->fd = fd;
		return 0;
	}
	close(fd);
	if (rc == 0 && spool_newest(spool)->bytes < SPOOL_SEGMENT_HEADER_BYTES)
		spool_remove_segment(spool, spool_newest(spool)); /* it was just being made */
	return rc;
}

static int compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The number that a segment's file name says, 0 when it is no segment's. */
static uint64_t number_of_name(const char *file)
{
	char name[NAME_BYTES];
	uint64_t first;

	if (sscanf(file, "%" SCNu64 ".spool", &first) != 1)
		return 0;
	spool_segment_name(first, name);
	return strcmp(name, file) == 0 ? first : 0;
}

/* The first sequence numbers of all segments, ascending. */
static int list_segments(const struct spool *spool, uint64_t **out, size_t *count)
{
	DIR *directory = opendir(spool->directory);
	size_t capacity = 0;
	struct dirent *file;
	int rc = 0;

	*out = NULL;
	*count = 0;
	if (directory == NULL)
		return -errno;
	while (rc == 0 && (file = readdir(directory)) != NULL) {
		uint64_t first = number_of_name(file->d_name);

		if (first == 0)
			continue;
		rc = reserve(out, *count, &capacity, sizeof(**out));
		if (rc == 0)
			(*out)[(*count)++] = first;
	}
	closedir(directory);
	if (*count > 0)
		qsort(*out, *count, sizeof(**out), compare_numbers);
	return rc;
}

/* The last sequence number that the directory itself says is committed; 0 unknown. */
static uint64_t read_committed(const struct spool *spool)
{
	uint8_t bytes[SPOOL_COMMITTED_BYTES];
	int fd = openat(spool->directory_fd, SPOOL_COMMITTED_NAME, O_RDONLY | O_CLOEXEC);
	uint64_t sequence = 0;

	if (fd < 0)
		return 0;
	if (spool_read_at(fd, bytes, sizeof(bytes), 0) != 0 ||
		!spool_committed_read(&sequence, spool->id, bytes))
		sequence = 0;
	close(fd);
	return sequence;
}

/* What is committed is neither to be sent nor lost. Of a gap that reaches beyond, what is known of
 * its flows and packets cannot be told apart: they stay with what is left of it. */
static void leave_out_committed(struct spool *spool, uint64_t sequence)
{
	const struct spool_gap committed = { .from = 1, .through = sequence };

	if (sequence == 0)
		return;
	forget_found(spool, &committed);
	spool_forget_gaps(spool, &committed);
	for (size_t i = 0; i < spool->gap_count && spool->gaps[i].from <= sequence; i++) {
		uint64_t fewer = sequence + 1 - spool->gaps[i].from;

		spool->gaps[i].from = sequence + 1;
		spool->gaps[i].entries -= fewer < spool->gaps[i].entries ? fewer : 0;
	}
	if (sequence > spool->last)
		spool->skip_to = sequence;
}

int spool_scan(struct spool *spool)
{
	uint64_t *firsts;
	size_t count;
	int rc = list_segments(spool, &firsts, &count);

	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = scan_segment(spool, firsts[i], i + 1 == count);
	free(firsts);
	if (rc == 0)
		leave_out_committed(spool, read_committed(spool));
	for (size_t i = 0; rc == 0 && i + 1 < spool->segment_count;) {
		if (spool->segments[i].remaining == 0)
			spool_remove_segment(spool, &spool->segments[i]);
		else
			i++;
	}
	return rc;
}
