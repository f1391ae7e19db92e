/*
 * Capture files, read as one stream in time order.
 *
 * pcap and pcapng (capture_file.h), either of them gzip or zstd compressed, and standard input
 * ("-"), as told in DESIGN's command-line contract. Each file yields its frames in file order;
 * among the files the one whose next frame is earliest goes first, ties by position on the command
 * line. So frames out of order inside one file stay as they are, and the result depends on the
 * files alone, never on how fast they arrive.
 *
 * Threads: one reader at a time. A filled batch may be read by any thread.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "schemas/base/errors.h"
#include "sensor/capture.h"

#define FRAME_BATCH_FRAMES 4096 /* enough to hide the cost of handing over, small enough for L2 */

/** Frames read together. Zero-initialise; release with frame_batch_fini. */
struct frame_batch {
	struct frame frames[FRAME_BATCH_FRAMES];
	size_t count;
	struct frame_store *store; /* the blocks that hold the frames' bytes; owned by the batch */
};

struct capture_merge;

/**
 * Opens the files. A file that cannot be opened or is no capture is reported on standard error as
 * `FILE: byte OFFSET: reason` (byte 0 when nothing could be read), marks the result as damaged and
 * is left out; the others are read. So is a file that turns out to be damaged further on, from
 * there.
 *
 * @param filter  BPF expression, or NULL; frames that do not match are not yielded. Frames of link
 *                types that linktype.c does not know are not filtered: they are not IP whatever it
 *                says. Frames of a known link type for which it does not compile are left out,
 *                which is reported as damage; if that holds for every frame met on opening, it is
 *                FAIL_USAGE.
 * @param stop    ends the waiting for a pipe's bytes when it becomes true; NULL: nothing does
 * @return 0, FAIL_USAGE with `msg` naming the filter, FAIL_STOPPED, or -ENOMEM
 */
int capture_merge_open(struct capture_merge **out, const char *const *paths, size_t path_count,
	const char *filter, const atomic_bool *stop, struct message *msg) MUST_CHECK;

/**
 * Fills the batch with the next frames: FRAME_BATCH_FRAMES of them unless the input ends or they
 * need more than 64 MiB of file contents, however slowly the input arrives; so batch borders
 * depend on the input alone. The frames stay valid until the batch is filled again or released,
 * even after capture_merge_close.
 *
 * @return number of frames, 0 at the end, FAIL_STOPPED, -ENOMEM
 */
int capture_merge_fill(struct capture_merge *merge, struct frame_batch *batch) MUST_CHECK;

/** True when any file had damage, an unknown link type, or was no capture at all. */
bool capture_merge_is_damaged(const struct capture_merge *merge);

/**
 * True once standard input, or another pipe, was cut or damaged: what should have followed may come
 * another time. Batches filled before it becomes true are those of the whole input.
 */
bool capture_merge_has_broken_off(const struct capture_merge *merge);

/** Bytes read so far and in all (0 when unknown, as for a pipe), for a progress line. */
void capture_merge_progress(const struct capture_merge *merge, uint64_t *read, uint64_t *total);

void capture_merge_close(struct capture_merge *merge);

/** Releases what the batch holds, which is empty then and may be filled again. */
void frame_batch_fini(struct frame_batch *batch);
