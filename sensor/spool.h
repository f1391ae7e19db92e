/*
 * The spool: closed entries on disk until Kafka has them.
 *
 * An append-only sequence of checksummed records in segment files, durable before anything of it is
 * sent. The sequence goes on over restarts; the cursor in Kafka names the spool and the last
 * sequence number that is committed, which is how a restart knows what is still to be sent.
 *
 * What cannot be read (a torn tail, flipped bits) is skipped and counted; what cannot be written
 * (a full or read-only disk) is the caller's to keep elsewhere.
 *
 * Threads: any; calls exclude each other.
 */
#pragma once

#include "sensor/entry.h"

#define SPOOL_ID_BYTES 17 /* 8 random bytes in hex */

/** One record, as the caller holds it instead of the entry. */
struct spool_item {
	uint64_t sequence;
	uint64_t segment; /* sequence number of the segment's first record */
	uint64_t offset;  /* of the record in it */
	uint32_t payload_bytes;
	int64_t minute_ms;
	uint64_t flows;
	uint64_t packets;
	uint64_t lost_entries; /* that its ledger names */
	uint64_t lost_flows;
	uint64_t lost_packets;
	uint64_t close_id;
	uint32_t close_part;
};

/** Consecutive records that are lost: given up because the spool is full, or damaged. */
struct spool_gap {
	uint64_t from; /* sequence numbers; 0 none */
	uint64_t through;
	uint64_t entries; /* these, and what they named as lost themselves */
	uint64_t flows;	  /* as far as known */
	uint64_t packets;
};

/** What a record says beside its entry. */
struct spool_note {
	uint64_t close_id;    /* of the close that made it; equal in all its parts */
	uint32_t close_part;  /* 0 for the first one */
	struct spool_gap gap; /* what the entry's ledger names as lost; 0 nothing */
};

struct spool;

/**
 * Opens the spool in `directory`, which is made when missing, and looks through what is there.
 *
 * @return 0; FAIL_FENCED when another process has it; -errno; each with `msg`
 */
int spool_open(struct spool **out, const char *directory, uint64_t bytes_max,
	struct message *msg) MUST_CHECK;
void spool_close(struct spool *spool);

/** A name that no other spool has; it changes when the directory was emptied. */
const char *spool_id(const struct spool *spool);

/** Records found when opening that are not given up, ascending; owned by the spool. */
const struct spool_item *spool_found(const struct spool *spool, size_t *count);

/**
 * The oldest records that were found to be damaged or missing and that no record names yet;
 * `from` is 0 when there are none. A record appended with it as its gap settles it.
 */
struct spool_gap spool_unnamed_gap(struct spool *spool);

/** True when opening found a record of this part of this close. */
bool spool_has_part(const struct spool *spool, uint64_t close_id, uint32_t close_part);

/** Sequence number of the last record, or of the last one known to be committed; 0 none yet. */
uint64_t spool_last(const struct spool *spool);

/** Records from here on are numbered above `sequence`: the spool is older than its cursor. */
void spool_skip_to(struct spool *spool, uint64_t sequence);

/**
 * Appends an entry and makes it durable.
 *
 * @return 0 with `item` filled; FAIL_LIMIT when it does not fit below the limit (not checked when
 *         the note has a gap); -errno; -ENOMEM. Nothing is left behind by a failure.
 */
int spool_append(struct spool *spool, const struct entry *entry, const struct spool_note *note,
	struct spool_item *item) MUST_CHECK;

/**
 * The last sequence number to give up, from `first_queued` on, so that room for `entry` comes
 * free; 0 when giving up everything would not be enough.
 */
uint64_t spool_give_up_through(
	struct spool *spool, const struct entry *entry, uint64_t first_queued);

/** Reads a record back. @return 0; FAIL_FORMAT with `msg` when it is damaged; -errno; -ENOMEM */
int spool_load(struct spool *spool, const struct spool_item *item, struct entry **out,
	struct message *msg) MUST_CHECK;

/** A record cannot be read: a gap that a later record has to name. @return 0 or -ENOMEM */
int spool_lose(struct spool *spool, const struct spool_item *item) MUST_CHECK;

/**
 * Notes that everything through `sequence` is committed, for openings while the log's cursor cannot
 * be asked: what is committed is no loss, whatever happens to it. The cursor has the last word.
 * Records that are lost and not yet named end it before them.
 */
void spool_note_committed(struct spool *spool, uint64_t sequence);

/** The record is committed, or given up: its segment goes with its last record. */
void spool_done(struct spool *spool, const struct spool_item *item);

/** Bytes on disk. */
uint64_t spool_bytes(struct spool *spool);
