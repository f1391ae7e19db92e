#include "collector/offline.h"

#include <stdio.h>

#include "collector/enriched_json.h"
#include "collector/log_file.h"
#include "collector/report.h"
#include "collector/watch.h"

#define FLUSH_AT_BYTES (256u << 10)
#define NO_BROKER_MS                                                                               \
	(INT64_MAX / 2) /* stands for each append time: nobody waits, no clock is ahead */

struct offline {
	struct report_query query;
	struct tally tally;
	struct geo *geo;
	struct buffer lines;
	bool prints_flows; /* else enriched */
	struct watch *watch;
};

static bool is_asked(const struct offline *offline, int64_t window_ms)
{
	return window_ms / 1000 >= offline->query.from_s && window_ms / 1000 < offline->query.to_s;
}

static int tally_one(void *context, const struct origin *origin, const struct flow_record *flow)
{
	struct offline *offline = context;
	struct address actor = flow_actor(flow);

	if (is_asked(offline, flow->window_ms))
		tally_flow(&offline->tally, origin, flow, geo_find(offline->geo, &actor));
	return offline->tally.is_out_of_memory ? -ENOMEM : 0;
}

static int tally_marker_asked(
	void *context, const struct origin *origin, const struct marker_record *marker)
{
	struct offline *offline = context;

	if (is_asked(offline, marker->minute_ms))
		tally_marker(&offline->tally, origin, marker);
	return offline->tally.is_out_of_memory ? -ENOMEM : 0;
}

static int flush_lines(struct offline *offline)
{
	int rc = offline->lines.failed ? -ENOMEM : 0;

	if (rc == 0 &&
		fwrite(offline->lines.data, 1, offline->lines.size, stdout) != offline->lines.size)
		rc = -EIO;
	buffer_clear(&offline->lines);
	return rc;
}

static int print_one(void *context, const struct origin *origin, const struct flow_record *flow)
{
	struct offline *offline = context;
	struct address actor = flow_actor(flow);

	if (offline->prints_flows)
		flow_json(&offline->lines, origin, flow);
	else
		enriched_json(&offline->lines, origin, flow, geo_find(offline->geo, &actor));
	buffer_u8(&offline->lines, '\n');
	return offline->lines.size >= FLUSH_AT_BYTES ? flush_lines(offline) : 0;
}

static int ignore_marker(
	void *context, const struct origin *origin, const struct marker_record *marker)
{
	(void)context;
	(void)origin;
	(void)marker;
	return 0;
}

static int print_records(struct offline *offline, const char *path)
{
	struct log_handler handler = { print_one, ignore_marker, offline };
	int rc = log_file_read(path, &handler);
	int flushed = flush_lines(offline);

	if (fflush(stdout) != 0)
		flushed = -EIO;
	return rc != 0 ? rc : flushed;
}

static int print_report(struct offline *offline, const char *path)
{
	struct log_handler handler = { tally_one, tally_marker_asked, offline };
	struct tally_options options = { .for_report = true,
		.per = offline->query.per,
		.day_offset_s = offline->query.day_offset_s };
	struct report report;
	int rc = tally_init(&offline->tally, &options);
	int read_rc, printed;

	if (rc != 0)
		return rc;
	read_rc = log_file_read(path, &handler);
	report_init(&report, &offline->query);
	printed = report_from_tally(&report, &offline->tally);
	if (printed == 0)
		printed = report_print(&report, stdout);
	report_fini(&report);
	tally_fini(&offline->tally);
	return read_rc != 0 ? read_rc : printed;
}

/* ---- what the view watch would send ---- */

static int print_record(void *context, enum topic topic, struct bytes record)
{
	struct offline *offline = context;

	(void)topic; /* there is one so far */
	buffer_append(&offline->lines, record.data, record.size);
	buffer_u8(&offline->lines, '\n');
	return offline->lines.size >= FLUSH_AT_BYTES ? flush_lines(offline) : 0;
}

static int watch_one(void *context, const struct origin *origin, const struct flow_record *flow)
{
	struct offline *offline = context;

	return watch_flow(offline->watch, origin, flow, 0);
}

static int watch_mark(
	void *context, const struct origin *origin, const struct marker_record *marker)
{
	struct offline *offline = context;

	return watch_marker(offline->watch, origin, marker, NO_BROKER_MS, 0);
}

static int print_watched(struct offline *offline, const char *path)
{
	struct log_handler handler = { watch_one, watch_mark, offline };
	struct watch_options options = {
		.geo = offline->geo, .emit = print_record, .context = offline
	};
	int rc = watch_create(&offline->watch, &options, 0);
	int ended, flushed;

	if (rc != 0)
		return rc;
	rc = log_file_read(path, &handler);
	ended = watch_end(offline->watch); /* also behind a damaged end */
	flushed = flush_lines(offline);
	if (fflush(stdout) != 0)
		flushed = -EIO;
	watch_destroy(offline->watch);
	return rc != 0 ? rc : ended != 0 ? ended : flushed;
}

static int print_flows(struct offline *offline, const char *path)
{
	offline->prints_flows = true;
	return print_records(offline, path);
}

/* What --print can show, by the topic's name. */
static const struct {
	const char *name;
	int (*print)(struct offline *offline, const char *path);
} printers[] = {
	{ "flows", print_flows },
	{ "enriched", print_records },
	{ "counters", print_watched },
};

static int find_printer(const char *name, size_t *out, struct message *msg)
{
	for (*out = 0; *out < sizeof(printers) / sizeof(printers[0]); (*out)++)
		if (strcmp(printers[*out].name, name) == 0)
			return 0;
	message_set(msg,
		"--print %s: there is no such view yet; flows, enriched and counters are there",
		name);
	return FAIL_USAGE;
}

int offline_run(const struct config *config, struct message *msg)
{
	const char *print = config_text(config, OPT_COLLECTOR_PRINT);
	const char *path = config_text(config, OPT_COLLECTOR_INPUT);
	struct offline offline = { 0 };
	size_t printer = 0;
	int rc = 0;

	if (print != NULL && config_bool(config, OPT_COLLECTOR_REPORT)) {
		message_set(msg, "--report and --print exclude each other");
		return FAIL_USAGE;
	}
	if (print != NULL)
		rc = find_printer(print, &printer, msg);
	if (rc == 0)
		rc = report_query_read(&offline.query, config, msg);
	if (rc == 0)
		rc = geo_create(&offline.geo, config);
	if (rc != 0)
		return rc;
	rc = print != NULL ? printers[printer].print(&offline, path) : print_report(&offline, path);
	geo_destroy(offline.geo);
	buffer_fini(&offline.lines);
	return rc;
}
