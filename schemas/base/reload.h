/*
 * What SIGHUP does so far: the configuration files are read again and checked, and the log level
 * takes effect. Everything else needs a restart, which is said.
 *
 * Threads: the main thread.
 */
#pragma once

#include "schemas/base/options.h"

/** Reads the files that the command line names; mistakes are logged and nothing changes. */
void reload_check(enum program program, int argc, char **argv);
