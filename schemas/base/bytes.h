/*
 * Bounds-checked reading of bytes that come from outside, and a growing buffer to write them.
 *
 * The reader latches truncation: a read past the end returns zero and sets `truncated`, so
 * decoding code reads top to bottom and asks once. Multi-byte reads without a suffix are network
 * byte order; `_le` reads are little endian.
 *
 * Threads: plain values, no sharing.
 */
#pragma once

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "schemas/base/errors.h"

/** Borrowed bytes. */
struct bytes {
	const uint8_t *data;
	size_t size;
};

struct byte_reader {
	const uint8_t *at;
	const uint8_t *end;
	bool truncated;
};

static inline struct byte_reader byte_reader_of(const void *data, size_t size)
{
	const uint8_t *at = data;

	return (struct byte_reader){ .at = at,
		.end = size > 0 ? at + size : at }; /* NULL has no + 0 */
}

static inline size_t bytes_left(const struct byte_reader *r)
{
	return (size_t)(r->end - r->at);
}

/** The next `count` bytes, or NULL (and `truncated`) when fewer are left. */
static inline const uint8_t *bytes_take(struct byte_reader *r, size_t count)
{
	const uint8_t *at = r->at;

	if (count > bytes_left(r)) {
		r->truncated = true;
		r->at = r->end;
		return NULL;
	}
	r->at += count;
	return at;
}

static inline void bytes_skip(struct byte_reader *r, size_t count)
{
	(void)bytes_take(r, count);
}

static inline struct bytes bytes_rest(const struct byte_reader *r)
{
	return (struct bytes){ r->at, bytes_left(r) };
}

/* Fixed-width loads; the caller has checked the bounds. */
static inline uint16_t load_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t load_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t load_u64(const uint8_t *p)
{
	return (uint64_t)load_u32(p) << 32 | load_u32(p + 4);
}

static inline uint16_t load_u16_le(const uint8_t *p)
{
	return (uint16_t)(p[1] << 8 | p[0]);
}

static inline uint32_t load_u32_le(const uint8_t *p)
{
	return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static inline void store_u16(uint8_t *p, uint16_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static inline void store_u32(uint8_t *p, uint32_t value)
{
	store_u16(p, (uint16_t)(value >> 16));
	store_u16(p + 2, (uint16_t)value);
}

static inline void store_u32_le(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)value;
	p[1] = (uint8_t)(value >> 8);
	p[2] = (uint8_t)(value >> 16);
	p[3] = (uint8_t)(value >> 24);
}

static inline void store_u64_le(uint8_t *p, uint64_t value)
{
	value = htole64(value);
	memcpy(p, &value, 8);
}

static inline uint8_t bytes_u8(struct byte_reader *r)
{
	const uint8_t *p = bytes_take(r, 1);

	return p != NULL ? *p : 0;
}

static inline uint16_t bytes_u16(struct byte_reader *r)
{
	const uint8_t *p = bytes_take(r, 2);

	return p != NULL ? load_u16(p) : 0;
}

static inline uint32_t bytes_u32(struct byte_reader *r)
{
	const uint8_t *p = bytes_take(r, 4);

	return p != NULL ? load_u32(p) : 0;
}

static inline uint32_t bytes_u32_le(struct byte_reader *r)
{
	const uint8_t *p = bytes_take(r, 4);

	return p != NULL ? load_u32_le(p) : 0;
}

/**
 * A growing buffer. Zero-initialise; release with buffer_fini. When memory runs out `failed`
 * latches and further writes do nothing, so the writer asks once at the end.
 */
struct buffer {
	uint8_t *data;
	size_t size;
	size_t capacity;
	bool failed;
};

/** Makes room for `more` bytes beyond `size`; false (and `failed`) when memory is out. */
bool buffer_reserve(struct buffer *buf, size_t more);
void buffer_append(struct buffer *buf, const void *data, size_t size);
void buffer_append_text(struct buffer *buf, const char *text);
void buffer_format(struct buffer *buf, const char *format, ...) PRINTF_LIKE(2, 3);
/** Releases the memory and makes the buffer empty and usable again. */
void buffer_fini(struct buffer *buf);

static inline void buffer_clear(struct buffer *buf)
{
	buf->size = 0;
	buf->failed = false;
}

static inline void buffer_u8(struct buffer *buf, uint8_t value)
{
	if (buf->size == buf->capacity && !buffer_reserve(buf, 1))
		return;
	buf->data[buf->size++] = value;
}
