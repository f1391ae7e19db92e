#include "sensor/capture_filter.h"

#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>

#define LINKTYPE_ETHERNET 1
#define LINKTYPE_RAW	  101
#define FILTER_SNAP_BYTES 262144 /* the MAXIMUM_SNAPLEN of libpcap and tcpdump */

struct capture_filter_program {
	struct capture_filter_program *next;
	uint32_t linktype;
	bool compiles;
	struct bpf_program bpf;
	struct message reason;
};

struct capture_filter {
	char *text;
	struct capture_filter_program *programs; /* few, so a list */
};

int capture_filter_dlt(uint32_t linktype)
{
	switch (linktype) {
	case 12: /* raw IP as some systems wrote it, before it had a number of its own */
	case 14:
	case LINKTYPE_RAW:
		return DLT_RAW;
	default: /* where frames can hold IP, all others have one number on Linux */
		return (int)linktype;
	}
}

uint32_t capture_filter_linktype(int dlt)
{
	return dlt == DLT_RAW ? LINKTYPE_RAW : (uint32_t)dlt;
}

/* Returns false with libpcap's reason when the expression means nothing for this link type. */
static bool compile(
	const char *text, uint32_t linktype, struct bpf_program *bpf, struct message *reason)
{
	pcap_t *dead = pcap_open_dead(capture_filter_dlt(linktype), FILTER_SNAP_BYTES);
	bool compiles;

	if (dead == NULL) {
		message_set(reason, "%s", strerror(ENOMEM));
		return false;
	}
	compiles = pcap_compile(dead, bpf, text, 1, PCAP_NETMASK_UNKNOWN) == 0;
	if (!compiles)
		message_set(reason, "%s", pcap_geterr(dead));
	pcap_close(dead);
	return compiles;
}

static bool compiles_for(const char *text, uint32_t linktype, struct message *reason)
{
	struct bpf_program bpf;

	if (!compile(text, linktype, &bpf, reason))
		return false;
	pcap_freecode(&bpf);
	return true;
}

int capture_filter_check(const char *expression, struct message *msg)
{
	struct message reason;
	struct message ignored;

	if (compiles_for(expression, LINKTYPE_ETHERNET, &reason) ||
		compiles_for(expression, LINKTYPE_RAW, &ignored))
		return 0;
	message_set(msg, "filter \"%.200s\": %.300s", expression, reason.text);
	return FAIL_USAGE;
}

int capture_filter_create(struct capture_filter **out, const char *expression, struct message *msg)
{
	struct capture_filter *filter;
	int rc = capture_filter_check(expression, msg);

	if (rc != 0)
		return rc;
	filter = calloc(1, sizeof(*filter));
	if (filter == NULL)
		return -ENOMEM;
	filter->text = strdup(expression);
	if (filter->text == NULL) {
		capture_filter_destroy(filter);
		return -ENOMEM;
	}
	*out = filter;
	return 0;
}

const struct capture_filter_program *capture_filter_find(
	struct capture_filter *filter, uint32_t linktype, struct message *reason)
{
	struct capture_filter_program *program = filter->programs;

	while (program != NULL && program->linktype != linktype)
		program = program->next;
	if (program == NULL) {
		program = calloc(1, sizeof(*program));
		if (program == NULL) {
			message_set(reason, "%s", strerror(ENOMEM));
			return NULL;
		}
		program->linktype = linktype;
		program->compiles =
			compile(filter->text, linktype, &program->bpf, &program->reason);
		program->next = filter->programs;
		filter->programs = program;
	}
	if (program->compiles)
		return program;
	message_set(reason, "%s", program->reason.text);
	return NULL;
}

bool capture_filter_matches(const struct capture_filter_program *program, const struct frame *frame)
{
	const struct pcap_pkthdr header = {
		.caplen = frame->captured_bytes,
		.len = frame->wire_bytes,
	};

	return pcap_offline_filter(&program->bpf, &header, frame->data) != 0;
}

bool capture_filter_is_useless(const struct capture_filter *filter, struct message *msg)
{
	const struct capture_filter_program *program = filter->programs;

	while (program != NULL && !program->compiles)
		program = program->next;
	if (program != NULL || filter->programs == NULL)
		return false;
	message_set(msg, "filter \"%.200s\" does not apply to these captures: %.300s", filter->text,
		filter->programs->reason.text);
	return true;
}

const char *capture_filter_text(const struct capture_filter *filter)
{
	return filter->text;
}

void capture_filter_destroy(struct capture_filter *filter)
{
	if (filter == NULL)
		return;
	while (filter->programs != NULL) {
		struct capture_filter_program *program = filter->programs;

		filter->programs = program->next;
		if (program->compiles)
			pcap_freecode(&program->bpf);
		free(program);
	}
	free(filter->text);
	free(filter);
}

const char *capture_filter_version(void)
{
	const char *text = pcap_lib_version(); /* "libpcap version 1.10.3 (…)" */
	const char *number = strstr(text, "version ");

	return number != NULL ? number + strlen("version ") : text;
}
