/* The collector without a server: flow files in, a report or records out. */
#pragma once

#include "schemas/base/options.h"

/** @return 0, FAIL_USAGE, FAIL_FORMAT when the input had damage (said already), -errno */
int offline_run(const struct config *config, struct message *msg) MUST_CHECK;
