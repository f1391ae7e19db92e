#include "sensor/cursor.h"

#include <jansson.h>
#include <stdio.h>

#include "schemas/base/json.h"

void cursor_encode(const struct cursor *cursor, struct buffer *out)
{
	json_open(out, '{');
	json_member_int(out, "entry", cursor->entry);
	json_member_text(out, "instance", cursor->instance);
	json_member_int(out, "boot", cursor->boot);
	json_member_int(out, "interval_to_ns", cursor->interval_to_ns);
	json_member_text(out, "spool", cursor->spool);
	json_member_int(out, "spool_sequence", cursor->spool_sequence);
	json_member_int(out, "run", cursor->run);
	json_member_int(out, "run_first_entry", cursor->run_first_entry);
	json_member_bool(out, "finished", cursor->is_finished);
	json_member_text(out, "settings", cursor->settings);
	json_close(out, '}');
}

static void copy_member(const json_t *json, const char *key, char *out, size_t size)
{
	const char *text = json_string_value(json_object_get(json, key));

	snprintf(out, size, "%s", text != NULL ? text : "");
}

static int64_t integer_member(const json_t *json, const char *key)
{
	return json_integer_value(json_object_get(json, key));
}

int cursor_decode(struct cursor *out, struct bytes value)
{
	json_t *json;

	*out = (struct cursor){ .entry = -1 };
	if (value.size == 0)
		return 0;
	json = json_loadb((const char *)value.data, value.size, 0, NULL);
	if (!json_is_object(json) || !json_is_integer(json_object_get(json, "entry"))) {
		json_decref(json);
		return FAIL_FORMAT;
	}
	out->exists = true;
	out->entry = integer_member(json, "entry");
	out->boot = integer_member(json, "boot");
	out->interval_to_ns = integer_member(json, "interval_to_ns");
	out->run = integer_member(json, "run");
	out->run_first_entry = integer_member(json, "run_first_entry");
	out->is_finished = json_is_true(json_object_get(json, "finished"));
	out->spool_sequence = integer_member(json, "spool_sequence");
	copy_member(json, "spool", out->spool, sizeof(out->spool));
	copy_member(json, "instance", out->instance, sizeof(out->instance));
	copy_member(json, "settings", out->settings, sizeof(out->settings));
	json_decref(json);
	return 0;
}

static bool has_line(const char *lines, const char *line, size_t size)
{
	while (*lines != '\0') {
		size_t length = strcspn(lines, "\n");

		if (length == size && memcmp(lines, line, size) == 0)
			return true;
		lines += length + (lines[length] == '\n');
	}
	return false;
}

bool cursor_settings_differ(
	const struct cursor *cursor, const char *settings, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	while (*settings != '\0') {
		size_t length = strcspn(settings, "\n");

		if (!has_line(cursor->settings, settings, length) && used < size) {
			int name = (int)strcspn(settings, "=\n");
			int added = snprintf(out + used, size - used, "%s%.*s",
				used > 0 ? ", " : "", name, settings);

			used += added > 0 ? (size_t)added : 0;
		}
		settings += length + (settings[length] == '\n');
	}
	return used > 0;
}
