/*
 * The cursor: how far a sensor, or a replay, has got in the log. It is committed in the same
 * transaction as the entry it names, so it is never ahead of the log and never behind.
 *
 * Threads: plain values.
 */
#pragma once

#include "schemas/base/bytes.h"
#include "sensor/spool.h"

#define INSTANCE_TEXT_BYTES 33 /* 16 random bytes in hex */
#define SETTINGS_TEXT_BYTES 4096

struct cursor {
	bool exists;
	int64_t entry;			    /* last committed; -1 none */
	char instance[INSTANCE_TEXT_BYTES]; /* who committed it */
	int64_t boot;
	int64_t interval_to_ns;	    /* end of the last committed capture interval; 0 none */
	char spool[SPOOL_ID_BYTES]; /* live: the spool that it last came from; "" none */
	int64_t spool_sequence;	    /* the last committed record of it */
	int64_t run;		    /* replays: 0, and one more for each --again */
	int64_t run_first_entry;    /* replays: number of the run's first entry */
	bool is_finished;	    /* replays: the run is complete */
	char settings
		[SETTINGS_TEXT_BYTES]; /* replays: what shapes its records, as "name=value" lines */
};

void cursor_encode(const struct cursor *cursor, struct buffer *out);

/** Reads a cursor's value; empty bytes give one that does not exist. @return 0 or FAIL_FORMAT */
int cursor_decode(struct cursor *out, struct bytes value) MUST_CHECK;

/** Names of the settings that differ, comma separated, into `out`. @return true when any does */
bool cursor_settings_differ(
	const struct cursor *cursor, const char *settings, char *out, size_t size);
