#include "collector/audit_time.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	const struct audit_span *x = a, *y = b;

	if (x->from_ns != y->from_ns)
		return x->from_ns < y->from_ns ? -1 : 1;
	return (x->to_ns > y->to_ns) - (x->to_ns < y->to_ns);
}

void audit_time_sort(struct audit_span *spans, size_t count)
{
	if (count > 1)
		qsort(spans, count, sizeof(*spans), compare);
}

int64_t audit_time_union(const struct audit_span *spans, size_t count)
{
	int64_t sum = 0, reach = INT64_MIN;

	for (size_t i = 0; i < count; i++) {
		int64_t from = spans[i].from_ns > reach ? spans[i].from_ns : reach;

		if (spans[i].to_ns <= from)
			continue;
		sum += spans[i].to_ns - from;
		reach = spans[i].to_ns;
	}
	return sum;
}

enum audit_joint audit_time_next(const struct audit_span *spans, size_t count,
	struct audit_walk *walk, struct audit_span *out)
{
	while (walk->next < count) {
		const struct audit_span *span = &spans[walk->next++];
		int64_t reach = walk->reach_ns;

		if (span->to_ns <= span->from_ns)
			continue;
		walk->before = walk->reach_at;
		if (!walk->has_reach || span->to_ns > reach) {
			walk->reach_ns = span->to_ns;
			walk->reach_at = walk->next - 1;
		}
		if (!walk->has_reach) {
			walk->has_reach = true;
			continue;
		}
		if (span->from_ns > reach) {
			*out = (struct audit_span){ reach, span->from_ns };
			return JOINT_GAP;
		}
		if (span->from_ns < reach) {
			*out = (struct audit_span){ span->from_ns,
				span->to_ns < reach ? span->to_ns : reach };
			return JOINT_OVERLAP;
		}
	}
	return JOINT_END;
}

bool audit_time_covers(const struct audit_span *cover, const struct audit_span *span)
{
	return cover->from_ns <= span->from_ns && span->to_ns <= cover->to_ns;
}
