#include "collector/offline.h"

#include <stdio.h>

#include "collector/enriched_json.h"
#include "collector/log_file.h"
#include "collector/report.h"

#define FLUSH_AT_BYTES (256u << 10)

struct offline {
	struct report_query query;
	struct tally tally;
	struct geo *geo;
	struct buffer lines;
	bool prints_flows; /* else enriched */
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

int offline_run(const struct config *config, struct message *msg)
{
	const char *print = config_text(config, OPT_COLLECTOR_PRINT);
	struct offline offline = { 0 };
	int rc;

	if (print != NULL && config_bool(config, OPT_COLLECTOR_REPORT)) {
		message_set(msg, "--report and --print exclude each other");
		return FAIL_USAGE;
	}
	if (print != NULL && strcmp(print, "flows") != 0 && strcmp(print, "enriched") != 0) {
		message_set(msg,
			"--print %s: there is no such view yet; flows and enriched are there",
			print);
		return FAIL_USAGE;
	}
	rc = report_query_read(&offline.query, config, msg);
	if (rc == 0)
		rc = geo_create(&offline.geo, config);
	if (rc != 0)
		return rc;
	offline.prints_flows = print != NULL && strcmp(print, "flows") == 0;
	if (print != NULL)
		rc = print_records(&offline, config_text(config, OPT_COLLECTOR_INPUT));
	else
		rc = print_report(&offline, config_text(config, OPT_COLLECTOR_INPUT));
	geo_destroy(offline.geo);
	buffer_fini(&offline.lines);
	return rc;
}
