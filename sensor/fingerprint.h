/*
 * Scanner-tool fingerprints: which tool most likely built this packet?
 *
 * A fingerprint is a relation between header fields that a tool leaves behind because it encodes
 * state in them. The five rows are frozen: their figures must stay comparable for ever, although
 * tools have moved on (newer ones become marks). "None" never means "not this tool".
 *
 * Threads: pure functions over const data.
 */
#pragma once

#include "schemas/labels.h"
#include "sensor/packet.h"

/** The first tool, in table order, whose header pattern a packet of this class carries. */
enum tool fingerprint_match(const struct packet *pkt, enum packet_class class);
