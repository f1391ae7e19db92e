#include "collector/view.h"

#include <stddef.h>
#include <string.h>

static const struct view views[] = {
	{ "count", view_count_run },
	{ "enrich", view_enrich_run },
	{ "watch", view_watch_run },
};

const struct view *view_find(const char *name)
{
	for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++)
		if (strcmp(views[i].name, name) == 0)
			return &views[i];
	return NULL;
}
