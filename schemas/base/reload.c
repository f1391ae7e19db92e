#include "schemas/base/reload.h"

#include "schemas/base/log.h"

struct config *reload_read(enum program program, int argc, char **argv)
{
	struct message msg = { 0 };
	struct config *config;
	int rc = config_create(&config, program);

	if (rc != 0) {
		message_set(&msg, "%s", error_text(rc));
		reload_refuse(&msg);
		return NULL;
	}
	rc = config_parse(config, argc, argv, &msg);
	if (rc != 0) {
		if (msg.text[0] == '\0')
			message_set(&msg, "%s", error_text(rc));
		reload_refuse(&msg);
		config_destroy(config);
		return NULL;
	}
	return config;
}

void reload_refuse(const struct message *msg)
{
	log_error("configuration has a mistake, the old one stays reason=\"%s\"", msg->text);
}

void reload_accept(const struct config *config, const char *what)
{
	log_set_level(log_level_of(config_text(config, OPT_LOG_LEVEL)));
	log_info("configuration read again: %s in force, other changes with the next start", what);
}
