/*
 * Capture files, read as one stream in time order.
 *
 * pcap, pcapng, either of them gzip or zstd compressed, and standard input ("-"), as named in
 * ../schemas/README.md and rule "Reading files". Each file yields its frames in file order; among
 * the files the one whose next frame is earliest goes first, ties by position on the command
 * line. So frames out of order inside one file stay as they are, and the result depends on the
 * files alone, never on how fast they arrive.
 *
 * Threads: one reader at a time.
 */
#pragma once

#include <stdbool.h>

#include "schemas/base/errors.h"
#include "sensor/capture.h"

#define FRAME_BATCH_FRAMES 4096 /* enough to hide the cost of handing over, small enough for L2 */

/** Frames read together. Zero-initialise; release with frame_batch_fini. */
struct frame_batch {
	struct frame frames[FRAME_BATCH_FRAMES];
	size_t count;
	struct frame_store *store; /* bytes of frames that no file mapping holds; owned by the batch */
};

struct capture_merge;

/**
 * Opens the files. A file that cannot be opened or is no capture is reported on standard error as
 * `FILE: byte OFFSET: reason` (byte 0 when nothing could be read), marks the result as damaged and
 * is left out; the others are read.
 *
 * @param filter  BPF expression applied to every frame of a link type it compiles for, or NULL.
 *                A filter that compiles for none of the link types met is FAIL_USAGE.
 * @return 0, FAIL_USAGE with `msg` naming the filter, or -ENOMEM
 */
int capture_merge_open(struct capture_merge **out, const char *const *paths, size_t path_count,
	const char *filter, struct message *msg) MUST_CHECK;

/**
 * Fills the batch with the next frames: always FRAME_BATCH_FRAMES of them unless the input ends,
 * however slowly it arrives, so batch borders depend on the input alone. The frames stay valid
 * until the batch is filled again or capture_merge_close.
 *
 * @return number of frames, 0 at the end, -ENOMEM
 */
int capture_merge_fill(struct capture_merge *merge, struct frame_batch *batch) MUST_CHECK;

/** True when any file had damage, an unknown link type, or was no capture at all. */
bool capture_merge_is_damaged(const struct capture_merge *merge);

/** Bytes read so far and in all (0 when unknown, as for a pipe), for a progress line. */
void capture_merge_progress(const struct capture_merge *merge, uint64_t *read, uint64_t *total);

void capture_merge_close(struct capture_merge *merge);
void frame_batch_fini(struct frame_batch *batch);
