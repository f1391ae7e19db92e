#include <stdlib.h>

#include "collector/report.h"

#define BUCKETS_MAX 1000000 /* two years of minutes; a wider question is cut, which its rows show */

static int append(
	struct report_selection *selection, size_t *capacity, const struct report_row *row)
{
	if (selection->count == *capacity) {
		size_t larger = *capacity != 0 ? *capacity * 2 : 64;
		struct report_row *rows = realloc(selection->rows, larger * sizeof(*rows));

		if (rows == NULL)
			return -ENOMEM;
		selection->rows = rows;
		*capacity = larger;
	}
	selection->rows[selection->count++] = *row;
	return 0;
}

static enum dimension dimension_of(const struct report *report)
{
	return report->query.by != DIM_COUNT ? report->query.by : DIM_TOTAL;
}

/* The first and last bucket: what was asked, else what was counted. */
static bool bucket_bounds(const struct report *report, int64_t *first, int64_t *last)
{
	enum period per = report->query.per;
	int64_t offset = report->query.day_offset_s;
	bool found = false;

	for (size_t i = 0; i < report->count; i++) {
		const struct report_row *row = &report->rows[i];

		if (row->dimension != DIM_TOTAL || row->bucket_s == REPORT_ALL_BUCKETS)
			continue;
		*first = !found || row->bucket_s < *first ? row->bucket_s : *first;
		*last = !found || row->bucket_s > *last ? row->bucket_s : *last;
		found = true;
	}
	if (report->query.from_s != INT64_MIN && report->query.to_s != INT64_MAX) {
		*first = period_start(per, report->query.from_s, offset);
		*last = period_start(per, report->query.to_s - 1, offset);
		found = true;
	}
	return found;
}

static const struct report_row *find_row(
	const struct report *report, const struct report_row *like, int64_t bucket_s)
{
	size_t low = 0, high = report->count;

	/* rows are sorted by dimension, role, bucket: find the bucket's first, then the label */
	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct report_row *row = &report->rows[middle];
		bool is_before = row->dimension != like->dimension
					 ? row->dimension < like->dimension
				 : row->role != like->role ? row->role < like->role
							   : row->bucket_s < bucket_s;

		if (is_before)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < report->count; low++) {
		const struct report_row *row = &report->rows[low];

		if (row->dimension != like->dimension || row->role != like->role ||
			row->bucket_s != bucket_s)
			return NULL;
		if (strcmp(row->label, like->label) == 0)
			return row;
	}
	return NULL;
}

static int select_series(const struct report *report, const struct report_row *const *labels,
	size_t label_count, struct report_selection *out, size_t *capacity)
{
	int64_t first, last, seconds = period_seconds(report->query.per);
	int rc = 0;

	if (!bucket_bounds(report, &first, &last))
		return 0;
	for (int64_t bucket = first; rc == 0 && bucket <= last && out->count < BUCKETS_MAX;
		bucket += seconds) {
		for (size_t i = 0; rc == 0 && i < label_count; i++) {
			const struct report_row *found = find_row(report, labels[i], bucket);
			struct report_row row = found != NULL ? *found : *labels[i];

			row.bucket_s = bucket;
			if (found == NULL) {
				row.packets = row.bytes = row.actors = 0;
				row.has_actors = true;
			}
			rc = append(out, capacity, &row);
		}
	}
	return rc;
}

int report_select(const struct report *report, struct report_selection *out)
{
	size_t top = dimension_of(report) == DIM_TOTAL ? 1 : report->query.top, capacity = 0;
	const struct report_row **labels = calloc(report->count + 1, sizeof(*labels));
	static const struct report_row nothing = {
		.bucket_s = REPORT_ALL_BUCKETS, .dimension = DIM_TOTAL, .label = "total"
	};
	size_t count;
	int rc = 0;

	*out = (struct report_selection){ 0 };
	if (labels == NULL)
		return -ENOMEM;
	count = report_rows_of(report, dimension_of(report), ROLE_COUNT, REPORT_ALL_BUCKETS, labels,
		report->count);
	count = count < top ? count : top;
	if (count == 0 && dimension_of(report) == DIM_TOTAL)
		labels[count++] = &nothing;
	if (report->query.per != PERIOD_COUNT)
		rc = select_series(report, labels, count, out, &capacity);
	for (size_t i = 0; rc == 0 && report->query.per == PERIOD_COUNT && i < count; i++)
		rc = append(out, &capacity, labels[i]);
	free(labels);
	if (rc != 0)
		report_selection_fini(out);
	return rc;
}

void report_selection_fini(struct report_selection *selection)
{
	free(selection->rows);
	*selection = (struct report_selection){ 0 };
}
