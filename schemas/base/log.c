#include "schemas/base/log.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES	 1024
#define REPEAT_SILENCE_S 1

static const char *const level_names[] = { "error", "warning", "info", "debug" };

static struct {
	pthread_mutex_t lock;
	const char *program;
	enum log_level level;
	char last[LINE_BYTES];
	time_t last_s;
	unsigned repeats;
} sink = { .lock = PTHREAD_MUTEX_INITIALIZER, .program = "hoshimi", .level = LOG_INFO_LEVEL };

static void print_line(const char *line)
{
	char out[LINE_BYTES + 2];
	int size = snprintf(out, sizeof(out), "%s\n", line);

	/* one write call, so that lines of several processes on one terminal stay whole */
	if (size > 0 && write(STDERR_FILENO, out, (size_t)size) < 0)
		return; /* nowhere left to say it */
}

void log_init(const char *program, enum log_level level)
{
	pthread_mutex_lock(&sink.lock);
	sink.program = program;
	sink.level = level;
	pthread_mutex_unlock(&sink.lock);
}

void log_set_level(enum log_level level)
{
	pthread_mutex_lock(&sink.lock);
	sink.level = level;
	pthread_mutex_unlock(&sink.lock);
}

enum log_level log_level_of(const char *word)
{
	for (unsigned i = 0; word != NULL && i < sizeof(level_names) / sizeof(level_names[0]); i++)
		if (strcmp(level_names[i], word) == 0)
			return (enum log_level)i;
	return LOG_INFO_LEVEL;
}

/* Called with the lock held; true when the line repeats the last one within the silence. */
static bool is_repeat(const char *line, time_t now_s)
{
	char note[64];

	if (strcmp(line, sink.last) == 0 && now_s - sink.last_s <= REPEAT_SILENCE_S) {
		sink.repeats++;
		return true;
	}
	if (sink.repeats > 0) {
		snprintf(note, sizeof(note), "%s: last message repeated times=%u", sink.program,
			sink.repeats);
		print_line(note);
	}
	sink.repeats = 0;
	sink.last_s = now_s;
	snprintf(sink.last, sizeof(sink.last), "%s", line);
	return false;
}

void log_write(enum log_level level, const char *format, ...)
{
	char text[LINE_BYTES - 64];
	char line[LINE_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);

	pthread_mutex_lock(&sink.lock);
	if (level > sink.level) {
		pthread_mutex_unlock(&sink.lock);
		return;
	}
	snprintf(line, sizeof(line), "%s: %s: %s", sink.program, level_names[level], text);
	if (!is_repeat(line, time(NULL)))
		print_line(line);
	pthread_mutex_unlock(&sink.lock);
}

void log_plain(const char *format, ...)
{
	char line[LINE_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	pthread_mutex_lock(&sink.lock);
	print_line(line);
	pthread_mutex_unlock(&sink.lock);
}
