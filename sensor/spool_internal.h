/*
 * What the parts of the spool share: spool.c (appending, reading back) and spool_scan.c (opening).
 *
 * Threads: under the spool's lock, or while it is being opened.
 */
#pragma once

#include <pthread.h>

#include "sensor/spool_record.h"

#define NAME_BYTES	     32 /* of a segment's file */
#define SPOOL_COMMITTED_NAME "committed"

struct segment {
	uint64_t first; /* sequence number, also its name */
	uint64_t last;	/* of the last record; first - 1 while empty */
	uint64_t bytes;
	uint64_t remaining; /* records neither committed nor given up */
};

struct spool {
	pthread_mutex_t lock;
	char *directory;
	int directory_fd;
	int lock_fd;
	int fd; /* of the newest segment; -1 none */
	uint64_t bytes_max;
	uint64_t segment_bytes;
	uint64_t id; /* 0 while not known */
	char id_text[SPOOL_ID_BYTES];
	struct segment *segments; /* ascending */
	size_t segment_count;
	uint64_t bytes;
	uint64_t last;	  /* sequence number of the newest record */
	uint64_t skip_to; /* numbers from here on, in a segment of their own; 0 none */
	struct spool_item *found;
	size_t found_count, found_capacity;
	struct spool_gap *gaps; /* ascending, not yet named */
	size_t gap_count, gap_capacity;
	struct spool_item torn; /* of an append that was interrupted; its number is a gap */
	struct buffer scratch;
};

void spool_segment_name(uint64_t first, char out[NAME_BYTES]);
struct segment *spool_newest(struct spool *spool);
struct segment *spool_segment_of(struct spool *spool, uint64_t first);
int spool_add_segment(struct spool *spool, uint64_t first, uint64_t bytes) MUST_CHECK;
void spool_remove_segment(struct spool *spool, struct segment *segment);

/** Opens a segment's file, for reading only where it cannot be written. @return fd or -errno */
int spool_open_file(const struct spool *spool, uint64_t first, uint64_t *bytes);

/** Reads a record's payload into `scratch`; false when it is not what its checksum says. */
bool spool_payload_is_whole(struct spool *spool, int fd, const struct spool_record *record);

/** Records that are gone, behind those noted before. @return 0 or -ENOMEM */
int spool_add_gap(struct spool *spool, const struct spool_gap *gap) MUST_CHECK;
void spool_forget_gaps(struct spool *spool, const struct spool_gap *named);
struct spool_gap spool_gap_of(const struct spool_item *item);

/** Looks through the directory: segments, records, gaps. @return 0, -ENOMEM, -errno */
int spool_scan(struct spool *spool) MUST_CHECK;
