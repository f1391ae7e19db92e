#include "sensor/spool_record.h"

#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define SEGMENT_MAGIC UINT64_C(0x3147455348534f48) /* "HOSHSEG1" */
#define RECORD_MAGIC  0x31434552u		   /* "REC1" */

static uint64_t load_u64_le(const uint8_t *p)
{
	return load_u32_le(p) | (uint64_t)load_u32_le(p + 4) << 32;
}

void spool_segment_header_write(
	const struct spool_segment_header *header, uint8_t out[SPOOL_SEGMENT_HEADER_BYTES])
{
	store_u64_le(out, SEGMENT_MAGIC);
	store_u64_le(out + 8, header->id);
	store_u64_le(out + 16, header->first);
	store_u64_le(out + 24, header->follows);
	store_u64_le(out + 32, XXH3_64bits(out, 32));
}

bool spool_segment_header_read(
	struct spool_segment_header *out, const uint8_t bytes[SPOOL_SEGMENT_HEADER_BYTES])
{
	*out = (struct spool_segment_header){
		.id = load_u64_le(bytes + 8),
		.first = load_u64_le(bytes + 16),
		.follows = load_u64_le(bytes + 24),
	};
	return load_u64_le(bytes) == SEGMENT_MAGIC &&
	       load_u64_le(bytes + 32) == XXH3_64bits(bytes, 32);
}

void spool_committed_write(uint64_t id, uint64_t sequence, uint8_t out[SPOOL_COMMITTED_BYTES])
{
	store_u64_le(out, id);
	store_u64_le(out + 8, sequence);
	store_u64_le(out + 16, XXH3_64bits(out, 16));
}

bool spool_committed_read(
	uint64_t *sequence, uint64_t id, const uint8_t bytes[SPOOL_COMMITTED_BYTES])
{
	*sequence = load_u64_le(bytes + 8);
	return load_u64_le(bytes) == id && load_u64_le(bytes + 16) == XXH3_64bits(bytes, 16);
}

void spool_record_write(const struct spool_record *record, uint8_t out[SPOOL_RECORD_HEADER_BYTES])
{
	store_u32_le(out, RECORD_MAGIC);
	store_u32_le(out + 4, record->item.payload_bytes);
	store_u64_le(out + 8, record->item.sequence);
	store_u64_le(out + 16, (uint64_t)record->item.minute_ms);
	store_u64_le(out + 24, record->item.flows);
	store_u64_le(out + 32, record->item.packets);
	store_u64_le(out + 40, record->item.close_id);
	store_u64_le(out + 48, record->item.close_part);
	store_u64_le(out + 56, record->gap.from);
	store_u64_le(out + 64, record->gap.through);
	store_u64_le(out + 72, record->payload_sum);
	store_u64_le(out + 80, record->id);
	store_u64_le(out + 88, record->item.lost_entries);
	store_u64_le(out + 96, record->item.lost_flows);
	store_u64_le(out + 104, record->item.lost_packets);
	store_u64_le(out + 112, XXH3_64bits(out, 112));
}

bool spool_record_read(struct spool_record *out, const uint8_t bytes[SPOOL_RECORD_HEADER_BYTES])
{
	*out = (struct spool_record){
		.item = { .sequence = load_u64_le(bytes + 8),
			.payload_bytes = load_u32_le(bytes + 4),
			.minute_ms = (int64_t)load_u64_le(bytes + 16),
			.flows = load_u64_le(bytes + 24),
			.packets = load_u64_le(bytes + 32),
			.lost_entries = load_u64_le(bytes + 88),
			.lost_flows = load_u64_le(bytes + 96),
			.lost_packets = load_u64_le(bytes + 104),
			.close_id = load_u64_le(bytes + 40),
			.close_part = (uint32_t)load_u64_le(bytes + 48) },
		.gap = { .from = load_u64_le(bytes + 56), .through = load_u64_le(bytes + 64) },
		.payload_sum = load_u64_le(bytes + 72),
		.id = load_u64_le(bytes + 80),
	};
	return load_u32_le(bytes) == RECORD_MAGIC &&
	       load_u64_le(bytes + 112) == XXH3_64bits(bytes, 112) &&
	       out->item.payload_bytes <= SPOOL_RECORD_MAX;
}

uint64_t spool_record_bytes(uint64_t payload_bytes)
{
	return SPOOL_RECORD_HEADER_BYTES + ((payload_bytes + 7) & ~UINT64_C(7));
}

uint64_t spool_payload_sum(const uint8_t *payload, size_t size)
{
	return XXH3_64bits(payload, size);
}

int spool_write_at(int fd, const uint8_t *data, size_t size, uint64_t offset)
{
	while (size > 0) {
		ssize_t written = pwrite(fd, data, size, (off_t)offset);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		data += written;
		size -= (size_t)written;
		offset += (uint64_t)written;
	}
	return 0;
}

int spool_read_at(int fd, uint8_t *data, size_t size, uint64_t offset)
{
	while (size > 0) {
		ssize_t got = pread(fd, data, size, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : FAIL_TRUNCATED;
		data += got;
		size -= (size_t)got;
		offset += (uint64_t)got;
	}
	return 0;
}
