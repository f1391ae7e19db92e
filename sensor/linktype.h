/*
 * Link layers: where in a frame does the IP header begin?
 *
 * Numbers are the file formats' LINKTYPE_ values (tcpdump.org registry), which live capture
 * converts to as well. Tunnels are not opened: a telescope sees the outer packet.
 *
 * Threads: pure functions over const data.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "sensor/capture.h"

/** An IP packet inside a frame. */
struct ip_bytes {
	const uint8_t *data;
	uint32_t captured_bytes;
	uint32_t wire_bytes; /* from the IP header to the end of the frame on the wire */
	uint8_t version;     /* 4 or 6 as the link layer says; 0 when it does not say */
};

/** True when frames of this link type are looked into. */
bool linktype_is_known(uint32_t linktype);

/** A name for messages; "unknown" for most that are not known. */
const char *linktype_name(uint32_t linktype);

/** Finds the IP packet. @return false when there is none directly in the frame ("non_ip") */
bool linktype_find_ip(const struct frame *frame, struct ip_bytes *out);
