#include "collector/audit.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <time.h>

#include "collector/audit_kafka.h"
#include "collector/message_records.h"
#include "schemas/base/log.h"
#include "schemas/base/timing.h"

#define OPEN_MS	   10000
#define OTHER_MS   3000	 /* the broker has answered by then */
#define SETTLE_MS  12000 /* transactions of ours end within KAFKA_TRANSACTION_TIMEOUT_MS */
#define READ_ON_MS 50

struct run {
	struct audit *audit;
	const struct config *config;
	struct kafka_settings kafka;
	struct message *msg;
	struct message_records records;
	char group[TRANSACTIONAL_ID_BYTES / 2]; /* of the view enrich */
	struct audit_topic *flows, *enriched, *sensors;
	struct audit_actors *actors;
	int64_t *worked; /* the view enrich's positions, -1 none */
	bool has_position;
	int rc; /* of a handler */
};

static int64_t milliseconds_of(int64_t seconds)
{
	return seconds == INT64_MIN || seconds == INT64_MAX ? seconds : seconds * 1000;
}

int audit_init(struct audit *audit, const struct config *config, struct message *msg)
{
	int rc;

	*audit = (struct audit){ 0 };
	rc = report_query_read(&audit->query, config, msg);
	if (rc == 0 && audit->query.wants_csv)
		rc = config_refuse(config, OPT_REPORT_CSV, msg,
			"--audit prints text or, with --json, one JSON object");
	return rc;
}

void audit_fini(struct audit *audit)
{
	audit_books_fini(&audit->books);
	audit_redis_fini(&audit->redis);
	free(audit->enrich);
}

/* ---- where the views stand ---- */

static int enrich_positions(struct run *run, int64_t *out)
{
	uint32_t partitions = run->audit->books.partition_count;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < partitions; i++) {
		rc = audit_topic_committed(run->flows, i, &out[i], run->msg);
		/* Kafka forgets a group's offsets after a week; the view keeps them, too */
		if (rc == 0 && out[i] < 0)
			out[i] = run->audit->enrich[i].offset;
	}
	return rc;
}

static int read_redis(struct run *run)
{
	struct audit *audit = run->audit;
	struct redis_store *store = NULL;
	int rc = redis_store_create(&store, run->config, run->msg);

	audit->redis.lifetimes = redis_lifetimes_of(run->config);
	if (rc == 0)
		rc = redis_store_connect(store, false, &audit->redis_reason);
	if (rc == 0)
		rc = audit_redis_read(&audit->redis, store, audit->books.partition_count,
			audit->books.from_ms, audit->books.to_ms, &audit->redis_reason);
	redis_store_destroy(store);
	if (rc == FAIL_REMOTE && !config_is_set(run->config, OPT_REDIS_URL))
		return 0; /* nobody said that there is one */
	if (rc != 0) {
		if (audit->redis_reason.text[0] != '\0')
			*run->msg = audit->redis_reason;
		return rc == FAIL_CONFIG ? FAIL_REMOTE : rc;
	}
	audit->has_redis = audit->redis.is_there;
	if (!audit->has_redis)
		message_set(&audit->redis_reason, "the view count has applied nothing to it");
	for (uint32_t i = 0; audit->has_redis && i < audit->books.partition_count; i++)
		audit->books.partitions[i].applied = audit->redis.watermarks[i];
	return 0;
}

/* ---- records ---- */

/* Of what the view count has worked through. */
static int add_actor(
	struct run *run, const struct audit_place *place, const struct flow_record *flow)
{
	const struct audit *audit = run->audit;

	if (!audit->has_redis || place->offset >= audit->books.partitions[place->partition].applied)
		return 0;
	return audit_actors_add(run->actors,
		period_start(
			PERIOD_DAY, flow->window_ms / 1000, audit->redis.lifetimes.day_offset_s),
		flow);
}

static int take_flows(void *context, const struct audit_record *record)
{
	struct run *run = context;
	struct audit_books *books = &run->audit->books;
	struct audit_place place = { record->partition, record->offset, record->append_ms };
	struct message reason = { 0 };
	int rc = message_records_decode(&run->records, record->value, &reason);

	if (rc == FAIL_FORMAT) {
		audit_books_poison(books, &place);
		return 0;
	}
	for (size_t i = 0; rc == 0 && i < run->records.count; i++) {
		const struct container_item *item = &run->records.items[i];

		if (item->kind == ITEM_FLOW) {
			audit_books_flow(books, &place, &run->records.origin, &item->flow);
			rc = add_actor(run, &place, &item->flow);
		}
		if (item->kind == ITEM_MARKER)
			audit_books_marker(books, &place, &run->records.origin, &item->marker);
	}
	return rc == 0 && books->is_out_of_memory ? -ENOMEM : rc;
}

static int64_t integer_of(const json_t *json, const char *name)
{
	const json_t *value = json_object_get(json, name);

	return json_is_integer(value) ? json_integer_value(value) : AVRO_NULL_LONG;
}

static bool text_of(const json_t *json, const char *name, char out[ORIGIN_TEXT_BYTES])
{
	const char *text = json_string_value(json_object_get(json, name));

	snprintf(out, ORIGIN_TEXT_BYTES, "%s", text != NULL ? text : "");
	return text != NULL;
}

/* A JSON record's sensor and timeline; NULL when it is none. The caller releases. */
static json_t *record_of(const struct audit_record *record, struct origin *origin)
{
	json_t *json = json_loadb((const char *)record->value.data, record->value.size, 0, NULL);

	*origin = (struct origin){ 0 };
	if (text_of(json, "sensor", origin->sensor) && text_of(json, "timeline", origin->timeline))
		return json;
	json_decref(json);
	return NULL;
}

static int take_enriched(void *context, const struct audit_record *record)
{
	struct run *run = context;
	struct audit_books *books = &run->audit->books;
	struct audit_partition *partition = &books->partitions[record->partition];
	struct origin origin;
	json_t *json = record_of(record, &origin);
	int64_t window_ms = integer_of(json, "window_ms"), packets = integer_of(json, "packets"),
		bytes = integer_of(json, "bytes");

	/* the first record held: flows that came to the log later are held for certain */
	if (partition->enriched_since_ms == INT64_MAX)
		partition->enriched_since_ms = record->append_ms;
	if (json == NULL || window_ms < 0 || packets < 0 || bytes < 0)
		run->audit->unreadable_enriched++;
	else
		audit_books_enriched(books, &origin, window_ms, packets, bytes);
	json_decref(json);
	return books->is_out_of_memory ? -ENOMEM : 0;
}

static int take_sensors(void *context, const struct audit_record *record)
{
	struct run *run = context;
	struct audit_books *books = &run->audit->books;
	struct marker_record ledger = marker_defaults();
	struct origin origin;
	json_t *json = record_of(record, &origin);

	if (json == NULL || integer_of(json, "entry") < 0 || integer_of(json, "minute_ms") < 0) {
		json_decref(json);
		return 0; /* a missing ledger is found by its entry number */
	}
	origin.boot = integer_of(json, "boot");
	ledger.entry = integer_of(json, "entry");
	ledger.part = (int32_t)integer_of(json, "part");
	ledger.minute_ms = integer_of(json, "minute_ms");
	ledger.interval_from_ns = integer_of(json, "interval_from_ns");
	ledger.interval_to_ns = integer_of(json, "interval_to_ns");
	ledger.first_ns = integer_of(json, "first_ns");
	ledger.last_ns = integer_of(json, "last_ns");
	ledger.gap_from_ns = integer_of(json, "gap_from_ns");
	ledger.gap_to_ns = integer_of(json, "gap_to_ns");
	ledger.monitored_addresses = integer_of(json, "monitored_addresses");
	ledger.monitored_ipv6_prefixes = integer_of(json, "monitored_ipv6_prefixes");
	for (size_t i = 0; i < tally_book_count; i++) {
		int64_t value = integer_of(json, tally_books[i].name);

		tally_book_set(&ledger, tally_books[i].name, value != AVRO_NULL_LONG ? value : 0);
	}
	audit_books_sensors(books, &origin, &ledger);
	json_decref(json);
	return books->is_out_of_memory ? -ENOMEM : 0;
}

static int take_state(void *context, const struct audit_record *record)
{
	struct run *run = context;
	char key[TRANSACTIONAL_ID_BYTES];

	for (uint32_t i = 0; i < run->audit->books.partition_count; i++) {
		view_state_key(key, run->group, i);
		if (record->key.size == strlen(key) &&
			memcmp(record->key.data, key, record->key.size) == 0) {
			view_state_fini(&run->audit->enrich[i]);
			view_state_decode(&run->audit->enrich[i], record->value);
		}
	}
	return 0;
}

/* ---- topics ---- */

/* Opens what may be missing. @return 0, also when it is; then *out stays NULL */
static int open_other(
	struct run *run, struct audit_topic **out, enum topic topic, struct message *reason)
{
	int rc = audit_topic_open(out, &run->kafka, topic, NULL, OTHER_MS, reason);

	if (rc == 0 && topic == TOPIC_ENRICHED &&
		audit_topic_partitions(*out) != run->audit->books.partition_count) {
		message_set(reason, "it has another number of partitions than the flows topic");
		audit_topic_close(*out);
		*out = NULL;
	}
	if (rc == FAIL_REMOTE)
		log_info("not available reason=\"%s\"", reason->text);
	return rc == FAIL_REMOTE ? 0 : rc;
}

static int open_topics(struct run *run)
{
	struct audit_books *books = &run->audit->books;
	const struct report_query *query = &run->audit->query;
	int rc;

	view_state_group(run->group, run->kafka.prefix,
		config_text(run->config, OPT_COLLECTOR_GROUP), "enrich");
	rc = audit_topic_open(&run->flows, &run->kafka, TOPIC_FLOWS, run->group, OPEN_MS, run->msg);
	if (rc != 0)
		return rc;
	rc = audit_books_init(books, audit_topic_partitions(run->flows),
		milliseconds_of(query->from_s), milliseconds_of(query->to_s),
		&run->audit->findings);
	if (rc == 0)
		rc = open_other(run, &run->enriched, TOPIC_ENRICHED, &run->audit->enriched_reason);
	if (rc == 0)
		rc = open_other(run, &run->sensors, TOPIC_SENSORS, &run->audit->sensors_reason);
	books->has_sensors = run->sensors != NULL;
	books->sensors_are_cut = run->sensors != NULL && audit_topic_low(run->sensors, 0) > 0;
	return rc;
}

/* Where the view enrich says that it stands, and what it never read. */
static int read_state(struct run *run)
{
	struct audit *audit = run->audit;
	struct message reason = { 0 };
	struct audit_topic *state = NULL;
	int rc;

	audit->enrich = calloc(audit->books.partition_count, sizeof(*audit->enrich));
	if (audit->enrich == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < audit->books.partition_count; i++)
		audit->enrich[i].offset = -1;
	rc = open_other(run, &state, TOPIC_STATE, &reason);
	if (rc == 0 && state != NULL)
		rc = audit_topic_read(state, take_state, run, run->msg);
	audit_topic_close(state);
	return rc;
}

/* What the enriched topic holds, between two looks at the view's positions. */
static int read_enriched(struct run *run)
{
	struct audit_books *books = &run->audit->books;
	uint32_t partitions = books->partition_count;
	int64_t *after = calloc(partitions, sizeof(*after));
	bool has_records = false;
	int rc;

	run->worked = calloc(partitions, sizeof(*run->worked));
	if (after == NULL || run->worked == NULL) {
		free(after);
		return -ENOMEM;
	}
	rc = enrich_positions(run, run->worked);
	if (rc == 0) /* what lies below the positions lies below this end */
		rc = audit_topic_refresh(run->enriched, run->msg);
	for (uint32_t i = 0; i < partitions; i++) {
		books->partitions[i].worked = run->worked[i];
		run->has_position |= run->worked[i] >= 0;
		has_records |=
			audit_topic_end(run->enriched, i) > audit_topic_low(run->enriched, i);
		if (audit_topic_low(run->enriched, i) > 0)
			books->partitions[i].enriched_since_ms = INT64_MAX;
	}
	if (rc == 0)
		rc = audit_topic_read(run->enriched, take_enriched, run, run->msg);
	if (rc == 0)
		rc = enrich_positions(run, after);
	books->enriched_is_exact =
		run->has_position && memcmp(run->worked, after, partitions * sizeof(*after)) == 0;
	books->has_enriched = run->has_position || has_records;
	if (!books->has_enriched)
		message_set(&run->audit->enriched_reason, "the view enrich has written nothing");
	free(after);
	return rc;
}

/* Goes on until every source has shown what one of them has, or will not. */
static int settle(struct run *run)
{
	struct audit_books *books = &run->audit->books;
	int64_t deadline = timing_now_ms() + SETTLE_MS;
	int rc = 0;

	audit_books_set_targets(books);
	while (rc == 0 && !audit_books_settled(books) && timing_now_ms() < deadline) {
		rc = audit_topic_read_on(run->flows, take_flows, run, READ_ON_MS);
		if (rc == 0 && run->sensors != NULL)
			rc = audit_topic_read_on(run->sensors, take_sensors, run, READ_ON_MS);
	}
	return rc;
}

static int read_log(struct run *run)
{
	struct audit_books *books = &run->audit->books;
	/* what the views have worked through must lie below this end */
	int rc = audit_topic_refresh(run->flows, run->msg);

	for (uint32_t i = 0; i < books->partition_count; i++)
		books->partitions[i].low = audit_topic_low(run->flows, i);
	if (rc != 0)
		return rc;
	rc = audit_topic_read(run->flows, take_flows, run, run->msg);
	if (rc == 0 && run->sensors != NULL)
		rc = audit_topic_read(run->sensors, take_sensors, run, run->msg);
	return rc == 0 ? settle(run) : rc;
}

/* ---- judging ---- */

static void judge_position(struct run *run, const char *view, uint32_t partition, int64_t position)
{
	struct audit_subject subject = { NULL, NULL, FINDING_NO_TIME };
	int64_t end = audit_topic_end(run->flows, partition);

	if (position > end)
		audit_finding_add(&run->audit->findings, &subject, end, position,
			"view %s stands behind the end of flows.v1 partition %u", view, partition);
}

static int judge(struct run *run)
{
	struct audit *audit = run->audit;
	struct audit_subject subject = { NULL, NULL, FINDING_NO_TIME };

	for (uint32_t i = 0; i < audit->books.partition_count; i++) {
		judge_position(run, "count", i, audit->books.partitions[i].applied);
		judge_position(run, "enrich", i, audit->books.partitions[i].worked);
	}
	if (audit->unreadable_enriched > 0)
		audit_finding_add(&audit->findings, &subject, 0, audit->unreadable_enriched,
			"records in enriched.v1 that are no enriched flows");
	audit_books_judge(&audit->books);
	if (!audit->has_redis)
		return 0;
	return audit_redis_judge(
		&audit->redis, &audit->books, run->actors, (int64_t)time(NULL) * 1000);
}

static int run_all(struct run *run)
{
	int rc = message_records_init(&run->records);

	if (rc == 0)
		rc = audit_actors_create(&run->actors);
	if (rc == 0)
		rc = open_topics(run);
	if (rc == 0)
		rc = read_redis(run);
	if (rc == 0)
		rc = read_state(run);
	if (rc == 0 && run->enriched != NULL)
		rc = read_enriched(run);
	else if (rc == 0)
		run->audit->books.has_enriched = false;
	if (rc == 0)
		rc = read_log(run);
	return rc == 0 ? judge(run) : rc;
}

int audit_run(struct audit *audit, const struct config *config, struct message *msg)
{
	struct run run = {
		.audit = audit, .config = config, .kafka = kafka_settings_of(config), .msg = msg
	};
	int64_t start_ms = timing_now_ms();
	int rc = run_all(&run);

	audit_topic_close(run.flows);
	audit_topic_close(run.enriched);
	audit_topic_close(run.sensors);
	message_records_fini(&run.records);
	audit_actors_destroy(run.actors);
	free(run.worked);
	audit->seconds = (double)(timing_now_ms() - start_ms) / 1000;
	return rc == 0 && audit->books.is_out_of_memory ? -ENOMEM : rc;
}
