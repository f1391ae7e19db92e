/*
 * SIGHUP: the configuration files are read again. What takes effect without a restart is the
 * program's own list; everything else waits for the next start.
 *
 * Threads: the main thread.
 */
#pragma once

#include "schemas/base/options.h"

/**
 * Reads the files that the command line names, into a configuration of its own: what is in force
 * stays untouched. A mistake is logged and NULL is returned.
 *
 * @return the configuration, the caller's to destroy
 */
struct config *reload_read(enum program program, int argc, char **argv);

/** Says why the new configuration does not take effect. */
void reload_refuse(const struct message *msg);

/** Puts the log level in force and says what is. @param what  "the log level", and what else */
void reload_accept(const struct config *config, const char *what);
