/*
 * Writes a capture for benchmarks: SYNs and UDP probes of many sources to one dark /16.
 *
 *   hoshimi-bench-pcap PACKETS SOURCES MINUTES FILE
 *
 * Deterministic. Sources are drawn uniformly, so that the flow table is missed as often as can be.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/bytes.h"

#define FRAME_BYTES 60
#define START_S	    1767225600u /* 2026-01-01 */

static uint64_t state = 42;

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators", 2016 */
static uint64_t next_random(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1dULL;
}

static void make_frame(uint8_t *frame, uint32_t source, uint64_t dice)
{
	static const uint16_t ports[] = { 23, 22, 80, 443, 8080, 2323, 5555, 6379, 3389, 445 };

	memset(frame, 0, FRAME_BYTES);
	store_u16(frame + 12, 0x0800);
	frame[14] = 0x45;
	store_u16(frame + 16, 44);
	store_u16(frame + 18, (uint16_t)dice);
	frame[22] = 50;
	frame[23] = 6;
	store_u32(frame + 26, source * 2654435761u | 0x01000000u);
	store_u32(frame + 30, 0xc6120000u | (uint32_t)(dice >> 16 & 0xffff));
	store_u16(frame + 34, (uint16_t)(dice >> 32 | 1024));
	store_u16(frame + 36, ports[source % 10]);
	store_u32(frame + 38, (uint32_t)(dice >> 8));
	frame[46] = 0x60;
	frame[47] = 2;
	store_u16(frame + 48, 1024);
	store_u32(frame + 54, 0x020405b4);
}

int main(int argc, char **argv)
{
	uint64_t packets = argc == 5 ? strtoull(argv[1], NULL, 10) : 0;
	uint64_t sources = argc == 5 ? strtoull(argv[2], NULL, 10) : 0;
	uint64_t minutes = argc == 5 ? strtoull(argv[3], NULL, 10) : 0;
	uint8_t header[24] = { 0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, [16] = 0xff, 0xff, [20] = 1 };
	uint8_t record[16 + FRAME_BYTES];
	FILE *file;

	if (packets == 0 || sources == 0 || minutes == 0) {
		fprintf(stderr, "usage: hoshimi-bench-pcap PACKETS SOURCES MINUTES FILE\n");
		return 2;
	}
	file = fopen(argv[4], "wb");
	if (file == NULL || fwrite(header, sizeof(header), 1, file) != 1)
		return 1;
	for (uint64_t i = 0; i < packets; i++) {
		uint64_t us = i * minutes * 60000000 / packets;
		uint64_t dice = next_random();

		store_u32_le(record, START_S + (uint32_t)(us / 1000000));
		store_u32_le(record + 4, (uint32_t)(us % 1000000));
		store_u32_le(record + 8, FRAME_BYTES);
		store_u32_le(record + 12, FRAME_BYTES);
		make_frame(record + 16, (uint32_t)(next_random() % sources), dice);
		if (fwrite(record, sizeof(record), 1, file) != 1)
			return 1;
	}
	return fclose(file) == 0 ? 0 : 1;
}
