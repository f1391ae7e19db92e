/*
 * Waiting and measuring: a clock that never steps. Wall-clock time is an argument elsewhere.
 *
 * Threads: any.
 */
#pragma once

#include <stdint.h>
#include <time.h>

static inline int64_t timing_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline int64_t timing_now_s(void)
{
	return timing_now_ms() / 1000;
}

static inline void timing_pause_ms(long ms)
{
	struct timespec pause = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&pause, NULL);
}
