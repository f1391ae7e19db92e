#include "tests/sensor/capture_bytes.h"

#include <stdlib.h>

#include "sensor/capture_pcap.h"
#include "sensor/capture_pcapng.h"

#define FRAMES_MAX    64
#define SECTION_BYTES 28
#define NS_PER_S      UINT64_C(1000000000)

struct reading {
	struct frame frames[FRAMES_MAX];
	uint8_t first_bytes[FRAMES_MAX]; /* 0 for a frame without bytes */
	int count;
	int rc;
	struct capture_damage damage;
};

static void read_all(struct reading *reading, const void *data, size_t size)
{
	struct capture_block_pool pool = { 0 };
	struct capture_stream *stream;
	struct capture_pcapng pcapng;

	*reading = (struct reading){ 0 };
	assert_int_equal(capture_stream_open_memory(&stream, data, size, &pool), 0);
	reading->rc = capture_pcapng_init(&pcapng, stream, &reading->damage);
	while (reading->rc == 0) {
		int n = capture_pcapng_read(&pcapng, stream, reading->frames + reading->count,
			FRAMES_MAX - reading->count, &reading->damage);

		if (n <= 0) {
			reading->rc = n;
			break;
		}
		for (int i = reading->count; i < reading->count + n; i++)
			if (reading->frames[i].captured_bytes > 0)
				reading->first_bytes[i] = reading->frames[i].data[0];
		reading->count += n;
	}
	capture_pcapng_fini(&pcapng);
	capture_stream_close(stream);
	capture_block_pool_fini(&pool);
}

static void read_built(struct reading *reading, struct built_file *file)
{
	read_all(reading, file->bytes.data, file->bytes.size);
	buffer_fini(&file->bytes);
}

static void test_pcapng_packets_of_both_byte_orders_are_read(void **state)
{
	(void)state;
	for (int is_big_endian = 0; is_big_endian < 2; is_big_endian++) {
		struct built_file file = { .is_big_endian = is_big_endian != 0 };
		struct reading reading;

		put_ng_section(&file);
		put_ng_interface(&file, 113, 0);
		put_ng_packet(&file, 0, UINT64_C(0x500000001), 0x30, 21);

		read_built(&reading, &file);

		assert_int_equal(reading.rc, 0);
		assert_int_equal(reading.count, 1);
		assert_true(reading.frames[0].time_ns == UINT64_C(0x500000001) * 1000);
		assert_int_equal(reading.frames[0].captured_bytes, 21);
		assert_int_equal(reading.frames[0].wire_bytes, 25);
		assert_int_equal(reading.frames[0].linktype, 113);
		assert_int_equal(reading.first_bytes[0], 0x30);
	}
}

static void test_pcapng_sections_have_their_own_order_and_interfaces(void **state)
{
	struct built_file file = { 0 };
	struct reading reading;

	(void)state;
	put_ng_section(&file);
	put_ng_interface(&file, 1, 0);
	put_ng_interface(&file, 101, 0);
	put_ng_packet(&file, 1, 0, 1, 4);
	file.is_big_endian = true;
	put_ng_section(&file);
	put_ng_interface(&file, 276, 0);
	put_ng_packet(&file, 0, 0, 2, 4);

	read_built(&reading, &file);

	assert_int_equal(reading.rc, 0);
	assert_int_equal(reading.count, 2);
	assert_int_equal(reading.frames[0].linktype, 101);
	assert_int_equal(reading.frames[1].linktype, 276);
}

static void test_pcapng_interface_of_an_older_section_is_damage(void **state)
{
	struct built_file file = { 0 };
	struct reading reading;
	size_t at;

	(void)state;
	put_ng_section(&file);
	put_ng_interface(&file, 1, 0);
	put_ng_packet(&file, 0, 0, 1, 4);
	put_ng_section(&file);
	at = file.bytes.size;
	put_ng_packet(&file, 0, 0, 2, 4);

	read_built(&reading, &file);

	assert_int_equal(reading.count, 1);
	assert_int_equal(reading.rc, FAIL_FORMAT);
	assert_int_equal(reading.damage.offset, at);
	assert_string_equal(
		reading.damage.reason.text, "packet names interface 0, its section has 0 so far");
}

static void test_pcapng_time_units_and_offsets_give_nanoseconds(void **state)
{
	static const struct {
		uint8_t tsresol;
		int64_t offset_s;
		uint64_t units;
		uint64_t time_ns;
	} clocks[] = {
		{ 6, 0, 5, 5000 },
		{ 0, 0, 5, 5 * NS_PER_S },
		{ 3, 0, 1500, 1500000000 },
		{ 9, 0, 123456789, 123456789 },
		{ 12, 0, 123456, 123 },
		{ 28, 0, UINT64_MAX, 1 }, /* 10^19 units to the nanosecond */
		{ 29, 0, UINT64_MAX, 0 },
		{ 127, 0, UINT64_MAX, 0 },
		{ 0x80 | 0, 0, 5, 5 * NS_PER_S },
		{ 0x80 | 10, 0, 1536, 1500000000 },
		{ 0x80 | 32, 0, UINT64_C(1) << 31, 500000000 },
		{ 0x80 | 64, 0, UINT64_C(1) << 63, 500000000 },
		{ 0x80 | 127, 0, UINT64_MAX, 0 },
		{ 6, 100, 5, 100 * NS_PER_S + 5000 },
		{ 6, -2, 5000000, 3 * NS_PER_S },
		{ 6, -6, 5000000, 0 }, /* before 1970 */
		{ 6, INT64_MIN, UINT64_MAX, 0 },
		{ 6, INT64_MAX, 5, UINT64_MAX }, /* past 2554: the greatest there is */
		{ 0, 0, UINT64_MAX, UINT64_MAX },
		{ 0, INT64_MAX, UINT64_MAX, UINT64_MAX },
		{ 0, -INT64_C(4294967295), UINT64_C(4294967297), 2 * NS_PER_S },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		struct built_file file = { .is_big_endian = i % 2 != 0 };
		struct reading reading;

		put_ng_section(&file);
		put_ng_clock(&file, clocks[i].tsresol, clocks[i].offset_s);
		put_ng_packet(&file, 0, clocks[i].units, 1, 4);

		read_built(&reading, &file);

		assert_int_equal(reading.count, 1);
		assert_true(reading.frames[0].time_ns == clocks[i].time_ns);
	}
}

static void test_pcapng_obsolete_packet_is_read(void **state)
{
	struct built_file file = { .is_big_endian = true };
	struct reading reading;
	size_t at;

	(void)state;
	put_ng_section(&file);
	put_ng_interface(&file, 1, 0);
	put_ng_interface(&file, 101, 0);
	at = ng_begin(&file, NG_OBSOLETE);
	put_u16(&file, 1);
	put_u16(&file, 77); /* drops */
	put_u64(&file, 12);
	put_u32(&file, 5);
	put_u32(&file, 60);
	put_data(&file, 0x20, 5);
	ng_end(&file, at);

	read_built(&reading, &file);

	assert_int_equal(reading.rc, 0);
	assert_int_equal(reading.count, 1);
	assert_int_equal(reading.frames[0].time_ns, 12000);
	assert_int_equal(reading.frames[0].captured_bytes, 5);
	assert_int_equal(reading.frames[0].wire_bytes, 60);
	assert_int_equal(reading.frames[0].linktype, 101);
	assert_int_equal(reading.first_bytes[0], 0x20);
}

static void put_simple_packet(struct built_file *file, uint32_t wire_bytes, uint32_t captured)
{
	size_t at = ng_begin(file, NG_SIMPLE);

	put_u32(file, wire_bytes);
	put_data(file, 0x50, captured);
	ng_end(file, at);
}

static void test_pcapng_simple_packet_is_at_time_0_and_cut_by_the_snap_length(void **state)
{
	struct built_file file = { 0 };
	struct reading reading;

	(void)state;
	put_ng_section(&file);
	put_ng_interface(&file, 101, 30);
	put_ng_interface(&file, 1, 0);
	put_simple_packet(&file, 21, 21);
	put_simple_packet(&file, 1500, 30);

	read_built(&reading, &file);

	assert_int_equal(reading.rc, 0);
	assert_int_equal(reading.count, 2);
	assert_int_equal(reading.frames[0].time_ns, 0);
	assert_int_equal(reading.frames[0].captured_bytes, 21);
	assert_int_equal(reading.frames[0].linktype, 101);
	assert_int_equal(reading.frames[1].captured_bytes, 30);
	assert_int_equal(reading.frames[1].wire_bytes, 1500);
}

static void test_pcapng_simple_packet_longer_than_its_block_is_damage(void **state)
{
	struct built_file file = { 0 };
	struct reading reading;

	(void)state;
	put_ng_section(&file);
	put_ng_interface(&file, 1, 0);
	put_simple_packet(&file, 1500, 32);

	read_built(&reading, &file);

	assert_int_equal(reading.rc, FAIL_FORMAT);
	assert_int_equal(reading.damage.offset, SECTION_BYTES + 20);
	assert_string_equal(reading.damage.reason.text, "packet runs past its block");
}

static void test_pcapng_other_blocks_are_passed_over(void **state)
{
	static const uint32_t sizes[] = { 0, 40, 3 * CAPTURE_BLOCK_BYTES };
	struct built_file file = { 0 };
	struct reading reading;

	(void)state;
	put_ng_section(&file);
	put_ng_interface(&file, 1, 0);
	for (uint8_t i = 0; i < 3; i++) {
		size_t at = ng_begin(&file, i == 0 ? UINT32_C(0x80000bad) : NG_NAMES);

		put_data(&file, 0, sizes[i]);
		ng_end(&file, at);
		put_ng_packet(&file, 0, i, i, 4);
	}

	read_built(&reading, &file);

	assert_int_equal(reading.rc, 0);
	assert_int_equal(reading.count, 3);
	assert_int_equal(reading.frames[2].time_ns, 2000);
}

static void assert_damage_after_one_frame(
	struct built_file *file, size_t offset, const char *reason)
{
	struct reading reading;

	read_built(&reading, file);

	assert_int_equal(reading.count, 1);
	assert_int_equal(reading.rc, FAIL_FORMAT);
	assert_int_equal(reading.damage.offset, offset);
	assert_string_equal(reading.damage.reason.text, reason);
}

static size_t put_one_packet(struct built_file *file)
{
	put_ng_section(file);
	put_ng_interface(file, 1, 0);
	put_ng_packet(file, 0, 1, 1, 4);
	return file->bytes.size;
}

static void test_pcapng_lengths_that_differ_are_damage(void **state)
{
	(void)state;
	for (int is_used = 0; is_used < 2; is_used++) {
		struct built_file file = { 0 };
		size_t at = put_one_packet(&file);
		size_t begin = ng_begin(&file, is_used != 0 ? NG_ENHANCED : NG_NAMES);

		put_data(&file, 0, 28);
		ng_end(&file, begin);
		file.bytes.data[file.bytes.size - 4] ^= 4;
		put_ng_packet(&file, 0, 2, 2, 4);

		assert_damage_after_one_frame(
			&file, at, "block begins with length 40 and ends with length 44");
	}
}

static void test_pcapng_lengths_of_a_long_block_that_differ_are_damage(void **state)
{
	struct built_file file = { 0 };
	size_t at = put_one_packet(&file);
	size_t begin = ng_begin(&file, NG_NAMES);

	(void)state;
	put_data(&file, 0, 2 * CAPTURE_BLOCK_BYTES);
	ng_end(&file, begin);
	file.bytes.data[file.bytes.size - 4] ^= 4;

	assert_damage_after_one_frame(
		&file, at, "block begins with length 262156 and ends with length 262152");
}

static void test_pcapng_impossible_lengths_are_damage(void **state)
{
	static const struct {
		uint32_t type;
		uint32_t total_bytes;
		const char *reason;
	} blocks[] = {
		{ NG_ENHANCED, 0, "block of type 0x00000006 has an impossible length of 0" },
		{ NG_NAMES, 8, "block of type 0x00000004 has an impossible length of 8" },
		{ NG_NAMES, 33, "block of type 0x00000004 has an impossible length of 33" },
		{ NG_ENHANCED, 0x7ffffffc,
			"block of type 0x00000006 has an impossible length of 2147483644" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
		struct built_file file = { 0 };
		size_t at = put_one_packet(&file);

		put_u32(&file, blocks[i].type);
		put_u32(&file, blocks[i].total_bytes);
		put_data(&file, 0, 64);

		assert_damage_after_one_frame(&file, at, blocks[i].reason);
	}
}

static void test_pcapng_packet_past_its_block_is_damage(void **state)
{
	struct built_file file = { 0 };
	size_t at = put_one_packet(&file);

	(void)state;
	put_ng_packet(&file, 0, 2, 2, 8);
	store_u32_le(file.bytes.data + at + 20, 9); /* captured length; 8 bytes are there */

	assert_damage_after_one_frame(&file, at, "packet runs past its block");
}

static void test_pcapng_packet_block_too_short_for_its_fields_is_damage(void **state)
{
	struct built_file file = { 0 };
	size_t at = put_one_packet(&file);
	size_t begin = ng_begin(&file, NG_ENHANCED);

	(void)state;
	put_data(&file, 0, 16);
	ng_end(&file, begin);

	assert_damage_after_one_frame(&file, at, "packet block is too short");
}

static void test_pcapng_option_past_its_block_is_damage(void **state)
{
	struct built_file file = { 0 };
	size_t at = put_one_packet(&file);
	size_t begin = ng_begin(&file, NG_INTERFACE);

	(void)state;
	put_u32(&file, 1);
	put_u32(&file, 0);
	put_u16(&file, 2);
	put_u16(&file, 5); /* padded to 8, and 4 are there */
	put_u32(&file, 0);
	ng_end(&file, begin);

	assert_damage_after_one_frame(&file, at, "option runs past its interface block");
}

static void test_pcapng_version_2_is_refused(void **state)
{
	struct built_file file = { 0 };
	struct reading reading;

	(void)state;
	put_one_packet(&file);
	file.bytes.data[12] = 2;

	read_built(&reading, &file);

	assert_int_equal(reading.rc, FAIL_FORMAT);
	assert_int_equal(reading.damage.offset, 0);
	assert_string_equal(reading.damage.reason.text, "pcapng version 2 is not supported");
}

static void test_pcapng_interfaces_of_a_section_are_bounded(void **state)
{
	struct built_file file = { 0 };
	struct reading reading;
	size_t at;

	(void)state;
	put_ng_section(&file);
	for (size_t i = 0; i < CAPTURE_PCAPNG_INTERFACES_MAX; i++)
		put_ng_interface(&file, 1, 0);
	put_ng_packet(&file, CAPTURE_PCAPNG_INTERFACES_MAX - 1, 1, 1, 4);
	at = file.bytes.size;
	put_ng_interface(&file, 1, 0);

	read_built(&reading, &file);

	assert_int_equal(reading.count, 1);
	assert_int_equal(reading.rc, FAIL_FORMAT);
	assert_int_equal(reading.damage.offset, at);
}

/* every cut of a good file gives the frames before the cut, and says where the cut block begins */
static void test_pcapng_every_cut_gives_the_frames_before_it(void **state)
{
	struct built_file file = { 0 };
	size_t ends[8] = { 0 };
	int frames[8] = { 0 };
	size_t blocks = 0;

	(void)state;
	put_ng_section(&file);
	ends[++blocks] = file.bytes.size;
	put_ng_clock(&file, 9, 0);
	ends[++blocks] = file.bytes.size;
	put_ng_packet(&file, 0, 1, 1, 5);
	ends[++blocks] = file.bytes.size;
	put_simple_packet(&file, 7, 7);
	ends[++blocks] = file.bytes.size;
	put_ng_section(&file);
	ends[++blocks] = file.bytes.size;
	put_ng_interface(&file, 1, 0);
	ends[++blocks] = file.bytes.size;
	put_ng_packet(&file, 0, 2, 2, 6);
	ends[++blocks] = file.bytes.size;
	frames[3] = 1;
	frames[4] = frames[5] = frames[6] = 2;
	frames[7] = 3;

	for (size_t size = 0; size <= file.bytes.size; size++) {
		uint8_t *exact = malloc(size + (size == 0));
		struct reading reading;
		size_t whole = 0;
		bool is_cut;

		while (whole < blocks && ends[whole + 1] <= size)
			whole++;
		is_cut = size == 0 || size != ends[whole];
		assert_non_null(exact);
		memcpy(exact, file.bytes.data, size);
		read_all(&reading, exact, size);
		assert_int_equal(reading.count, frames[whole]);
		assert_int_equal(reading.rc, is_cut ? FAIL_TRUNCATED : 0);
		if (is_cut)
			assert_int_equal(reading.damage.offset, ends[whole]);
		free(exact);
	}
	buffer_fini(&file.bytes);
}

static void test_pcapng_declared_at_names_the_interface_block(void **state)
{
	struct capture_block_pool pool = { 0 };
	struct built_file file = { 0 };
	struct capture_damage damage;
	struct capture_stream *stream;
	struct capture_pcapng pcapng;
	struct frame frame;

	(void)state;
	put_ng_section(&file);
	put_ng_interface(&file, 1, 0);
	put_ng_interface(&file, 147, 0);
	put_ng_packet(&file, 1, 1, 1, 4);
	assert_int_equal(
		capture_stream_open_memory(&stream, file.bytes.data, file.bytes.size, &pool), 0);
	assert_int_equal(capture_pcapng_init(&pcapng, stream, &damage), 0);

	assert_int_equal(capture_pcapng_read(&pcapng, stream, &frame, 1, &damage), 1);

	assert_int_equal(capture_pcapng_declared_at(&pcapng, 147), SECTION_BYTES + 20);
	capture_pcapng_fini(&pcapng);
	capture_stream_close(stream);
	capture_block_pool_fini(&pool);
	buffer_fini(&file.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pcapng_packets_of_both_byte_orders_are_read),
		cmocka_unit_test(test_pcapng_sections_have_their_own_order_and_interfaces),
		cmocka_unit_test(test_pcapng_interface_of_an_older_section_is_damage),
		cmocka_unit_test(test_pcapng_time_units_and_offsets_give_nanoseconds),
		cmocka_unit_test(test_pcapng_obsolete_packet_is_read),
		cmocka_unit_test(test_pcapng_simple_packet_is_at_time_0_and_cut_by_the_snap_length),
		cmocka_unit_test(test_pcapng_simple_packet_longer_than_its_block_is_damage),
		cmocka_unit_test(test_pcapng_other_blocks_are_passed_over),
		cmocka_unit_test(test_pcapng_lengths_that_differ_are_damage),
		cmocka_unit_test(test_pcapng_lengths_of_a_long_block_that_differ_are_damage),
		cmocka_unit_test(test_pcapng_impossible_lengths_are_damage),
		cmocka_unit_test(test_pcapng_packet_past_its_block_is_damage),
		cmocka_unit_test(test_pcapng_packet_block_too_short_for_its_fields_is_damage),
		cmocka_unit_test(test_pcapng_option_past_its_block_is_damage),
		cmocka_unit_test(test_pcapng_version_2_is_refused),
		cmocka_unit_test(test_pcapng_interfaces_of_a_section_are_bounded),
		cmocka_unit_test(test_pcapng_every_cut_gives_the_frames_before_it),
		cmocka_unit_test(test_pcapng_declared_at_names_the_interface_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
