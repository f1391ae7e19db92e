#include "collector/redis_place.h"

#include <stdio.h>
#include <stdlib.h>

static unsigned block_bits(enum period period)
{
	return period == PERIOD_MINUTE ? REDIS_MINUTE_BLOCK_BITS : REDIS_BLOCK_BITS;
}

bool redis_place_has_blocks(enum dimension dimension)
{
	return dimension == DIM_SERVICE || dimension == DIM_ASN;
}

uint64_t redis_place_block_id(enum period period, const struct tally_key *key)
{
	uint64_t id = (uint64_t)key->dimension << 48;

	if (key->dimension == DIM_SERVICE)
		return id | (uint64_t)tally_service_role(key->label) << 40 |
		       (uint64_t)tally_service_protocol(key->label) << 32 |
		       (uint32_t)(tally_service_port(key->label) >> block_bits(period));
	return key->dimension == DIM_ASN ? id | key->label >> block_bits(period) : id;
}

static void place_service(
	struct redis_place *out, enum period period, unsigned role, uint8_t protocol, int32_t port)
{
	char name[PROTOCOL_TEXT_BYTES];
	const char *of_role = role_name(role) != NULL ? role_name(role) : "unknown";

	protocol_name(protocol, name);
	snprintf(out->block, sizeof(out->block), "service:%s:%s:%d", of_role, name,
		port >> block_bits(period));
	snprintf(out->field, sizeof(out->field), "%d", port);
	snprintf(out->sketch, sizeof(out->sketch), "actors:service:%s:%s/", of_role, name);
}

static void place_asn(struct redis_place *out, enum period period, uint32_t asn, const char *label)
{
	snprintf(out->block, sizeof(out->block), "asn:%u", asn >> block_bits(period));
	snprintf(out->field, sizeof(out->field), "%s", label);
	snprintf(out->sketch, sizeof(out->sketch), "actors:asn:");
}

static void place_plain(struct redis_place *out, enum dimension dimension, const char *label)
{
	snprintf(out->block, sizeof(out->block), "%s", tally_dimension_name(dimension));
	snprintf(out->field, sizeof(out->field), "%s", label);
	snprintf(out->sketch, sizeof(out->sketch), "actors:%s:", tally_dimension_name(dimension));
}

void redis_place_of_key(struct redis_place *out, const struct tally *tally, enum period period,
	const struct tally_key *key)
{
	char text[LABEL_TEXT_BYTES];

	if (key->dimension == DIM_SERVICE)
		place_service(out, period, tally_service_role(key->label),
			tally_service_protocol(key->label), tally_service_port(key->label));
	else if (key->dimension == DIM_ASN)
		place_asn(out, period, key->label, tally_label(tally, DIM_ASN, key->label, text));
	else
		place_plain(
			out, key->dimension, tally_label(tally, key->dimension, key->label, text));
}

/* The number in front of `end`, at most `max`; -1 when there is none. */
static int32_t number_before(const char *text, const char *end, long max)
{
	char *stop;
	long number = strtol(text, &stop, 10);

	return text != end && stop == end && *text >= '0' && *text <= '9' && number <= max
		       ? (int32_t)number
		       : -1;
}

/* What service_text wrote: "tcp/23", "tcp/-", "icmp/8/0", "icmp/8/-". */
static bool parse_service(const char *label, uint8_t *protocol, int32_t *port)
{
	const char *slash = strchr(label, '/'), *second, *end = label + strlen(label);
	char name[PROTOCOL_TEXT_BYTES];
	int32_t type, code;
	int number;

	if (slash == NULL || (size_t)(slash - label) >= sizeof(name))
		return false;
	memcpy(name, label, (size_t)(slash - label));
	name[slash - label] = '\0';
	number = protocol_number(name);
	if (number < 0)
		return false;
	*protocol = (uint8_t)number;
	if (strcmp(slash, "/-") == 0) {
		*port = SERVICE_NONE;
		return true;
	}
	second = strchr(slash + 1, '/');
	if (second == NULL) {
		*port = number_before(slash + 1, end, UINT16_MAX);
		return *port >= 0;
	}
	type = number_before(slash + 1, second, UINT8_MAX);
	code = number_before(second + 1, end, UINT8_MAX);
	if (type < 0 || (code < 0 && strcmp(second, "/-") != 0))
		return false;
	*port = code < 0 ? SERVICE_OF_TYPE(type) : type << 8 | code;
	return true;
}

bool redis_place_of_label(struct redis_place *out, enum period period, enum dimension dimension,
	unsigned role, const char *label)
{
	uint8_t protocol;
	int32_t port;

	switch (dimension) {
	case DIM_SERVICE:
		if (!parse_service(label, &protocol, &port))
			return false;
		place_service(out, period, role, protocol, port);
		return true;
	case DIM_ASN: /* "unknown" lies with number 0 */
		place_asn(out, period, (uint32_t)strtoul(label, NULL, 10), label);
		return true;
	case DIM_TOTAL:
	case DIM_CLASS:
	case DIM_ROLE:
	case DIM_PROTOCOL:
	case DIM_COUNTRY:
	case DIM_TOOL:
	case DIM_PAYLOAD:
	case DIM_SENSOR:
		place_plain(out, dimension, label);
		return true;
	case DIM_COUNT:
		break;
	}
	return false;
}

bool redis_block_parse(struct redis_block *out, const char *name)
{
	char role[32], protocol[32];
	int number;

	if (strncmp(name, "asn:", 4) == 0) {
		*out = (struct redis_block){ .dimension = DIM_ASN };
		return true;
	}
	if (sscanf(name, "service:%31[^:]:%31[^:]:", role, protocol) != 2)
		return false;
	number = protocol_number(protocol);
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		if (number >= 0 && strcmp(role_name(i), role) == 0) {
			*out = (struct redis_block){ DIM_SERVICE, i, (uint8_t)number };
			return true;
		}
	return false;
}
