/*
 * Live capture from network interfaces.
 *
 * Each worker has a handle of its own on each interface. The workers' handles on one interface form
 * a fanout group of the kernel, which deals frames out by a hash of addresses, protocol and ports:
 * each frame goes to one worker, and a flow always to the same. That holds once all of them are
 * open; while they are being opened no frame comes twice, but some may be missed.
 *
 * Threads: a handle belongs to its worker. Handles of one interface are opened one after another,
 * worker 0 first.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "schemas/base/errors.h"
#include "sensor/capture.h"

struct capture_live;

struct capture_live_options {
	const char *interface;
	const char *filter;  /* BPF expression or NULL */
	uint32_t snap_bytes; /* captured of each frame */
	uint64_t ring_bytes; /* of this handle; libpcap takes at most 2 GiB */
	bool promiscuous;
	unsigned worker;       /* 0 to workers - 1 */
	unsigned workers;      /* with 1 there is no fanout group */
	unsigned fanout_group; /* 1 to 65535, unique in the network namespace; 0: see below */
};

/** Since the handle was opened; 64 bits, although the kernel's counters wrap at 32. */
struct capture_live_counts {
	uint64_t received;     /* frames handed over, and kernel_drops */
	uint64_t kernel_drops; /* frames that passed the filter and found the ring full */
	/* Frames lost before capture saw them: rx_dropped and rx_missed_errors of the interface,
	 * the sum that /proc/net/dev shows. 0 for all workers but the first. */
	uint64_t interface_drops;
};

typedef void (*capture_live_handler)(void *context, const struct frame *frame);

/**
 * Starts capture. Frames sent by this host are not captured.
 *
 * With several workers and `fanout_group` 0, worker 0 gets a group that nobody uses, and the others
 * are given capture_live_group of worker 0.
 *
 * @return 0; FAIL_USAGE for a filter that does not compile; -ENOMEM; otherwise negative with `msg`
 *         saying what is wrong and what to do
 */
int capture_live_open(struct capture_live **out, const struct capture_live_options *options,
	struct message *msg) MUST_CHECK;

/** The fanout group, 0 without one. */
unsigned capture_live_group(const struct capture_live *live);

/** For poll: readable when frames are there. */
int capture_live_fd(const struct capture_live *live);

/** LINKTYPE_ value of all frames of this handle. */
uint32_t capture_live_linktype(const struct capture_live *live);

/**
 * Hands frames that are there to the handler; a frame's bytes are valid until it returns. Does not
 * wait, except after capture_live_stop: then 0 means that nothing is left, and finding that out
 * takes up to a quarter of a second.
 *
 * @return number of frames; -ENODEV when the interface went away, -EIO for other failures
 */
int capture_live_read(struct capture_live *live, int max_frames, capture_live_handler handler,
	void *context) MUST_CHECK;

/**
 * Ends capture: the kernel queues no more frames. What is in the ring stays; read until 0.
 *
 * @return 0 or -errno
 */
int capture_live_stop(struct capture_live *live) MUST_CHECK;

/** @return 0, or -EIO, and `out` as before */
int capture_live_counts(struct capture_live *live, struct capture_live_counts *out) MUST_CHECK;

void capture_live_close(struct capture_live *live);

/**
 * Lists the interfaces, one a line: name, state, addresses, description.
 *
 * @return 0, or negative with `msg`
 */
int capture_live_list(FILE *out, struct message *msg) MUST_CHECK;
