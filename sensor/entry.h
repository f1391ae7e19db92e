/*
 * Entries: what the sensor writes to the log, one part of a minute each.
 *
 * At a minute's close the workers' windows become one set of records in key order, cut into
 * messages by partition and into parts of about 16 MiB, each part an entry with its own books.
 *
 * Threads: one closer at a time.
 */
#pragma once

#include "schemas/container.h"
#include "sensor/window.h"

#define ENTRY_CUT_BYTES	  (16u << 20)  /* DESIGN, "The log": an entry is one Kafka transaction */
#define MESSAGE_CUT_BYTES (768u << 10) /* below brokers' usual limit of 1 MiB before compression */

/** One message of flows. */
struct entry_message {
	uint32_t partition;
	uint32_t flows;
	struct buffer payload; /* a container, or (entry_closer.is_file) a block */
};

/** What one partition gets of an entry. */
struct entry_share {
	uint64_t flows;
	uint64_t packets;
};

struct entry {
	struct origin origin; /* who closed it */
	struct marker_record
		ledger; /* partition, flows, packets and entry number are filled when sent */
	struct ledger_range *ranges; /* behind ledger.ranges; owned */
	struct ledger_sender *senders;
	char (*sender_texts)[ADDRESS_TEXT_BYTES];
	uint8_t *texts; /* that ranges, and senders when read back, point to */
	struct entry_message *messages;
	size_t message_count;
	struct entry_share *shares; /* one per partition */
	uint32_t partitions;
	uint64_t flows;
	uint64_t packets;
	size_t bytes;		 /* of memory, for the queue's bound */
	uint64_t close_id;	 /* of the close that made it; 0 none */
	uint32_t close_part;	 /* 0, 1 … in that close */
	uint64_t spool_sequence; /* 0: not from the spool */
	struct entry *next;	 /* the queue's */
};

void entry_destroy(struct entry *entry);

/** Appends the marker of one partition; `number` is the entry's. */
void entry_marker(
	const struct entry *entry, uint64_t number, uint32_t partition, struct buffer *records);

struct entry_closer_options {
	struct origin origin;
	uint32_t partitions;
	bool is_file;  /* messages are blocks of one container */
	bool discards; /* no sink: nothing is encoded */
	const struct darknet *darknet;
	/* Takes the entry. @return 0, or a negative code that ends the run */
	int (*take)(void *context, struct entry *entry);
	void *context;
};

struct entry_closer;

int entry_closer_create(
	struct entry_closer **out, const struct entry_closer_options *options) MUST_CHECK;
void entry_closer_destroy(struct entry_closer *closer);

/** Entries closed from here on have so many partitions. @return 0 or -ENOMEM */
int entry_closer_set_partitions(struct entry_closer *closer, uint32_t partitions) MUST_CHECK;

/**
 * The windows closed from here on were counted with these ranges.
 */
void entry_closer_set_darknet(struct entry_closer *closer, const struct darknet *darknet);

/** Entries closed from here on are of another boot. @return 0 or -ENOMEM */
int entry_closer_set_boot(struct entry_closer *closer, int64_t boot) MUST_CHECK;
int64_t entry_closer_boot(const struct entry_closer *closer);

/** A number above that of every part so far, of whatever minute. */
uint32_t entry_closer_parts(const struct entry_closer *closer);

/** The interval in which this part of the minute was captured, and what is closed after it. */
struct entry_interval {
	uint64_t from_ns;
	uint64_t to_ns;
	uint64_t closed_through; /* number of the minute */
	uint64_t close_id;	 /* live: names this close; a repeated one has the same */
	bool is_final;
	uint32_t first_part; /* parts of the minute are numbered from here on, if not higher */
};

/**
 * Closes a minute: hands over its entries and destroys the windows. All windows are of one minute.
 *
 * @return 0, -ENOMEM, or what `take` returned
 */
int entry_closer_close(struct entry_closer *closer, struct window **windows, size_t count,
	const struct entry_interval *interval) MUST_CHECK;

/** Logs the sums so far when SIGUSR1 asked for it. */
void entry_closer_statistics(const struct entry_closer *closer);

/** Sum of all ledgers closed so far. */
const struct ledger *entry_closer_totals(const struct entry_closer *closer);
