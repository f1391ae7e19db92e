#include "schemas/base/versions.h"

#include <jansson.h>
#include <stddef.h>
#include <xxhash.h>
#include <yaml.h>

#define LIBRARIES_MAX 16

static struct {
	const char *name;
	const char *version;
} libraries[LIBRARIES_MAX];

static size_t library_count;

void versions_add(const char *library, const char *version)
{
	if (library_count == LIBRARIES_MAX)
		return;
	libraries[library_count].name = library;
	libraries[library_count++].version = version;
}

void versions_print(FILE *out, const char *program)
{
	unsigned xxhash = XXH_versionNumber();

	fprintf(out, "%s %s\n", program, HOSHIMI_VERSION);
	for (size_t i = 0; i < library_count; i++)
		fprintf(out, "  %s %s\n", libraries[i].name, libraries[i].version);
	fprintf(out, "  jansson %s\n", JANSSON_VERSION);
	fprintf(out, "  libyaml %s\n", yaml_get_version_string());
	fprintf(out, "  xxhash %u.%u.%u\n", xxhash / 10000, xxhash / 100 % 100, xxhash % 100);
}
