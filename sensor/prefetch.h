/*
 * Asking for memory some time before it is needed.
 *
 * Threads: no state.
 */
#pragma once

/** Asks for the cache line at `address`, which need not be readable; it will be written. */
static inline void prefetch(const void *address)
{
	__builtin_prefetch(address, 1);
	/* A function that only prefetches counts as one without effect, and link-time optimisation
	 * drops its calls (measured: a third slower); an empty statement that may not be dropped
	 * prevents it. */
	__asm__ volatile("" : : "r"(address));
}
