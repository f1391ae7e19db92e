/*
 * Counters of some flows: packets, bytes and actors by every dimension, by minute.
 *
 * This is what a batch of the log adds to Redis, and, over a whole file, what a report shows.
 * Dimensions and how their labels are written are rows of the table in tally.c.
 *
 * Threads: one at a time.
 */
#pragma once

#include "collector/geo.h"
#include "schemas/base/count_map.h"
#include "schemas/container.h"
#include "schemas/sketch.h"

/* Numbers stand in keys of the in-memory map only; names (tally_dimension_name) are contract. */
enum dimension {
	DIM_TOTAL,
	DIM_CLASS,
	DIM_ROLE,
	DIM_PROTOCOL,
	DIM_SERVICE, /* by role */
	DIM_COUNTRY,
	DIM_ASN,
	DIM_TOOL,
	DIM_PAYLOAD,
	DIM_SENSOR,
	DIM_COUNT,
};

enum period { PERIOD_MINUTE, PERIOD_HOUR, PERIOD_DAY, PERIOD_COUNT };

#define LABEL_TEXT_BYTES 160
#define TALLY_INTERVALS	 32 /* per ledger; a further one starts another ledger of the same minute */

/** One counter's place: bucket start (seconds since the epoch), dimension, label. */
struct tally_key {
	int64_t bucket_s;
	enum dimension dimension;
	uint32_t label;
};

struct tally_value {
	uint64_t packets;
	uint64_t bytes;
};

/** An actor seen under a counter; each pair once. */
struct tally_actor {
	uint64_t key;	/* packed tally_key */
	uint64_t actor; /* fixed hash of the address */
};

/** Books of one minute and sensor, added up over parts. */
struct tally_ledger {
	int64_t minute_ms;
	uint32_t sensor;		       /* tally_sensor */
	struct marker_record books;	       /* sums; texts and lists are not kept */
	int64_t intervals[TALLY_INTERVALS][2]; /* capture intervals, ns, not yet merged */
	size_t interval_count;
};

/** What a tally is for. All zero: a batch for Redis, counted by minute, actors as pairs. */
struct tally_options {
	bool for_report; /* all time in one bucket (or by `per`), actors as sketches: bounded by labels */
	enum period per;      /* for_report: buckets, PERIOD_COUNT for one over all time */
	int64_t day_offset_s; /* where days begin, east of UTC */
};

struct tally {
	struct tally_options options;
	struct count_map minutes;  /* for_report: minute → struct tally_value */
	struct count_map sketches; /* for_report: packed key → struct sketch * */
	struct count_map counters; /* packed key → struct tally_value */
	struct count_map seen;	   /* hash of (key, actor): which pairs are in `actors` */
	struct tally_actor *actors;
	size_t actor_count, actor_capacity;
	struct tally_ledger *ledgers;
	size_t ledger_count, ledger_capacity;
	struct text_list sensors;  /* by number; few */
	struct text_list names;	   /* AS names, by number */
	struct count_map as_names; /* asn → number of its name + 1 */
	uint64_t flows;
	uint64_t poison; /* messages that could not be read */
	bool is_out_of_memory;
};

int tally_init(struct tally *tally, const struct tally_options *options) MUST_CHECK;
void tally_fini(struct tally *tally);
void tally_clear(struct tally *tally);
bool tally_is_empty(const struct tally *tally);

/** The flow's label in every dimension; DIM_SENSOR's is left at 0. */
void tally_labels(
	const struct flow_record *flow, const struct geo_answer *geo, uint32_t out[DIM_COUNT]);

/** Adds a flow. Memory running out is latched in `is_out_of_memory`. */
void tally_flow(struct tally *tally, const struct origin *origin, const struct flow_record *flow,
	const struct geo_answer *geo);

/** Adds a marker's books; only markers of partition 0 carry any. */
void tally_marker(
	struct tally *tally, const struct origin *origin, const struct marker_record *marker);

/** What stands for an actor in every sketch: the same in each process. */
uint64_t tally_actor_element(struct bytes actor);

uint64_t tally_pack(const struct tally_key *key);
struct tally_key tally_unpack(uint64_t packed);

/** Start of the bucket that holds a time, in seconds. Days begin at `day_offset_s` east of UTC. */
int64_t period_start(enum period period, int64_t time_s, int64_t day_offset_s);
int64_t period_seconds(enum period period);
const char *period_name(enum period period);

/** "class", "service", …; NULL at the end of the list. */
const char *tally_dimension_name(enum dimension dimension);

/** A label as text; services without their role, see tally_service_role. */
const char *tally_label(const struct tally *tally, enum dimension dimension, uint32_t label,
	char out[LABEL_TEXT_BYTES]);
unsigned tally_service_role(uint32_t label);
uint8_t tally_service_protocol(uint32_t label);
int32_t tally_service_port(uint32_t label);
uint32_t tally_service_label(unsigned role, uint8_t protocol, int32_t port);
const char *tally_sensor(const struct tally *tally, uint32_t number);

/** The AS's name when a flow of this tally had one, else NULL. */
const char *tally_as_name(struct tally *tally, uint32_t asn);

/** Adds one ledger's figures to another's: sums, first and last, greatest of what is stated once. */
void tally_books_add(struct marker_record *into, const struct marker_record *from);

/** The ledger figures that are sums, by name: fields of a bucket's ledger in Redis. */
struct tally_book {
	const char *name;
	size_t offset; /* of an int64_t in struct marker_record */
};

extern const struct tally_book tally_books[];
extern const size_t tally_book_count;

int64_t tally_book_value(const struct marker_record *books, size_t book);
void tally_book_set(struct marker_record *books, const char *name, int64_t value);
