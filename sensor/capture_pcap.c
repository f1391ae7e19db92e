/*
 * draft-ietf-opsawg-pcap, "PCAP Capture File Format":
 *
 *   file header    magic 4 | version 2+2 | zone 4 | accuracy 4 | snap length 4 | link type 4
 *   record header  seconds 4 | fraction 4 | captured length 4 | original length 4
 *   modified       the same, then interface 4 | protocol 2 | packet type 1 | padding 1
 *
 * The magic is written in the byte order of all other fields. Seconds are unsigned, so times reach
 * 2106 and never overflow 64 bits of nanoseconds.
 */
#include "sensor/capture_pcap.h"

#include "schemas/base/bytes.h"

#define FILE_HEADER_BYTES     24
#define LINKTYPE_OFFSET	      20
#define LINKTYPE_MASK	      0xffffu /* above: check sequence length, reserved bits */
#define RECORD_HEADER_BYTES   16
#define MODIFIED_HEADER_BYTES 24
#define NS_PER_S	      UINT64_C(1000000000)

static const struct pcap_magic {
	uint32_t magic;
	uint32_t record_header_bytes;
	uint32_t fraction_ns;
} magics[] = {
	{ 0xa1b2c3d4, RECORD_HEADER_BYTES, 1000 },   /* microseconds */
	{ 0xa1b23c4d, RECORD_HEADER_BYTES, 1 },	     /* nanoseconds */
	{ 0xa1b2cd34, MODIFIED_HEADER_BYTES, 1000 }, /* Alexey Kuznetzov's, microseconds */
};

static const struct pcap_magic *find_magic(uint32_t magic)
{
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
		if (magics[i].magic == magic)
			return &magics[i];
	return NULL;
}

bool capture_pcap_is_magic(const uint8_t *magic)
{
	return find_magic(load_u32(magic)) != NULL || find_magic(load_u32_le(magic)) != NULL;
}

static inline uint32_t load_field(const struct capture_pcap *pcap, const uint8_t *at)
{
	return pcap->is_big_endian ? load_u32(at) : load_u32_le(at);
}

int capture_pcap_init(
	struct capture_pcap *pcap, struct capture_stream *stream, struct capture_damage *damage)
{
	const struct pcap_magic *magic;

	if (!capture_stream_has(stream, FILE_HEADER_BYTES))
		return capture_stream_cut(stream, capture_stream_offset(stream), "file header",
			FILE_HEADER_BYTES, damage);
	magic = find_magic(load_u32(stream->at));
	pcap->is_big_endian = magic != NULL;
	if (magic == NULL)
		magic = find_magic(load_u32_le(stream->at));
	if (magic == NULL) {
		damage->offset = capture_stream_offset(stream);
		message_set(&damage->reason, "not a pcap capture");
		return FAIL_FORMAT;
	}
	pcap->record_header_bytes = magic->record_header_bytes;
	pcap->fraction_ns = magic->fraction_ns;
	pcap->linktype = load_field(pcap, stream->at + LINKTYPE_OFFSET) & LINKTYPE_MASK;
	stream->at += FILE_HEADER_BYTES;
	return 0;
}

/* Reads records as long as they are sound and already in memory. */
static int read_ready(const struct capture_pcap *pcap, struct capture_stream *stream,
	struct frame *frames, int count)
{
	const struct capture_pcap layout = *pcap;
	const uint8_t *at = stream->at;
	const uint8_t *end = stream->end;
	int n = 0;

	while (n < count && (size_t)(end - at) >= layout.record_header_bytes) {
		uint32_t captured = load_field(&layout, at + 8);
		const uint8_t *data = at + layout.record_header_bytes;

		if (captured > CAPTURE_RECORD_BYTES_MAX || captured > (size_t)(end - data))
			break;
		frames[n++] = (struct frame){
			.time_ns = load_field(&layout, at) * NS_PER_S +
				   (uint64_t)load_field(&layout, at + 4) * layout.fraction_ns,
			.data = data,
			.captured_bytes = captured,
			.wire_bytes = load_field(&layout, at + 12),
			.linktype = layout.linktype,
		};
		at = data + captured;
	}
	stream->at = at;
	return n;
}

int capture_pcap_read(struct capture_pcap *pcap, struct capture_stream *stream,
	struct frame *frames, int count, struct capture_damage *damage)
{
	int n = read_ready(pcap, stream, frames, count);
	uint64_t offset = capture_stream_offset(stream);
	uint32_t captured;

	if (n > 0)
		return n;
	if (!capture_stream_has(stream, pcap->record_header_bytes)) {
		if (capture_stream_left(stream) == 0 && capture_stream_failure(stream) == 0)
			return 0;
		return capture_stream_cut(
			stream, offset, "record header", pcap->record_header_bytes, damage);
	}
	captured = load_field(pcap, stream->at + 8);
	if (captured > CAPTURE_RECORD_BYTES_MAX) {
		damage->offset = offset;
		message_set(&damage->reason, "record of %u bytes is longer than 64 MiB", captured);
		return FAIL_FORMAT;
	}
	if (!capture_stream_has(stream, (size_t)pcap->record_header_bytes + captured))
		return capture_stream_cut(
			stream, offset, "record", pcap->record_header_bytes + captured, damage);
	return read_ready(pcap, stream, frames, count);
}
