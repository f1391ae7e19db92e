/*
 * The spool's files: what a segment's header and a record's header look like.
 *
 * Segment: header, then records. Record: header, payload (entry_store.h), zeros up to a multiple of
 * eight bytes. Everything is little endian; every header ends with an XXH3 checksum of what is
 * before it, and a record's header holds its payload's.
 *
 * Threads: pure functions.
 */
#pragma once

#include "sensor/spool.h"

#define SPOOL_SEGMENT_HEADER_BYTES 40
#define SPOOL_RECORD_HEADER_BYTES  120
#define SPOOL_COMMITTED_BYTES	   24
#define SPOOL_RECORD_MAX	   (256u << 20) /* an entry is cut at about 16 MiB */

struct spool_segment_header {
	uint64_t id;	  /* the spool's */
	uint64_t first;	  /* sequence number that the segment begins with, also its name */
	uint64_t follows; /* the last one before it */
};

struct spool_record {
	struct spool_item item; /* segment and offset are the reader's to fill */
	struct spool_gap gap;	/* sequence numbers only */
	uint64_t id;		/* the spool's */
	uint64_t payload_sum;
};

void spool_segment_header_write(
	const struct spool_segment_header *header, uint8_t out[SPOOL_SEGMENT_HEADER_BYTES]);
/** False when it is none. */
bool spool_segment_header_read(
	struct spool_segment_header *out, const uint8_t bytes[SPOOL_SEGMENT_HEADER_BYTES]);

/** The note of what is committed: the spool's id, a sequence number, a checksum. */
void spool_committed_write(uint64_t id, uint64_t sequence, uint8_t out[SPOOL_COMMITTED_BYTES]);
/** False when it is none, or another spool's. */
bool spool_committed_read(
	uint64_t *sequence, uint64_t id, const uint8_t bytes[SPOOL_COMMITTED_BYTES]);

void spool_record_write(const struct spool_record *record, uint8_t out[SPOOL_RECORD_HEADER_BYTES]);
/** False when it is none. */
bool spool_record_read(struct spool_record *out, const uint8_t bytes[SPOOL_RECORD_HEADER_BYTES]);

/** Bytes that a record with such a payload takes in its segment. */
uint64_t spool_record_bytes(uint64_t payload_bytes);

uint64_t spool_payload_sum(const uint8_t *payload, size_t size);

/** Write or read all of it at `offset`. @return 0; -errno; reading, FAIL_TRUNCATED at the end */
int spool_write_at(int fd, const uint8_t *data, size_t size, uint64_t offset) MUST_CHECK;
int spool_read_at(int fd, uint8_t *data, size_t size, uint64_t offset) MUST_CHECK;
