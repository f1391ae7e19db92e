/*
 * hoshimi-collector: starts the views, each in a thread of its own, and ends them together.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "collector/geo.h"
#include "collector/offline.h"
#include "collector/redis_store.h"
#include "collector/report.h"
#include "collector/view.h"
#include "schemas/base/kafka.h"
#include "schemas/base/log.h"
#include "schemas/base/reload.h"
#include "schemas/base/signals.h"
#include "schemas/base/versions.h"

#define VIEWS_MAX  8
#define END_WAIT_S 10 /* a view may be inside a call that waits for a server */

struct running_view {
	const struct view *view;
	const struct config *config;
	pthread_t thread;
	atomic_bool is_over;
	int rc;
	struct message msg;
};

static void *view_main(void *context)
{
	struct running_view *running = context;

	running->rc = running->view->run(running->config, &signals_stop, &running->msg);
	running->is_over = true;
	return NULL;
}

/* Words of --views that have no view (yet) are usage errors. */
static int find_views(const struct config *config, struct running_view *running, size_t *count,
	struct message *msg)
{
	const struct text_list *names = config_list(config, OPT_COLLECTOR_VIEWS);

	*count = 0;
	for (size_t i = 0; i < names->count; i++) {
		const struct view *view = view_find(names->items[i]);

		if (view == NULL)
			return config_refuse(config, OPT_COLLECTOR_VIEWS, msg,
				"there is no view \"%.40s\" yet; count and enrich are there",
				names->items[i]);
		if (*count == VIEWS_MAX)
			return config_refuse(config, OPT_COLLECTOR_VIEWS, msg, "too many views");
		running[*count] = (struct running_view){ .view = view, .config = config };
		++*count;
	}
	return 0;
}

static bool any_is_over(const struct running_view *running, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (running[i].is_over)
			return true;
	return false;
}

static bool all_are_over(const struct running_view *running, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!running[i].is_over)
			return false;
	return true;
}

static void pause_shortly(void)
{
	struct timespec pause = { 0, 50000000 };

	nanosleep(&pause, NULL);
}

static int end_views(struct running_view *running, size_t count, struct message *msg)
{
	time_t deadline_s = time(NULL) + END_WAIT_S;
	int rc = 0;

	signals_stop = true;
	while (!all_are_over(running, count) && time(NULL) < deadline_s)
		pause_shortly();
	for (size_t i = 0; i < count; i++) {
		if (!running[i].is_over) {
			/* nothing is lost: what it held is read again by the next start */
			log_warning("view did not end in time, leaving it view=%s",
				running[i].view->name);
			_exit(rc == 0 ? EXIT_DONE : EXIT_FAILED);
		}
		pthread_join(running[i].thread, NULL);
		if (running[i].rc != 0 && rc == 0) {
			rc = running[i].rc;
			message_set(msg, "view %s ended: %.500s", running[i].view->name,
				running[i].msg.text[0] != '\0' ? running[i].msg.text
							       : error_text(rc));
		}
	}
	return rc;
}

/* SIGHUP: the log level. Files of geography are opened anew by themselves when they are replaced. */
static void reload(int argc, char **argv)
{
	struct config *config = reload_read(PROGRAM_COLLECTOR, argc, argv);

	if (config == NULL)
		return;
	reload_accept(config, "the log level is");
	config_destroy(config);
}

static int run_views(const struct config *config, int argc, char **argv, struct message *msg)
{
	struct running_view running[VIEWS_MAX];
	size_t count, started = 0;
	int rc = find_views(config, running, &count, msg);

	if (rc != 0)
		return rc;
	for (; started < count && rc == 0; started++)
		if (pthread_create(&running[started].thread, NULL, view_main, &running[started]) !=
			0)
			rc = -EAGAIN;
	if (rc == 0)
		log_info("views started count=%zu group=%s", count,
			config_text(config, OPT_COLLECTOR_GROUP));
	while (rc == 0 && !signals_stop && !any_is_over(running, count)) {
		pause_shortly();
		if (signals_take_reload())
			reload(argc, argv);
	}
	if (rc != 0)
		return rc;
	return end_views(running, count, msg);
}

static void print_line(const char *text)
{
	printf("%s\n", text);
}

static int create_topics(const struct config *config, struct message *msg)
{
	struct kafka_settings kafka = kafka_settings_of(config);

	return kafka_create_topics(&kafka, (uint32_t)config_u64(config, OPT_COLLECTOR_PARTITIONS),
		(uint32_t)config_u64(config, OPT_COLLECTOR_REPLICATION), print_line, msg);
}

/* `hoshimi-collector rebuild [--from T]` */
static int rebuild(const struct config *config, struct message *msg)
{
	struct report_query query;
	int rc = report_query_read(&query, config, msg);

	return rc != 0 ? rc : view_count_rebuild(config, &signals_stop, query.from_s, msg);
}

static int run(const struct config *config, int argc, char **argv, struct message *msg)
{
	struct running_view views[VIEWS_MAX];
	size_t count;
	int rc;

	if (config_text(config, OPT_COLLECTOR_HTTP) != NULL)
		return config_refuse(
			config, OPT_COLLECTOR_HTTP, msg, "there is no HTTP server yet");
	if (config_bool(config, OPT_CHECK)) {
		rc = find_views(config, views, &count, msg);
		if (rc == 0)
			printf("configuration is fine\n");
		return rc;
	}
	if (config_bool(config, OPT_COLLECTOR_CREATE_TOPICS))
		return create_topics(config, msg);
	if (config_text(config, OPT_COLLECTOR_INPUT) != NULL)
		return offline_run(config, msg);
	if (config_bool(config, OPT_COLLECTOR_REPORT) ||
		config_text(config, OPT_COLLECTOR_PRINT) != NULL) {
		message_set(msg, "--report and --print need -i FILE|-; counters in Redis are shown "
				 "by hoshimi-report");
		return FAIL_USAGE;
	}
	return run_views(config, argc, argv, msg);
}

static int start(struct config *config, int argc, char **argv, struct message *msg)
{
	bool is_rebuild = argc > 1 && strcmp(argv[1], "rebuild") == 0;
	int rc;

	if (is_rebuild) { /* the only word that is no option */
		argv[1] = argv[0];
		argv++;
		argc--;
	}
	rc = config_parse(config, argc, argv, msg);
	if (rc != 0)
		return rc;
	if (config_wants_help(config))
		return config_print_help(config, stdout);
	if (config_wants_version(config)) {
		kafka_add_version();
		redis_store_add_version();
		geo_add_version();
		versions_print(stdout, "hoshimi-collector");
		return 0;
	}
	log_init("hoshimi-collector", log_level_of(config_text(config, OPT_LOG_LEVEL)));
	return is_rebuild ? rebuild(config, msg) : run(config, argc, argv, msg);
}

int main(int argc, char **argv)
{
	struct message msg = { 0 };
	struct config *config;
	int rc;

	signals_install();
	rc = config_create(&config, PROGRAM_COLLECTOR);
	if (rc == 0) {
		rc = start(config, argc, argv, &msg);
		config_destroy(config);
	}
	if (rc != 0 && msg.text[0] != '\0')
		log_plain("%s%s", rc == FAIL_CONFIG ? "" : "hoshimi-collector: ", msg.text);
	else if (rc != 0 && rc != FAIL_FORMAT)
		log_plain("hoshimi-collector: %s", error_text(rc));
	return error_exit_status(rc);
}
