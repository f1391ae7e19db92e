/*
 * Values from all layers: defaults, files, environment, command line. Private to the options_*.c
 * files.
 *
 * Threads: as options.h.
 */
#pragma once

#include "schemas/base/options_value.h"

/* One value as the command line gave it. */
struct setting {
	enum option_id id;
	bool from_file; /* text is the path of a file that holds the value */
	char *key;	/* of a map's pair, else NULL */
	char *text;
	char *place; /* as the user wrote it: `--workers`, `--set sensor.workers` */
};

struct config {
	const struct program_row *program; /* constant after create */
	struct setting *settings;	   /* constant after parse */
	size_t setting_count;
	struct value *values; /* OPTION_COUNT of them; replaced by reload */
};

/**
 * Builds an array of values from all layers, or (without files) from the command line alone.
 *
 * @return 0, FAIL_USAGE, FAIL_CONFIG, -ENOMEM
 */
int options_build_values(
	const struct config *config, bool with_files, struct value **out, struct message *msg);

void options_setting_fini(struct setting *setting);
