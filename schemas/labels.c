#include "schemas/labels.h"

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
	return number < TOOL_COUNT ? tool_names[number] : NULL;
}

const char *payload_name(unsigned number)
{
	return number < PAYLOAD_COUNT ? payload_names[number] : NULL;
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
