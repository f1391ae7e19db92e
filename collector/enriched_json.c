#include "collector/enriched_json.h"

#include "schemas/base/json.h"

static void json_address(
	struct buffer *out, const char *key, const struct address *address, bool is_known)
{
	char text[ADDRESS_TEXT_BYTES];

	json_member_text(out, key, is_known ? address_text(address, text) : NULL);
}

static void json_labels(struct buffer *out, const struct flow_record *flow)
{
	char protocol[PROTOCOL_TEXT_BYTES], service[SERVICE_TEXT_BYTES];

	json_member_text(out, "class", class_name(flow->class));
	json_member_text(out, "role", role_name(flow->role));
	json_member_text(
		out, "protocol", protocol_text(flow->ip_version, flow->protocol, protocol));
	json_member_text(out, "service", service_text(flow->protocol, flow->service_port, service));
	if (flow->service_port < 0 || flow->service_port >= SERVICE_TYPE_ONLY)
		json_member_null(out, "service_port");
	else
		json_member_int(out, "service_port", flow->service_port);
	json_member_text(out, "tool", tool_name(flow->tool));
	json_key(out, "marks");
	json_open(out, '[');
	for (unsigned bit = 0; flow->marks >> bit != 0; bit++)
		if (flow->marks >> bit & 1)
			json_text(out, mark_name(bit));
	json_close(out, ']');
	json_member_text(out, "payload", payload_name(flow->payload));
}

static void json_quote(struct buffer *out, const struct flow_record *flow)
{
	char name[PROTOCOL_TEXT_BYTES];

	if (flow->quoted_protocol < 0) {
		json_member_null(out, "quoted_protocol");
		json_member_null(out, "quoted_port");
		json_member_null(out, "quoted_match");
		return;
	}
	json_member_text(
		out, "quoted_protocol", protocol_name((uint8_t)flow->quoted_protocol, name));
	if (flow->quoted_port < 0)
		json_member_null(out, "quoted_port");
	else
		json_member_int(out, "quoted_port", flow->quoted_port);
	json_member_bool(out, "quoted_match", flow->quoted_match);
}

static void json_head(
	struct buffer *out, const struct origin *origin, const struct flow_record *flow)
{
	struct address actor = flow_actor(flow), source = flow_source(flow);

	json_member_time(out, "window", flow->window_ms);
	json_member_text(out, "sensor", origin->sensor);
	json_member_text(out, "timeline", origin->timeline);
	json_address(out, "source", &source, !flow->overflow);
	json_address(out, "actor", &actor, !flow->overflow);
	json_labels(out, flow);
	json_quote(out, flow);
	json_member_int(out, "packets", flow->packets);
	json_member_int(out, "bytes", flow->bytes);
	json_member_int(out, "destinations", flow->destinations);
	json_member_time(out, "first", flow->first_us / 1000);
	json_member_time(out, "last", flow->last_us / 1000);
	json_member_bool(out, "overflow", flow->overflow);
}

void enriched_json(struct buffer *out, const struct origin *origin, const struct flow_record *flow,
	const struct geo_answer *geo)
{
	json_open(out, '{');
	json_head(out, origin, flow);
	json_member_text(out, "country", geo->country[0] != '\0' ? geo->country : NULL);
	if (geo->asn != 0)
		json_member_uint(out, "asn", geo->asn);
	else
		json_member_null(out, "asn");
	json_member_text(out, "as_name", geo->as_name[0] != '\0' ? geo->as_name : NULL);
	json_close(out, '}');
}

void flow_json(struct buffer *out, const struct origin *origin, const struct flow_record *flow)
{
	json_open(out, '{');
	json_head(out, origin, flow);
	json_member_int(out, "boot", origin->boot);
	json_member_int(out, "sample_ttl", flow->sample_ttl);
	json_member_int(out, "sample_ip_length", flow->sample_ip_length);
	json_member_int(out, "sample_ip_id", flow->sample_ip_id);
	json_member_bool(out, "sample_df", flow->sample_df);
	json_member_int(out, "sample_source_port", flow->sample_source_port);
	json_member_int(out, "sample_tcp_window", flow->sample_tcp_window);
	json_member_int(out, "sample_tcp_sequence", flow->sample_tcp_sequence);
	json_member_int(out, "sample_tcp_mss", flow->sample_tcp_mss);
	json_key(out, "sample_tcp_options");
	json_open(out, '[');
	for (size_t i = 0; i < flow->sample_tcp_options.size; i++)
		json_int(out, flow->sample_tcp_options.data[i]);
	json_close(out, ']');
	json_close(out, '}');
}
