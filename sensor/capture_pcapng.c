/*
 * draft-ietf-opsawg-pcapng, "PCAP Now Generic (pcapng) Capture File Format":
 *
 *   block             type 4 | total length 4 | body, padded to 4 | total length 4
 *   section header    byte order magic 4 | version 2+2 | section length 8 | options
 *   interface         link type 2 | reserved 2 | snap length 4 | options
 *   enhanced packet   interface 4 | time 4+4 | captured 4 | original 4 | data | options
 *   obsolete packet   interface 2 | drops 2 | time 4+4 | captured 4 | original 4 | data | options
 *   simple packet     original 4 | data
 *
 * A block is looked at once all of it is in memory and its two lengths agree. Blocks of other
 * types may be longer than memory should hold and are passed over in pieces. There is no way to
 * find the next block behind a damaged one, so reading ends there.
 */
#include "sensor/capture_pcapng.h"

#include <stdlib.h>

#include "schemas/base/bytes.h"
#include "sensor/capture_pcap.h"

#define BLOCK_SECTION	      0x0a0d0d0au
#define BLOCK_INTERFACE	      1u
#define BLOCK_OBSOLETE_PACKET 2u
#define BLOCK_SIMPLE_PACKET   3u
#define BLOCK_ENHANCED_PACKET 6u

#define BLOCK_HEADER_BYTES  8  /* type and total length */
#define BLOCK_TRAILER_BYTES 4  /* total length again */
#define BLOCK_BYTES_MIN	    12 /* a block without a body */
#define SECTION_BYTES_MIN   28
#define BLOCK_BYTES_MAX	    (CAPTURE_RECORD_BYTES_MAX + ((uint32_t)1 << 20)) /* room for options */
#define SECTION_MAGIC	    0x1a2b3c4du
#define SECTION_MAGIC_AT    8
#define VERSION_MAJOR	    1

#define OPTION_END	0
#define OPTION_TSRESOL	9
#define OPTION_TSOFFSET 14

#define TSRESOL_DEFAULT 6 /* microseconds */
#define TSRESOL_BINARY	0x80
#define DECIMAL_NS	9  /* 10^-9 s */
#define DECIMAL_MAX	19 /* greatest power of ten in 64 bits */
#define NS_PER_S	UINT64_C(1000000000)

__extension__ typedef unsigned __int128 wide;

struct capture_pcapng_interface {
	uint64_t declared_at;
	int64_t offset_s;
	uint64_t multiply; /* time units to ns: times multiply, divided by divide, shifted right */
	uint64_t divide;
	uint32_t shift;
	uint32_t linktype;
	uint32_t snap_bytes; /* 0: no limit */
};

/* What reading one block came to, beside negative codes. */
enum block_result { BLOCK_END, BLOCK_FRAME, BLOCK_OTHER, BLOCK_LATER };

struct block {
	uint64_t offset;
	uint32_t type;
	uint32_t total_bytes;
	struct byte_reader body;
};

bool capture_pcapng_is_magic(const uint8_t *magic)
{
	return load_u32(magic) == BLOCK_SECTION;
}

static inline uint32_t load_field(const struct capture_pcapng *pcapng, const uint8_t *at)
{
	return pcapng->is_big_endian ? load_u32(at) : load_u32_le(at);
}

static inline uint32_t read_u32(const struct capture_pcapng *pcapng, struct byte_reader *r)
{
	return pcapng->is_big_endian ? bytes_u32(r) : bytes_u32_le(r);
}

static inline uint16_t read_u16(const struct capture_pcapng *pcapng, struct byte_reader *r)
{
	const uint8_t *at = bytes_take(r, 2);

	if (at == NULL)
		return 0;
	return pcapng->is_big_endian ? load_u16(at) : load_u16_le(at);
}

static int damaged(struct capture_damage *damage, uint64_t offset, const char *reason)
{
	damage->offset = offset;
	message_set(&damage->reason, "%s", reason);
	return FAIL_FORMAT;
}

static uint64_t power_of_ten(uint32_t exponent)
{
	uint64_t power = 1;

	while (exponent-- > 0)
		power *= 10;
	return power;
}

/* if_tsresol: the unit is 10^-n s, or 2^-n s with the top bit set. */
static void set_resolution(struct capture_pcapng_interface *interface, uint8_t tsresol)
{
	uint32_t exponent = tsresol & (TSRESOL_BINARY - 1u);

	interface->multiply = 1;
	interface->divide = 1;
	interface->shift = 0;
	if ((tsresol & TSRESOL_BINARY) != 0) {
		interface->multiply = NS_PER_S;
		interface->shift = exponent;
	} else if (exponent <= DECIMAL_NS) {
		interface->multiply = power_of_ten(DECIMAL_NS - exponent);
	} else if (exponent - DECIMAL_NS <= DECIMAL_MAX) {
		interface->divide = power_of_ten(exponent - DECIMAL_NS);
	} else {
		interface->multiply = 0; /* 2^64 such units are less than a nanosecond */
	}
}

static uint64_t saturate(wide value)
{
	return value > UINT64_MAX ? UINT64_MAX : (uint64_t)value;
}

/* Times before 1970 become 0, those past 64 bits of nanoseconds the greatest there is. */
static uint64_t time_of(const struct capture_pcapng_interface *interface, uint64_t units)
{
	wide time_ns = (wide)units * interface->multiply;
	wide shift_ns;

	if (interface->divide != 1)
		time_ns = (uint64_t)time_ns / interface->divide; /* here multiply is 1 */
	time_ns >>= interface->shift;
	if (interface->offset_s >= 0)
		return saturate(time_ns + (wide)interface->offset_s * NS_PER_S);
	shift_ns = ((wide) - (interface->offset_s + 1) + 1) * NS_PER_S;
	return time_ns > shift_ns ? saturate(time_ns - shift_ns) : 0;
}

static bool read_options(const struct capture_pcapng *pcapng, struct byte_reader *r,
	struct capture_pcapng_interface *interface)
{
	while (bytes_left(r) > 0) {
		uint16_t code = read_u16(pcapng, r);
		uint16_t size = read_u16(pcapng, r);
		const uint8_t *value = bytes_take(r, ((size_t)size + 3) & ~(size_t)3);

		if (r->truncated)
			return false;
		if (code == OPTION_END)
			break;
		if (code == OPTION_TSRESOL && size == 1)
			set_resolution(interface, value[0]);
		if (code == OPTION_TSOFFSET && size == 8) {
			uint64_t high = load_field(pcapng, value + (pcapng->is_big_endian ? 0 : 4));
			uint64_t low = load_field(pcapng, value + (pcapng->is_big_endian ? 4 : 0));

			interface->offset_s = (int64_t)(high << 32 | low);
		}
	}
	return true;
}

static struct capture_pcapng_interface *add_interface(struct capture_pcapng *pcapng)
{
	if (pcapng->interface_count == pcapng->interface_capacity) {
		size_t capacity =
			pcapng->interface_capacity != 0 ? 2 * pcapng->interface_capacity : 4;
		void *more = realloc(pcapng->interfaces, capacity * sizeof(*pcapng->interfaces));

		if (more == NULL)
			return NULL;
		pcapng->interfaces = more;
		pcapng->interface_capacity = capacity;
	}
	return &pcapng->interfaces[pcapng->interface_count];
}

static int read_interface(
	struct capture_pcapng *pcapng, struct block *block, struct capture_damage *damage)
{
	struct capture_pcapng_interface *interface;

	if (pcapng->interface_count == CAPTURE_PCAPNG_INTERFACES_MAX)
		return damaged(damage, block->offset, "section has more than 65536 interfaces");
	interface = add_interface(pcapng);
	if (interface == NULL)
		return -ENOMEM;
	*interface = (struct capture_pcapng_interface){ .declared_at = block->offset };
	set_resolution(interface, TSRESOL_DEFAULT);
	interface->linktype = read_u16(pcapng, &block->body);
	bytes_skip(&block->body, 2);
	interface->snap_bytes = read_u32(pcapng, &block->body);
	if (block->body.truncated)
		return damaged(damage, block->offset, "interface block is too short");
	if (!read_options(pcapng, &block->body, interface))
		return damaged(damage, block->offset, "option runs past its interface block");
	pcapng->interface_count++;
	return BLOCK_OTHER;
}

static const struct capture_pcapng_interface *find_interface(const struct capture_pcapng *pcapng,
	const struct block *block, uint32_t id, struct capture_damage *damage)
{
	if (id < pcapng->interface_count)
		return &pcapng->interfaces[id];
	damage->offset = block->offset;
	message_set(&damage->reason, "packet names interface %u, its section has %zu so far", id,
		pcapng->interface_count);
	return NULL;
}

static int read_packet(const struct capture_pcapng *pcapng, struct block *block,
	struct frame *frame, struct capture_damage *damage)
{
	struct byte_reader *r = &block->body;
	const struct capture_pcapng_interface *interface;
	uint64_t high;
	uint64_t low;
	uint32_t id;

	if (block->type == BLOCK_OBSOLETE_PACKET) {
		id = read_u16(pcapng, r);
		bytes_skip(r, 2);
	} else {
		id = read_u32(pcapng, r);
	}
	high = read_u32(pcapng, r);
	low = read_u32(pcapng, r);
	frame->captured_bytes = read_u32(pcapng, r);
	frame->wire_bytes = read_u32(pcapng, r);
	if (r->truncated)
		return damaged(damage, block->offset, "packet block is too short");
	interface = find_interface(pcapng, block, id, damage);
	if (interface == NULL)
		return FAIL_FORMAT;
	if (frame->captured_bytes > CAPTURE_RECORD_BYTES_MAX)
		return damaged(damage, block->offset, "packet is longer than 64 MiB");
	frame->data = bytes_take(r, frame->captured_bytes);
	if (frame->data == NULL)
		return damaged(damage, block->offset, "packet runs past its block");
	frame->time_ns = time_of(interface, high << 32 | low);
	frame->linktype = interface->linktype;
	return BLOCK_FRAME;
}

static int read_simple_packet(const struct capture_pcapng *pcapng, struct block *block,
	struct frame *frame, struct capture_damage *damage)
{
	const struct capture_pcapng_interface *interface;

	frame->wire_bytes = read_u32(pcapng, &block->body);
	if (block->body.truncated)
		return damaged(damage, block->offset, "packet block is too short");
	interface = find_interface(pcapng, block, 0, damage);
	if (interface == NULL)
		return FAIL_FORMAT;
	frame->captured_bytes = frame->wire_bytes;
	if (interface->snap_bytes != 0 && frame->captured_bytes > interface->snap_bytes)
		frame->captured_bytes = interface->snap_bytes;
	if (frame->captured_bytes > CAPTURE_RECORD_BYTES_MAX)
		return damaged(damage, block->offset, "packet is longer than 64 MiB");
	frame->data = bytes_take(&block->body, frame->captured_bytes);
	if (frame->data == NULL)
		return damaged(damage, block->offset, "packet runs past its block");
	frame->time_ns = 0;
	frame->linktype = interface->linktype;
	return BLOCK_FRAME;
}

static int read_section(
	struct capture_pcapng *pcapng, struct block *block, struct capture_damage *damage)
{
	uint16_t major;

	bytes_skip(&block->body, 4); /* the magic, which told the byte order */
	major = read_u16(pcapng, &block->body);
	if (major != VERSION_MAJOR) {
		damage->offset = block->offset;
		message_set(&damage->reason, "pcapng version %u is not supported", major);
		return FAIL_FORMAT;
	}
	pcapng->interface_count = 0;
	return BLOCK_OTHER;
}

static int read_body(struct capture_pcapng *pcapng, struct block *block, struct frame *frame,
	struct capture_damage *damage)
{
	switch (block->type) {
	case BLOCK_SECTION:
		return read_section(pcapng, block, damage);
	case BLOCK_INTERFACE:
		return read_interface(pcapng, block, damage);
	case BLOCK_ENHANCED_PACKET:
	case BLOCK_OBSOLETE_PACKET:
		return read_packet(pcapng, block, frame, damage);
	case BLOCK_SIMPLE_PACKET:
		return read_simple_packet(pcapng, block, frame, damage);
	default:
		return BLOCK_OTHER;
	}
}

static bool is_used(uint32_t type)
{
	return type == BLOCK_SECTION || type == BLOCK_INTERFACE || type == BLOCK_ENHANCED_PACKET ||
	       type == BLOCK_OBSOLETE_PACKET || type == BLOCK_SIMPLE_PACKET;
}

/* The length of a section header can only be read in the byte order that its magic tells. */
static int learn_byte_order(
	struct capture_pcapng *pcapng, struct capture_stream *stream, struct capture_damage *damage)
{
	uint64_t offset = capture_stream_offset(stream);
	const uint8_t *magic;

	if (!capture_stream_has(stream, SECTION_BYTES_MIN))
		return capture_stream_cut(
			stream, offset, "section header", SECTION_BYTES_MIN, damage);
	magic = stream->at + SECTION_MAGIC_AT;
	if (load_u32(magic) != SECTION_MAGIC && load_u32_le(magic) != SECTION_MAGIC)
		return damaged(damage, offset, "section header without its byte order magic");
	pcapng->is_big_endian = load_u32(magic) == SECTION_MAGIC;
	return 0;
}

static int check_lengths(const struct block *block, struct capture_damage *damage)
{
	uint32_t least = block->type == BLOCK_SECTION ? SECTION_BYTES_MIN : BLOCK_BYTES_MIN;

	if (block->total_bytes < least || block->total_bytes % 4 != 0 ||
		(is_used(block->type) && block->total_bytes > BLOCK_BYTES_MAX)) {
		damage->offset = block->offset;
		message_set(&damage->reason, "block of type 0x%08x has an impossible length of %u",
			block->type, block->total_bytes);
		return FAIL_FORMAT;
	}
	return 0;
}

static int check_trailer(const struct capture_pcapng *pcapng, const struct block *block,
	const uint8_t *trailer, struct capture_damage *damage)
{
	uint32_t total_bytes = load_field(pcapng, trailer);

	if (total_bytes == block->total_bytes)
		return 0;
	damage->offset = block->offset;
	message_set(&damage->reason, "block begins with length %u and ends with length %u",
		block->total_bytes, total_bytes);
	return FAIL_FORMAT;
}

/* Passes over a block that is not used and not all in memory, in pieces. */
static int skip_block(struct capture_pcapng *pcapng, struct capture_stream *stream,
	const struct block *block, struct capture_damage *damage)
{
	int rc;

	if (!capture_stream_skip(stream, block->total_bytes - BLOCK_TRAILER_BYTES) ||
		!capture_stream_has(stream, BLOCK_TRAILER_BYTES))
		return capture_stream_cut(
			stream, block->offset, "block", block->total_bytes, damage);
	rc = check_trailer(pcapng, block, stream->at, damage);
	if (rc != 0)
		return rc;
	stream->at += BLOCK_TRAILER_BYTES;
	return BLOCK_OTHER;
}

/* Reads a block that is all in memory; moves forward only when it is sound. */
static int read_whole_block(struct capture_pcapng *pcapng, struct capture_stream *stream,
	struct block *block, struct frame *frame, struct capture_damage *damage)
{
	int rc = check_trailer(
		pcapng, block, stream->at + block->total_bytes - BLOCK_TRAILER_BYTES, damage);

	if (rc != 0)
		return rc;
	block->body = byte_reader_of(stream->at + BLOCK_HEADER_BYTES,
		block->total_bytes - BLOCK_HEADER_BYTES - BLOCK_TRAILER_BYTES);
	rc = read_body(pcapng, block, frame, damage);
	if (rc >= 0)
		stream->at += block->total_bytes;
	return rc;
}

/*
 * Reads one block, or none of it. With `may_fill` false only what is in memory is looked at, and
 * no section is begun: frames have been returned that rely on both.
 */
static int read_block(struct capture_pcapng *pcapng, struct capture_stream *stream, bool may_fill,
	struct frame *frame, struct capture_damage *damage)
{
	struct block block = { .offset = capture_stream_offset(stream) };
	bool is_section;
	int rc;

	if (!may_fill && capture_stream_left(stream) < BLOCK_BYTES_MIN)
		return BLOCK_LATER;
	if (!capture_stream_has(stream, BLOCK_BYTES_MIN)) {
		if (capture_stream_left(stream) == 0 && capture_stream_failure(stream) == 0)
			return BLOCK_END;
		return capture_stream_cut(
			stream, block.offset, "block header", BLOCK_BYTES_MIN, damage);
	}
	is_section = load_u32(stream->at) == BLOCK_SECTION; /* the same in both byte orders */
	if (is_section && !may_fill)
		return BLOCK_LATER;
	if (is_section) {
		rc = learn_byte_order(pcapng, stream, damage);
		if (rc != 0)
			return rc;
	}
	block.type = load_field(pcapng, stream->at);
	block.total_bytes = load_field(pcapng, stream->at + 4);
	rc = check_lengths(&block, damage);
	if (rc != 0)
		return rc;

	if (capture_stream_left(stream) >= block.total_bytes)
		return read_whole_block(pcapng, stream, &block, frame, damage);
	if (!may_fill)
		return BLOCK_LATER;
	if (!is_used(block.type))
		return skip_block(pcapng, stream, &block, damage);
	if (!capture_stream_has(stream, block.total_bytes))
		return capture_stream_cut(stream, block.offset, "block", block.total_bytes, damage);
	return read_whole_block(pcapng, stream, &block, frame, damage);
}

int capture_pcapng_init(
	struct capture_pcapng *pcapng, struct capture_stream *stream, struct capture_damage *damage)
{
	struct frame none;
	int rc;

	*pcapng = (struct capture_pcapng){ 0 };
	if (capture_stream_has(stream, 4) && !capture_pcapng_is_magic(stream->at))
		return damaged(damage, capture_stream_offset(stream), "not a pcapng capture");
	rc = read_block(pcapng, stream, true, &none, damage);
	if (rc == BLOCK_END)
		return capture_stream_cut(stream, 0, "section header", SECTION_BYTES_MIN, damage);
	return rc < 0 ? rc : 0;
}

int capture_pcapng_read(struct capture_pcapng *pcapng, struct capture_stream *stream,
	struct frame *frames, int count, struct capture_damage *damage)
{
	int n = 0;

	while (n < count) {
		int rc = read_block(pcapng, stream, n == 0, &frames[n], damage);

		if (rc == BLOCK_FRAME)
			n++;
		else if (rc != BLOCK_OTHER)
			return n > 0 ? n : rc;
	}
	return n;
}

uint64_t capture_pcapng_declared_at(const struct capture_pcapng *pcapng, uint32_t linktype)
{
	for (size_t i = 0; i < pcapng->interface_count; i++)
		if (pcapng->interfaces[i].linktype == linktype)
			return pcapng->interfaces[i].declared_at;
	return 0;
}

void capture_pcapng_fini(struct capture_pcapng *pcapng)
{
	free(pcapng->interfaces);
	*pcapng = (struct capture_pcapng){ 0 };
}
