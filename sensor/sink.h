/*
 * Where entries go: a file, a pipe, Kafka. Each sink is made by its own _open function.
 *
 * Threads: the closer's.
 */
#pragma once

#include "sensor/entry.h"

struct sink {
	/** Takes the entry over. @return 0, or a negative code that ends the run, with `msg` filled */
	int (*take)(struct sink *sink, struct entry *entry, struct message *msg);
	/** Everything was taken: completes and makes it durable. @return 0 or a negative code */
	int (*finish)(struct sink *sink, struct message *msg);
	/** Releases; without finish before it, what is incomplete stays recognisable as such. */
	void (*close)(struct sink *sink);
};

/**
 * A flow file: one container. `path` "-" is standard output; a device or FIFO is written in place;
 * a file is written as PATH.partial and renamed when finished.
 */
int sink_file_open(struct sink **out, const char *path, const struct origin *origin,
	struct message *msg) MUST_CHECK;
