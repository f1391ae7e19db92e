/*
 * Any bytes as a frame of any link type, through the whole packet path: what is decoded lies in the
 * frame, labels have names, and the books of the worker balance.
 *
 * Input: a byte that chooses the link type, a byte that says how much the snap length cut, a frame.
 */
#include "sensor/worker.h"

#include <stdlib.h>
#include <string.h>

#include "sensor/classify.h"
#include "sensor/fingerprint.h"

#define MINUTE UINT64_C(29459520)

static const uint32_t linktypes[] = { 1, 0, 9, 12, 14, 50, 101, 104, 108, 113, 228, 229, 276, 147 };

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void check_quote(const struct packet *pkt, const struct frame *frame)
{
	struct quoted_packet quoted;

	packet_decode_quote(pkt, &quoted);
	if (!quoted.is_readable)
		return;
	require(quoted.src >= pkt->transport);
	require(quoted.dst + pkt->address_bytes <= frame->data + frame->captured_bytes);
}

/* True when the frame ends as a counted packet. */
static bool check_packet(const struct frame *frame)
{
	char text[SERVICE_TEXT_BYTES];
	enum packet_class class;
	struct packet pkt, again;
	struct ip_bytes ip;
	enum role role;
	enum tool tool;

	if (!linktype_find_ip(frame, &ip))
		return false;
	require(ip.data >= frame->data);
	require(ip.data + ip.captured_bytes == frame->data + frame->captured_bytes);
	memset(&pkt, 0, sizeof(pkt));
	memset(&again, 0xff, sizeof(again)); /* what was there before must not show */
	if (packet_decode(&pkt, &ip) != PACKET_OK)
		return false;
	require(packet_decode(&again, &ip) == PACKET_OK);
	require(classify(&pkt) == classify(&again));
	require(fingerprint_match(&pkt, classify(&pkt)) ==
		fingerprint_match(&again, classify(&pkt)));
	memset(&again, 0, sizeof(again));
	require(packet_decode(&again, &ip) == PACKET_OK && memcmp(&pkt, &again, sizeof(pkt)) == 0);
	require(pkt.transport >= ip.data);
	require(pkt.transport + pkt.transport_captured <= ip.data + ip.captured_bytes);
	require(pkt.transport_captured <= pkt.transport_bytes || pkt.transport_captured == 0);

	class = classify(&pkt);
	require(class < CLASS_COUNT);
	role = role_of_class(class);
	tool = fingerprint_match(&pkt, class);
	require(tool == TOOL_NONE || role == ROLE_PROBE);
	service_text(pkt.protocol, classify_service_port(&pkt, role), text);
	if (class == CLASS_BACKSCATTER_ICMP_ERROR)
		check_quote(&pkt, frame);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct worker *worker;
	struct worker_options options = {
		.shards = 1, .workers = 1, .flows_max = 1000, .secret = 1
	};
	struct frame frame = { .time_ns = MINUTE * WINDOW_NS + 1 };
	struct window *window;
	bool is_counted;

	if (size < 2)
		return 0;
	if (worker == NULL && worker_create(&worker, &options) != 0)
		return 0;
	frame.linktype = linktypes[data[0] % (sizeof(linktypes) / sizeof(linktypes[0]))];
	frame.data = data + 2;
	frame.captured_bytes = (uint32_t)size - 2;
	frame.wire_bytes = frame.captured_bytes + data[1];

	is_counted = check_packet(&frame);

	require(worker_process(worker, &frame, 1) == 0);
	window = window_set_take(worker_windows(worker), UINT64_MAX);
	require(window != NULL && window->ledger.frames == 1);
	require(window->ledger.counted == is_counted);
	require(window->ledger.non_ip + ledger_malformed(&window->ledger) +
			window->ledger.counted ==
		1);
	window_destroy(window);
	return 0;
}
