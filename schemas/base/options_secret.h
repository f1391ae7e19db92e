/*
 * Secrets: read from files, overwritten in the command line, hidden in texts. Private to the
 * options_*.c files; config_redacted and config_is_secret_property are here too.
 *
 * Threads: any.
 */
#pragma once

#include "schemas/base/options.h"

/** A secret from a file, without the line end that editors leave; `*out` is the caller's. */
int options_read_secret(char **out, const char *path, struct message *why);

/** Overwrites what must not stand in process lists; the configuration has its own copy by now. */
void options_wipe_secrets(enum option_id id, const char *key, bool from_file, char *text);
