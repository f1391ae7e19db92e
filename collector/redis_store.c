#include "collector/redis_store.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "apply_lua.h"	/* made from apply.lua */
#include "switch_lua.h" /* made from switch.lua */
#include "collector/hyperloglog.h"
#include "schemas/base/log.h"
#include "schemas/base/versions.h"

#define URL_PART_BYTES 256
#define DEFAULT_PORT   6379

struct redis_store {
	struct redisContext *context;
	char host[URL_PART_BYTES]; /* or the socket's path */
	int port;		   /* 0: host is a path */
	int database;
	char user[URL_PART_BYTES];
	char password[URL_PART_BYTES];
	char address[URL_PART_BYTES + 16]; /* for messages: without secrets */
	char prefix[URL_PART_BYTES + sizeof(REDIS_REBUILD_SUFFIX)];
	char live_prefix[URL_PART_BYTES];
	char script_sha[41];
	bool is_checked;
};

/* ---- URL: redis://[USER:PASS@]HOST:PORT[/DB] or unix:///PATH ---- */

static bool copy_part(char *out, const char *from, size_t size)
{
	if (size >= URL_PART_BYTES)
		return false;
	memcpy(out, from, size);
	out[size] = '\0';
	return true;
}

static bool parse_credentials(struct redis_store *store, const char *text, size_t size)
{
	const char *colon = memchr(text, ':', size);

	if (colon == NULL)
		return copy_part(store->password, text, size);
	return copy_part(store->user, text, (size_t)(colon - text)) &&
	       copy_part(store->password, colon + 1, size - (size_t)(colon + 1 - text));
}

static bool parse_number(const char *text, size_t size, long max, int *out)
{
	long value = 0;

	if (size == 0 || size > 5)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (text[i] - '0');
	}
	*out = (int)value;
	return value <= max;
}

static bool parse_host(struct redis_store *store, const char *text, size_t size)
{
	const char *colon = NULL;
	size_t host_size = size;

	for (size_t i = 0; i < size; i++)
		if (text[i] == ':')
			colon = text + i;
	store->port = DEFAULT_PORT;
	if (text[0] == '[') { /* IPv6 in brackets */
		const char *end = memchr(text, ']', size);

		if (end == NULL)
			return false;
		colon = end + 1 < text + size && end[1] == ':' ? end + 1 : NULL;
		if (!copy_part(store->host, text + 1, (size_t)(end - text - 1)))
			return false;
	} else {
		host_size = colon != NULL ? (size_t)(colon - text) : size;
		if (host_size == 0 || !copy_part(store->host, text, host_size))
			return false;
	}
	return colon == NULL ||
	       (parse_number(colon + 1, size - (size_t)(colon + 1 - text), 65535, &store->port) &&
		       store->port > 0);
}

static bool parse_url(struct redis_store *store, const char *url)
{
	const char *at, *slash;
	size_t size;

	if (strncmp(url, "unix://", 7) == 0) {
		snprintf(store->address, sizeof(store->address), "unix://%s", url + 7);
		return url[7] == '/' && copy_part(store->host, url + 7, strlen(url + 7));
	}
	if (strncmp(url, "redis://", 8) != 0)
		return false;
	url += 8;
	slash = strchr(url, '/');
	size = slash != NULL ? (size_t)(slash - url) : strlen(url);
	at = memrchr(url, '@', size);
	if (at != NULL) {
		if (!parse_credentials(store, url, (size_t)(at - url)))
			return false;
		size -= (size_t)(at + 1 - url);
		url = at + 1;
	}
	if (!parse_host(store, url, size))
		return false;
	snprintf(store->address, sizeof(store->address), "%.*s", (int)size, url);
	return slash == NULL || slash[1] == '\0' ||
	       parse_number(slash + 1, strlen(slash + 1), 99999, &store->database);
}

int redis_store_create(struct redis_store **out, const struct config *config, struct message *msg)
{
	struct redis_store *store = calloc(1, sizeof(*store));
	const char *url = config_text(config, OPT_REDIS_URL);
	const char *password = config_text(config, OPT_REDIS_PASSWORD);
	char redacted[URL_PART_BYTES];

	if (store == NULL)
		return -ENOMEM;
	snprintf(store->prefix, sizeof(store->prefix), "%s",
		config_text(config, OPT_KAFKA_TOPIC_PREFIX));
	memcpy(store->live_prefix, store->prefix, sizeof(store->live_prefix));
	if (!parse_url(store, url)) {
		config_redacted(OPT_REDIS_URL, url, redacted, sizeof(redacted));
		free(store);
		return config_refuse(config, OPT_REDIS_URL, msg,
			"\"%s\" is not redis://[USER:PASS@]HOST:PORT[/DB] or unix:///PATH",
			redacted);
	}
	if (password != NULL)
		snprintf(store->password, sizeof(store->password), "%s", password);
	*out = store;
	return 0;
}

static void disconnect(struct redis_store *store)
{
	if (store->context != NULL)
		redisFree(store->context);
	store->context = NULL;
}

void redis_store_destroy(struct redis_store *store)
{
	if (store == NULL)
		return;
	disconnect(store);
	explicit_bzero(store->password, sizeof(store->password));
	free(store);
}

const char *redis_store_prefix(const struct redis_store *store)
{
	return store->prefix;
}

static int fail_remote(struct redis_store *store, const char *reason, struct message *msg)
{
	message_set(msg, "redis at %s: %s", store->address, reason);
	disconnect(store);
	return FAIL_REMOTE;
}

/* Runs a command; an error reply becomes FAIL_REMOTE, a WRONGTYPE one FAIL_CONFIG. */
static int run(struct redis_store *store, int argc, const char **argv, const size_t *sizes,
	redisReply **out, struct message *msg)
{
	redisReply *reply = redisCommandArgv(store->context, argc, argv, sizes);
	int rc = 0;

	if (reply == NULL)
		return fail_remote(store, store->context->errstr, msg);
	if (reply->type == REDIS_REPLY_ERROR) {
		bool is_type = strncmp(reply->str, "WRONGTYPE", 9) == 0;

		if (is_type)
			message_set(msg, "redis at %s: key %.*s: %s", store->address,
				argc > 1 ? (int)sizes[1] : 0, argc > 1 ? argv[1] : "", reply->str);
		else
			message_set(msg, "redis at %s: %s", store->address, reply->str);
		rc = is_type ? FAIL_CONFIG : FAIL_REMOTE;
		freeReplyObject(reply);
		return rc;
	}
	*out = reply;
	return 0;
}

static int run_texts(struct redis_store *store, const char **argv, int argc, redisReply **out,
	struct message *msg)
{
	size_t sizes[8];

	for (int i = 0; i < argc; i++)
		sizes[i] = strlen(argv[i]);
	return run(store, argc, argv, sizes, out, msg);
}

static int log_in(struct redis_store *store, struct message *msg)
{
	char database[12];
	const char *with_user[] = { "AUTH", store->user, store->password };
	const char *without_user[] = { "AUTH", store->password };
	const char *select[] = { "SELECT", database };
	redisReply *reply = NULL;
	int rc = 0;

	if (store->password[0] != '\0') {
		rc = store->user[0] != '\0' ? run_texts(store, with_user, 3, &reply, msg)
					    : run_texts(store, without_user, 2, &reply, msg);
		if (rc != 0)
			return rc;
		freeReplyObject(reply);
	}
	if (store->database == 0)
		return 0;
	snprintf(database, sizeof(database), "%d", store->database);
	rc = run_texts(store, select, 2, &reply, msg);
	if (rc == 0)
		freeReplyObject(reply);
	return rc;
}

/* Keys must never be evicted: a counter that vanishes is a wrong number. */
static int check_policy(struct redis_store *store, struct message *msg)
{
	const char *get[] = { "CONFIG", "GET", "maxmemory-policy" };
	struct message reason = { 0 };
	redisReply *reply;
	int rc = 0;

	if (run_texts(store, get, 3, &reply, &reason) != 0) {
		log_warning(
			"redis does not tell maxmemory-policy, it must be noeviction reason=\"%s\"",
			reason.text);
		return store->context == NULL ? FAIL_REMOTE : 0;
	}
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
		strcmp(reply->element[1]->str, "noeviction") != 0) {
		message_set(msg,
			"redis at %s: maxmemory-policy is %s, it must be noeviction: counters "
			"would vanish",
			store->address, reply->element[1]->str);
		rc = FAIL_CONFIG;
	}
	freeReplyObject(reply);
	return rc;
}

static int load_script(struct redis_store *store, struct message *msg)
{
	const char *load[] = { "SCRIPT", "LOAD", APPLY_LUA };
	redisReply *reply;
	int rc = run_texts(store, load, 3, &reply, msg);

	if (rc != 0)
		return rc;
	snprintf(store->script_sha, sizeof(store->script_sha), "%s", reply->str);
	freeReplyObject(reply);
	return 0;
}

int redis_store_connect(struct redis_store *store, bool for_writing, struct message *msg)
{
	struct timeval timeout = { .tv_sec = REDIS_TIMEOUT_S };
	int rc;

	if (store->context != NULL)
		return 0;
	store->context = store->port == 0
				 ? redisConnectUnixWithTimeout(store->host, timeout)
				 : redisConnectWithTimeout(store->host, store->port, timeout);
	if (store->context == NULL)
		return -ENOMEM;
	if (store->context->err != 0)
		return fail_remote(store, store->context->errstr, msg);
	redisSetTimeout(store->context, timeout);
	rc = log_in(store, msg);
	if (rc == 0 && for_writing)
		rc = check_policy(store, msg);
	if (rc == 0 && for_writing)
		rc = load_script(store, msg);
	if (rc != 0)
		disconnect(store);
	return rc;
}

/* ---- words ---- */

void redis_words_add(struct redis_words *words, const void *data, size_t size)
{
	if (words->count == words->capacity) {
		size_t capacity = words->capacity != 0 ? words->capacity * 2 : 64;
		size_t *ends = realloc(words->ends, capacity * sizeof(*ends));

		if (ends == NULL) {
			words->failed = true;
			return;
		}
		words->ends = ends;
		words->capacity = capacity;
	}
	buffer_append(&words->bytes, data, size);
	words->ends[words->count++] = words->bytes.size;
	words->failed |= words->bytes.failed;
}

void redis_words_text(struct redis_words *words, const char *text)
{
	redis_words_add(words, text, strlen(text));
}

void redis_words_int(struct redis_words *words, int64_t value)
{
	char digits[24];
	int size = snprintf(digits, sizeof(digits), "%" PRId64, value);

	redis_words_add(words, digits, (size_t)size);
}

void redis_words_clear(struct redis_words *words)
{
	buffer_clear(&words->bytes);
	words->count = 0;
	words->failed = false;
}

void redis_words_fini(struct redis_words *words)
{
	buffer_fini(&words->bytes);
	free(words->ends);
	*words = (struct redis_words){ 0 };
}

struct arguments {
	const char **argv;
	size_t *sizes;
	int argc;
};

static bool arguments_init(struct arguments *arguments, size_t capacity)
{
	*arguments = (struct arguments){ .argv = malloc(capacity * sizeof(char *)),
		.sizes = malloc(capacity * sizeof(size_t)) };
	return arguments->argv != NULL && arguments->sizes != NULL;
}

static void arguments_fini(struct arguments *arguments)
{
	free(arguments->argv);
	free(arguments->sizes);
}

static void argument(struct arguments *arguments, const char *text)
{
	arguments->argv[arguments->argc] = text;
	arguments->sizes[arguments->argc++] = strlen(text);
}

static void argument_words(struct arguments *arguments, const struct redis_words *words)
{
	size_t start = 0;

	for (size_t i = 0; i < words->count; i++) {
		arguments->argv[arguments->argc] = (const char *)words->bytes.data + start;
		arguments->sizes[arguments->argc++] = words->ends[i] - start;
		start = words->ends[i];
	}
}

/* ---- applying ---- */

static enum apply_outcome outcome_of(
	struct redis_store *store, const redisReply *reply, struct message *msg)
{
	const char *word = reply->type == REDIS_REPLY_ARRAY && reply->elements > 0
				   ? reply->element[0]->str
				   : "";

	if (strcmp(word, "ok") == 0)
		return APPLY_DONE;
	if (strcmp(word, "mismatch") == 0)
		return APPLY_MISMATCH;
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 3) {
		const char *kind = strcmp(word, "wrongtype") == 0   ? "is a"
				   : strcmp(word, "notnumber") == 0 ? "holds no number in"
				   : strcmp(word, "notsketch") == 0 ? "holds no sketch in"
								    : "would pass 2^53 in";

		message_set(msg,
			"redis at %s: key %s %s %s; nothing was applied, move the key away",
			store->address, reply->element[1]->str, kind, reply->element[2]->str);
		return APPLY_REFUSED;
	}
	message_set(msg, "redis at %s: unexpected answer of the script", store->address);
	return APPLY_UNSURE;
}

static void fill_arguments(struct arguments *arguments, const struct redis_batch *batch,
	const char *const texts[7], const struct redis_words *types)
{
	for (unsigned i = 0; i < 5; i++) /* EVALSHA sha numkeys watermarks scratch */
		argument(arguments, texts[i]);
	argument_words(arguments, &batch->keys);
	argument(arguments, texts[5]); /* partition */
	argument(arguments, texts[6]); /* expected, then next and types */
	argument_words(arguments, types);
	argument_words(arguments, &batch->ops);
}

enum apply_outcome redis_store_apply(struct redis_store *store, uint32_t partition,
	int64_t expected, int64_t next, const struct redis_batch *batch, struct message *msg)
{
	char watermarks[REDIS_KEY_BYTES], scratch[REDIS_KEY_BYTES], key_count[24], field[24],
		from[24];
	const char *texts[7] = { "EVALSHA", store->script_sha, key_count, watermarks, scratch,
		field, from };
	enum apply_outcome outcome = APPLY_UNSURE;
	struct redis_words tail = { 0 };
	struct arguments arguments;
	redisReply *reply;
	int rc;

	redis_key(watermarks, store->prefix, 0, "watermarks");
	redis_key(scratch, store->prefix, 0, "scratch");
	snprintf(key_count, sizeof(key_count), "%zu", batch->keys.count + 2);
	snprintf(field, sizeof(field), "%u", partition);
	from[0] = '\0';
	if (expected >= 0)
		snprintf(from, sizeof(from), "%" PRId64, expected);
	redis_words_int(&tail, next);
	redis_words_add(&tail, batch->types.data, batch->types.size);
	if (arguments_init(&arguments, batch->keys.count + batch->ops.count + 16) && !tail.failed &&
		!batch->ops.failed && !batch->keys.failed) {
		fill_arguments(&arguments, batch, texts, &tail);
		rc = run(store, arguments.argc, arguments.argv, arguments.sizes, &reply, msg);
		if (rc == 0) {
			outcome = outcome_of(store, reply, msg);
			freeReplyObject(reply);
		} else {
			disconnect(
				store); /* NOSCRIPT after a flush, out of memory, …: connecting again loads it */
		}
	} else {
		message_set(msg, "out of memory");
	}
	arguments_fini(&arguments);
	redis_words_fini(&tail);
	return outcome;
}

int redis_store_watermark(
	struct redis_store *store, uint32_t partition, int64_t *out, struct message *msg)
{
	char key[REDIS_KEY_BYTES], field[24];
	const char *get[] = { "HGET", key, field };
	redisReply *reply;
	int rc;

	redis_key(key, store->prefix, 0, "watermarks");
	snprintf(field, sizeof(field), "%u", partition);
	rc = run_texts(store, get, 3, &reply, msg);
	if (rc != 0)
		return rc;
	*out = reply->type == REDIS_REPLY_STRING ? strtoll(reply->str, NULL, 10) : -1;
	freeReplyObject(reply);
	return 0;
}

/* ---- a second set of keys ---- */

void redis_store_use_rebuilt(struct redis_store *store, bool rebuilt)
{
	snprintf(store->prefix, sizeof(store->prefix), "%s%s", store->live_prefix,
		rebuilt ? REDIS_REBUILD_SUFFIX : "");
}

/* How all keys of a set begin. */
static void beginning(const struct redis_store *store, bool rebuilt, char out[REDIS_KEY_BYTES])
{
	char prefix[sizeof(store->prefix)];

	snprintf(prefix, sizeof(prefix), "%s%s", store->live_prefix,
		rebuilt ? REDIS_REBUILD_SUFFIX : "");
	redis_key(out, prefix, 0, "");
}

int redis_store_drop_rebuilt(struct redis_store *store, struct message *msg)
{
	static const char script[] = "local keys = redis.call('KEYS', ARGV[1] .. '*') "
				     "for _, key in ipairs(keys) do redis.call('UNLINK', key) end "
				     "return #keys";
	char rebuilt[REDIS_KEY_BYTES];
	const char *words[] = { "EVAL", script, "0", rebuilt };
	redisReply *reply;
	int rc;

	beginning(store, true, rebuilt);
	rc = run_texts(store, words, 4, &reply, msg);
	if (rc == 0)
		freeReplyObject(reply);
	return rc;
}

int redis_store_switch(
	struct redis_store *store, int64_t from_s, bool *is_done, struct message *msg)
{
	char live[REDIS_KEY_BYTES], rebuilt[REDIS_KEY_BYTES], from[24] = "";
	const char *words[] = { "EVAL", SWITCH_LUA, "0", live, rebuilt, from };
	redisReply *reply;
	int rc;

	beginning(store, false, live);
	beginning(store, true, rebuilt);
	if (from_s != INT64_MIN)
		snprintf(from, sizeof(from), "%" PRId64, from_s);
	rc = run_texts(store, words, 6, &reply, msg);
	if (rc != 0)
		return rc;
	*is_done = reply->str != NULL && strcmp(reply->str, "done") == 0;
	freeReplyObject(reply);
	return 0;
}

/* ---- reading ---- */

int redis_store_hash(struct redis_store *store, const char *key, redis_pair_handler handler,
	void *context, struct message *msg)
{
	const char *get[] = { "HGETALL", key };
	redisReply *reply;
	int rc = run_texts(store, get, 2, &reply, msg);

	if (rc != 0)
		return rc;
	for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2)
		handler(context, reply->element[i]->str, reply->element[i + 1]->str);
	freeReplyObject(reply);
	return 0;
}

int redis_store_members(struct redis_store *store, const char *key, const char *type,
	redis_pair_handler handler, void *context, struct message *msg)
{
	const char *set[] = { "SMEMBERS", key };
	const char *range[] = { strcmp(type, "zset") == 0 ? "ZRANGE" : "LRANGE", key, "0", "-1" };
	redisReply *reply;
	int rc = strcmp(type, "set") == 0 ? run_texts(store, set, 2, &reply, msg)
					  : run_texts(store, range, 4, &reply, msg);

	if (rc != 0)
		return rc;
	for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
		handler(context, reply->element[i]->str, "");
	freeReplyObject(reply);
	return 0;
}

/* The form in which a label's registers are: words, or the mark that they have a key of their own. */
#define FULL_MARK "+" /* apply.lua: FULL */

/* The words of a field: all of it, or what stands behind "PACKETS BYTES ". */
static struct bytes words_of(struct bytes value)
{
	const uint8_t *space = memrchr(value.data, ' ', value.size);

	if (space == NULL)
		return value;
	return (struct bytes){ space + 1, (size_t)(value.data + value.size - space - 1) };
}

static int merge_reply(struct redis_store *store, const redisReply *reply,
	const struct redis_sketch_place *place, bool is_field, uint8_t *hll, struct message *msg)
{
	struct bytes value = { (const uint8_t *)reply->str, reply->len };
	int rc;

	if (reply->type != REDIS_REPLY_STRING)
		return 0;
	if (is_field)
		value = words_of(value);
	if (is_field && value.size == 1 && memcmp(value.data, FULL_MARK, 1) == 0)
		return 0;
	rc = is_field ? hyperloglog_merge_words(hll, value) : hyperloglog_merge(hll, value);
	if (rc == 0)
		return 0;
	message_set(msg, "redis at %s: key %s holds no sketch%s%s", store->address,
		is_field ? place->hash_key : place->sketch_key, is_field ? " in " : "",
		is_field ? place->field : "");
	return FAIL_CONFIG;
}

int redis_store_merge_sketch(struct redis_store *store, const struct redis_sketch_place *place,
	uint8_t *hll, struct message *msg)
{
	const char *field[] = { "HGET", place->hash_key, place->field };
	const char *whole[] = { "GET", place->sketch_key };
	redisReply *reply;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < 2; i++) {
		rc = i == 0 ? run_texts(store, field, 3, &reply, msg)
			    : run_texts(store, whole, 2, &reply, msg);
		if (rc != 0)
			break;
		rc = merge_reply(store, reply, place, i == 0, hll, msg);
		freeReplyObject(reply);
	}
	return rc;
}

void redis_store_add_version(void)
{
	static char version[24];

	snprintf(version, sizeof(version), "%d.%d.%d", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
	versions_add("hiredis", version);
}
