#include "collector/audit_findings.h"

#include <stdarg.h>
#include <stdio.h>

PRINTF_LIKE(5, 0)
static void add(struct audit_findings *findings, const struct audit_subject *subject,
	int64_t expected, int64_t found, const char *format, va_list arguments)
{
	struct audit_finding *finding;

	findings->total++;
	if (findings->count == FINDINGS_SHOWN)
		return;
	finding = &findings->items[findings->count++];
	*finding = (struct audit_finding){
		.minute_ms = subject->minute_ms, .expected = expected, .found = found
	};
	if (subject->sensor != NULL)
		snprintf(finding->sensor, sizeof(finding->sensor), "%s", subject->sensor);
	if (subject->timeline != NULL)
		snprintf(finding->timeline, sizeof(finding->timeline), "%s", subject->timeline);
	vsnprintf(finding->what, sizeof(finding->what), format, arguments);
}

void audit_finding_add(struct audit_findings *findings, const struct audit_subject *subject,
	int64_t expected, int64_t found, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	add(findings, subject, expected, found, format, arguments);
	va_end(arguments);
}

bool audit_finding_unless_equal(struct audit_findings *findings,
	const struct audit_subject *subject, int64_t expected, int64_t found, const char *format,
	...)
{
	va_list arguments;

	if (expected == found)
		return true;
	va_start(arguments, format);
	add(findings, subject, expected, found, format, arguments);
	va_end(arguments);
	return false;
}
