#include "schemas/base/kafka_client.h"

#include "schemas/base/log.h"
#include "schemas/base/versions.h"

struct kafka_settings kafka_settings_of(const struct config *config)
{
	struct kafka_settings settings = {
		.brokers = config_text(config, OPT_KAFKA_BROKERS),
		.prefix = config_text(config, OPT_KAFKA_TOPIC_PREFIX),
	};

	settings.properties = config_pairs(config, OPT_KAFKA_PROPERTIES, &settings.property_count);
	return settings;
}

static void on_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
	(void)client;
	(void)level;
	log_debug("librdkafka facility=%s text=\"%s\"", facility, text);
}

static void on_error(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
	(void)client;
	(void)opaque;
	if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
		code == RD_KAFKA_RESP_ERR__AUTHENTICATION)
		log_warning("kafka not reachable reason=\"%s\"", reason);
	else
		log_debug("kafka error=%s reason=\"%s\"",
			rd_kafka_err2name((rd_kafka_resp_err_t)code), reason);
}

int kafka_client_set(
	rd_kafka_conf_t *conf, const char *name, const char *value, struct message *msg)
{
	char reason[256];

	if (rd_kafka_conf_set(conf, name, value, reason, sizeof(reason)) == RD_KAFKA_CONF_OK)
		return 0;
	/* the value may be a secret and librdkafka quotes it, so only the name is told */
	message_set(msg, "kafka.properties.%s: %s", name,
		config_is_secret_property(name) ? "librdkafka refuses the value" : reason);
	return FAIL_CONFIG;
}

rd_kafka_conf_t *kafka_client_conf(const struct kafka_settings *settings, struct message *msg)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	int rc = kafka_client_set(conf, "bootstrap.servers", settings->brokers, msg);

	if (rc == 0)
		rc = kafka_client_set(conf, "client.id", "hoshimi", msg);
	if (rc == 0) /* a broker that comes back is used within a second */
		rc = kafka_client_set(conf, "reconnect.backoff.max.ms", "1000", msg);
	for (size_t i = 0; rc == 0 && i < settings->property_count; i++)
		rc = kafka_client_set(
			conf, settings->properties[i].key, settings->properties[i].value, msg);
	if (rc != 0) {
		rd_kafka_conf_destroy(conf);
		return NULL;
	}
	rd_kafka_conf_set_log_cb(conf, on_log);
	rd_kafka_conf_set_error_cb(conf, on_error);
	return conf;
}

void kafka_add_version(void)
{
	versions_add("librdkafka", rd_kafka_version_str());
}
