/*
 * A flood from spoofed sources: each SYN has a source of its own, to a dark /16.
 *
 *   hoshimi-bench-flood INTERFACE PACKETS [PER_SECOND]   sends them; 0: as fast as it can
 *   hoshimi-bench-flood - PACKETS [MINUTES]              writes a capture to standard output
 *
 * Sources are 10.0.0.0/8 and 172.16.0.0/12, scattered by a multiplication, up to 17.8 M of them;
 * the dark range is 198.18.0.0/16 (RFC 2544). Sending prints how many went out, a line at the end.
 */
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "schemas/base/bytes.h"

#define FRAME_BYTES 60
#define BATCH	    32
#define START_S	    1767225600u /* 2026-01-01 */
#define SOURCES	    (UINT32_C(1) << 24)
#define NS_PER_S    UINT64_C(1000000000)

static void make_frame(uint8_t *frame, uint32_t number)
{
	uint32_t source = number < SOURCES ? 0x0a000000u | (number * 2654435761u & (SOURCES - 1))
					   : 0xac100000u | (number & 0xfffffu);

	memset(frame, 0, FRAME_BYTES);
	memset(frame, 2, 12);
	store_u16(frame + 12, 0x0800);
	frame[14] = 0x45;
	store_u16(frame + 16, 44);
	store_u16(frame + 18, (uint16_t)number);
	frame[22] = 50;
	frame[23] = 6;
	store_u32(frame + 26, source);
	store_u32(frame + 30, 0xc6120000u | (number * 40503u & 0xffff));
	store_u16(frame + 34, (uint16_t)(number % 50000 + 1024));
	store_u16(frame + 36, (uint16_t)(number % 7 == 0 ? 23 : 445));
	store_u32(frame + 38, number * 69069u);
	frame[46] = 0x60;
	frame[47] = 2;
	store_u16(frame + 48, 1024);
	store_u32(frame + 54, 0x020405b4);
}

static void write_capture(uint64_t packets, uint64_t minutes)
{
	uint8_t header[24] = { 0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, [16] = 0xff, 0xff, [20] = 1 };
	uint8_t record[16 + FRAME_BYTES] = { 0 };

	fwrite(header, sizeof(header), 1, stdout);
	for (uint64_t i = 0; i < packets; i++) {
		uint64_t at_us = minutes * 60000000 * i / packets;
		uint32_t words[4] = { (uint32_t)(START_S + at_us / 1000000),
			(uint32_t)(at_us % 1000000), FRAME_BYTES, FRAME_BYTES };

		memcpy(record, words, sizeof(words));
		make_frame(record + 16, (uint32_t)i);
		fwrite(record, sizeof(record), 1, stdout);
	}
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Waits until `sent` packets are due. */
static void keep_pace(uint64_t began_ns, uint64_t sent, uint64_t per_second)
{
	uint64_t due_ns = per_second > 0 ? began_ns + sent * NS_PER_S / per_second : 0;
	uint64_t now = now_ns();

	if (due_ns > now) {
		struct timespec pause = { (time_t)((due_ns - now) / NS_PER_S),
			(long)((due_ns - now) % NS_PER_S) };

		nanosleep(&pause, NULL);
	}
}

static int open_interface(const char *name)
{
	struct sockaddr_ll where = { .sll_family = AF_PACKET,
		.sll_ifindex = (int)if_nametoindex(name) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&where, sizeof(where)) != 0)
		return -1;
	return fd;
}

static uint64_t send_all(int fd, uint64_t packets, uint64_t per_second)
{
	uint8_t frames[BATCH][FRAME_BYTES];
	struct mmsghdr messages[BATCH] = { 0 };
	struct iovec parts[BATCH];
	uint64_t sent = 0, began_ns = now_ns();

	while (sent < packets) {
		unsigned count = packets - sent < BATCH ? (unsigned)(packets - sent) : BATCH;
		int done;

		for (unsigned i = 0; i < count; i++) {
			make_frame(frames[i], (uint32_t)(sent + i));
			parts[i] = (struct iovec){ frames[i], FRAME_BYTES };
			messages[i].msg_hdr.msg_iov = &parts[i];
			messages[i].msg_hdr.msg_iovlen = 1;
		}
		done = sendmmsg(fd, messages, count, 0);
		sent += done > 0 ? (unsigned)done : 0;
		keep_pace(began_ns, sent, per_second);
	}
	return sent;
}

int main(int argc, char **argv)
{
	uint64_t packets = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
	uint64_t number = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
	int fd;

	if (packets == 0) {
		fprintf(stderr, "usage: hoshimi-bench-flood INTERFACE|- PACKETS "
				"[PER_SECOND|MINUTES]\n");
		return 2;
	}
	if (strcmp(argv[1], "-") == 0) {
		write_capture(packets, number > 0 ? number : 1);
		return ferror(stdout) || fflush(stdout) != 0;
	}
	fd = open_interface(argv[1]);
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	printf("%llu\n", (unsigned long long)send_all(fd, packets, number));
	return 0;
}
