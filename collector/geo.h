/*
 * Where is an address? Country and autonomous system from MMDB files.
 *
 * The common layouts are recognised: MaxMind and DB-IP (`country.iso_code`,
 * `autonomous_system_number`), ip-location-db (`country_code`). A file that is replaced is opened
 * anew between batches. No file is fine: then every address is without country and AS.
 *
 * Threads: one user at a time; each view has its own.
 */
#pragma once

#include "schemas/base/address.h"
#include "schemas/base/options.h"

#define AS_NAME_BYTES 128

struct geo_answer {
	char country[3]; /* ISO 3166-1 alpha-2, "" unknown */
	uint32_t asn;	 /* 0 unknown */
	char as_name[AS_NAME_BYTES];
};

struct geo;

/** Opens what is configured; files that cannot be used are said in the log and left out. */
int geo_create(struct geo **out, const struct config *config) MUST_CHECK;
void geo_destroy(struct geo *geo);

/** Looks an address up. Repeated questions for one address are cheap. The answer lasts until the next call. */
const struct geo_answer *geo_find(struct geo *geo, const struct address *address);

/** Opens files anew that were replaced since; call it between batches, it looks once a second at most. */
void geo_refresh(struct geo *geo);

void geo_add_version(void);
