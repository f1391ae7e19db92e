#include "schemas/base/options_secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/config_yaml.h"
#include "schemas/base/options_table.h"

#define SECRET_BYTES_MAX 65536 /* a private key in PEM has a few thousand */

/* Parts of a property's name that mark its value as a secret. */
static const char *const secret_parts[] = { "password", "secret", "oauth", ".key" };

/* Does a part of a secret's name begin within the first `size` bytes? */
static bool names_secret(const char *text, size_t size)
{
	for (size_t i = 0; i < sizeof(secret_parts) / sizeof(secret_parts[0]); i++) {
		const char *found = strcasestr(text, secret_parts[i]);

		if (found != NULL && (size_t)(found - text) < size)
			return true;
	}
	return false;
}

bool config_is_secret_property(const char *key)
{
	return names_secret(key, strlen(key));
}

/* The part of a Redis URL that names user and password; NULL when there is none. */
static const char *find_userinfo(const char *url, size_t *size)
{
	const char *scheme = strstr(url, "://");
	const char *start = scheme != NULL ? scheme + 3 : url;
	const char *end =
		strrchr(start, '@'); /* the last: a password may contain the sign itself */

	if (end == NULL || options_has_prefix(url, "unix://"))
		return NULL;
	*size = (size_t)(end - start);
	return start;
}

/* Overwrites what must not stand in process lists; the configuration has its own copy by now. */
void options_wipe_secrets(enum option_id id, const char *key, bool from_file, char *text)
{
	size_t size = 0;
	const char *userinfo;
	const char *colon;

	if (from_file)
		return;
	if (options_rows[id].type == TYPE_SECRET || (key != NULL && config_is_secret_property(key)))
		memset(text, 'x', strlen(text));
	userinfo = id == OPT_REDIS_URL ? find_userinfo(text, &size) : NULL;
	if (userinfo == NULL)
		return;
	colon = memchr(userinfo, ':', size);
	if (colon == NULL) /* no user: all of it is the password */
		memset(text + (userinfo - text), 'x', size);
	else
		memset(text + (colon + 1 - text), 'x', size - (size_t)(colon + 1 - userinfo));
}

/* A secret from a file, without the line end that editors leave. */
int options_read_secret(char **out, const char *path, struct message *why)
{
	struct message reason = { "" };
	char *text = NULL;
	size_t size = 0;
	int rc = config_yaml_read_file(&text, &size, path, SECRET_BYTES_MAX, &reason);

	if (rc == 0 && strlen(text) != size) {
		message_set(&reason, "contains a NUL byte");
		rc = FAIL_CONFIG;
	}
	if (rc == 0) {
		if (size > 0 && text[size - 1] == '\n')
			text[--size] = '\0';
		if (size > 0 && text[size - 1] == '\r')
			text[--size] = '\0';
	}
	if (rc == 0 && size == 0) {
		message_set(&reason, "is empty");
		rc = FAIL_CONFIG;
	}
	if (rc != 0) {
		message_set(why, "%.300s: %.200s", path, reason.text);
		free(text);
		return rc;
	}
	*out = text;
	return 0;
}

const char *config_redacted(enum option_id id, const char *value, char *buf, size_t size)
{
	const char *text = value != NULL ? value : "";
	const char *equals = options_rows[id].type == TYPE_MAP ? strchr(text, '=') : NULL;
	size_t hidden = 0;
	const char *userinfo = id == OPT_REDIS_URL ? find_userinfo(text, &hidden) : NULL;

	snprintf(buf, size, "%s", text);
	if (options_rows[id].type == TYPE_SECRET && text[0] != '\0')
		snprintf(buf, size, "***");
	if (userinfo != NULL)
		snprintf(buf, size, "%.*s***%s", (int)(userinfo - text), text, userinfo + hidden);
	if (equals != NULL && names_secret(text, (size_t)(equals - text)))
		snprintf(buf, size, "%.*s=***", (int)(equals - text), text);
	return buf;
}
