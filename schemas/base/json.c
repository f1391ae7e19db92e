#include "schemas/base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

#define EXACT_MAX 9007199254740992.0 /* 2^53: beyond it a double leaves integers out */

static void separate(struct buffer *out)
{
	char last = out->size > 0 ? (char)out->data[out->size - 1] : '{';

	if (last != '{' && last != '[' && last != ':' && last != '\n')
		buffer_u8(out, ',');
}

void json_open(struct buffer *out, char bracket)
{
	separate(out);
	buffer_u8(out, (uint8_t)bracket);
}

void json_close(struct buffer *out, char bracket)
{
	buffer_u8(out, (uint8_t)bracket);
}

/* Length of the UTF-8 sequence at `p`, 0 when it is none: RFC 3629 section 4. */
static size_t utf8_bytes(const uint8_t *p, size_t left)
{
	size_t size = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	if (p[0] < 0x80)
		return 1;
	if (size == 0 || size > left)
		return 0;
	for (size_t i = 1; i < size; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
		(p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return size;
}

static void escape(struct buffer *out, struct bytes text)
{
	buffer_u8(out, '"');
	for (size_t i = 0; i < text.size;) {
		const uint8_t *p = text.data + i;
		size_t size = utf8_bytes(p, text.size - i);

		if (size == 0) {
			buffer_append_text(out, "\xef\xbf\xbd");
			size = 1;
		} else if (*p == '"' || *p == '\\') {
			buffer_u8(out, '\\');
			buffer_u8(out, *p);
		} else if (*p < 0x20 || *p == 0x7f) {
			buffer_format(out, "\\u%04x", *p);
		} else {
			buffer_append(out, p, size);
		}
		i += size;
	}
	buffer_u8(out, '"');
}

void json_bytes(struct buffer *out, struct bytes text)
{
	separate(out);
	escape(out, text);
}

void json_text(struct buffer *out, const char *text)
{
	if (text == NULL)
		json_nothing(out);
	else
		json_bytes(out, (struct bytes){ (const uint8_t *)text, strlen(text) });
}

void json_key(struct buffer *out, const char *key)
{
	json_text(out, key);
	buffer_u8(out, ':');
}

void json_uint(struct buffer *out, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	separate(out);
	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value != 0);
	buffer_append(out, digits + at, sizeof(digits) - at);
}

void json_int(struct buffer *out, int64_t value)
{
	if (value >= 0) {
		json_uint(out, (uint64_t)value);
		return;
	}
	separate(out);
	buffer_format(out, "%" PRId64, value);
}

void json_double(struct buffer *out, double value, int decimals)
{
	separate(out);
	/* many readers refuse digits without a point or exponent that pass 64 bits, or 2^53 */
	if (fabs(value) > EXACT_MAX)
		buffer_format(out, "%.17g", value);
	else
		buffer_format(out, "%.*f", decimals, value);
}

void json_bool(struct buffer *out, bool value)
{
	separate(out);
	buffer_append_text(out, value ? "true" : "false");
}

void json_nothing(struct buffer *out)
{
	separate(out);
	buffer_append_text(out, "null");
}

void json_member_text(struct buffer *out, const char *key, const char *text)
{
	json_key(out, key);
	json_text(out, text);
}

void json_member_int(struct buffer *out, const char *key, int64_t value)
{
	json_key(out, key);
	json_int(out, value);
}

void json_member_uint(struct buffer *out, const char *key, uint64_t value)
{
	json_key(out, key);
	json_uint(out, value);
}

void json_member_bool(struct buffer *out, const char *key, bool value)
{
	json_key(out, key);
	json_bool(out, value);
}

void json_member_null(struct buffer *out, const char *key)
{
	json_key(out, key);
	json_nothing(out);
}

const char *iso_text(int64_t time_ms, char out[ISO_TEXT_BYTES])
{
	time_t seconds = (time_t)(time_ms / 1000);
	int ms = (int)(time_ms % 1000);
	struct tm utc;
	size_t size;

	if (gmtime_r(&seconds, &utc) == NULL || utc.tm_year > 8099) {
		snprintf(out, ISO_TEXT_BYTES, "+%" PRId64 "ms", time_ms); /* beyond the year 9999 */
		return out;
	}
	size = strftime(out, ISO_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", &utc);
	if (ms != 0)
		snprintf(out + size, ISO_TEXT_BYTES - size, ".%03dZ", ms);
	else
		snprintf(out + size, ISO_TEXT_BYTES - size, "Z");
	return out;
}

void json_member_time(struct buffer *out, const char *key, int64_t time_ms)
{
	char text[ISO_TEXT_BYTES], name[64];

	json_member_text(out, key, iso_text(time_ms, text));
	snprintf(name, sizeof(name), "%s_ms", key);
	json_member_int(out, name, time_ms);
}
