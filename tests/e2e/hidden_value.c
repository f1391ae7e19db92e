/*
 * A committed value behind somebody else's open transaction: tests/e2e/chain.py runs it.
 *
 *   hidden_value BROKERS PREFIX
 *
 * One producer opens a transaction in a partition of the cursors topic and leaves it open for some
 * seconds; another commits a value behind it. Whoever asks for that value meanwhile must wait and
 * then get it: "no value" would make a sensor send again what it has sent.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "schemas/base/kafka.h"
#include "schemas/base/timing.h"

#define OPEN_MS 5000

static int put(struct kafka_producer *producer, const char *key, const char *value)
{
	struct kafka_message message = {
		.topic = TOPIC_CURSORS,
		.partition = 3,
		.key = { (const uint8_t *)key, strlen(key) },
		.value = { (const uint8_t *)value, strlen(value) },
	};

	if (kafka_begin(producer) != KAFKA_DONE || kafka_send(producer, &message) != KAFKA_DONE)
		return -1;
	return 0;
}

static void *end_later(void *producer)
{
	timing_pause_ms(OPEN_MS);
	(void)!kafka_abort(producer);
	return NULL;
}

/* A key whose place is partition 3. */
static void find_key(char out[32])
{
	for (unsigned i = 0;
		i == 0 || topic_key_partition(out, topic_row(TOPIC_CURSORS)->partitions) != 3; i++)
		snprintf(out, 32, "key-%u", i);
}

int main(int argc, char **argv)
{
	struct kafka_settings settings = { .brokers = argc == 3 ? argv[1] : "",
		.prefix = argc == 3 ? argv[2] : "" };
	struct kafka_producer *other, *own;
	struct buffer value = { 0 };
	struct message msg = { "" };
	int64_t began_ms;
	char key[32];
	pthread_t thread;
	int rc;

	find_key(key);
	if (kafka_producer_create(&other, &settings, "hidden.other", &msg) != 0 ||
		kafka_producer_create(&own, &settings, "hidden.own", &msg) != 0 ||
		kafka_producer_init(other, 20000, NULL, &msg) != 0 ||
		kafka_producer_init(own, 20000, NULL, &msg) != 0 || put(other, "other", "x") != 0) {
		printf("cannot begin: %s\n", msg.text);
		return 1;
	}
	timing_pause_ms(1500); /* it has reached the broker */
	if (put(own, key, "mine") != 0 || kafka_commit(own) != KAFKA_DONE ||
		pthread_create(&thread, NULL, end_later, other) != 0) {
		printf("cannot commit\n");
		return 1;
	}
	began_ms = timing_now_ms();
	rc = kafka_last_value(&settings, TOPIC_CURSORS, key, 30000, &value, &msg);
	printf("rc=%d value=%.*s waited=%d\n", rc, (int)value.size, (const char *)value.data,
		timing_now_ms() - began_ms > OPEN_MS / 2);
	pthread_join(thread, NULL);
	kafka_producer_destroy(other);
	kafka_producer_destroy(own);
	buffer_fini(&value);
	return 0;
}
