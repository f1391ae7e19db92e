#include "sensor/entry_gap.h"

void entry_name_gaps(struct entry *first, struct capture_extent *extent)
{
	for (struct entry *entry = first; entry != NULL; entry = entry->next) {
		struct marker_record *ledger = &entry->ledger;
		bool is_new_boot = entry->origin.boot > extent->boot;

		if (extent->covered_ns != 0 && ledger->interval_from_ns > extent->covered_ns) {
			ledger->gap_from_ns = extent->covered_ns;
			ledger->gap_to_ns = ledger->interval_from_ns;
		}
		if (ledger->interval_to_ns > extent->covered_ns ||
			(is_new_boot && ledger->interval_from_ns < extent->covered_ns))
			extent->covered_ns = ledger->interval_to_ns;
		if (is_new_boot)
			extent->boot = entry->origin.boot;
	}
}
