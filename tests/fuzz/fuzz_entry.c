/*
 * Any bytes as an entry of the spool: what is accepted can be sent, and encoded again it is the same.
 */
#include "sensor/entry_store.h"

#include <stdlib.h>
#include <string.h>

#include "sensor/entry_split.h"
#include "sensor/ledger_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void check_again(const struct entry *entry)
{
	struct buffer once = { 0 }, twice = { 0 };
	struct entry *again = NULL;
	struct message msg;

	entry_encode(entry, &once);
	require(!once.failed);
	require(entry_decode(&again, (struct bytes){ once.data, once.size }, &msg) == 0);
	entry_encode(again, &twice);
	require(once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
	entry_destroy(again);
	buffer_fini(&once);
	buffer_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer json = { 0 }, marker = { 0 };
	struct entry *entry = NULL;
	struct message msg;

	if (entry_decode(&entry, (struct bytes){ data, size }, &msg) != 0)
		return 0;
	check_again(entry);
	ledger_json(&json, &entry->origin, &entry->ledger);
	for (uint32_t p = 0; p < entry->partitions && p < 8; p++)
		entry_marker(entry, 1, p, &marker);
	(void)!entry_split(entry, 3); /* messages may be anything: refused, or dealt out */
	buffer_fini(&json);
	buffer_fini(&marker);
	entry_destroy(entry);
	return 0;
}
