/*
 * Sends known frames on an interface and prints, as JSON, what a telescope with the dark ranges
 * 198.51.100.0/24 and 2001:db8:64::/48 must make of them. Shares no code with the sensor.
 *
 *   live_sender INTERFACE FRAMES [PAUSE_US]
 *
 * Frames take turns through the table below; sources and ports differ, so that they spread over the
 * workers. PAUSE_US is slept after each 64 frames. Addresses are documentation ones.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ETHERNET_BYTES 14
#define VLAN_BYTES     4
#define IPV4_BYTES     20
#define IPV6_BYTES     40
#define FRAME_MIN      60 /* IEEE 802.3 without its check sequence */
#define FRAME_MAX      256
#define BURST_FRAMES   64

enum outcome { NON_IP, MALFORMED, NOT_DARK, COUNTED, OUTCOMES };

static const char *const outcome_names[OUTCOMES] = { "non_ip", "malformed", "not_dark", "counted" };

struct kind {
	const char *class; /* of counted ones, as rules.md names it */
	enum outcome outcome;
	uint8_t ip_version;
	uint8_t protocol;
	uint8_t first; /* TCP flags or ICMP type */
	uint8_t body_bytes;
	bool has_vlan;
	bool is_dark_sender;
	uint8_t first_byte; /* instead of version and header length; 0: as it should be */
};

/* clang-format off */
static const struct kind kinds[] = {
	{ "scan.tcp_syn",             COUNTED,   4,   6, 0x02, 20, false, false, 0 },
	{ "scan.tcp_syn",             COUNTED,   4,   6, 0x02, 20, false, false, 0 },
	{ "scan.udp",                 COUNTED,   4,  17, 0,    30, false, false, 0 },
	{ "scan.icmp_echo",           COUNTED,   4,   1, 8,    16, false, false, 0 },
	{ "backscatter.tcp_rst",      COUNTED,   4,   6, 0x04, 20, false, false, 0 },
	{ "backscatter.tcp_synack",   COUNTED,   6,   6, 0x12, 20, false, false, 0 },
	{ "scan.tcp_syn",             COUNTED,   6,   6, 0x02, 20, false, false, 0 },
	{ "scan.tcp_fin",             COUNTED,   4,   6, 0x01, 20, true,  false, 0 },
	{ "other.ip_proto",           COUNTED,   4,  47, 0,     8, false, false, 0 },
	{ NULL,                       NOT_DARK,  4,   6, 0x02, 20, false, false, 0 },
	{ NULL,                       NOT_DARK,  6,  17, 0,     8, false, false, 0 },
	{ NULL,                       NOT_DARK,  4,   6, 0x10, 20, false, true,  0 },
	{ NULL,                       MALFORMED, 4,   6, 0x02, 20, false, false, 0x43 },
	{ NULL,                       MALFORMED, 4,   6, 0x02, 20, false, false, 0x75 },
	{ NULL,                       NON_IP,    0,   0, 0,    28, false, false, 0 },
};
/* clang-format on */
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct sent {
	uint64_t frames;
	uint64_t by_outcome[OUTCOMES];
	uint64_t by_kind[KINDS];
	uint64_t wire_bytes; /* of counted ones */
	uint64_t dark_sender_packets;
	uint64_t tcp; /* that a filter "tcp" passes */
};

static void put_u16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void fill_ipv4(uint8_t *ip, const struct kind *kind, uint32_t number)
{
	static const uint8_t dark[4] = { 198, 51, 100, 0 }, other[4] = { 192, 0, 2, 0 };
	static const uint8_t scanner[4] = { 203, 0, 113, 0 };

	ip[0] = kind->first_byte != 0 ? kind->first_byte : 0x45;
	put_u16(ip + 2, IPV4_BYTES + kind->body_bytes);
	put_u16(ip + 4, 1 + number % 50000);
	ip[8] = 64;
	ip[9] = kind->protocol;
	memcpy(ip + 12, kind->is_dark_sender ? dark : scanner, 4);
	memcpy(ip + 16, kind->outcome == NOT_DARK ? other : dark, 4);
	ip[15] = kind->is_dark_sender ? 66 : (uint8_t)(number % 251);
	ip[19] = (uint8_t)(number % 241);
}

static void fill_ipv6(uint8_t *ip, const struct kind *kind, uint32_t number)
{
	static const uint8_t net[4] = { 0x20, 0x01, 0x0d, 0xb8 };

	ip[0] = 0x60;
	put_u16(ip + 4, kind->body_bytes);
	ip[6] = kind->protocol;
	ip[7] = 64;
	memcpy(ip + 8, net, 4);
	memcpy(ip + 24, net, 4);
	ip[13] = 0xff;
	put_u16(ip + 22, number % 251);
	ip[29] = kind->outcome == NOT_DARK ? 0x65 : 0x64;
	put_u16(ip + 38, number % 241);
}

static void fill_body(uint8_t *body, const struct kind *kind, uint32_t number)
{
	if (kind->protocol == 6 || kind->protocol == 17) {
		put_u16(body, 40000 + number % 1000);
		put_u16(body + 2, 20 + number % 7);
	}
	if (kind->protocol == 6) {
		body[7] = 1; /* sequence number */
		body[12] = 0x50;
		body[13] = kind->first;
		put_u16(body + 14, 29200);
	}
	if (kind->protocol == 17)
		put_u16(body + 4, kind->body_bytes);
	if (kind->protocol == 1)
		body[0] = kind->first;
}

static size_t fill_frame(uint8_t frame[FRAME_MAX], const struct kind *kind, uint32_t number)
{
	static const uint8_t addresses[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };
	uint8_t *at = frame + 12;
	size_t bytes;

	memset(frame, 0, FRAME_MAX);
	memcpy(frame, addresses, sizeof(addresses));
	if (kind->has_vlan) {
		put_u16(at, 0x8100);
		put_u16(at + 2, 7);
		at += VLAN_BYTES;
	}
	put_u16(at, kind->ip_version == 4 ? 0x0800 : kind->ip_version == 6 ? 0x86dd : 0x0806);
	at += 2;
	if (kind->ip_version == 4)
		fill_ipv4(at, kind, number);
	if (kind->ip_version == 6)
		fill_ipv6(at, kind, number);
	at += kind->ip_version == 4 ? IPV4_BYTES : kind->ip_version == 6 ? IPV6_BYTES : 0;
	fill_body(at, kind, number);
	bytes = (size_t)(at - frame) + kind->body_bytes;
	return bytes < FRAME_MIN ? FRAME_MIN : bytes;
}

static void count(struct sent *sent, const struct kind *kind, size_t bytes)
{
	sent->frames++;
	sent->by_outcome[kind->outcome]++;
	sent->by_kind[kind - kinds]++;
	sent->wire_bytes += kind->outcome == COUNTED ? bytes : 0;
	sent->dark_sender_packets += kind->is_dark_sender;
	sent->tcp += kind->protocol == 6 && !kind->has_vlan;
}

static void print(const struct sent *sent)
{
	const char *separator = "";

	printf("{\"frames\": %llu", (unsigned long long)sent->frames);
	for (size_t i = 0; i < OUTCOMES; i++)
		printf(", \"%s\": %llu", outcome_names[i], (unsigned long long)sent->by_outcome[i]);
	printf(", \"wire_bytes\": %llu, \"dark_sender_packets\": %llu, \"tcp\": %llu, "
	       "\"per_class\": {",
		(unsigned long long)sent->wire_bytes, (unsigned long long)sent->dark_sender_packets,
		(unsigned long long)sent->tcp);
	for (size_t i = 0; i < KINDS; i++) {
		uint64_t packets = 0;
		bool is_first = kinds[i].class != NULL;

		for (size_t k = 0; k < KINDS && is_first; k++) {
			if (kinds[k].class == NULL || strcmp(kinds[k].class, kinds[i].class) != 0)
				continue;
			packets += sent->by_kind[k];
			is_first = k >= i; /* printed with the first kind of its class */
		}
		if (!is_first || packets == 0)
			continue;
		printf("%s\"%s\": %llu", separator, kinds[i].class, (unsigned long long)packets);
		separator = ", ";
	}
	printf("}}\n");
}

static int open_interface(const char *name)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET };
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	address.sll_ifindex = (int)if_nametoindex(name);
	if (fd < 0 || address.sll_ifindex == 0 ||
		bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		perror(name);
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	struct timespec pause = { 0 };
	struct sent sent = { 0 };
	uint32_t frames;
	int fd;

	if (argc < 3) {
		fprintf(stderr, "usage: live_sender INTERFACE FRAMES [PAUSE_US]\n");
		return 2;
	}
	fd = open_interface(argv[1]);
	frames = (uint32_t)strtoul(argv[2], NULL, 10);
	pause.tv_nsec = argc > 3 ? strtol(argv[3], NULL, 10) * 1000 : 0;
	for (uint32_t i = 0; i < frames; i++) {
		const struct kind *kind = &kinds[i % KINDS];
		uint8_t frame[FRAME_MAX];
		size_t bytes = fill_frame(frame, kind, i);

		while (send(fd, frame, bytes, 0) < 0) {
			if (errno != ENOBUFS && errno != EINTR) {
				perror("send");
				return 1;
			}
		}
		count(&sent, kind, bytes);
		if (pause.tv_nsec != 0 && i % BURST_FRAMES == 0)
			nanosleep(&pause, NULL);
	}
	print(&sent);
	close(fd);
	return 0;
}
