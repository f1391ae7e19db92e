#include "schemas/base/options_layers.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define PAGE_COLUMNS 100
#define HELP_COLUMN  36
#define HELP_INDENT  "                                    " /* as wide */
static_assert(sizeof(HELP_INDENT) == HELP_COLUMN + 1, "help texts are aligned");

/* Prints words from column `at` on, going to a new line with `indent` where they do not fit. */
static void print_wrapped(FILE *out, const char *indent, size_t at, const char *text)
{
	bool is_first = true;

	while (*text != '\0') {
		size_t size = strcspn(text, " ");

		if (!is_first && at + 1 + size > PAGE_COLUMNS) {
			fprintf(out, "\n%s", indent);
			at = strlen(indent);
			is_first = true;
		}
		fprintf(out, "%s%.*s", is_first ? "" : " ", (int)size, text);
		at += size + (is_first ? 0 : 1);
		is_first = false;
		text += size;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}

/* "1 to 64; default 1", as far as it says something. */
static const char *describe(char *buf, size_t size, const struct option_row *row)
{
	char min[32];
	char max[32];
	char standard[32];
	uint64_t number = 0;

	buf[0] = '\0';
	if (options_is_quantity(row->type)) {
		if (options_parse_quantity(row->standard, row->type, &number) == 0)
			snprintf(buf, size, "%s to %s; default %s",
				options_format_quantity(min, sizeof(min), row->type, row->min),
				options_format_quantity(max, sizeof(max), row->type, row->max),
				options_format_quantity(
					standard, sizeof(standard), row->type, number));
	} else if (row->type == TYPE_NAME) {
		snprintf(buf, size, "%llu to %llu of A-Z a-z 0-9 . _ -%s%s",
			(unsigned long long)row->min, (unsigned long long)row->max,
			row->standard != NULL ? "; default " : "",
			row->standard != NULL ? row->standard : "");
	} else if (row->standard != NULL && strcmp(row->standard, "false") != 0) {
		snprintf(buf, size, "default %s", row->standard);
	}
	return buf;
}

/* What stands behind the flag: nothing, `FILE...`, `PREFIX[,...]`, `THREADS`. */
static const char *argument(char *buf, size_t size, const struct option_row *row)
{
	const char *more = "";

	buf[0] = '\0';
	if (row->type == TYPE_WORDS)
		more = "...";
	if (row->type == TYPE_LIST || row->type == TYPE_JOINED)
		more = "[,...]";
	if (row->type == TYPE_BOOL)
		snprintf(buf, size, "%s", row->flag != NULL ? "" : " true|false");
	else if (row->unit != NULL)
		snprintf(buf, size, " %s%s", row->unit, more);
	return buf;
}

/* `--max-flows` says max_flows by itself; `--redis` does not say redis.url. */
static bool flag_tells_key(const struct option_row *row)
{
	const char *key = row->key != NULL ? strchr(row->key, '.') : NULL;
	const char *flag = row->flag;

	if (key == NULL || flag == NULL)
		return true;
	key++;
	flag += 2;
	while (*key != '\0' && (*key == *flag || (*key == '_' && *flag == '-'))) {
		key++;
		flag++;
	}
	return *key == '\0' && *flag == '\0';
}

static void print_row(FILE *out, const struct option_row *row)
{
	char left[120];
	char unit[80];
	char facts[160];
	char text[600];
	const char *letter = row->letter != NULL ? row->letter : "";
	int at;

	argument(unit, sizeof(unit), row);
	describe(facts, sizeof(facts), row);
	if (row->flag != NULL)
		snprintf(left, sizeof(left), "  %2s%c %s%s", letter,
			row->letter != NULL ? ',' : ' ', row->flag, unit);
	else
		snprintf(left, sizeof(left), "      %s%s", row->key, unit);
	if (!flag_tells_key(row)) {
		size_t size = strlen(facts);

		snprintf(facts + size, sizeof(facts) - size, "%skey %s", size > 0 ? "; " : "",
			row->key);
	}
	snprintf(text, sizeof(text), facts[0] != '\0' ? "%s [%s]" : "%s", row->help, facts);
	at = fprintf(out, "%s", left);
	if (at >= HELP_COLUMN)
		fprintf(out, "\n%*s", HELP_COLUMN, "");
	else
		fprintf(out, "%*s", HELP_COLUMN - at, "");
	print_wrapped(out, HELP_INDENT, HELP_COLUMN, text);
}

static void print_section(FILE *out, unsigned program, const struct section *section)
{
	bool has_heading = false;

	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if ((options_rows[i].programs & program) == 0 ||
			!options_is_in_section(&options_rows[i], section->name))
			continue;
		if (!has_heading)
			fprintf(out, "\n%s (%s:)\n", section->title, section->name);
		has_heading = true;
		print_row(out, &options_rows[i]);
	}
}

int config_print_help(const struct config *config, FILE *out)
{
	const struct program_row *program = config->program;

	for (size_t i = 0; i < sizeof(program->usage) / sizeof(program->usage[0]); i++) {
		if (program->usage[i] != NULL)
			fprintf(out, "%s %s %s\n", i == 0 ? "usage:" : "      ", program->name,
				program->usage[i]);
	}
	for (size_t i = 0; i < SECTIONS; i++)
		print_section(out, program->program, &options_sections[i]);
	fprintf(out, "\nGeneral\n");
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (options_rows[i].key == NULL || strchr(options_rows[i].key, '.') == NULL)
			print_row(out, &options_rows[i]);
	}
	fprintf(out,
		"\nNames with a dot are keys: section and key of the file, or --set KEY=VALUE.\n"
		"Exit status: 0 done, 1 failed, 2 usage, 3 configuration.\n");
	return ferror(out) ? -EIO : 0;
}

/* A text that YAML reads back as it is. */
static void print_scalar(FILE *out, const char *text, size_t size)
{
	bool is_plain = size > 0 && (isalnum((unsigned char)text[0]) || text[0] == '/');
	const char *quote = is_plain ? "" : "\"";

	fprintf(out, "%s%.*s%s", quote, (int)size, text, quote);
}

static void print_list(FILE *out, const char *text, char separator)
{
	const char *at = text;
	const char *piece;
	const char *between = "";
	size_t size;

	fputc('[', out);
	while (options_next_piece(&at, separator, &piece, &size)) {
		fputs(between, out);
		print_scalar(out, piece, size);
		between = ", ";
	}
	fputs("]\n", out);
}

/* The default, or where there is none a value of the right form. */
static void print_example_value(FILE *out, const struct option_row *row)
{
	bool has_default = row->standard != NULL && strcmp(row->standard, DEFAULT_HOST_NAME) != 0;
	const char *text = has_default ? row->standard : row->unit;

	if (row->type == TYPE_LIST || row->type == TYPE_JOINED || row->type == TYPE_WORDS) {
		print_list(out, text, ',');
	} else if (row->type == TYPE_MAP) {
		fprintf(out, "\n  #  %s\n", text);
	} else {
		print_scalar(out, text, has_default ? strlen(text) : strcspn(text, "|"));
		fputc('\n', out);
	}
}

static void print_example_row(
	FILE *out, const struct option_row *row, const char *indent, const char *key)
{
	char comment[16];
	char text[600];
	char facts[160];
	char variable[80];
	int at = snprintf(comment, sizeof(comment), "%s# ", indent);

	fprintf(out, "\n%s", comment);
	print_wrapped(out, comment, (size_t)at, row->help);
	describe(facts, sizeof(facts), row);
	snprintf(text, sizeof(text), "%s%s%s%s%s", row->unit != NULL ? row->unit : "true|false",
		facts[0] != '\0' ? "; " : "", facts, row->flag != NULL ? "; " : "",
		row->flag != NULL ? row->flag : "");
	if (row->type == TYPE_SECRET)
		snprintf(text, sizeof(text),
			"%s; or %s" FILE_SUFFIX ": FILE; or the environment variable %s", row->unit,
			key, options_variable_name(variable, sizeof(variable), row));
	fputs(comment, out);
	print_wrapped(out, comment, (size_t)at, text);
	fprintf(out, "%s#%s: ", indent, key);
	print_example_value(out, row);
}

int config_dump_example(FILE *out)
{
	fprintf(out, "# Configuration of Hoshimi, for all its programs: hoshimi-sensor -c FILE.\n"
		     "# Every option stands here with its default, or else with a value of the "
		     "right form.\n"
		     "# To set one, take away the # before its name. Made from "
		     "schemas/base/options.def.\n");
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (options_rows[i].key != NULL && strchr(options_rows[i].key, '.') == NULL)
			print_example_row(out, &options_rows[i], "", options_rows[i].key);
	}
	for (size_t s = 0; s < SECTIONS; s++) {
		size_t skip = strlen(options_sections[s].name) + 1;

		fprintf(out, "\n# ---- %s ----\n%s:\n", options_sections[s].title,
			options_sections[s].name);
		for (size_t i = 0; i < OPTION_COUNT; i++) {
			if (options_is_in_section(&options_rows[i], options_sections[s].name))
				print_example_row(
					out, &options_rows[i], "  ", options_rows[i].key + skip);
		}
	}
	return ferror(out) ? -EIO : 0;
}
