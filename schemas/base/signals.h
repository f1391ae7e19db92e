/*
 * Signals of a running program: stop (SIGTERM, SIGINT), reload (SIGHUP), statistics (SIGUSR1).
 *
 * Handlers only set flags; the program asks for them where it is ready to act.
 *
 * Threads: any may ask; each reload or statistics request is handed out once.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

/** Installs the handlers and ignores SIGPIPE. Call once, before threads start. */
void signals_install(void);

/** Becomes true when the program is to stop; never false again. */
extern atomic_bool signals_stop;

bool signals_take_reload(void);
bool signals_take_statistics(void);
