/*
 * Gives an entry the partitions it is to have: one that was closed before the log's number was
 * known becomes, byte for byte, what it would have been had the number been known.
 *
 * Threads: plain values.
 */
#pragma once

#include "sensor/entry.h"

/**
 * Deals the entry's flows out anew, by the fixed hash of each one's actor, and sets its markers'
 * figures to match. Records themselves stay as they are. From one partition, messages are cut where
 * the closer would have cut them; from several, records of one partition keep only the order they
 * have within each of the former ones.
 *
 * @return 0, or -ENOMEM, then the entry is as it was; FAIL_FORMAT when its messages cannot be read
 */
int entry_split(struct entry *entry, uint32_t partitions) MUST_CHECK;
