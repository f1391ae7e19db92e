/*
 * Writing JSON: one object or array after the other into a buffer.
 *
 * Commas are set by looking at what was written last, so members can be left out freely. Texts are
 * escaped as RFC 8259 section 7 asks; bytes that are not UTF-8 become U+FFFD.
 *
 * Threads: the buffer's owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/bytes.h"

void json_open(struct buffer *out, char bracket);  /* '{' or '[' */
void json_close(struct buffer *out, char bracket); /* '}' or ']' */
void json_key(struct buffer *out, const char *key);

void json_text(struct buffer *out, const char *text); /* NULL is null */
void json_bytes(struct buffer *out, struct bytes text);
void json_int(struct buffer *out, int64_t value);
void json_uint(struct buffer *out, uint64_t value);
void json_double(struct buffer *out, double value, int decimals); /* beyond 2^53 with exponent */
void json_bool(struct buffer *out, bool value);
void json_nothing(struct buffer *out);

/* A member of the open object: key and value. */
void json_member_text(struct buffer *out, const char *key, const char *text);
void json_member_int(struct buffer *out, const char *key, int64_t value);
void json_member_uint(struct buffer *out, const char *key, uint64_t value);
void json_member_bool(struct buffer *out, const char *key, bool value);
void json_member_null(struct buffer *out, const char *key);

#define ISO_TEXT_BYTES 32

/** ISO-8601 UTC of a time in ms: "2026-01-02T03:04:05.678Z", without fraction when it is zero. */
const char *iso_text(int64_t time_ms, char out[ISO_TEXT_BYTES]);

/** Members `key` (ISO text) and `key`_ms. */
void json_member_time(struct buffer *out, const char *key, int64_t time_ms);
