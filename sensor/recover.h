/*
 * What a killed process left open is closed by the next one: the minutes in its files
 * (open_file.h), with the boot, the dark ranges and the interval that were theirs.
 *
 * A close that was interrupted is done again with the same name, so that parts which are in the
 * spool already are not put there twice.
 *
 * Threads: the caller's.
 */
#pragma once

#include "sensor/entry.h"

struct recover_options {
	const char *directory;
	const char *sensor; /* name */
	uint32_t partitions;
	/* as entry_closer_options.take */
	int (*take)(void *context, struct entry *entry);
	void *context;
};

/**
 * Closes everything that is left, oldest boot and minute first. Files that cannot be read are said,
 * and removed: the time is then named as a gap.
 *
 * @return 0, -ENOMEM, -errno with `msg`, or what `take` returned
 */
int recover_minutes(const struct recover_options *options, struct message *msg) MUST_CHECK;
