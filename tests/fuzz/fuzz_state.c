/*
 * Any bytes as the state that a view finds in state.v1: what is accepted is stored and read again as
 * it is, and a partition's time goes on with it.
 */
#include <stdlib.h>
#include <string.h>

#include "collector/partition_time.h"
#include "collector/view_state.h"
#include "schemas/container.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void go_on(struct partition_time *time)
{
	size_t cursor = 0;
	const char *name;

	while ((name = partition_time_next(time, &cursor)) != NULL) {
		int64_t before = partition_time_of(time, name);

		(void)!partition_time_marker(time, name, "s", 1767571200000, 1767571260000);
		require(partition_time_of(time, name) >= before);
	}
}

static void load_time(struct bytes text)
{
	struct partition_time *time, *again;
	struct buffer once = { 0 }, twice = { 0 };

	if (partition_time_create(&time) != 0)
		return;
	if (partition_time_load(time, text) == 0 && partition_time_create(&again) == 0) {
		partition_time_save(time, &once);
		require(partition_time_load(again, (struct bytes){ once.data, once.size }) == 0);
		partition_time_save(again, &twice);
		require(once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
		go_on(again);
		partition_time_destroy(again);
	}
	buffer_fini(&once);
	buffer_fini(&twice);
	partition_time_destroy(time);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes value = { data, size };
	struct view_state state, again;
	struct buffer text = { 0 };

	view_state_decode(&state, value);
	view_state_encode(&state, &text);
	view_state_decode(&again, (struct bytes){ text.data, text.size });
	require(again.offset == state.offset && again.gap_count == state.gap_count &&
		again.kept.size == state.kept.size);
	view_state_fini(&state);
	view_state_fini(&again);
	buffer_fini(&text);
	load_time(value);
	return 0;
}
