/*
 * Capture files built in memory, for tests: headers, records and blocks in either byte order.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "schemas/base/bytes.h"

#define PCAP_MICROSECONDS UINT32_C(0xa1b2c3d4)
#define PCAP_NANOSECONDS  UINT32_C(0xa1b23c4d)
#define PCAP_MODIFIED	  UINT32_C(0xa1b2cd34)

#define NG_SECTION   UINT32_C(0x0a0d0d0a)
#define NG_INTERFACE UINT32_C(1)
#define NG_OBSOLETE  UINT32_C(2)
#define NG_SIMPLE    UINT32_C(3)
#define NG_NAMES     UINT32_C(4) /* name resolution: one of the types passed over */
#define NG_ENHANCED  UINT32_C(6)

#define NG_TSRESOL  9
#define NG_TSOFFSET 14

/** A file being built. Zero-initialise; release with buffer_fini(&file.bytes). */
struct built_file {
	struct buffer bytes;
	bool is_big_endian;
};

static inline void put_u16(struct built_file *file, uint32_t value)
{
	buffer_u8(&file->bytes, (uint8_t)(file->is_big_endian ? value >> 8 : value));
	buffer_u8(&file->bytes, (uint8_t)(file->is_big_endian ? value : value >> 8));
}

static inline void put_u32(struct built_file *file, uint32_t value)
{
	put_u16(file, file->is_big_endian ? value >> 16 : value & 0xffff);
	put_u16(file, file->is_big_endian ? value & 0xffff : value >> 16);
}

static inline void put_u64(struct built_file *file, uint64_t value)
{
	put_u32(file, (uint32_t)(file->is_big_endian ? value >> 32 : value));
	put_u32(file, (uint32_t)(file->is_big_endian ? value : value >> 32));
}

/** `size` bytes that count up from `first`. */
static inline void put_data(struct built_file *file, uint8_t first, size_t size)
{
	for (size_t i = 0; i < size; i++)
		buffer_u8(&file->bytes, (uint8_t)(first + i));
}

static inline void put_pcap_header(struct built_file *file, uint32_t magic, uint32_t linktype)
{
	put_u32(file, magic);
	put_u16(file, 2);
	put_u16(file, 4);
	put_u32(file, 0);
	put_u32(file, 0);
	put_u32(file, 65535);
	put_u32(file, linktype);
}

/** A record whose data count up from `first`. */
static inline void put_pcap_record(struct built_file *file, uint32_t seconds, uint32_t fraction,
	uint8_t first, uint32_t captured)
{
	put_u32(file, seconds);
	put_u32(file, fraction);
	put_u32(file, captured);
	put_u32(file, captured + 4); /* as if a snap length had cut it */
	put_data(file, first, captured);
}

/** Begins a block; returns where it begins, for ng_end. */
static inline size_t ng_begin(struct built_file *file, uint32_t type)
{
	size_t at = file->bytes.size;

	put_u32(file, type);
	put_u32(file, 0);
	return at;
}

/** Pads the block and writes both of its lengths. */
static inline void ng_end(struct built_file *file, size_t at)
{
	size_t total;
	size_t end;

	while (file->bytes.size % 4 != 0)
		buffer_u8(&file->bytes, 0);
	total = file->bytes.size + 4 - at;
	put_u32(file, (uint32_t)total);
	end = file->bytes.size;
	file->bytes.size = at + 4;
	put_u32(file, (uint32_t)total);
	file->bytes.size = end;
}

static inline void put_ng_section(struct built_file *file)
{
	size_t at = ng_begin(file, NG_SECTION);

	put_u32(file, UINT32_C(0x1a2b3c4d));
	put_u16(file, 1);
	put_u16(file, 0);
	put_u64(file, UINT64_MAX); /* section length not given */
	ng_end(file, at);
}

static inline void put_ng_interface(struct built_file *file, uint32_t linktype, uint32_t snap_bytes)
{
	size_t at = ng_begin(file, NG_INTERFACE);

	put_u16(file, linktype);
	put_u16(file, 0);
	put_u32(file, snap_bytes);
	ng_end(file, at);
}

/** An Ethernet interface with its own time unit and offset. */
static inline void put_ng_clock(struct built_file *file, uint8_t tsresol, int64_t offset_s)
{
	size_t at = ng_begin(file, NG_INTERFACE);

	put_u16(file, 1);
	put_u16(file, 0);
	put_u32(file, 0);
	put_u16(file, NG_TSRESOL);
	put_u16(file, 1);
	buffer_u8(&file->bytes, tsresol);
	put_data(file, 0, 3);
	put_u16(file, NG_TSOFFSET);
	put_u16(file, 8);
	put_u64(file, (uint64_t)offset_s);
	put_u32(file, 0); /* end of options */
	ng_end(file, at);
}

static inline void put_ng_packet(struct built_file *file, uint32_t interface, uint64_t units,
	uint8_t first, uint32_t captured)
{
	size_t at = ng_begin(file, NG_ENHANCED);

	put_u32(file, interface);
	put_u32(file, (uint32_t)(units >> 32));
	put_u32(file, (uint32_t)units);
	put_u32(file, captured);
	put_u32(file, captured + 4);
	put_data(file, first, captured);
	ng_end(file, at);
}
