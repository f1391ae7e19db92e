#include "deploy/demo/population.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/demo/address_set.h"

#define IPV4_BITS_MIN	    8 /* of a dark prefix: some of the Internet must remain */
#define IPV6_BITS_MIN	    16
#define DRAWS_FOR_ACTIVE    8
#define SESSION_MINUTES_MIN 30
#define SESSION_MINUTES_MAX 600

struct crowd {
	uint32_t first;
	struct dice_table zipf;
};

struct population {
	struct actor *actors;
	size_t size;
	struct crowd crowds[GROUPS];
	struct prefix dark[DARK_PREFIXES_MAX];
	size_t dark_count;
	uint64_t dark_ipv4; /* addresses */
	size_t dark_ipv6;   /* prefixes */
};

/* How many of each: bots by the thousand, tool users by the dozen. */
static const struct {
	uint32_t size;
	uint8_t version;
	bool is_crowd; /* grows with the play, comes and goes */
} groups[GROUPS] = {
	[MIRAI_BOTS] = { 2500, 4, true },
	[IOT_BOTS] = { 4000, 4, true },
	[WORMS] = { 700, 4, true },
	[GUESSERS] = { 500, 4, true },
	[NOISE] = { 1500, 4, true },
	[SURVEYORS] = { 48, 4, false },
	[ZMAP_USERS] = { 24, 4, false },
	[MASSCAN_USERS] = { 90, 4, false },
	[NMAP_USERS] = { 24, 4, false },
	[HPING_USERS] = { 10, 4, false },
	[UDP_SCANNERS] = { 150, 4, false },
	[PINGERS] = { 250, 4, false },
	[RESOLVERS] = { 400, 4, false },
	[VICTIM] = { 1, 4, false },
	[SERVERS] = { 200, 4, false },
	[ROUTERS] = { 60, 4, false },
	[BROKEN] = { 40, 4, false },
	[NEIGHBOURS] = { 16, 4, false },
	[IPV6_SCANNERS] = { 24, 6, false },
	[IPV6_SERVERS] = { 8, 6, false },
};

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool has_host_bits(const struct prefix *prefix)
{
	unsigned bytes = prefix->version == 4 ? 4 : 16;

	for (unsigned bit = prefix->bits; bit < bytes * 8; bit++)
		if (prefix->address[bit / 8] & (0x80 >> bit % 8))
			return true;
	return false;
}

const char *prefix_read(struct prefix *prefix, const char *text)
{
	char address[INET6_ADDRSTRLEN + 4], *slash, *end;
	unsigned long bits;

	*prefix = (struct prefix){ 0 };
	if ((size_t)snprintf(address, sizeof(address), "%s", text) >= sizeof(address))
		return "too long for a prefix";
	slash = strchr(address, '/');
	if (slash != NULL)
		*slash = '\0';
	prefix->version = strchr(address, ':') != NULL ? 6 : 4;
	if (inet_pton(prefix->version == 4 ? AF_INET : AF_INET6, address, prefix->address) != 1)
		return "not an address";
	bits = prefix->version == 4 ? 32 : 128;
	if (slash != NULL) {
		unsigned long longest = bits;

		bits = strtoul(slash + 1, &end, 10);
		if (slash[1] < '0' || slash[1] > '9' || *end != '\0' || bits > longest)
			return "not a prefix length";
	}
	if (bits < (prefix->version == 4 ? IPV4_BITS_MIN : IPV6_BITS_MIN))
		return "too large a part of the Internet";
	prefix->bits = (uint8_t)bits;
	return has_host_bits(prefix) ? "host bits are set" : NULL;
}

bool prefix_contains(const struct prefix *prefix, uint8_t version, const uint8_t address[16])
{
	return prefix->version == version && bits_equal(prefix->address, address, prefix->bits);
}

bool population_is_dark(
	const struct population *population, uint8_t version, const uint8_t address[16])
{
	for (size_t i = 0; i < population->dark_count; i++)
		if (prefix_contains(&population->dark[i], version, address))
			return true;
	return false;
}

/* IANA IPv4 special-purpose registry; multicast and above */
static bool is_special_ipv4(const uint8_t a[16])
{
	return a[0] == 0 || a[0] == 10 || a[0] == 127 || a[0] >= 224 ||
	       (a[0] == 100 && (a[1] & 0xc0) == 64) || (a[0] == 169 && a[1] == 254) ||
	       (a[0] == 172 && (a[1] & 0xf0) == 16) ||
	       (a[0] == 192 && (a[1] == 168 || (a[1] == 0 && (a[2] == 0 || a[2] == 2)))) ||
	       (a[0] == 198 && ((a[1] & 0xfe) == 18 || (a[1] == 51 && a[2] == 100))) ||
	       (a[0] == 203 && a[1] == 0 && a[2] == 113);
}

static void draw_ipv6(struct dice *dice, uint8_t out[16])
{
	static const uint16_t registries[] = { 0x2400, 0x2406, 0x2600, 0x2604, 0x2607, 0x2800,
		0x2a01, 0x2a03, 0x2c0f };
	uint16_t head = registries[dice_below(dice, sizeof(registries) / sizeof(registries[0]))];

	out[0] = (uint8_t)(head >> 8);
	out[1] = (uint8_t)head;
	for (unsigned i = 2; i < 8; i++)
		out[i] = (uint8_t)dice_below(dice, 256);
	memset(out + 8, 0, 7);
	out[15] = (uint8_t)dice_between(dice, 1, 255);
}

static void draw_ipv4(struct dice *dice, uint8_t out[16])
{
	do {
		uint32_t value = dice_u32(dice);

		for (unsigned i = 0; i < 4; i++)
			out[i] = (uint8_t)(value >> (24 - 8 * i));
	} while (is_special_ipv4(out));
}

void population_draw_public(
	const struct population *population, struct dice *dice, uint8_t version, uint8_t out[16])
{
	memset(out, 0, 16);
	do {
		if (version == 4)
			draw_ipv4(dice, out);
		else
			draw_ipv6(dice, out);
	} while (population_is_dark(population, version, out));
}

static void add_to(uint8_t address[16], uint64_t number)
{
	for (unsigned i = 4; i-- > 0; number >>= 8)
		address[i] = (uint8_t)(address[i] | (number & 0xff));
}

static uint64_t ipv4_count(const struct prefix *prefix)
{
	return prefix->version == 4 ? UINT64_C(1) << (32 - prefix->bits) : 0;
}

static void draw_dark_ipv4(const struct population *population, struct dice *dice, uint8_t out[16])
{
	uint64_t number = dice_u64(dice) % population->dark_ipv4;
	const struct prefix *prefix = population->dark;

	for (; number >= ipv4_count(prefix); prefix++)
		number -= ipv4_count(prefix);
	memcpy(out, prefix->address, 16);
	add_to(out, number);
}

static void draw_dark_ipv6(const struct population *population, struct dice *dice, uint8_t out[16])
{
	uint32_t number = dice_below(dice, (uint32_t)population->dark_ipv6);
	const struct prefix *prefix = population->dark;
	unsigned first_free;

	for (;; prefix++)
		if (prefix->version == 6 && number-- == 0)
			break;
	memcpy(out, prefix->address, 16);
	first_free = dice_below(dice, 10) < 8 ? 120 : 64; /* scanners begin with the low numbers */
	for (unsigned bit = first_free < prefix->bits ? prefix->bits : first_free; bit < 128; bit++)
		out[bit / 8] |= (uint8_t)(dice_below(dice, 2) << (7 - bit % 8));
}

void population_draw_dark(
	const struct population *population, struct dice *dice, uint8_t version, uint8_t out[16])
{
	if (version == 4)
		draw_dark_ipv4(population, dice, out);
	else
		draw_dark_ipv6(population, dice, out);
}

static void draw_session(struct actor *actor, struct dice *dice, uint32_t minutes)
{
	uint32_t length = dice_between(dice, SESSION_MINUTES_MIN, SESSION_MINUTES_MAX);
	uint32_t end = dice_below(dice, minutes + length);

	actor->to_minute = end;
	actor->from_minute = end > length ? end - length : 0;
}

static void draw_actor(const struct population *population, struct actor *actor, struct dice *dice,
	enum group group, uint32_t minutes)
{
	static const uint8_t initial_ttls[] = { 64, 64, 64, 128, 255 };

	*actor = (struct actor){ .version = groups[group].version, .to_minute = minutes };
	population_draw_public(population, dice, actor->version, actor->address);
	actor->ttl = initial_ttls[dice_below(dice, 5)];
	actor->ttl = (uint8_t)(actor->ttl - dice_between(dice, 5, 25)); /* hops on the way */
	actor->port = (uint16_t)dice_between(dice, 1024, 65535);
	actor->window = dice_u16(dice);
	actor->habit = dice_u16(dice);
	if (groups[group].is_crowd)
		draw_session(actor, dice, minutes);
}

static int fill(struct population *population, struct dice *dice, uint32_t minutes, uint32_t scale)
{
	struct address_set taken = { 0 };
	uint32_t next = 0;
	int rc = 0;

	for (unsigned group = 0; rc == 0 && group < GROUPS; group++) {
		uint32_t size = groups[group].size * (groups[group].is_crowd ? scale : 1);

		population->crowds[group].first = next;
		rc = dice_table_init_zipf(&population->crowds[group].zipf, size);
		for (uint32_t end = next + size; rc == 0 && next < end;) {
			struct actor *actor = &population->actors[next];
			int added;

			draw_actor(population, actor, dice, (enum group)group, minutes);
			added = address_set_add(&taken, actor->version, actor->address);
			next += added == 1;
			rc = added < 0 ? -1 : 0;
		}
	}
	address_set_fini(&taken);
	return rc;
}

struct population *population_create(struct dice *dice, const struct prefix *dark,
	size_t dark_count, uint32_t minutes, uint32_t scale)
{
	struct population *population = calloc(1, sizeof(*population));

	if (population == NULL)
		return NULL;
	memcpy(population->dark, dark, dark_count * sizeof(*dark));
	population->dark_count = dark_count;
	for (size_t i = 0; i < dark_count; i++) {
		population->dark_ipv4 += ipv4_count(&dark[i]);
		population->dark_ipv6 += dark[i].version == 6;
	}
	for (unsigned group = 0; group < GROUPS; group++)
		population->size += groups[group].size * (groups[group].is_crowd ? scale : 1);
	population->actors = calloc(population->size, sizeof(*population->actors));
	if (population->actors == NULL || fill(population, dice, minutes, scale) != 0) {
		population_destroy(population);
		return NULL;
	}
	return population;
}

void population_destroy(struct population *population)
{
	if (population == NULL)
		return;
	for (unsigned group = 0; group < GROUPS; group++)
		dice_table_fini(&population->crowds[group].zipf);
	free(population->actors);
	free(population);
}

size_t population_size(const struct population *population)
{
	return population->size;
}

const struct actor *population_actor(const struct population *population, uint32_t index)
{
	return &population->actors[index];
}

bool population_has_dark_ipv6(const struct population *population)
{
	return population->dark_ipv6 > 0;
}

uint32_t population_draw(
	const struct population *population, struct dice *dice, enum group group, uint32_t minute)
{
	const struct crowd *crowd = &population->crowds[group];
	uint32_t index = crowd->first;

	for (unsigned i = 0; i < DRAWS_FOR_ACTIVE; i++) {
		index = crowd->first + (uint32_t)dice_table_draw(&crowd->zipf, dice);
		if (population->actors[index].from_minute <= minute &&
			minute < population->actors[index].to_minute)
			break;
	}
	return index;
}
