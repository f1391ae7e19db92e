/*
 * One capture file, pcap or pcapng: its frames in file order, its troubles reported.
 *
 * Whatever is wrong with a file is said once on standard error as `FILE: byte OFFSET: reason`, in
 * a compressed file with the offset in its decompressed data; frames before damage count. A link
 * type that linktype.c does not know is said too, and its frames are yielded.
 *
 * A file can be suspended, i.e. closed until it is needed, and is then read from its start again.
 *
 * Threads: one reader at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "schemas/base/errors.h"
#include "sensor/capture.h"
#include "sensor/capture_block.h"

struct capture_file;
struct capture_filter;

/**
 * Names a file; it is opened by the first read.
 *
 * @param filter  only frames that match are yielded, or NULL. Frames of unknown link types are not
 *                filtered; those of known ones for which it does not compile are left out, which
 *                is said and counts as damage. Stays with the caller, as does `pool`.
 */
int capture_file_create(struct capture_file **out, const char *path, struct capture_filter *filter,
	struct capture_block_pool *pool) MUST_CHECK;

/**
 * Reads the next frames. All frames of one call lie in capture_file_block.
 *
 * @param count  at least 1
 * @return number of frames; 0 at the end, or where damage ends it; -ENOMEM
 */
int capture_file_read(struct capture_file *file, struct frame *frames, int count) MUST_CHECK;

/** The block that holds the frames of the last read. NULL when the file is not open. */
struct capture_block *capture_file_block(const struct capture_file *file);

/** Closes the file if it can be read again from its start, which the next read does. */
bool capture_file_suspend(struct capture_file *file);

/** True when the file was damaged or no capture, or had frames that could not be judged. */
bool capture_file_is_damaged(const struct capture_file *file);

/** True when it is standard input or a pipe, and damage or a cut ended it. */
bool capture_file_has_broken_off(const struct capture_file *file);

/** Bytes taken from the file so far, and its length (0 when unknown), both as compressed. */
void capture_file_progress(const struct capture_file *file, uint64_t *read, uint64_t *total);

void capture_file_destroy(struct capture_file *file);
