/*
 * The packet path: frame → IP → dark? → class → tool → flow, one batch at a time.
 *
 * Workers on files see every frame and count the flows of their own shards, so packets of a flow
 * are counted in file order whoever does it, and limits hold per shard: the number of workers
 * never shows. Live, each worker sees its own frames and has all shards (one).
 *
 * Threads: a worker belongs to one thread; between batches anyone may take its windows.
 */
#pragma once

#include "sensor/capture.h"
#include "sensor/summary.h"
#include "sensor/window.h"

#define FILE_SHARDS 64 /* flow table shards for files: fixed, or limits would depend on workers */

struct worker_options {
	const struct darknet *darknet; /* NULL: every IP packet counts */
	unsigned shards;	       /* FILE_SHARDS, or 1 for live capture */
	unsigned worker;	       /* 0 … workers - 1: which shards are its own */
	unsigned workers;	       /* that share the shards; 1 for live capture */
	uint64_t flows_max;	  /* of this worker's own shards together with the other workers' */
	uint64_t secret;	  /* for the tables' hash */
	struct open_store *store; /* where open minutes outlive the process; NULL: in memory */
	bool wants_summary;
};

struct worker;

int worker_create(struct worker **out, const struct worker_options *options) MUST_CHECK;
void worker_destroy(struct worker *worker);

/**
 * Counts the frames. Needs room for their minutes among the worker's open windows: the caller cuts
 * batches so (see replay.c), or takes the oldest windows first (live.c).
 *
 * @return 0; -ENOMEM when a packet could not be counted anywhere
 */
int worker_process(struct worker *worker, const struct frame *frames, size_t count) MUST_CHECK;

/**
 * Packets from here on go by these dark ranges, into windows of this store. No window may be open.
 *
 * @param store  NULL: in memory
 */
void worker_set_terms(
	struct worker *worker, const struct darknet *darknet, struct open_store *store);

struct window_set *worker_windows(struct worker *worker);
struct summary *worker_summary(struct worker *worker);

/** The open window of a minute, made when it is new. @return 0 or -ENOMEM */
int worker_window(struct worker *worker, uint64_t minute, struct window **out) MUST_CHECK;
