#include "schemas/labels.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLASS(number, ident, name, role) [number] = name,
static const char *const class_names[CLASS_COUNT] = {
#include "schemas/labels.def"
};

#define CLASS(number, ident, name, role) [number] = ROLE_##role,
static const uint8_t class_roles[CLASS_COUNT] = {
#include "schemas/labels.def"
};

#define ROLE(number, ident, name) [number] = name,
static const char *const role_names[ROLE_COUNT] = {
#include "schemas/labels.def"
};

#define TOOL(number, ident, name) [number] = name,
static const char *const tool_names[TOOL_COUNT] = {
#include "schemas/labels.def"
};

#define PAYLOAD(number, ident, name) [number] = name,
static const char *const payload_names[PAYLOAD_COUNT] = {
#include "schemas/labels.def"
};

#define PROTOCOL(number, ident, name) [number] = name,
static const char *const protocol_names[256] = {
#include "schemas/labels.def"
};

/* Names of numbers that have no row (yet). */
#define NAME(number) "unknown-" #number
#define TEN(tens)                                                                                  \
	NAME(tens##0), NAME(tens##1), NAME(tens##2), NAME(tens##3), NAME(tens##4), NAME(tens##5),  \
		NAME(tens##6), NAME(tens##7), NAME(tens##8), NAME(tens##9)
#define HUNDRED(hundreds)                                                                          \
	TEN(hundreds##0), TEN(hundreds##1), TEN(hundreds##2), TEN(hundreds##3), TEN(hundreds##4),  \
		TEN(hundreds##5), TEN(hundreds##6), TEN(hundreds##7), TEN(hundreds##8),            \
		TEN(hundreds##9)
static const char unknown_names[][sizeof("unknown-255")] = { TEN(), TEN(1), TEN(2), TEN(3), TEN(4),
	TEN(5), TEN(6), TEN(7), TEN(8), TEN(9), HUNDRED(1), TEN(20), TEN(21), TEN(22), TEN(23),
	TEN(24), NAME(250), NAME(251), NAME(252), NAME(253), NAME(254), NAME(255) };
#undef NAME
#undef TEN
#undef HUNDRED

#define NUMBERS 256 /* of a label in a flow record */
#define MARKS	64  /* bits of a set */

static_assert(sizeof(unknown_names) / sizeof(unknown_names[0]) == NUMBERS, "a name each");

static const char *unknown_name(unsigned number)
{
	return number < NUMBERS ? unknown_names[number] : NULL;
}

const char *class_name(unsigned number)
{
	return number < CLASS_COUNT ? class_names[number] : NULL;
}

const char *role_name(unsigned number)
{
	return number < ROLE_COUNT ? role_names[number] : NULL;
}

const char *tool_name(unsigned number)
{
	return number < TOOL_COUNT ? tool_names[number] : unknown_name(number);
}

const char *payload_name(unsigned number)
{
	return number < PAYLOAD_COUNT ? payload_names[number] : unknown_name(number);
}

const char *mark_name(unsigned bit)
{
	return bit < MARKS ? unknown_name(bit) : NULL; /* none has a row yet */
}

enum role role_of_class(unsigned number)
{
	return (enum role)class_roles[number];
}

const char *protocol_name(uint8_t protocol, char out[PROTOCOL_TEXT_BYTES])
{
	const char *name = protocol_names[protocol];

	if (name != NULL)
		snprintf(out, PROTOCOL_TEXT_BYTES, "%s", name);
	else
		snprintf(out, PROTOCOL_TEXT_BYTES, "%u", protocol);
	return out;
}

int protocol_number(const char *text)
{
	char *end;
	unsigned long number;

	for (unsigned i = 0; i < 256; i++)
		if (protocol_names[i] != NULL && strcmp(protocol_names[i], text) == 0)
			return (int)i;
	number = strtoul(text, &end, 10);
	return *text != '\0' && *end == '\0' && number < 256 ? (int)number : -1;
}

const char *protocol_text(unsigned ip_version, uint8_t protocol, char out[PROTOCOL_TEXT_BYTES])
{
	const char *name = protocol_names[protocol];
	const char *family = ip_version == 6 ? "ipv6" : "ipv4";

	if (name != NULL)
		snprintf(out, PROTOCOL_TEXT_BYTES, "%s/%s", family, name);
	else
		snprintf(out, PROTOCOL_TEXT_BYTES, "%s/%u", family, protocol);
	return out;
}

bool protocol_is_icmp(uint8_t protocol)
{
	return protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMP6;
}

const char *service_text(uint8_t protocol, int32_t service_port, char out[SERVICE_TEXT_BYTES])
{
	char name[PROTOCOL_TEXT_BYTES];
	unsigned port = (unsigned)service_port & 0xffff;

	protocol_name(protocol, name);
	if (service_port < 0)
		snprintf(out, SERVICE_TEXT_BYTES, "%s/-", name);
	else if (protocol_is_icmp(protocol) && service_port >= SERVICE_TYPE_ONLY)
		snprintf(out, SERVICE_TEXT_BYTES, "%s/%u/-", name, port >> 8);
	else if (protocol_is_icmp(protocol))
		snprintf(out, SERVICE_TEXT_BYTES, "%s/%u/%u", name, port >> 8, port & 0xff);
	else
		snprintf(out, SERVICE_TEXT_BYTES, "%s/%u", name, port);
	return out;
}
