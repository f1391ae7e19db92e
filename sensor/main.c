/*
 * hoshimi-sensor: wires options, capture, workers and the sink together, and shuts them down.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "schemas/base/kafka.h"
#include "schemas/base/log.h"
#include "schemas/base/options.h"
#include "schemas/base/reload.h"
#include "schemas/base/signals.h"
#include "schemas/base/versions.h"
#include "sensor/capture_filter.h"
#include "sensor/capture_live.h"
#include "sensor/live.h"
#include "sensor/replay.h"
#include "sensor/recover.h"
#include "sensor/replay_id.h"
#include "sensor/sink.h"
#include "sensor/sink_kafka.h"

/* Dark ranges once in force stay until the end: queued entries name them. */
struct ranges {
	struct darknet *darknet; /* NULL: none given */
	struct buffer text;	 /* as configured, a line each */
	struct ranges *former;
};

#define PATH_BYTES 4096

struct sensor {
	const struct config *config;
	int argc; /* as given, for a reload */
	char **argv;
	struct darknet *darknet; /* in force; NULL: every IP packet counts */
	struct ranges *ranges;	 /* all, the newest first */
	struct sink *sink;
	struct message sink_msg; /* why it took no more */
	struct entry_closer *closer;
	struct origin origin;
	uint32_t partitions;
	struct open_store *store; /* live: where the open minute outlives the process */
	bool has_looked_for_store;
	struct capture_merge *merge; /* of a replay, while it runs */
	struct summary *summary;
};

static void destroy_ranges(struct ranges *ranges)
{
	while (ranges != NULL) {
		struct ranges *former = ranges->former;

		darknet_destroy(ranges->darknet);
		buffer_fini(&ranges->text);
		free(ranges);
		ranges = former;
	}
}

static int make_ranges(struct ranges *ranges, const struct config *config, const char **all,
	size_t count, struct message *msg)
{
	int rc = darknet_create(&ranges->darknet, all, count, msg);

	for (size_t i = 0; i < count; i++)
		buffer_format(&ranges->text, "%s\n", all[i]);
	if (rc == FAIL_USAGE) {
		struct message reason = *msg;

		rc = config_refuse(config, OPT_SENSOR_DARK, msg, "%s", reason.text);
	}
	return rc == 0 && ranges->text.failed ? -ENOMEM : rc;
}

static int load_ranges(struct ranges *ranges, const struct config *config, struct message *msg)
{
	const struct text_list *dark = config_list(config, OPT_SENSOR_DARK);
	const char *path = config_text(config, OPT_SENSOR_DARK_FILE);
	char **from_file = NULL;
	const char **all = NULL;
	size_t file_count = 0;
	int rc = 0;

	if (dark->count == 0 && path == NULL)
		return 0;
	if (path != NULL)
		rc = darknet_read_file(&from_file, &file_count, path, msg);
	if (rc == 0)
		all = calloc(dark->count + file_count + 1, sizeof(*all));
	if (rc == 0 && all == NULL)
		rc = -ENOMEM;
	for (size_t i = 0; rc == 0 && i < dark->count; i++)
		all[i] = dark->items[i];
	for (size_t i = 0; rc == 0 && i < file_count; i++)
		all[dark->count + i] = from_file[i];
	if (rc == 0)
		rc = make_ranges(ranges, config, all, dark->count + file_count, msg);
	for (size_t i = 0; i < file_count; i++)
		free(from_file[i]);
	free(from_file);
	free(all);
	return rc;
}

static bool are_in_force(const struct sensor *sensor, const struct ranges *ranges)
{
	const struct buffer *old = sensor->ranges != NULL ? &sensor->ranges->text : NULL;

	return old != NULL && old->size == ranges->text.size &&
	       (old->size == 0 || memcmp(old->data, ranges->text.data, old->size) == 0);
}

/* Puts the ranges of a configuration in force; the same ones again change nothing. */
static int use_ranges(struct sensor *sensor, const struct config *config, struct message *msg)
{
	struct ranges *ranges = calloc(1, sizeof(*ranges));
	int rc;

	if (ranges == NULL)
		return -ENOMEM;
	rc = load_ranges(ranges, config, msg);
	if (rc != 0 || are_in_force(sensor, ranges)) {
		destroy_ranges(ranges);
		return rc;
	}
	ranges->former = sensor->ranges;
	sensor->ranges = ranges;
	sensor->darknet = ranges->darknet;
	return 0;
}

/* What the options mean together; single values were checked when they were read. */
static int check_options(const struct config *config, struct message *msg)
{
	bool reads = config_list(config, OPT_SENSOR_READ)->count > 0;
	bool listens = config_list(config, OPT_SENSOR_INTERFACE)->count > 0;
	const char *filter = config_text(config, OPT_SENSOR_FILTER);

	if (config_text(config, OPT_SENSOR_HTTP) != NULL)
		return config_refuse(config, OPT_SENSOR_HTTP, msg, "there is no HTTP server yet");
	if (reads == listens) {
		message_set(msg, reads ? "-r and -i exclude each other"
				       : "nothing to read: give -r FILE… or -i IFACE…");
		return FAIL_USAGE;
	}
	if (listens && config_list(config, OPT_SENSOR_DARK)->count == 0 &&
		config_text(config, OPT_SENSOR_DARK_FILE) == NULL) {
		message_set(msg, "-i needs --dark PREFIX[,PREFIX…] or --dark-file FILE: which "
				 "addresses are unused?");
		return FAIL_USAGE;
	}
	if (listens && config_bool(config, OPT_SENSOR_SUMMARY)) {
		message_set(msg, "--summary goes with -r only");
		return FAIL_USAGE;
	}
	if (config_text(config, OPT_SENSOR_OUTPUT) == NULL &&
		!config_bool(config, OPT_SENSOR_SUMMARY)) {
		message_set(msg, "no output: give -o -|FILE|kafka, or --summary");
		return FAIL_USAGE;
	}
	return filter != NULL ? capture_filter_check(filter, msg) : 0;
}

static bool wants_kafka(const struct config *config)
{
	const char *output = config_text(config, OPT_SENSOR_OUTPUT);

	return output != NULL && strcmp(output, "kafka") == 0;
}

static bool is_live(const struct config *config)
{
	return config_list(config, OPT_SENSOR_INTERFACE)->count > 0;
}

static int open_sink(struct sensor *sensor, struct message *msg)
{
	const char *output = config_text(sensor->config, OPT_SENSOR_OUTPUT);

	sensor->partitions = 1;
	if (output == NULL)
		return 0;
	if (wants_kafka(sensor->config))
		return sink_kafka_open(&sensor->sink, sensor->config, &signals_stop,
			&sensor->origin, &sensor->partitions, msg);
	return sink_file_open(&sensor->sink, output, &sensor->origin, msg);
}

/* Into Kafka, an input that broke off is no end of a replay: the next run goes on with the rest. */
static bool breaks_off(const struct sensor *sensor)
{
	return wants_kafka(sensor->config) && sensor->merge != NULL &&
	       capture_merge_has_broken_off(sensor->merge);
}

static int take_entry(void *context, struct entry *entry)
{
	struct sensor *sensor = context;

	/* closed by the break, not by later packets: with the whole input it may hold more */
	if (breaks_off(sensor)) {
		entry_destroy(entry);
		return 0;
	}
	return sensor->sink->take(sensor->sink, entry, &sensor->sink_msg);
}

static int open_closer(struct sensor *sensor)
{
	struct entry_closer_options options = {
		.origin = sensor->origin,
		.partitions = sensor->partitions,
		.is_file = !wants_kafka(sensor->config),
		.discards = sensor->sink == NULL,
		.darknet = sensor->darknet,
		.take = take_entry,
		.context = sensor,
	};

	return entry_closer_create(&sensor->closer, &options);
}

static uint64_t random_secret(void)
{
	uint64_t secret = 0;

	if (getrandom(&secret, sizeof(secret), 0) != (ssize_t)sizeof(secret))
		log_warning("no randomness from the kernel, flow hashes are guessable");
	return secret;
}

static struct worker_options worker_options_of(const struct sensor *sensor)
{
	return (struct worker_options){
		.darknet = sensor->darknet,
		.shards = is_live(sensor->config) ? 1 : FILE_SHARDS,
		.workers = 1,
		.flows_max = config_u64(sensor->config, OPT_SENSOR_MAX_FLOWS),
		.secret = random_secret(),
		.wants_summary = config_bool(sensor->config, OPT_SENSOR_SUMMARY),
	};
}

static int print_summary(const struct sensor *sensor)
{
	struct buffer text = { 0 };
	int rc = summary_json(sensor->summary, entry_closer_totals(sensor->closer), &text);

	buffer_u8(&text, '\n');
	if (rc == 0 && (text.failed || fwrite(text.data, 1, text.size, stdout) != text.size ||
			       fflush(stdout) != 0))
		rc = -EIO;
	buffer_fini(&text);
	return rc;
}

/* Everything readable was read: completes the output. */
static int finish_replay(struct sensor *sensor, struct message *msg)
{
	bool is_whole = !breaks_off(sensor);
	int rc = 0;

	if (!is_whole)
		sink_kafka_stay_open(sensor->sink);
	if (sensor->sink != NULL)
		rc = sensor->sink->finish(sensor->sink, msg);
	if (rc == 0 && sensor->summary != NULL)
		rc = print_summary(sensor);
	if (rc != 0 || !capture_merge_is_damaged(sensor->merge))
		return rc;
	if (!is_whole && !sink_kafka_is_complete(sensor->sink))
		message_set(msg,
			"the input broke off, replay %s is not complete: run it again with the "
			"whole "
			"input and it goes on",
			sensor->origin.timeline);
	return FAIL_FORMAT;
}

static int run_replay(struct sensor *sensor, struct message *msg)
{
	const struct text_list *files = config_list(sensor->config, OPT_SENSOR_READ);
	struct replay_options options = {
		.worker = worker_options_of(sensor),
		.workers = (unsigned)config_u64(sensor->config, OPT_SENSOR_WORKERS),
		.shows_progress = isatty(STDERR_FILENO) == 1,
		.stop = &signals_stop,
	};
	int rc;

	rc = capture_merge_open(&sensor->merge, (const char *const *)files->items, files->count,
		config_text(sensor->config, OPT_SENSOR_FILTER), &signals_stop, msg);
	if (rc != 0)
		return rc;
	rc = replay_run(&options, sensor->merge, sensor->closer, &sensor->summary);
	if (rc == 0)
		rc = finish_replay(sensor, msg);
	if (rc == FAIL_STOPPED && wants_kafka(sensor->config)) {
		int failure = sink_kafka_failure(sensor->sink, msg);

		rc = failure != 0 ? failure : rc;
	}
	capture_merge_close(sensor->merge);
	sensor->merge = NULL;
	return rc;
}

/* SIGHUP: the log level and the dark ranges take effect. */
static void reload(struct sensor *sensor)
{
	struct config *config = reload_read(PROGRAM_SENSOR, sensor->argc, sensor->argv);
	struct message msg = { 0 };
	int rc;

	if (config == NULL)
		return;
	rc = check_options(config, &msg);
	if (rc == 0)
		rc = use_ranges(sensor, config, &msg);
	if (rc != 0 && msg.text[0] == '\0')
		message_set(&msg, "%s", error_text(rc));
	if (rc != 0)
		reload_refuse(&msg);
	else
		reload_accept(config, "the log level and the dark ranges are");
	config_destroy(config);
}

/* A broker that was away at the start tells how many partitions the log has. */
static void learn_partitions(struct sensor *sensor)
{
	uint32_t partitions = wants_kafka(sensor->config) ? sink_kafka_partitions(sensor->sink) : 0;

	if (partitions == 0 || partitions == sensor->partitions)
		return;
	/* without memory the sink goes on dealing entries out by itself */
	if (entry_closer_set_partitions(sensor->closer, partitions) == 0)
		sensor->partitions = partitions;
}

/* Where the open minute outlives the process, once what the last one left is closed: as soon as
 * nobody else has the spool. */
static int open_minutes(struct sensor *sensor, struct message *msg)
{
	char path[PATH_BYTES];
	struct recover_options options = {
		.directory = path,
		.sensor = sensor->origin.sensor,
		.partitions = sensor->partitions,
		.take = take_entry,
		.context = sensor,
	};
	struct message why = { "" };
	int rc;

	if (sensor->has_looked_for_store || !wants_kafka(sensor->config) ||
		!sink_kafka_has_spool(sensor->sink))
		return 0;
	sensor->has_looked_for_store = true;
	snprintf(path, sizeof(path), "%s/%s/open", config_text(sensor->config, OPT_SENSOR_STATE),
		sensor->origin.sensor);
	rc = recover_minutes(&options, msg);
	if (rc != 0)
		return rc;
	rc = open_store_create(&sensor->store, path, entry_closer_boot(sensor->closer), &why);
	if (rc != 0)
		log_error(
			"the open minute is in memory only and dies with the process error=\"%s\"",
			why.text);
	return rc == -ENOMEM ? rc : 0;
}

static struct live_terms on_tick(void *context)
{
	struct sensor *sensor = context;
	struct message msg = { "" };

	entry_closer_statistics(sensor->closer);
	learn_partitions(sensor);
	if (open_minutes(sensor, &msg) != 0)
		log_error("what a former process left cannot be closed error=\"%s\"", msg.text);
	if (signals_take_reload())
		reload(sensor);
	return (struct live_terms){ sensor->darknet, sensor->store };
}

static int run_live(struct sensor *sensor, struct message *msg)
{
	struct worker_options worker = worker_options_of(sensor);
	struct live_owner owner = { .stop = &signals_stop, .tick = on_tick, .context = sensor };
	struct message late = { 0 };
	bool has_captured;
	int finished = 0;
	int rc = open_minutes(sensor, msg);

	if (rc != 0)
		return rc;
	worker.store = sensor->store;
	rc = live_run(sensor->config, &worker, sensor->closer, &owner, &has_captured, msg);
	if (has_captured) /* also when an interface went away: what was captured is sent */
		finished = sensor->sink->finish(sensor->sink, &late);
	open_store_destroy(sensor->store);
	sensor->store = NULL;
	if (rc == 0)
		*msg = late;
	return rc != 0 ? rc : finished;
}

/* From the sink to its end, once. */
static int run_pass(struct sensor *sensor, bool *again, struct message *msg)
{
	int rc = sink_kafka_origin(&sensor->origin, sensor->config, msg);

	if (rc == 0)
		rc = open_sink(sensor, msg);
	if (rc == 0)
		rc = open_closer(sensor);
	if (rc == 0)
		rc = is_live(sensor->config) ? run_live(sensor, msg) : run_replay(sensor, msg);
	if (rc != 0 && msg->text[0] == '\0')
		*msg = sensor->sink_msg;
	*again = rc == 0 && wants_kafka(sensor->config) &&
		 sink_kafka_needs_another_pass(sensor->sink);
	if (*again && replay_reads_pipe(sensor->config)) {
		message_set(msg,
			"the unfinished run is complete now; a pipe cannot be read twice: run "
			"the same command again to count anew");
		rc = FAIL_FORMAT;
	}
	summary_destroy(sensor->summary);
	entry_closer_destroy(sensor->closer);
	if (sensor->sink != NULL)
		sensor->sink->close(sensor->sink);
	sensor->summary = NULL;
	sensor->closer = NULL;
	sensor->sink = NULL;
	return rc;
}

static int run(const struct config *config, int argc, char **argv, struct message *msg)
{
	struct sensor sensor = { .config = config, .argc = argc, .argv = argv };
	bool again = true;
	int rc = check_options(config, msg);

	if (rc == 0)
		rc = use_ranges(&sensor, config, msg);
	if (rc == 0 && config_bool(config, OPT_CHECK)) {
		printf("configuration is fine\n");
		again = false;
	}
	while (rc == 0 && again)
		rc = run_pass(&sensor, &again, msg);
	destroy_ranges(sensor.ranges);
	return rc;
}

static int start(struct config *config, int argc, char **argv, struct message *msg)
{
	int rc = config_parse(config, argc, argv, msg);

	if (rc != 0)
		return rc;
	if (config_wants_help(config))
		return config_print_help(config, stdout);
	if (config_wants_version(config)) {
		kafka_add_version();
		versions_add("libpcap", capture_filter_version());
		versions_print(stdout, "hoshimi-sensor");
		return 0;
	}
	log_init("hoshimi-sensor", log_level_of(config_text(config, OPT_LOG_LEVEL)));
	if (config_bool(config, OPT_SENSOR_LIST_INTERFACES))
		return capture_live_list(stdout, msg);
	return run(config, argc, argv, msg);
}

int main(int argc, char **argv)
{
	struct message msg = { 0 };
	struct config *config;
	int rc;

	signals_install();
	/* every minute takes and frees the same large pieces: keep them, the kernel clears each page it gives */
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 512 << 20);
	rc = config_create(&config, PROGRAM_SENSOR);
	if (rc == 0) {
		rc = start(config, argc, argv, &msg);
		config_destroy(config);
	}
	if (rc != 0 && msg.text[0] != '\0')
		log_plain("%s%s", rc == FAIL_USAGE ? "hoshimi-sensor: " : "", msg.text);
	else if (rc != 0 && rc != FAIL_FORMAT)
		log_plain("hoshimi-sensor: %s", error_text(rc));
	return error_exit_status(rc);
}
