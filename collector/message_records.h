/*
 * A Kafka message's records, decoded as a whole: a message that cannot be read in full is poison
 * and none of it counts.
 *
 * Threads: one at a time.
 */
#pragma once

#include "schemas/container.h"

struct message_records {
	struct container_decoder *decoder;
	struct origin origin;
	struct container_item *items; /* flows borrow from the message */
	size_t count, capacity;
};

int message_records_init(struct message_records *records) MUST_CHECK;
void message_records_fini(struct message_records *records);

/** Decodes. @return 0, FAIL_FORMAT with the reason in `msg`, -ENOMEM */
int message_records_decode(
	struct message_records *records, struct bytes message, struct message *msg) MUST_CHECK;
