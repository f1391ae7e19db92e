/*
 * Bytes of a planned packet: Ethernet, VLAN tags, IPv4 or IPv6, transport, with correct lengths and
 * checksums except where the plan wants them wrong.
 */
#pragma once

#include "deploy/demo/plan.h"

#define FRAME_BYTES_MAX 1024

struct frame {
	uint8_t bytes[FRAME_BYTES_MAX];
	uint32_t wire_bytes;
	uint32_t captured_bytes;
};

void frame_build(struct frame *frame, const struct plan *plan);

/**
 * Appends to the body of an ICMP error the head of the packet it answers: IP header and eight bytes.
 *
 * @param plan      the error; its destination sent the quoted packet, or so the victim thinks
 * @param victim    where the quoted packet went to
 * @param protocol  TCP, UDP or ICMP / ICMP6 of the quoted packet
 */
void frame_quote(struct plan *plan, const uint8_t victim[16], uint8_t protocol, uint16_t src_port,
	uint16_t dst_port);
