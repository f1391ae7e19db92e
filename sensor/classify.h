/*
 * The class of a packet: exactly one, by the first rule that applies.
 *
 * The rules are fixed for ever; see the comments beside them in classify.c.
 *
 * Threads: pure functions.
 */
#pragma once

#include "schemas/labels.h"
#include "sensor/packet.h"

/** The class of a decoded packet. */
enum packet_class classify(const struct packet *pkt);

/** The service port by role: see SERVICE_NONE and SERVICE_OF_TYPE in schemas/labels.h. */
int32_t classify_service_port(const struct packet *pkt, enum role role);
