/*
 * Who is in the play: the sources, group by group, and the dark addresses they hit.
 *
 * Sources of IPv4 are drawn from all of its public unicast space and none is drawn twice. Within a
 * group they send by Zipf's law; bots come and go.
 *
 * Threads: constant after population_create; draws change only the dice given.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "deploy/demo/dice.h"

#define DARK_PREFIXES_MAX 64

enum group {
	MIRAI_BOTS,
	IOT_BOTS,
	WORMS,
	GUESSERS, /* of passwords */
	NOISE,
	SURVEYORS,
	ZMAP_USERS,
	MASSCAN_USERS,
	NMAP_USERS,
	HPING_USERS,
	UDP_SCANNERS,
	PINGERS,
	RESOLVERS, /* and other servers whose UDP answers go astray */
	VICTIM,
	SERVERS, /* smaller victims */
	ROUTERS,
	BROKEN, /* senders of damaged and odd packets */
	NEIGHBOURS,
	IPV6_SCANNERS,
	IPV6_SERVERS,
	GROUPS
};

struct actor {
	uint8_t address[16]; /* IPv4 in the first four bytes */
	uint8_t version;
	uint8_t ttl;
	uint16_t port;	 /* source port of tools that keep one */
	uint16_t window; /* of stacks and tools that keep one */
	uint16_t habit;	 /* chooses what the source is after */
	uint32_t from_minute, to_minute;
};

struct prefix {
	uint8_t address[16];
	uint8_t version;
	uint8_t bits;
};

struct population;

/**
 * Reads a prefix, `198.51.100.0/24` or `2001:db8::/32`; a plain address is one of full length.
 *
 * @return NULL, or why the text is not a usable prefix
 */
const char *prefix_read(struct prefix *prefix, const char *text);
bool prefix_contains(const struct prefix *prefix, uint8_t version, const uint8_t address[16]);

/**
 * @param dark     prefixes, at least one of IPv4; copied
 * @param minutes  length of the play
 * @param scale    1 for a small play; the crowds grow with it
 * @return         NULL when memory is out
 */
struct population *population_create(struct dice *dice, const struct prefix *dark,
	size_t dark_count, uint32_t minutes, uint32_t scale);
void population_destroy(struct population *population);

size_t population_size(const struct population *population);
const struct actor *population_actor(const struct population *population, uint32_t index);
bool population_has_dark_ipv6(const struct population *population);

/** Draws a source that is about in this minute, if a few tries find one; else any of its group. */
uint32_t population_draw(
	const struct population *population, struct dice *dice, enum group group, uint32_t minute);

/** Draws a dark address, each as likely as any other; IPv6: low numbers in the prefix mostly. */
void population_draw_dark(
	const struct population *population, struct dice *dice, uint8_t version, uint8_t out[16]);

/** Draws a public unicast address that is not dark. */
void population_draw_public(
	const struct population *population, struct dice *dice, uint8_t version, uint8_t out[16]);

bool population_is_dark(
	const struct population *population, uint8_t version, const uint8_t address[16]);
