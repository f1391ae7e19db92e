#include "schemas/base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUFFER_FIRST_BYTES 256 /* smallest allocation; doubling from there */

bool buffer_reserve(struct buffer *buf, size_t more)
{
	size_t capacity = buf->capacity != 0 ? buf->capacity : BUFFER_FIRST_BYTES;
	uint8_t *data;

	if (buf->failed || more > SIZE_MAX / 2 - buf->size) {
		buf->failed = true;
		return false;
	}
	while (capacity < buf->size + more)
		capacity *= 2;
	if (capacity == buf->capacity)
		return true;
	data = realloc(buf->data, capacity);
	if (data == NULL) {
		buf->failed = true;
		return false;
	}
	buf->data = data;
	buf->capacity = capacity;
	return true;
}

void buffer_append(struct buffer *buf, const void *data, size_t size)
{
	if (size == 0 || !buffer_reserve(buf, size))
		return;
	memcpy(buf->data + buf->size, data, size);
	buf->size += size;
}

void buffer_append_text(struct buffer *buf, const char *text)
{
	buffer_append(buf, text, strlen(text));
}

void buffer_format(struct buffer *buf, const char *format, ...)
{
	va_list args;
	int size;

	va_start(args, format);
	size = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (size < 0 || !buffer_reserve(buf, (size_t)size + 1))
		return;
	va_start(args, format);
	vsnprintf((char *)buf->data + buf->size, (size_t)size + 1, format, args);
	va_end(args);
	buf->size += (size_t)size;
}

void buffer_fini(struct buffer *buf)
{
	free(buf->data);
	*buf = (struct buffer){ 0 };
}
