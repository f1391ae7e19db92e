/*
 * Classic pcap: one file header, then records.
 *
 * Both byte orders, microseconds, nanoseconds, and the modified format with longer record headers
 * (magic a1b2cd34). Only the fields below are used; version, snap length and time zone are not.
 *
 * Threads: one reader at a time.
 */
#pragma once

#include "sensor/capture.h"
#include "sensor/capture_stream.h"

#define CAPTURE_RECORD_BYTES_MAX ((uint32_t)64 << 20) /* rule "Reading files" */

/** In the caller's storage; nothing to release. */
struct capture_pcap {
	uint32_t linktype;
	uint32_t record_header_bytes;
	uint32_t fraction_ns; /* unit of the fraction of a second */
	bool is_big_endian;
};

/** True when the first four bytes of a file are a magic of this format. */
bool capture_pcap_is_magic(const uint8_t *magic);

/**
 * Reads the file header.
 *
 * @return 0, FAIL_TRUNCATED or another failure of the stream, with `damage` filled
 */
int capture_pcap_init(struct capture_pcap *pcap, struct capture_stream *stream,
	struct capture_damage *damage) MUST_CHECK;

/**
 * Reads the next frames. All frames of one call lie in stream->block.
 *
 * @param count  at least 1
 * @return number of frames; 0 at the end; FAIL_FORMAT, FAIL_TRUNCATED or a failure of the stream
 *         with `damage` filled, once every frame before the damage has been returned
 */
int capture_pcap_read(struct capture_pcap *pcap, struct capture_stream *stream,
	struct frame *frames, int count, struct capture_damage *damage) MUST_CHECK;
