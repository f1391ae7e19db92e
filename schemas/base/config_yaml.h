/*
 * A YAML file as a small tree in which every node knows its place.
 *
 * Only what a configuration needs: one document of mappings, sequences and scalars. Refused, with
 * the place: anchors, aliases and tags (a value that begins with `!` must be quoted), keys that
 * are not plain texts or occur twice, NUL bytes, a second document, nesting deeper than
 * CONFIG_YAML_DEPTH_MAX. What the keys mean is the caller's business.
 *
 * Threads: no shared state.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "schemas/base/errors.h"

#define CONFIG_YAML_BYTES_MAX (1024 * 1024)
#define CONFIG_YAML_DEPTH_MAX 8	    /* collections within each other; options use three */
#define CONFIG_YAML_NODES_MAX 65536 /* bounds memory to some 10 MiB */
#define CONFIG_YAML_KEYS_MAX  4096  /* in one mapping; finding repeats takes n * n / 2 steps */

enum config_yaml_kind { CONFIG_YAML_SCALAR, CONFIG_YAML_SEQUENCE, CONFIG_YAML_MAPPING };

/** Line and column, both from 1. */
struct config_yaml_place {
	size_t line;
	size_t column;
};

struct config_yaml_node {
	enum config_yaml_kind kind;
	bool is_null; /* a scalar left empty, or plain ~ or null */
	char *key;    /* in a mapping, else NULL */
	char *text;   /* of a scalar, else NULL */
	struct config_yaml_place key_at;
	struct config_yaml_place at;
	struct config_yaml_node *items; /* of a sequence or mapping, in file order */
	size_t count;
};

/**
 * Reads a file.
 *
 * @param out  the root, a mapping (empty for an empty file); release with config_yaml_destroy
 * @param msg  `PATH: reason`, or `PATH:LINE:COLUMN: reason`
 * @return     0, FAIL_CONFIG or -ENOMEM
 */
int config_yaml_load(
	struct config_yaml_node **out, const char *path, struct message *msg) MUST_CHECK;

/** The same for text in memory; `name` stands for the path in messages. */
int config_yaml_decode(struct config_yaml_node **out, const char *name, const void *text,
	size_t size, struct message *msg) MUST_CHECK;

/** Releases a tree; accepts NULL. */
void config_yaml_destroy(struct config_yaml_node *root);

/**
 * Reads a whole file of at most `max_bytes` and ends it with a NUL byte.
 *
 * @param out   the contents, to be freed by the caller
 * @param size  without the NUL byte
 * @param msg   `reason`, without the path
 * @return      0, FAIL_CONFIG or -ENOMEM
 */
int config_yaml_read_file(char **out, size_t *size, const char *path, size_t max_bytes,
	struct message *msg) MUST_CHECK;
