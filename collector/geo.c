#include "collector/geo.h"

#include <maxminddb.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "schemas/base/bytes.h"
#include "schemas/base/log.h"
#include "schemas/base/versions.h"

#define PATH_WORDS  4	 /* a field name with dots: country.iso_code */
#define CACHE_SLOTS 4096 /* neighbouring flows share actors; a power of two */
#define REFRESH_S   1

enum database { COUNTRY, COUNTRY_V6, ASN, ASN_V6, DATABASES };

struct database_file {
	const char *path; /* NULL: not configured */
	MMDB_s mmdb;
	bool is_open;
	struct stat status;
};

struct cached {
	struct address address;
	bool is_set;
	struct geo_answer answer;
};

struct geo {
	const struct config *config;
	struct database_file files[DATABASES];
	struct cached *cache;
	time_t looked_s;
};

/* Layouts tried in order when the field is "auto". */
static const char *const country_fields[] = { "country.iso_code", "country_code", "country" };
static const char *const asn_fields[] = { "autonomous_system_number", "asn", "as_number" };
static const char *const as_name_fields[] = { "autonomous_system_organization", "as_name",
	"organization", "name" };

static const enum option_id paths[DATABASES] = { OPT_GEO_COUNTRY, OPT_GEO_COUNTRY_V6, OPT_GEO_ASN,
	OPT_GEO_ASN_V6 };

static void open_file(struct database_file *file)
{
	int status = MMDB_open(file->path, MMDB_MODE_MMAP, &file->mmdb);
	bool is_of_system = status == MMDB_IO_ERROR || status == MMDB_FILE_OPEN_ERROR;

	if (status != MMDB_SUCCESS) {
		log_warning(
			"geography file cannot be used, going on without it path=%s reason=\"%s\"",
			file->path, is_of_system ? error_text(-errno) : MMDB_strerror(status));
		return;
	}
	file->is_open = true;
	log_info("geography file opened path=%s type=%s", file->path,
		file->mmdb.metadata.database_type);
}

static void close_file(struct database_file *file)
{
	if (file->is_open)
		MMDB_close(&file->mmdb);
	file->is_open = false;
}

int geo_create(struct geo **out, const struct config *config)
{
	struct geo *geo = calloc(1, sizeof(*geo));

	if (geo == NULL)
		return -ENOMEM;
	geo->config = config;
	geo->cache = calloc(CACHE_SLOTS, sizeof(*geo->cache));
	if (geo->cache == NULL) {
		free(geo);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < DATABASES; i++) {
		geo->files[i].path = config_text(config, paths[i]);
		if (geo->files[i].path == NULL)
			continue;
		if (stat(geo->files[i].path, &geo->files[i].status) != 0)
			geo->files[i].status = (struct stat){ 0 };
		open_file(&geo->files[i]);
	}
	if (!geo->files[COUNTRY].is_open && !geo->files[COUNTRY_V6].is_open &&
		!geo->files[ASN].is_open && !geo->files[ASN_V6].is_open)
		log_info("no geography file, countries and networks stay unknown");
	*out = geo;
	return 0;
}

void geo_destroy(struct geo *geo)
{
	if (geo == NULL)
		return;
	for (unsigned i = 0; i < DATABASES; i++)
		close_file(&geo->files[i]);
	free(geo->cache);
	free(geo);
}

static bool is_replaced(const struct stat *a, const struct stat *b)
{
	return a->st_ino != b->st_ino || a->st_dev != b->st_dev || a->st_size != b->st_size ||
	       a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec;
}

void geo_refresh(struct geo *geo)
{
	time_t now_s = time(NULL);

	if (now_s - geo->looked_s < REFRESH_S)
		return;
	geo->looked_s = now_s;
	for (unsigned i = 0; i < DATABASES; i++) {
		struct database_file *file = &geo->files[i];
		struct stat status;

		if (file->path == NULL || stat(file->path, &status) != 0 ||
			!is_replaced(&status, &file->status))
			continue;
		file->status = status;
		close_file(file);
		open_file(file);
		memset(geo->cache, 0, CACHE_SLOTS * sizeof(*geo->cache));
	}
}

/* The value at a dotted field name; false when there is none. */
static bool value_at(MMDB_entry_s *entry, const char *field, MMDB_entry_data_s *out)
{
	const char *words[PATH_WORDS + 1] = { NULL };
	char copy[128], *save = NULL;
	size_t count = 0;

	snprintf(copy, sizeof(copy), "%s", field);
	for (char *word = strtok_r(copy, ".", &save); word != NULL && count < PATH_WORDS;
		word = strtok_r(NULL, ".", &save))
		words[count++] = word;
	return MMDB_aget_value(entry, out, words) == MMDB_SUCCESS && out->has_data;
}

static bool value_of(MMDB_entry_s *entry, const char *field, const char *const *known,
	size_t known_count, MMDB_entry_data_s *out)
{
	if (strcmp(field, "auto") != 0)
		return value_at(entry, field, out);
	for (size_t i = 0; i < known_count; i++)
		if (value_at(entry, known[i], out))
			return true;
	return false;
}

#define VALUE_OF(entry, geo, option, known, out)                                                   \
	value_of(entry, config_text((geo)->config, option), known,                                 \
		sizeof(known) / sizeof((known)[0]), out)

/* The file for an address's family: its own, or the one for both. */
static struct database_file *file_for(
	struct geo *geo, enum database both, const struct address *address)
{
	struct database_file *v6 = &geo->files[both + 1];

	return address->size == 16 && v6->is_open ? v6 : &geo->files[both];
}

static bool look_up(struct database_file *file, const struct address *address, MMDB_entry_s *out)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	const struct sockaddr *socket_address =
		address->size == 16 ? (const void *)&v6 : (const void *)&v4;
	MMDB_lookup_result_s result;
	int status;

	if (!file->is_open || address->size == 0 ||
		(address->size == 16 && file->mmdb.metadata.ip_version == 4))
		return false;
	memcpy(address->size == 16 ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr, address->bytes,
		address->size);
	result = MMDB_lookup_sockaddr(&file->mmdb, socket_address, &status);
	if (status != MMDB_SUCCESS || !result.found_entry)
		return false;
	*out = result.entry;
	return true;
}

static void find_country(struct geo *geo, const struct address *address, struct geo_answer *answer)
{
	MMDB_entry_data_s value;
	MMDB_entry_s entry;

	if (!look_up(file_for(geo, COUNTRY, address), address, &entry) ||
		!VALUE_OF(&entry, geo, OPT_GEO_COUNTRY_FIELD, country_fields, &value))
		return;
	if (value.type == MMDB_DATA_TYPE_UTF8_STRING && value.data_size == 2 &&
		value.utf8_string[0] >= 'A' && value.utf8_string[0] <= 'Z' &&
		value.utf8_string[1] >= 'A' && value.utf8_string[1] <= 'Z')
		memcpy(answer->country, value.utf8_string, 2);
}

static void find_as(struct geo *geo, const struct address *address, struct geo_answer *answer)
{
	MMDB_entry_data_s value;
	MMDB_entry_s entry;

	if (!look_up(file_for(geo, ASN, address), address, &entry))
		return;
	if (VALUE_OF(&entry, geo, OPT_GEO_ASN_FIELD, asn_fields, &value)) {
		if (value.type == MMDB_DATA_TYPE_UINT32)
			answer->asn = value.uint32;
		else if (value.type == MMDB_DATA_TYPE_UINT16)
			answer->asn = value.uint16;
		else if (value.type == MMDB_DATA_TYPE_UTF8_STRING && value.data_size < 12) {
			char digits[12] = { 0 };

			memcpy(digits, value.utf8_string, value.data_size);
			answer->asn =
				(uint32_t)strtoul(digits[0] == 'A' ? digits + 2 : digits, NULL, 10);
		}
	}
	if (VALUE_OF(&entry, geo, OPT_GEO_AS_NAME_FIELD, as_name_fields, &value) &&
		value.type == MMDB_DATA_TYPE_UTF8_STRING) {
		size_t size =
			value.data_size < AS_NAME_BYTES - 1 ? value.data_size : AS_NAME_BYTES - 1;

		/* cut between characters, not inside one */
		while (size < value.data_size && size > 0 &&
			((uint8_t)value.utf8_string[size] & 0xc0) == 0x80)
			size--;
		memcpy(answer->as_name, value.utf8_string, size);
	}
}

static size_t slot_of(const struct address *address)
{
	uint32_t sum = load_u32(address->bytes);

	if (address->size == 16)
		sum ^= load_u32(address->bytes + 4) ^ load_u32(address->bytes + 8) ^
		       load_u32(address->bytes + 12);
	return (sum * 2654435761u >> 16) &
	       (CACHE_SLOTS - 1); /* Knuth's multiplicative hash; a cache, so no harm */
}

const struct geo_answer *geo_find(struct geo *geo, const struct address *address)
{
	struct cached *slot = &geo->cache[slot_of(address)];

	if (slot->is_set && address_equals(&slot->address, address))
		return &slot->answer;
	slot->address = *address;
	slot->is_set = true;
	slot->answer = (struct geo_answer){ 0 };
	find_country(geo, address, &slot->answer);
	find_as(geo, address, &slot->answer);
	return &slot->answer;
}

void geo_add_version(void)
{
	versions_add("libmaxminddb", MMDB_lib_version());
}
