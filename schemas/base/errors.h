/*
 * Return codes shared by all parts.
 *
 * A function that can fail returns int: 0, or a negative code. System errors are -errno; what
 * errno has no name for is one of the codes below, kept clear of errno's range. Details meant for
 * a person travel in a struct message beside the code.
 */
#pragma once

#include <errno.h>

#define MUST_CHECK		__attribute__((warn_unused_result))
#define PRINTF_LIKE(text, args) __attribute__((format(printf, text, args)))

enum failure {
	FAIL_FORMAT = -10001,	 /* input does not follow its format */
	FAIL_TRUNCATED = -10002, /* input ends too early */
	FAIL_LIMIT = -10003,	 /* a stated limit was reached */
	FAIL_USAGE = -10004,	 /* the command line is wrong: exit status 2 */
	FAIL_CONFIG = -10005,	 /* the configuration is wrong: exit status 3 */
	FAIL_REMOTE = -10006,	 /* a server refused, or is not reachable */
	FAIL_FENCED = -10007,	 /* another instance of the same name is at work */
	FAIL_STOPPED = -10008,	 /* asked to stop before the work was done */
};

/** Exit statuses of every program. */
enum exit_status {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_CONFIG = 3,
};

/** One sentence for a person, filled by the function that failed; empty when nothing was said. */
struct message {
	char text[600];
};

/** Replaces the text; longer text is cut. Accepts NULL. */
void message_set(struct message *msg, const char *format, ...) PRINTF_LIKE(2, 3);

/** The name of a negative code: strerror for -errno, a phrase for enum failure. Never NULL. */
const char *error_text(int code);

/** The exit status that belongs to a code: 0, 1, 2 or 3. */
int error_exit_status(int code);
