/*
 * The log: one line a message on standard error, `level: sentence key=value …`.
 *
 * Error: someone must act. Warning: data lost or a promise bent. Info: lifecycle. Debug may name
 * addresses. Never per packet. A message repeated with the same text within a second is counted,
 * not printed.
 *
 * Threads: any; lines never interleave.
 */
#pragma once

#include "schemas/base/errors.h"

enum log_level { LOG_ERROR_LEVEL, LOG_WARNING_LEVEL, LOG_INFO_LEVEL, LOG_DEBUG_LEVEL };

/** Sets the program's name (static storage) and the least urgent level that is printed. */
void log_init(const char *program, enum log_level level);

/** Changes the least urgent level that is printed. */
void log_set_level(enum log_level level);

/** The level of a word of the option: error, warning, info, debug; info for any other. */
enum log_level log_level_of(const char *word);

/** Writes one line; `format` yields `sentence key=value …` without a newline. */
void log_write(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

/** Writes a line exactly as formatted, for messages whose form is a contract. */
void log_plain(const char *format, ...) PRINTF_LIKE(1, 2);

#define log_error(...)	 log_write(LOG_ERROR_LEVEL, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING_LEVEL, __VA_ARGS__)
#define log_info(...)	 log_write(LOG_INFO_LEVEL, __VA_ARGS__)
#define log_debug(...)	 log_write(LOG_DEBUG_LEVEL, __VA_ARGS__)
