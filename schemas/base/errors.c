#include "schemas/base/errors.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void message_set(struct message *msg, const char *format, ...)
{
	va_list args;

	if (msg == NULL)
		return;
	va_start(args, format);
	vsnprintf(msg->text, sizeof(msg->text), format, args);
	va_end(args);
}

const char *error_text(int code)
{
	switch (code) {
	case 0:
		return "no error";
	case FAIL_FORMAT:
		return "wrong format";
	case FAIL_TRUNCATED:
		return "ends too early";
	case FAIL_LIMIT:
		return "limit reached";
	case FAIL_USAGE:
		return "wrong usage";
	case FAIL_CONFIG:
		return "wrong configuration";
	case FAIL_REMOTE:
		return "server failed";
	case FAIL_FENCED:
		return "another instance has taken over";
	case FAIL_STOPPED:
		return "stopped";
	default:
		return strerror(-code);
	}
}

int error_exit_status(int code)
{
	if (code == 0)
		return EXIT_DONE;
	if (code == FAIL_USAGE)
		return EXIT_USAGE;
	if (code == FAIL_CONFIG)
		return EXIT_CONFIG;
	return EXIT_FAILED;
}
