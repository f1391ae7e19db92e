/*
 * Frames from capture files, pipes and interfaces: what all sources have in common.
 *
 * A source yields frames with their own times and link types; what is in them is for linktype.c
 * and packet.c. Files and pipes are read by capture_pcap.c and capture_pcapng.c and merged in
 * time order by capture_merge.c; interfaces are read by capture_live.c.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/** One frame. `data` belongs to the source and stays valid as long as that source says. */
struct frame {
	uint64_t time_ns;	 /* since the epoch, UTC */
	const uint8_t *data;	 /* captured bytes, link header first */
	uint32_t captured_bytes; /* may be less than wire_bytes (snap length) */
	uint32_t wire_bytes;	 /* original length on the wire */
	uint32_t linktype;	 /* LINKTYPE_ value of the file format, see linktype.h */
};
