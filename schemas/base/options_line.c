#include "schemas/base/options_line.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/nearest.h"
#include "schemas/base/options_secret.h"

struct line {
	struct config *config;
	char **words;
	int count;
	int at; /* the word to be read next */
	struct message *msg;
};

/* -, -5 and +09:00 are values; -x and --long are options. */
static bool looks_like_option(const char *word)
{
	return word[0] == '-' && (isalpha((unsigned char)word[1]) || word[1] == '-');
}

/* Takes ownership of the texts in `made`, whatever happens. */
static int take_setting(struct config *config, struct setting made)
{
	struct setting *settings =
		realloc(config->settings, (config->setting_count + 1) * sizeof(*settings));

	if (settings != NULL)
		config->settings = settings;
	if (settings == NULL || made.text == NULL || made.place == NULL) {
		options_setting_fini(&made);
		return -ENOMEM;
	}
	settings[config->setting_count++] = made;
	return 0;
}

/* Judges a value on its own and keeps it. `place` is how the user named the option. */
static int add_setting(struct line *line, enum option_id id, const char *place, const char *key,
	bool from_file, char *text)
{
	struct message why = { "" };
	struct value scratch = { 0 };
	int rc = 0;

	if (options_rows[id].type == TYPE_SECRET && !from_file) {
		char variable[80];

		options_wipe_secrets(id, key, from_file, text);
		message_set(line->msg,
			"%s: a secret is not taken from the command line, where process lists show "
			"it; "
			"use %s" FILE_SUFFIX " or the environment variable %s",
			place, options_rows[id].key,
			options_variable_name(variable, sizeof(variable), &options_rows[id]));
		return FAIL_USAGE;
	}
	if (from_file)
		rc = key != NULL ? options_check_property(key, &why)
				 : options_check_not_empty(text, &why);
	else
		rc = options_value_put(&scratch, id, LAYER_LINE, place, key, text, &why);
	options_value_fini(&scratch);
	if (rc == 0)
		rc = take_setting(line->config, (struct setting){ .id = id,
							.from_file = from_file,
							.key = key != NULL ? strdup(key) : NULL,
							.text = strdup(text),
							.place = strdup(place) });
	options_wipe_secrets(id, key, from_file, text);
	if (rc == 0 || rc == -ENOMEM)
		return rc;
	message_set(line->msg, "%.150s: %.440s", place, why.text);
	return FAIL_USAGE;
}

static int fail_unknown_key(struct line *line, const char *name)
{
	struct nearest nearest;
	const char *best = options_find_key_anywhere(name); /* the section forgotten */
	char meant[80];

	nearest_init(&nearest, name);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (options_rows[i].key != NULL)
			nearest_offer(&nearest, options_rows[i].key);
	}
	if (best == NULL)
		best = nearest_best(&nearest);
	message_set(line->msg, "--set: unknown key %.64s%s", name,
		options_suggestion(meant, sizeof(meant), best));
	return FAIL_USAGE;
}

/* kafka.properties.KEY[_file]=VALUE */
static int set_pair(struct line *line, const char *place, const char *name, char *text)
{
	char *key = strdup(name + strlen(options_rows[OPT_KAFKA_PROPERTIES].key) + 1);
	bool from_file;
	int rc;

	if (key == NULL)
		return -ENOMEM;
	from_file = options_cut_file_suffix(key);
	rc = add_setting(line, OPT_KAFKA_PROPERTIES, place, key, from_file, text);
	free(key);
	return rc;
}

/* `name` is KEY, `text` points at VALUE inside the word. */
static int set_key(struct line *line, const char *name, char *text)
{
	static const char map_key[] = "kafka.properties";
	enum option_id id = options_find_key(name);
	enum option_id secret = options_find_secret_file_key(name);
	char place[160];

	snprintf(place, sizeof(place), "--set %.140s", name);
	if (id == OPT_KAFKA_PROPERTIES) {
		message_set(line->msg, "--set %s: write kafka.properties.KEY=VALUE", name);
		return FAIL_USAGE;
	}
	if (id < OPTION_COUNT)
		return add_setting(line, id, place, NULL, false, text);
	if (secret < OPTION_COUNT)
		return add_setting(line, secret, place, NULL, true, text);
	if (options_has_prefix(name, map_key) && name[strlen(map_key)] == '.')
		return set_pair(line, place, name, text);
	return fail_unknown_key(line, name);
}

static int parse_set(struct line *line, char *word)
{
	char *equals = strchr(word, '=');
	char *name;
	int rc;

	if (equals == NULL || equals == word) {
		message_set(line->msg, "--set %.*s: KEY=VALUE expected", SHOWN_CHARS, word);
		return FAIL_USAGE;
	}
	name = strndup(word, (size_t)(equals - word));
	if (name == NULL)
		return -ENOMEM;
	rc = set_key(line, name, equals + 1);
	free(name);
	return rc;
}

static const char *program_with_flag(const char *word)
{
	for (size_t i = 0; i < PROGRAMS; i++) {
		if (options_find_flag(word, options_programs[i].program) < OPTION_COUNT)
			return options_programs[i].name;
	}
	return NULL;
}

/* The flag that was meant: by spelling, a long one with one dash, or a letter and its value. */
static const char *nearest_flag(const char *word, unsigned program)
{
	struct nearest nearest;
	char letter[3] = { word[0], word[1], '\0' };
	char with_dash[SHOWN_CHARS];

	snprintf(with_dash, sizeof(with_dash), "%s%s", word[1] != '-' ? "-" : "", word);
	if (strlen(word) == strlen(letter)) /* a letter has no spelling to get wrong */
		return NULL;
	nearest_init(&nearest, with_dash);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (options_rows[i].flag != NULL && (options_rows[i].programs & program) != 0)
			nearest_offer(&nearest, options_rows[i].flag);
	}
	if (nearest_best(&nearest) != NULL)
		return nearest_best(&nearest);
	if (word[1] != '-' && options_find_flag(letter, program) < OPTION_COUNT)
		return options_rows[options_find_flag(letter, program)].letter;
	return NULL;
}

static int fail_unknown_flag(struct line *line, const char *word)
{
	const char *other = program_with_flag(word);
	const char *best = nearest_flag(word, line->config->program->program);
	char meant[80];

	if (other != NULL)
		message_set(line->msg, "unknown option %.*s (%s has it)%s", SHOWN_CHARS, word,
			other, options_suggestion(meant, sizeof(meant), best));
	else if (best != NULL && word[1] != '-' && best[1] != '-')
		message_set(line->msg, "unknown option %.*s, did you mean %s %.*s?", SHOWN_CHARS,
			word, best, SHOWN_CHARS, word + 2);
	else
		message_set(line->msg, "unknown option %.*s%s", SHOWN_CHARS, word,
			options_suggestion(meant, sizeof(meant), best));
	return FAIL_USAGE;
}

/* All words up to the next option; at least one. */
static int parse_words(struct line *line, enum option_id id, const char *flag, char *attached)
{
	int rc = attached != NULL ? add_setting(line, id, flag, NULL, false, attached) : 0;
	int first = line->at;

	while (rc == 0 && line->at < line->count && !looks_like_option(line->words[line->at]))
		rc = add_setting(line, id, flag, NULL, false, line->words[line->at++]);
	if (rc != 0 || attached != NULL || line->at > first)
		return rc;
	message_set(line->msg, "%s: %s is missing", flag, options_rows[id].unit);
	return FAIL_USAGE;
}

static int parse_value(struct line *line, enum option_id id, const char *flag, char *attached)
{
	char *text = attached;

	if (text == NULL && line->at < line->count && !looks_like_option(line->words[line->at]))
		text = line->words[line->at++];
	if (text == NULL) {
		message_set(line->msg,
			"%s: %s is missing (a value that begins with a dash is written %s=VALUE)",
			flag, options_rows[id].unit, options_rows[id].flag);
		return FAIL_USAGE;
	}
	return id == OPT_SET ? parse_set(line, text)
			     : add_setting(line, id, flag, NULL, false, text);
}

static int parse_flag(struct line *line, const char *flag, char *attached)
{
	enum option_id id = options_find_flag(flag, line->config->program->program);
	char yes[] = "true";

	if (id == OPTION_COUNT)
		return fail_unknown_flag(line, flag);
	if (options_rows[id].type == TYPE_WORDS)
		return parse_words(line, id, flag, attached);
	if (options_rows[id].type != TYPE_BOOL)
		return parse_value(line, id, flag, attached);
	if (attached != NULL) {
		message_set(
			line->msg, "%s=%.*s: %s takes no value", flag, SHOWN_CHARS, attached, flag);
		return FAIL_USAGE;
	}
	return add_setting(line, id, flag, NULL, false, yes);
}

static int parse_word(struct line *line)
{
	char *word = line->words[line->at++];
	char *equals = options_has_prefix(word, "--") ? strchr(word, '=') : NULL;
	char shown[SHOWN_CHARS + 1];
	char *flag;
	int rc;

	if (!looks_like_option(word) || strcmp(word, "--") == 0) {
		/* a URL whose --redis was forgotten is still a URL */
		message_set(line->msg, "unexpected word '%s'",
			config_redacted(OPT_REDIS_URL, word, shown, sizeof(shown)));
		return FAIL_USAGE;
	}
	flag = equals != NULL ? strndup(word, (size_t)(equals - word)) : strdup(word);
	if (flag == NULL)
		return -ENOMEM;
	rc = parse_flag(line, flag, equals != NULL ? equals + 1 : NULL);
	free(flag);
	return rc;
}

int options_parse_line(struct config *config, int argc, char **argv, struct message *msg)
{
	struct line line = { .config = config, .words = argv, .count = argc, .at = 1, .msg = msg };
	int rc = 0;

	while (line.at < line.count && rc == 0)
		rc = parse_word(&line);
	return rc;
}
