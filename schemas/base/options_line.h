/*
 * The command line, cut into settings. Private to the options_*.c files.
 *
 * Threads: one.
 */
#pragma once

#include "schemas/base/options_layers.h"

/** Adds a setting to the configuration for each option. @return 0, FAIL_USAGE, -ENOMEM */
int options_parse_line(struct config *config, int argc, char **argv, struct message *msg);
