#include "tests/sensor/capture_bytes.h"

#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "sensor/capture_stream.h"

#define CONTENT_BYTES (3 * CAPTURE_BLOCK_BYTES + 100)

/* Contents that do not repeat, so that compressed files are not tiny. */
static uint8_t *make_content(void)
{
	uint8_t *content = malloc(CONTENT_BYTES);
	uint32_t value = 1;

	assert_non_null(content);
	for (size_t i = 0; i < CONTENT_BYTES; i++) {
		value = value * 1664525 + 1013904223;
		content[i] = (uint8_t)(value >> 24 & 0x3f);
	}
	return content;
}

static void append_gzip(struct buffer *out, const uint8_t *data, size_t size)
{
	z_stream gzip = { 0 };

	assert_int_equal(deflateInit2(&gzip, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_true(buffer_reserve(out, deflateBound(&gzip, size)));
	gzip.next_in = (Bytef *)(uintptr_t)data;
	gzip.avail_in = (uInt)size;
	gzip.next_out = out->data + out->size;
	gzip.avail_out = (uInt)(out->capacity - out->size);
	assert_int_equal(deflate(&gzip, Z_FINISH), Z_STREAM_END);
	out->size = out->capacity - gzip.avail_out;
	deflateEnd(&gzip);
}

static void append_zstd(struct buffer *out, const uint8_t *data, size_t size)
{
	size_t written;

	assert_true(buffer_reserve(out, ZSTD_compressBound(size)));
	written = ZSTD_compress(out->data + out->size, out->capacity - out->size, data, size, 3);
	assert_false(ZSTD_isError(written));
	out->size += written;
}

typedef void (*append_packed)(struct buffer *out, const uint8_t *data, size_t size);

static const append_packed packers[] = { append_gzip, append_zstd };

/* Reads everything; what came out, and the failure of the stream. */
static int read_through(struct buffer *out, const void *data, size_t size)
{
	struct capture_block_pool pool = { 0 };
	struct capture_stream *stream;
	int failure;

	assert_int_equal(capture_stream_open_memory(&stream, data, size, &pool), 0);
	while (capture_stream_has(stream, 1)) {
		assert_int_equal(capture_stream_offset(stream), out->size);
		buffer_append(out, stream->at, capture_stream_left(stream));
		stream->at = stream->end;
	}
	failure = capture_stream_failure(stream);
	capture_stream_close(stream);
	capture_block_pool_fini(&pool);
	return failure;
}

static void test_stream_packed_in_pieces_gives_the_whole(void **state)
{
	uint8_t *content = make_content();

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct buffer packed = { 0 };
		struct buffer out = { 0 };

		packers[i](&packed, content, 1000);
		packers[i](&packed, content, 0);
		packers[i](&packed, content + 1000, CONTENT_BYTES - 1000);

		assert_int_equal(read_through(&out, packed.data, packed.size), 0);

		assert_int_equal(out.size, CONTENT_BYTES);
		assert_memory_equal(out.data, content, CONTENT_BYTES);
		buffer_fini(&packed);
		buffer_fini(&out);
	}
	free(content);
}

static void test_stream_packed_and_cut_anywhere_gives_a_prefix_and_a_failure(void **state)
{
	uint8_t *content = make_content();

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct buffer packed = { 0 };

		packers[i](&packed, content, 2000);
		for (size_t size = 4; size < packed.size; size++) {
			struct buffer out = { 0 };

			assert_int_equal(read_through(&out, packed.data, size), FAIL_TRUNCATED);

			assert_true(out.size <= 2000);
			if (out.size > 0)
				assert_memory_equal(out.data, content, out.size);
			buffer_fini(&out);
		}
		buffer_fini(&packed);
	}
	free(content);
}

static void test_stream_packed_and_damaged_fails_at_the_offset_reached(void **state)
{
	uint8_t *content = make_content();

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct capture_damage damage = { 0 };
		struct capture_block_pool pool = { 0 };
		struct capture_stream *stream;
		struct buffer packed = { 0 };

		packers[i](&packed, content, 1000);
		buffer_append_text(&packed, "something else");
		assert_int_equal(
			capture_stream_open_memory(&stream, packed.data, packed.size, &pool), 0);

		assert_true(capture_stream_has(stream, 1000));
		assert_false(capture_stream_has(stream, 1001));

		assert_int_equal(
			capture_stream_cut(stream, 0, "record", 1001, &damage), FAIL_FORMAT);
		assert_int_equal(damage.offset, 1000);
		assert_true(damage.reason.text[0] != '\0');
		capture_stream_close(stream);
		capture_block_pool_fini(&pool);
		buffer_fini(&packed);
	}
	free(content);
}

static void test_stream_gzip_padded_with_zeros_is_whole(void **state)
{
	static const uint8_t zeros[512];
	struct buffer packed = { 0 };
	struct buffer out = { 0 };

	(void)state;
	append_gzip(&packed, zeros, 100);
	buffer_append(&packed, zeros, sizeof(zeros));

	assert_int_equal(read_through(&out, packed.data, packed.size), 0);

	assert_int_equal(out.size, 100);
	buffer_fini(&packed);
	buffer_fini(&out);
}

static void test_stream_zstd_skippable_frames_hold_nothing(void **state)
{
	static const uint8_t skippable[] = { 0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c' };
	struct buffer packed = { 0 };
	struct buffer out = { 0 };

	(void)state;
	buffer_append(&packed, skippable, sizeof(skippable));
	append_zstd(&packed, skippable, sizeof(skippable));
	buffer_append(&packed, skippable, sizeof(skippable));

	assert_int_equal(read_through(&out, packed.data, packed.size), 0);

	assert_int_equal(out.size, sizeof(skippable));
	buffer_fini(&packed);
	buffer_fini(&out);
}

static void test_stream_filled_keeps_the_unread_bytes_and_the_old_block(void **state)
{
	uint8_t *content = make_content();
	struct capture_block_pool pool = { 0 };
	struct capture_stream *stream;
	struct capture_block *held;
	const uint8_t *old;

	(void)state;
	assert_int_equal(capture_stream_open_memory(&stream, content, CONTENT_BYTES, &pool), 0);
	assert_true(capture_stream_has(stream, 1));
	stream->at += CAPTURE_BLOCK_BYTES - 10;
	held = stream->block;
	old = stream->at;
	capture_block_hold(held);

	assert_true(capture_stream_has(stream, 2 * CAPTURE_BLOCK_BYTES));

	assert_memory_equal(
		stream->at, content + CAPTURE_BLOCK_BYTES - 10, 2 * CAPTURE_BLOCK_BYTES);
	assert_memory_equal(old, content + CAPTURE_BLOCK_BYTES - 10, 10);
	assert_int_equal(capture_stream_offset(stream), CAPTURE_BLOCK_BYTES - 10);
	capture_block_release(held, NULL);
	capture_stream_close(stream);
	capture_block_pool_fini(&pool);
	free(content);
}

static void test_stream_skip_past_blocks_lands_where_it_should(void **state)
{
	uint8_t *content = make_content();
	struct capture_block_pool pool = { 0 };
	struct capture_stream *stream;

	(void)state;
	assert_int_equal(capture_stream_open_memory(&stream, content, CONTENT_BYTES, &pool), 0);

	assert_true(capture_stream_skip(stream, CONTENT_BYTES - 3));
	assert_int_equal(capture_stream_offset(stream), CONTENT_BYTES - 3);
	assert_true(capture_stream_has(stream, 3));
	assert_memory_equal(stream->at, content + CONTENT_BYTES - 3, 3);
	assert_false(capture_stream_skip(stream, UINT64_MAX));

	capture_stream_close(stream);
	capture_block_pool_fini(&pool);
	free(content);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stream_packed_in_pieces_gives_the_whole),
		cmocka_unit_test(test_stream_packed_and_cut_anywhere_gives_a_prefix_and_a_failure),
		cmocka_unit_test(test_stream_packed_and_damaged_fails_at_the_offset_reached),
		cmocka_unit_test(test_stream_gzip_padded_with_zeros_is_whole),
		cmocka_unit_test(test_stream_zstd_skippable_frames_hold_nothing),
		cmocka_unit_test(test_stream_filled_keeps_the_unread_bytes_and_the_old_block),
		cmocka_unit_test(test_stream_skip_past_blocks_lands_where_it_should),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
