/*
 * hoshimi-report: shows what Redis holds, or (--audit) whether everything adds up.
 */
#include <stdio.h>
#include <stdlib.h>

#include "collector/audit.h"
#include "collector/report_redis.h"
#include "schemas/base/kafka.h"
#include "schemas/base/log.h"
#include "schemas/base/versions.h"

static int report_redis(const struct config *config, struct message *msg)
{
	struct redis_store *store = NULL;
	struct report_query query;
	struct report report;
	int rc = report_query_read(&query, config, msg);

	if (rc == 0)
		rc = redis_store_create(&store, config, msg);
	if (rc == 0 && config_bool(config, OPT_CHECK)) {
		printf("configuration is fine\n");
		redis_store_destroy(store);
		return 0;
	}
	if (rc == 0)
		rc = redis_store_connect(store, false, msg);
	if (rc == 0) {
		report_init(&report, &query);
		rc = report_from_redis(&report, store, msg);
		if (rc == 0)
			rc = report_print(&report, stdout);
		report_fini(&report);
	}
	redis_store_destroy(store);
	return rc == FAIL_CONFIG && msg->text[0] != '\0' && store != NULL ? FAIL_REMOTE : rc;
}

/* What does not add up was printed: exit 1 without another word. */
static int audit_all(const struct config *config, bool *is_balanced, struct message *msg)
{
	struct audit *audit = malloc(sizeof(*audit));
	int rc = audit != NULL ? audit_init(audit, config, msg) : -ENOMEM;

	if (rc == 0 && config_bool(config, OPT_CHECK)) {
		printf("configuration is fine\n");
	} else if (rc == 0) {
		rc = audit_run(audit, config, msg);
		if (rc == 0)
			rc = audit_print(audit, stdout);
		*is_balanced = audit->findings.total == 0;
		audit_fini(audit);
	}
	free(audit);
	return rc;
}

static int start(
	struct config *config, int argc, char **argv, bool *is_balanced, struct message *msg)
{
	int rc = config_parse(config, argc, argv, msg);

	if (rc != 0)
		return rc;
	if (config_wants_help(config))
		return config_print_help(config, stdout);
	if (config_wants_version(config)) {
		redis_store_add_version();
		kafka_add_version();
		versions_print(stdout, "hoshimi-report");
		return 0;
	}
	log_init("hoshimi-report", log_level_of(config_text(config, OPT_LOG_LEVEL)));
	return config_bool(config, OPT_REPORT_AUDIT) ? audit_all(config, is_balanced, msg)
						     : report_redis(config, msg);
}

int main(int argc, char **argv)
{
	struct message msg = { 0 };
	bool is_balanced = true;
	struct config *config;
	int rc = config_create(&config, PROGRAM_REPORT);

	if (rc == 0) {
		rc = start(config, argc, argv, &is_balanced, &msg);
		config_destroy(config);
	}
	if (rc != 0)
		log_plain("%s%s", rc == FAIL_CONFIG ? "" : "hoshimi-report: ",
			msg.text[0] != '\0' ? msg.text : error_text(rc));
	return rc == 0 && !is_balanced ? EXIT_FAILED : error_exit_status(rc);
}
