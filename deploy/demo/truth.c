#include "deploy/demo/truth.h"

#include <inttypes.h>
#include <stdlib.h>

#include "deploy/demo/address_set.h"

#define PORTS	       65536
#define SERVICES       (PORTS + 1) /* the last for none */
#define ENOUGH_PACKETS 3	   /* for a source's tool, 1 if it sent fewer probes */

struct source {
	uint32_t packets, probes;
	uint32_t by_tool[DEMO_TOOLS];
	uint64_t first_seen[DEMO_TOOLS];
};

struct truth {
	uint64_t frames, fates[NON_IP + 1];
	uint64_t wire_bytes, first_ns, last_ns;
	uint64_t per_protocol[2][256];
	uint64_t per_class[DEMO_CLASSES];
	uint64_t per_tool[DEMO_TOOLS];
	uint64_t *per_port[256];
	uint64_t *per_service[DEMO_ROLES][256];
	struct source *sources;
	size_t source_count;
	struct address_set destinations;
	uint64_t start_s, *per_minute;
	uint32_t minutes;
};

struct truth *truth_create(size_t sources, uint64_t start_s, uint32_t minutes)
{
	struct truth *truth = calloc(1, sizeof(*truth));

	if (truth == NULL)
		return NULL;
	truth->source_count = sources;
	truth->sources = calloc(sources, sizeof(*truth->sources));
	truth->start_s = start_s;
	truth->minutes = minutes;
	truth->per_minute = calloc(minutes, sizeof(*truth->per_minute));
	if (truth->sources == NULL || truth->per_minute == NULL) {
		truth_destroy(truth);
		return NULL;
	}
	return truth;
}

void truth_destroy(struct truth *truth)
{
	if (truth == NULL)
		return;
	for (unsigned protocol = 0; protocol < 256; protocol++) {
		free(truth->per_port[protocol]);
		for (unsigned role = 0; role < DEMO_ROLES; role++)
			free(truth->per_service[role][protocol]);
	}
	address_set_fini(&truth->destinations);
	free(truth->per_minute);
	free(truth->sources);
	free(truth);
}

static int add(uint64_t **table, size_t size, size_t index)
{
	if (*table == NULL)
		*table = calloc(size, sizeof(**table));
	if (*table == NULL)
		return -1;
	(*table)[index]++;
	return 0;
}

static void count_source(struct source *source, const struct plan *plan, uint64_t frame)
{
	source->packets++;
	if (role_of(plan->class) != PROBE)
		return;
	source->probes++;
	if (source->by_tool[plan->tool]++ == 0)
		source->first_seen[plan->tool] = frame;
}

int truth_count(struct truth *truth, const struct plan *plan, uint32_t wire_bytes)
{
	size_t service = plan->service == NO_SERVICE ? PORTS : (size_t)plan->service;

	truth->frames++;
	truth->fates[plan->fate]++;
	if (plan->fate != COUNTED)
		return 0;
	truth->wire_bytes += wire_bytes;
	if (truth->fates[COUNTED] == 1)
		truth->first_ns = plan->time_ns;
	truth->last_ns = plan->time_ns;
	truth->per_protocol[plan->version == 6][plan->protocol]++;
	truth->per_class[plan->class]++;
	truth->per_tool[plan->tool]++;
	truth->per_minute[(plan->time_ns / 1000000000 - truth->start_s) / 60]++;
	count_source(&truth->sources[plan->source], plan, truth->frames);
	if (plan->has_ports && add(&truth->per_port[plan->protocol], PORTS, plan->dst_port) != 0)
		return -1;
	if (add(&truth->per_service[role_of(plan->class)][plan->protocol], SERVICES, service) != 0)
		return -1;
	return address_set_add(&truth->destinations, plan->version, plan->dst) < 0 ? -1 : 0;
}

/* At least half of its probes and enough of them; of two with half each, the one seen first. */
static enum demo_tool tool_of(const struct source *source)
{
	uint32_t enough = source->probes < ENOUGH_PACKETS ? 1 : ENOUGH_PACKETS;
	enum demo_tool best = NO_TOOL;

	for (enum demo_tool tool = MIRAI; tool < DEMO_TOOLS; tool++) {
		uint32_t packets = source->by_tool[tool];

		if (packets < enough || packets < source->probes - packets)
			continue;
		if (best == NO_TOOL || packets > source->by_tool[best] ||
			(packets == source->by_tool[best] &&
				source->first_seen[tool] < source->first_seen[best]))
			best = tool;
	}
	return best;
}

static void print_member(
	FILE *out, const char **comma, const char *name, const char *detail, uint64_t value)
{
	if (value == 0)
		return;
	fprintf(out, "%s\"%s%s\":%" PRIu64, *comma, name, detail, value);
	*comma = ",";
}

static void print_sources(const struct truth *truth, FILE *out)
{
	uint64_t by_tool[DEMO_TOOLS] = { 0 }, without_probes = 0, all = 0;
	const char *comma = "";

	for (size_t i = 0; i < truth->source_count; i++) {
		const struct source *source = &truth->sources[i];

		all += source->packets > 0;
		without_probes += source->packets > 0 && source->probes == 0;
		if (source->probes > 0)
			by_tool[tool_of(source)]++;
	}
	fputs(",\"sources_by_tool\":{", out);
	print_member(out, &comma, "n/a", "", without_probes);
	for (unsigned tool = 0; tool < DEMO_TOOLS; tool++)
		print_member(out, &comma, tool_text((enum demo_tool)tool), "", by_tool[tool]);
	fprintf(out, "},\"unique_sources\":%" PRIu64 ",\"unique_destinations\":%zu", all,
		truth->destinations.count);
}

static void print_protocols(const struct truth *truth, FILE *out)
{
	char text[LABEL_TEXT_BYTES];
	const char *comma = "";

	fputs(",\"per_protocol\":{", out);
	for (unsigned family = 0; family < 2; family++)
		for (unsigned i = 0; i < 256; i++)
			print_member(out, &comma, family == 0 ? "ipv4/" : "ipv6/",
				protocol_name_text((uint8_t)i, text),
				truth->per_protocol[family][i]);
	fputc('}', out);
}

static void print_ports(const struct truth *truth, FILE *out)
{
	char text[LABEL_TEXT_BYTES], detail[LABEL_TEXT_BYTES];
	const char *comma = "";

	fputs(",\"per_proto_dport\":{", out);
	for (unsigned protocol = 0; protocol < 256; protocol++)
		for (unsigned port = 0; truth->per_port[protocol] != NULL && port < PORTS; port++) {
			snprintf(detail, sizeof(detail), "/%u", port);
			print_member(out, &comma, protocol_name_text((uint8_t)protocol, text),
				detail, truth->per_port[protocol][port]);
		}
	fputc('}', out);
}

static void print_services_of(uint64_t *const *tables, FILE *out)
{
	char text[LABEL_TEXT_BYTES], detail[LABEL_TEXT_BYTES];
	const char *comma = "";

	for (unsigned protocol = 0; protocol < 256; protocol++)
		for (unsigned service = 0; tables[protocol] != NULL && service < SERVICES;
			service++) {
			if (service == PORTS)
				snprintf(detail, sizeof(detail), "/-");
			else if (protocol == ICMP || protocol == ICMP6)
				snprintf(detail, sizeof(detail), "/%u/%u", service >> 8,
					service & 0xff);
			else
				snprintf(detail, sizeof(detail), "/%u", service);
			print_member(out, &comma, protocol_name_text((uint8_t)protocol, text),
				detail, tables[protocol][service]);
		}
}

static void print_services(const struct truth *truth, FILE *out)
{
	fputs(",\"per_service\":", out);
	for (unsigned role = 0; role < DEMO_ROLES; role++) {
		fprintf(out, "%c\"%s\":{", role == 0 ? '{' : ',', role_text((enum demo_role)role));
		print_services_of(truth->per_service[role], out);
		fputc('}', out);
	}
	fputc('}', out);
}

static void print_labels(const struct truth *truth, FILE *out)
{
	const char *comma = "";

	fputs(",\"per_class\":{", out);
	for (unsigned i = 0; i < DEMO_CLASSES; i++)
		print_member(out, &comma, class_text((enum demo_class)i), "", truth->per_class[i]);
	fputs("},\"per_fingerprint\":{", out);
	comma = "";
	for (unsigned i = 0; i < DEMO_TOOLS; i++)
		print_member(out, &comma, tool_text((enum demo_tool)i), "", truth->per_tool[i]);
	fputc('}', out);
}

static void print_minutes(const struct truth *truth, FILE *out)
{
	const char *comma = "";

	fputs(",\"per_minute\":[", out);
	for (uint32_t i = 0; i < truth->minutes; i++) {
		if (truth->per_minute[i] == 0)
			continue;
		fprintf(out, "%s[%" PRIu64 ",%" PRIu64 "]", comma,
			truth->start_s + i * UINT64_C(60), truth->per_minute[i]);
		comma = ",";
	}
	fputc(']', out);
}

static void print_time(FILE *out, const char *name, uint64_t counted, uint64_t time_ns)
{
	if (counted == 0)
		fprintf(out, ",\"%s\":null", name);
	else
		fprintf(out, ",\"%s\":%" PRIu64, name, time_ns);
}

void truth_print(const struct truth *truth, FILE *out)
{
	uint64_t counted = truth->fates[COUNTED];

	fprintf(out,
		"{\"frames\":%" PRIu64 ",\"non_ip\":%" PRIu64 ",\"malformed\":%" PRIu64
		",\"not_dark\":%" PRIu64,
		truth->frames, truth->fates[NON_IP], truth->fates[MALFORMED],
		truth->fates[NOT_DARK]);
	fprintf(out, ",\"counted\":%" PRIu64 ",\"wire_bytes\":%" PRIu64, counted,
		truth->wire_bytes);
	print_time(out, "first_ns", counted, truth->first_ns);
	print_time(out, "last_ns", counted, truth->last_ns);
	print_protocols(truth, out);
	print_ports(truth, out);
	print_labels(truth, out);
	print_services(truth, out);
	print_sources(truth, out);
	print_minutes(truth, out);
	fputs("}\n", out);
}
