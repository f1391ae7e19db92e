/*
 * An entry as bytes, for the spool: everything that is needed to send it after a restart, by a
 * later release too (ledger and flows are Avro containers with their schema).
 *
 * Threads: pure functions.
 */
#pragma once

#include "sensor/entry.h"

/** Appends the entry; `out->failed` when memory ran out. */
void entry_encode(const struct entry *entry, struct buffer *out);

/**
 * Reads an entry, which then belongs to the caller.
 *
 * @return 0; FAIL_FORMAT with `msg`; -ENOMEM
 */
int entry_decode(struct entry **out, struct bytes bytes, struct message *msg) MUST_CHECK;
