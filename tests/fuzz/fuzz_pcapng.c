/*
 * Any bytes as a pcapng file, plain or compressed: every frame lies in its block, every damage has
 * a reason and an offset, and reading ends.
 */
#include "sensor/capture_pcapng.h"

#include <stdlib.h>

#define FRAMES 64

static volatile uint8_t sink;

/* Touches every byte, so that the sanitizers see where it lies. */
static void touch(const struct frame *frame, const struct capture_stream *stream)
{
	uint8_t sum = 0;

	if (frame->data < stream->block->data || frame->data + frame->captured_bytes > stream->end)
		abort();
	for (uint32_t i = 0; i < frame->captured_bytes; i++)
		sum ^= frame->data[i];
	sink = sum;
}

static void read_all(struct capture_pcapng *pcapng, struct capture_stream *stream)
{
	struct capture_damage damage = { 0 };
	struct frame frames[FRAMES];
	int n = capture_pcapng_init(pcapng, stream, &damage);

	if (n == 0) {
		do {
			n = capture_pcapng_read(pcapng, stream, frames, FRAMES, &damage);
			for (int i = 0; i < n; i++) {
				touch(&frames[i], stream);
				if (capture_pcapng_declared_at(pcapng, frames[i].linktype) == 0)
					abort();
			}
		} while (n > 0);
	}
	if (n < 0 && n != -ENOMEM && damage.reason.text[0] == '\0')
		abort();
	if (n < 0 && damage.offset > capture_stream_offset(stream) + capture_stream_left(stream))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct capture_block_pool pool = { 0 };
	struct capture_pcapng pcapng;
	struct capture_stream *stream;

	if (capture_stream_open_memory(&stream, data, size, &pool) == 0) {
		read_all(&pcapng, stream);
		capture_pcapng_fini(&pcapng);
		capture_stream_close(stream);
	}
	capture_block_pool_fini(&pool);
	return 0;
}
