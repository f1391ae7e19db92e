/*
 * The yardstick: libpcap's own loop over a capture, doing nothing but counting.
 */
#include <pcap/pcap.h>
#include <stdint.h>
#include <stdio.h>

static void count(uint8_t *context, const struct pcap_pkthdr *header, const uint8_t *bytes)
{
	(void)header;
	(void)bytes;
	++*(uint64_t *)(void *)context;
}

int main(int argc, char **argv)
{
	char reason[PCAP_ERRBUF_SIZE];
	uint64_t frames = 0;
	pcap_t *pcap = argc == 2 ? pcap_open_offline(argv[1], reason) : NULL;

	if (pcap == NULL) {
		fprintf(stderr, "usage: hoshimi-bench-count FILE\n");
		return 2;
	}
	if (pcap_loop(pcap, -1, count, (uint8_t *)&frames) != 0)
		return 1;
	printf("%llu\n", (unsigned long long)frames);
	pcap_close(pcap);
	return 0;
}
