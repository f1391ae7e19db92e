/*
 * pcapng: sections of blocks.
 *
 * Each section has its own byte order and its own interfaces. Frames come from enhanced, obsolete
 * and simple packet blocks; other blocks are passed over. A simple packet block has no time: its
 * frame is at time 0, with the link type and snap length of the section's first interface.
 *
 * Threads: one reader at a time.
 */
#pragma once

#include "sensor/capture.h"
#include "sensor/capture_stream.h"

#define CAPTURE_PCAPNG_INTERFACES_MAX                                                              \
	65536 /* of one section; bounds memory, real files have a few */

struct capture_pcapng_interface;

/** In the caller's storage; release with capture_pcapng_fini. */
struct capture_pcapng {
	struct capture_pcapng_interface *interfaces; /* of the present section */
	size_t interface_count;
	size_t interface_capacity;
	bool is_big_endian;
};

/** True when the first four bytes of a file are those of a section header. */
bool capture_pcapng_is_magic(const uint8_t *magic);

/**
 * Reads the first section header.
 *
 * @return 0, FAIL_FORMAT, FAIL_TRUNCATED or a failure of the stream, with `damage` filled
 */
int capture_pcapng_init(struct capture_pcapng *pcapng, struct capture_stream *stream,
	struct capture_damage *damage) MUST_CHECK;

/**
 * Reads the next frames. All frames of one call lie in stream->block and are of one section.
 *
 * @param count  at least 1
 * @return number of frames; 0 at the end; -ENOMEM; FAIL_FORMAT, FAIL_TRUNCATED or a failure of
 *         the stream with `damage` filled, once every frame before the damage has been returned
 */
int capture_pcapng_read(struct capture_pcapng *pcapng, struct capture_stream *stream,
	struct frame *frames, int count, struct capture_damage *damage) MUST_CHECK;

/** Offset of the first block of the present section that declares the link type, 0 if none does. */
uint64_t capture_pcapng_declared_at(const struct capture_pcapng *pcapng, uint32_t linktype);

void capture_pcapng_fini(struct capture_pcapng *pcapng);
