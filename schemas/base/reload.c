#include "schemas/base/reload.h"

#include "schemas/base/log.h"

void reload_check(enum program program, int argc, char **argv)
{
	struct message msg = { 0 };
	struct config *config;
	int rc = config_create(&config, program);

	if (rc != 0) {
		log_error("configuration not read again reason=\"%s\"", error_text(rc));
		return;
	}
	rc = config_parse(config, argc, argv, &msg);
	if (rc != 0) {
		log_error("configuration has a mistake, the old one stays reason=\"%s\"", msg.text);
	} else {
		log_set_level(log_level_of(config_text(config, OPT_LOG_LEVEL)));
		log_info("configuration read again and fine: the log level is in force, other "
			 "changes with the next start");
	}
	config_destroy(config);
}
