#include "tests/sensor/capture_bytes.h"

#include <stdlib.h>

#include "sensor/capture_pcap.h"

#define FRAMES_MAX   64
#define RECORD_BYTES (16 + 20)
#define NS_PER_S     UINT64_C(1000000000)

/* What reading a whole file came to; data is copied, since frames live as long as their block. */
struct reading {
	struct frame frames[FRAMES_MAX];
	uint8_t first_bytes[FRAMES_MAX];
	uint8_t last_bytes[FRAMES_MAX];
	int count;
	int rc;
	struct capture_damage damage;
};

static void read_all(struct reading *reading, const void *data, size_t size)
{
	struct capture_block_pool pool = { 0 };
	struct capture_stream *stream;
	struct capture_pcap pcap;

	*reading = (struct reading){ 0 };
	assert_int_equal(capture_stream_open_memory(&stream, data, size, &pool), 0);
	reading->rc = capture_pcap_init(&pcap, stream, &reading->damage);
	while (reading->rc == 0) {
		int n = capture_pcap_read(&pcap, stream, reading->frames + reading->count,
			FRAMES_MAX - reading->count, &reading->damage);

		if (n <= 0) {
			reading->rc = n;
			break;
		}
		for (int i = reading->count; i < reading->count + n; i++) {
			const struct frame *frame = &reading->frames[i];

			reading->first_bytes[i] = frame->data[0];
			reading->last_bytes[i] = frame->data[frame->captured_bytes - 1];
		}
		reading->count += n;
	}
	capture_stream_close(stream);
	capture_block_pool_fini(&pool);
}

static void test_pcap_magic_of_any_kind_gives_its_time_unit_and_order(void **state)
{
	static const struct {
		uint32_t magic;
		bool is_big_endian;
		uint64_t time_ns;
	} kinds[] = {
		{ PCAP_MICROSECONDS, false, 7 * NS_PER_S + 123000 },
		{ PCAP_MICROSECONDS, true, 7 * NS_PER_S + 123000 },
		{ PCAP_NANOSECONDS, false, 7 * NS_PER_S + 123 },
		{ PCAP_NANOSECONDS, true, 7 * NS_PER_S + 123 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct built_file file = { .is_big_endian = kinds[i].is_big_endian };
		struct reading reading;

		put_pcap_header(&file, kinds[i].magic, 1);
		put_pcap_record(&file, 7, 123, 0x40, 20);

		read_all(&reading, file.bytes.data, file.bytes.size);

		assert_int_equal(reading.rc, 0);
		assert_int_equal(reading.count, 1);
		assert_int_equal(reading.frames[0].time_ns, kinds[i].time_ns);
		assert_int_equal(reading.frames[0].captured_bytes, 20);
		assert_int_equal(reading.frames[0].wire_bytes, 24);
		assert_int_equal(reading.frames[0].linktype, 1);
		assert_int_equal(reading.first_bytes[0], 0x40);
		assert_int_equal(reading.last_bytes[0], 0x40 + 19);
		buffer_fini(&file.bytes);
	}
}

static void test_pcap_modified_magic_has_longer_record_headers(void **state)
{
	(void)state;
	for (int is_big_endian = 0; is_big_endian < 2; is_big_endian++) {
		struct built_file file = { .is_big_endian = is_big_endian != 0 };
		struct reading reading;

		put_pcap_header(&file, PCAP_MODIFIED, 1);
		for (uint8_t first = 1; first <= 2; first++) {
			put_u32(&file, 5);
			put_u32(&file, 6);
			put_u32(&file, 3);
			put_u32(&file, 60);
			put_u64(&file, UINT64_MAX); /* interface, protocol, type: not used */
			put_data(&file, first, 3);
		}

		read_all(&reading, file.bytes.data, file.bytes.size);

		assert_int_equal(reading.rc, 0);
		assert_int_equal(reading.count, 2);
		assert_int_equal(reading.frames[1].time_ns, 5 * NS_PER_S + 6000);
		assert_int_equal(reading.first_bytes[1], 2);
		buffer_fini(&file.bytes);
	}
}

static void test_pcap_linktype_upper_bits_are_masked_off(void **state)
{
	struct built_file file = { 0 };
	struct reading reading;

	(void)state;
	put_pcap_header(&file, PCAP_MICROSECONDS, 0x24000071); /* check sequence of 2 words, 113 */
	put_pcap_record(&file, 1, 0, 0, 20);

	read_all(&reading, file.bytes.data, file.bytes.size);

	assert_int_equal(reading.frames[0].linktype, 113);
	buffer_fini(&file.bytes);
}

static void test_pcap_seconds_are_unsigned(void **state)
{
	struct built_file file = { 0 };
	struct reading reading;

	(void)state;
	put_pcap_header(&file, PCAP_MICROSECONDS, 1);
	put_pcap_record(&file, UINT32_MAX, UINT32_MAX, 0, 20);

	read_all(&reading, file.bytes.data, file.bytes.size);

	assert_true(
		reading.frames[0].time_ns == UINT32_MAX * NS_PER_S + UINT64_C(1000) * UINT32_MAX);
	buffer_fini(&file.bytes);
}

/* every cut of a good file gives the frames before the cut, and says where the cut one begins */
static void test_pcap_every_cut_gives_the_frames_before_it(void **state)
{
	struct built_file file = { 0 };

	(void)state;
	put_pcap_header(&file, PCAP_MICROSECONDS, 1);
	for (uint8_t i = 0; i < 3; i++)
		put_pcap_record(&file, i, 0, i, RECORD_BYTES - 16);

	for (size_t size = 0; size <= file.bytes.size; size++) {
		uint8_t *exact = malloc(size + (size == 0));
		struct reading reading;
		size_t whole = size < 24 ? 0 : (size - 24) / RECORD_BYTES;
		bool is_cut = size < 24 || (size - 24) % RECORD_BYTES != 0;

		assert_non_null(exact);
		memcpy(exact, file.bytes.data, size);
		read_all(&reading, exact, size);
		assert_int_equal(reading.count, whole);
		assert_int_equal(reading.rc, is_cut ? FAIL_TRUNCATED : 0);
		if (is_cut)
			assert_int_equal(
				reading.damage.offset, size < 24 ? 0 : 24 + whole * RECORD_BYTES);
		free(exact);
	}
	buffer_fini(&file.bytes);
}

static void test_pcap_record_past_64_mib_is_damage(void **state)
{
	struct built_file file = { 0 };
	struct reading reading;

	(void)state;
	put_pcap_header(&file, PCAP_MICROSECONDS, 1);
	put_pcap_record(&file, 1, 0, 9, 20);
	put_u64(&file, 0);
	put_u32(&file, CAPTURE_RECORD_BYTES_MAX + 1);
	put_u32(&file, 60);
	put_data(&file, 0, 60);

	read_all(&reading, file.bytes.data, file.bytes.size);

	assert_int_equal(reading.count, 1);
	assert_int_equal(reading.rc, FAIL_FORMAT);
	assert_int_equal(reading.damage.offset, 24 + RECORD_BYTES);
	assert_string_equal(
		reading.damage.reason.text, "record of 67108865 bytes is longer than 64 MiB");
	buffer_fini(&file.bytes);
}

static void test_pcap_record_of_64_mib_past_the_end_is_cut(void **state)
{
	struct built_file file = { 0 };
	struct reading reading;

	(void)state;
	put_pcap_header(&file, PCAP_MICROSECONDS, 1);
	put_u64(&file, 0);
	put_u32(&file, CAPTURE_RECORD_BYTES_MAX);
	put_u32(&file, 60);
	put_data(&file, 0, 60);

	read_all(&reading, file.bytes.data, file.bytes.size);

	assert_int_equal(reading.count, 0);
	assert_int_equal(reading.rc, FAIL_TRUNCATED);
	assert_int_equal(reading.damage.offset, 24);
	assert_string_equal(reading.damage.reason.text, "record of 67108880 bytes is cut after 76");
	buffer_fini(&file.bytes);
}

static void test_pcap_records_across_and_beyond_blocks_are_whole(void **state)
{
	static const uint32_t sizes[] = { CAPTURE_BLOCK_BYTES - 100, 300,
		5 * CAPTURE_BLOCK_BYTES + 7, 1, CAPTURE_BLOCK_BYTES };
	struct built_file file = { 0 };
	struct reading reading;

	(void)state;
	put_pcap_header(&file, PCAP_MICROSECONDS, 1);
	for (uint8_t i = 0; i < 5; i++)
		put_pcap_record(&file, i, 0, i, sizes[i]);

	read_all(&reading, file.bytes.data, file.bytes.size);

	assert_int_equal(reading.rc, 0);
	assert_int_equal(reading.count, 5);
	for (uint8_t i = 0; i < 5; i++) {
		assert_int_equal(reading.frames[i].captured_bytes, sizes[i]);
		assert_int_equal(reading.first_bytes[i], i);
		assert_int_equal(reading.last_bytes[i], (uint8_t)(i + sizes[i] - 1));
	}
	buffer_fini(&file.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pcap_magic_of_any_kind_gives_its_time_unit_and_order),
		cmocka_unit_test(test_pcap_modified_magic_has_longer_record_headers),
		cmocka_unit_test(test_pcap_linktype_upper_bits_are_masked_off),
		cmocka_unit_test(test_pcap_seconds_are_unsigned),
		cmocka_unit_test(test_pcap_every_cut_gives_the_frames_before_it),
		cmocka_unit_test(test_pcap_record_past_64_mib_is_damage),
		cmocka_unit_test(test_pcap_record_of_64_mib_past_the_end_is_cut),
		cmocka_unit_test(test_pcap_records_across_and_beyond_blocks_are_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
