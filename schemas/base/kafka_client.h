/*
 * What the files that include librdkafka share: making a client configuration.
 *
 * Threads: any.
 */
#pragma once

#include <librdkafka/rdkafka.h>

#include "schemas/base/kafka.h"

/** A client configuration with brokers, logging and the user's properties; NULL with `msg`. */
rd_kafka_conf_t *kafka_client_conf(const struct kafka_settings *settings, struct message *msg);

/** A topic's number of partitions, asked until `deadline` (timing_now_ms). @return 0, FAIL_REMOTE */
int kafka_client_partitions(rd_kafka_t *client, const char *brokers, const char *topic,
	int64_t deadline, uint32_t *out, struct message *msg) MUST_CHECK;

/** Sets a property of ours. @return 0 or FAIL_CONFIG */
int kafka_client_set(
	rd_kafka_conf_t *conf, const char *name, const char *value, struct message *msg) MUST_CHECK;
