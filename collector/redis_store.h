/*
 * Redis: connection, the compare-and-apply script, and reading for reports.
 *
 * Threads: a store belongs to one thread.
 */
#pragma once

#include <stdbool.h>

#include "schemas/base/bytes.h"
#include "schemas/base/options.h"
#include "schemas/redis_keys.h"

#define REDIS_TIMEOUT_S 10 /* contract: not reachable within 10 s is a failure */

struct redis_store;

/** Makes a store; nothing is connected yet. @return 0, FAIL_USAGE when the URL is none, -ENOMEM */
int redis_store_create(
	struct redis_store **out, const struct config *config, struct message *msg) MUST_CHECK;
void redis_store_destroy(struct redis_store *store);

/**
 * Connects if it is not connected.
 *
 * @param for_writing  also checks maxmemory-policy and loads the script
 * @return 0, FAIL_REMOTE with the address in `msg`, FAIL_CONFIG when Redis may evict keys
 */
int redis_store_connect(
	struct redis_store *store, bool for_writing, struct message *msg) MUST_CHECK;

const char *redis_store_prefix(const struct redis_store *store);

/** A command built word by word. Zero-initialise. Words are copied. */
struct redis_words {
	struct buffer bytes;
	size_t *ends;
	size_t count, capacity;
	bool failed;
};

void redis_words_add(struct redis_words *words, const void *data, size_t size);
void redis_words_text(struct redis_words *words, const char *text);
void redis_words_int(struct redis_words *words, int64_t value);
void redis_words_clear(struct redis_words *words);
void redis_words_fini(struct redis_words *words);

/** The batch for the script: keys with their types, and operations (see apply.lua). */
struct redis_batch {
	struct redis_words keys; /* without watermarks and scratch */
	struct buffer types;	 /* one letter a key */
	struct redis_words ops;
};

enum apply_outcome {
	APPLY_DONE,
	APPLY_MISMATCH, /* the stored watermark is another: start again from it */
	APPLY_REFUSED,	/* a key of another type stands in the way: `msg` names it */
	APPLY_UNSURE,	/* no answer: read the watermark */
};

/** Applies [expected, next) of a partition. @param expected  -1: none stored */
enum apply_outcome redis_store_apply(struct redis_store *store, uint32_t partition,
	int64_t expected, int64_t next, const struct redis_batch *batch,
	struct message *msg) MUST_CHECK;

/** The stored watermark, -1 when there is none. @return 0, FAIL_REMOTE, FAIL_CONFIG (wrong type) */
int redis_store_watermark(struct redis_store *store, uint32_t partition, int64_t *out,
	struct message *msg) MUST_CHECK;

/* ---- a second set of keys beside the live ones ---- */

#define REDIS_REBUILD_SUFFIX "~rebuild" /* of the prefix */

/** From here on the store's keys are the rebuilt ones, or the live ones again. */
void redis_store_use_rebuilt(struct redis_store *store, bool rebuilt);

/** Removes all rebuilt keys, which an interrupted rebuild may have left. @return 0, FAIL_REMOTE */
int redis_store_drop_rebuilt(struct redis_store *store, struct message *msg) MUST_CHECK;

/**
 * Puts the rebuilt keys in the place of the live ones, in one step, if both have counted as much.
 *
 * @param from_s  buckets that start before stay as they are; INT64_MIN replaces everything
 * @param is_done  false: the live ones have gone on meanwhile
 * @return 0, FAIL_REMOTE
 */
int redis_store_switch(
	struct redis_store *store, int64_t from_s, bool *is_done, struct message *msg) MUST_CHECK;

/* Reading. Each returns 0, FAIL_REMOTE, or FAIL_CONFIG when the key is of another type. */

typedef void (*redis_pair_handler)(void *context, const char *field, const char *value);

/** Visits the fields of a hash; none when it does not exist. */
int redis_store_hash(struct redis_store *store, const char *key, redis_pair_handler handler,
	void *context, struct message *msg) MUST_CHECK;

/** Visits the members of a sorted set, a set ("SMEMBERS") or a list, as `field` with value "". */
int redis_store_members(struct redis_store *store, const char *key, const char *type,
	redis_pair_handler handler, void *context, struct message *msg) MUST_CHECK;

/** Where the actors of one label and bucket are: a field of a hash, and a HyperLogLog. */
struct redis_sketch_place {
	const char *hash_key;
	const char *field;
	const char *sketch_key;
};

/** Adds what is stored there to a HyperLogLog (collector/hyperloglog.h); nothing is no error. */
int redis_store_merge_sketch(struct redis_store *store, const struct redis_sketch_place *place,
	uint8_t *hll, struct message *msg) MUST_CHECK;

void redis_store_add_version(void);
