/*
 * The log without a server: flow files and pipes, as `hoshimi-sensor -o` writes them.
 *
 * Threads: one at a time.
 */
#pragma once

#include "schemas/container.h"

/** Who gets the records. A negative code ends the reading. */
struct log_handler {
	int (*flow)(void *context, const struct origin *origin, const struct flow_record *flow);
	int (*marker)(
		void *context, const struct origin *origin, const struct marker_record *marker);
	void *context;
};

/**
 * Reads a file, or standard input for "-", to its end. Damage is said as `FILE: byte OFFSET:
 * reason` on standard error; what came before it counts.
 *
 * @return 0; FAIL_FORMAT when the file had damage; -errno; what a handler returned
 */
int log_file_read(const char *path, const struct log_handler *handler) MUST_CHECK;
