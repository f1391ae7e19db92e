#include "schemas/base/nearest.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define WORD_BYTES   64 /* longer words are not typing mistakes of ours: the longest key has 24 */
#define PREFIX_BYTES 3	/* a shorter beginning says too little */

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

size_t nearest_distance(const char *a, const char *b)
{
	size_t rows[3][WORD_BYTES + 1] = { { 0 } }; /* rows i - 2, i - 1, i of the table, in turn */
	size_t a_size = strlen(a);
	size_t b_size = strlen(b);

	if (a_size >= WORD_BYTES || b_size >= WORD_BYTES)
		return SIZE_MAX;
	for (size_t j = 0; j <= b_size; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_size; i++) {
		const size_t *up2 = rows[(i + 1) % 3];
		const size_t *up = rows[(i + 2) % 3];
		size_t *row = rows[i % 3];

		row[0] = i;
		for (size_t j = 1; j <= b_size; j++) {
			size_t change = up[j - 1] + (a[i - 1] != b[j - 1]);

			row[j] = least(change, least(up[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], up2[j - 2] + 1);
		}
	}
	return rows[a_size % 3][b_size];
}

void nearest_init(struct nearest *n, const char *word)
{
	*n = (struct nearest){ .word = word, .distance = SIZE_MAX };
}

void nearest_offer(struct nearest *n, const char *known)
{
	size_t size = strlen(n->word);
	bool begins = size >= PREFIX_BYTES && strncmp(n->word, known, size) == 0;
	size_t distance = begins ? known[size] != '\0' : nearest_distance(n->word, known);

	if (distance < n->distance) {
		n->distance = distance;
		n->best = known;
	}
}

const char *nearest_best(const struct nearest *n)
{
	size_t third = strlen(n->word) / 3;
	size_t limit = third < 1 ? 1 : least(third, 3);

	return n->distance <= limit ? n->best : NULL;
}
