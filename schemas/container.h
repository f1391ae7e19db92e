/*
 * Avro object containers: the form of every message of the flows topic and of flow files.
 *
 * A container is a header (schema, and the origin of its records) and blocks of records. A Kafka
 * message is a container with one block; a flow file is one container with many.
 *
 * Threads: a decoder belongs to one thread.
 */
#pragma once

#include "schemas/flow.h"

#define ORIGIN_TEXT_BYTES    128
#define CONTAINER_SYNC_BYTES 16
#define CONTAINER_HEADER_MAX (1u << 20)	 /* a header beyond 1 MiB is refused */
#define CONTAINER_BLOCK_MAX  (64u << 20) /* a block beyond 64 MiB is refused */
#define TIMELINE_LIVE	     "live"

/** Where a container's records come from. */
struct origin {
	char sensor[ORIGIN_TEXT_BYTES];
	char timeline[ORIGIN_TEXT_BYTES]; /* TIMELINE_LIVE, or the replay's id */
	int64_t boot; /* start of the sensor process, ms; number of the run for replays */
};

/** Appends a container header. */
void container_header(struct buffer *out, const struct origin *origin);

/** Appends a block of `count` encoded records. */
void container_block(struct buffer *out, uint64_t count, struct bytes records);

/** Appends one record to a block's records. */
void container_flow(struct buffer *records, const struct flow_record *flow);
void container_marker(struct buffer *records, const struct marker_record *marker);

/** Our schema, as it stands in every header (static storage). */
struct bytes container_schema(void);

struct container_decoder;

int container_decoder_create(struct container_decoder **out) MUST_CHECK;
void container_decoder_destroy(struct container_decoder *decoder);

/**
 * Reads a header. Schemas are cached, so a stream of like headers costs a comparison each.
 *
 * @return 0; FAIL_TRUNCATED when the bytes end inside it; FAIL_FORMAT with `msg`; -ENOMEM
 */
int container_decoder_header(struct container_decoder *decoder, struct byte_reader *r,
	struct origin *origin, struct message *msg) MUST_CHECK;

/** A block's records. */
struct container_records {
	uint64_t count; /* not yet read */
	struct byte_reader reader;
};

/** Takes the next block's bounds. @return 0, FAIL_TRUNCATED, FAIL_FORMAT with `msg` */
int container_decoder_block(const struct container_decoder *decoder, struct byte_reader *r,
	struct container_records *out, struct message *msg) MUST_CHECK;

enum container_item_kind { ITEM_NONE, ITEM_FLOW, ITEM_MARKER, ITEM_UNKNOWN };

struct container_item {
	enum container_item_kind kind;
	union {
		struct flow_record flow;
		struct marker_record marker; /* lists freed by container_item_fini */
	};
};

/**
 * Reads the next record of a block; ITEM_NONE after the last one. Unsound values are FAIL_FORMAT.
 *
 * @return 0, FAIL_FORMAT with `msg`, -ENOMEM
 */
int container_next(const struct container_decoder *decoder, struct container_records *records,
	struct container_item *item, struct message *msg) MUST_CHECK;
void container_item_fini(struct container_item *item);

/** True when the next byte starts another container, not another block (files set end to end). */
bool container_starts(const struct byte_reader *r);
