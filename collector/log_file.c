/*
 * Bytes are read ahead into a buffer; a header or block is parsed when it is there as a whole, and
 * more is read when it is not.
 */
#include "collector/log_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "schemas/base/log.h"

#define READ_BYTES (1u << 20)

struct log_file {
	const char *path;
	int fd;
	bool is_at_end;
	struct buffer bytes;
	size_t parsed;	 /* of `bytes` */
	uint64_t offset; /* in the file, of the byte at `parsed` */
	struct container_decoder *decoder;
	struct origin origin;
	const struct log_handler *handler;
};

/* Reads more behind what is there; the parsed part is dropped first. */
static int read_more(struct log_file *file)
{
	ssize_t got;

	if (file->parsed > 0) {
		memmove(file->bytes.data, file->bytes.data + file->parsed,
			file->bytes.size - file->parsed);
		file->bytes.size -= file->parsed;
		file->parsed = 0;
	}
	if (!buffer_reserve(&file->bytes, READ_BYTES))
		return -ENOMEM;
	do
		got = read(file->fd, file->bytes.data + file->bytes.size, READ_BYTES);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	file->is_at_end = got == 0;
	file->bytes.size += (size_t)got;
	return 0;
}

static void advance(struct log_file *file, const struct byte_reader *r)
{
	size_t parsed = (size_t)(r->at - file->bytes.data);

	file->offset += parsed - file->parsed;
	file->parsed = parsed;
}

static int damage(const struct log_file *file, const char *reason)
{
	log_plain("%s: byte %llu: %s", file->path, (unsigned long long)file->offset, reason);
	return FAIL_FORMAT;
}

static int hand_over(struct log_file *file, struct container_item *item)
{
	switch (item->kind) {
	case ITEM_FLOW:
		return file->handler->flow(file->handler->context, &file->origin, &item->flow);
	case ITEM_MARKER:
		return file->handler->marker(file->handler->context, &file->origin, &item->marker);
	case ITEM_NONE:
	case ITEM_UNKNOWN:
		break;
	}
	return 0;
}

static int read_records(struct log_file *file, struct container_records *records)
{
	struct container_item item;
	struct message msg = { 0 };
	int rc;

	for (;;) {
		rc = container_next(file->decoder, records, &item, &msg);
		if (rc == FAIL_FORMAT)
			return damage(file, msg.text);
		if (rc != 0 || item.kind == ITEM_NONE)
			return rc;
		rc = hand_over(file, &item);
		container_item_fini(&item);
		if (rc != 0)
			return rc;
	}
}

/* Parses a header or a block. @return 0, FAIL_TRUNCATED when more bytes are needed */
static int parse_next(struct log_file *file, bool *has_header)
{
	struct byte_reader r =
		byte_reader_of(file->bytes.data + file->parsed, file->bytes.size - file->parsed);
	struct container_records records;
	struct message msg = { 0 };
	int rc;

	if (!*has_header || container_starts(&r)) {
		rc = container_decoder_header(file->decoder, &r, &file->origin, &msg);
		if (rc == FAIL_TRUNCATED && bytes_left(&r) == 0 &&
			file->bytes.size - file->parsed > CONTAINER_HEADER_MAX)
			return damage(file, "container header is too long");
		if (rc == 0)
			*has_header = true;
	} else {
		rc = container_decoder_block(file->decoder, &r, &records, &msg);
		if (rc == 0)
			rc = read_records(file, &records);
		else if (rc == FAIL_FORMAT)
			return damage(file, msg.text);
		if (rc != 0)
			return rc;
	}
	if (rc == FAIL_FORMAT)
		return damage(file, msg.text);
	if (rc == 0)
		advance(file, &r);
	return rc;
}

static int read_all(struct log_file *file)
{
	bool has_header = false;
	int rc = 0;

	for (;;) {
		size_t left = file->bytes.size - file->parsed;

		if (left > 0)
			rc = parse_next(file, &has_header);
		else
			rc = FAIL_TRUNCATED;
		if (rc != 0 && rc != FAIL_TRUNCATED)
			return rc;
		if (rc == 0)
			continue;
		if (file->is_at_end && left > 0)
			return damage(
				file, has_header ? "block is cut" : "container header is cut");
		if (file->is_at_end)
			return has_header ? 0 : damage(file, "file is empty");
		rc = read_more(file);
		if (rc != 0) {
			log_plain("%s: byte %llu: %s", file->path, (unsigned long long)file->offset,
				error_text(rc));
			return rc;
		}
	}
}

int log_file_read(const char *path, const struct log_handler *handler)
{
	struct log_file file = { .path = path, .fd = STDIN_FILENO, .handler = handler };
	int rc = container_decoder_create(&file.decoder);

	if (rc != 0)
		return rc;
	if (strcmp(path, "-") != 0) {
		file.fd = open(path, O_RDONLY | O_CLOEXEC);
		if (file.fd < 0)
			rc = -errno;
	}
	if (rc != 0)
		log_plain("%s: byte 0: %s", path, error_text(rc));
	else
		rc = read_all(&file);
	if (file.fd > STDERR_FILENO)
		close(file.fd);
	buffer_fini(&file.bytes);
	container_decoder_destroy(file.decoder);
	return rc;
}
