#include "collector/audit_overlap.h"

#include <stdlib.h>

#define NS_PER_MS INT64_C(1000000)
#define EARLY_MS  5000 /* clocks of sensor and broker may differ by so much */

static int order(int64_t a, int64_t b)
{
	return (a > b) - (a < b);
}

static int compare(const void *a, const void *b)
{
	const struct audit_capture *x = a, *y = b;

	if (x->span.from_ns != y->span.from_ns)
		return order(x->span.from_ns, y->span.from_ns);
	if (x->span.to_ns != y->span.to_ns)
		return order(x->span.to_ns, y->span.to_ns);
	return order(x->entry, y->entry);
}

void audit_overlap_sort(struct audit_capture *captures, size_t count)
{
	if (count > 1)
		qsort(captures, count, sizeof(*captures), compare);
}

/* How long a ledger took from the end of its interval into the log; below zero where clocks differ. */
static int64_t delay_ms(const struct audit_capture *capture)
{
	return capture->append_ms - capture->span.to_ns / NS_PER_MS;
}

/* The least delay of a boot: what is left of waiting for Kafka is the difference of the clocks. */
static int64_t least_delay_ms(const struct audit_capture *all, size_t count, int64_t boot)
{
	int64_t least = INT64_MAX;

	for (size_t i = 0; i < count; i++)
		if (all[i].boot == boot && delay_ms(&all[i]) < least)
			least = delay_ms(&all[i]);
	return least;
}

/* Each is impossible as long as the clock only goes on. */
static bool clock_went_back(const struct audit_capture *earlier, const struct audit_capture *later)
{
	return later->boot < earlier->boot ||			/* a later boot began before */
	       later->span.from_ns < later->boot * NS_PER_MS || /* captured before it began */
	       delay_ms(earlier) < -EARLY_MS;			/* in the log before it was over */
}

enum audit_overlap audit_overlap_of(const struct audit_capture *all, size_t count,
	const struct audit_capture *a, const struct audit_capture *b)
{
	const struct audit_capture *earlier = a->entry <= b->entry ? a : b;
	const struct audit_capture *later = earlier == a ? b : a;
	int64_t from_ns = a->span.from_ns > b->span.from_ns ? a->span.from_ns : b->span.from_ns;
	int64_t to_ns = a->span.to_ns < b->span.to_ns ? a->span.to_ns : b->span.to_ns;
	int64_t step_ms;

	if (a->boot == b->boot)
		return OVERLAP_SAME;
	if (clock_went_back(earlier, later))
		return OVERLAP_CLOCK;
	/* a clock that was set back by as much shows in how late ledgers are; so does a broker that was away */
	step_ms =
		least_delay_ms(all, count, later->boot) - least_delay_ms(all, count, earlier->boot);
	return step_ms < (to_ns - from_ns) / NS_PER_MS / 2 ? OVERLAP_TWO : OVERLAP_UNSURE;
}

const char *audit_overlap_text(enum audit_overlap overlap)
{
	static const char *const texts[] = {
		[OVERLAP_CLOCK] = "ns observed twice: the clock was set back",
		[OVERLAP_TWO] = "ns that capture intervals share: two sensors of this name "
				"captured at once",
		[OVERLAP_UNSURE] =
			"ns that capture intervals share: two sensors of this name at once, "
			"or a clock set back",
		[OVERLAP_SAME] = "ns that capture intervals of one boot share",
	};

	return texts[overlap];
}
