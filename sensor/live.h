/*
 * Live capture: interfaces through the workers into entries, closed by the clock.
 *
 * A minute closes `sensor.late_seconds` after its end. Packets that come later still count in
 * their own minute, as another part.
 *
 * Threads: one per worker, and the caller's, which closes minutes.
 */
#pragma once

#include <stdatomic.h>

#include "schemas/base/options.h"
#include "sensor/entry.h"
#include "sensor/worker.h"

/** What capture goes by. All of it must stay until the run ends and all entries are gone. */
struct live_terms {
	const struct darknet *darknet;
	struct open_store *store; /* where open minutes outlive the process; NULL: nowhere */
};

/** What the run asks its owner, from the thread that closes minutes. */
struct live_owner {
	const atomic_bool *stop; /* becomes true when capture is to end */
	/* Ten times a second: the terms from now on. */
	struct live_terms (*tick)(void *context);
	void *context;
};

/**
 * Captures until it is to stop, then reads out the rings and closes the open minute with the
 * seconds it was really observed.
 *
 * When an interface goes away capture ends, and what was captured until then is closed. When the
 * terms change, what is open is closed as a part with the former ones.
 *
 * @param has_captured  set to true once capture has begun: the sink is to be finished
 * @return 0, FAIL_USAGE, or a negative code with `msg` saying what to do
 */
int live_run(const struct config *config, const struct worker_options *worker,
	struct entry_closer *closer, const struct live_owner *owner, bool *has_captured,
	struct message *msg) MUST_CHECK;
