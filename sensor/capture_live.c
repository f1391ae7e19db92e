/*
 * libpcap over the kernel's TPACKET_V3 ring: the kernel writes frames into blocks of 256 KiB and
 * hands over a block when it is full or TIMEOUT_MS old, so a busy worker wakes once for thousands
 * of frames.
 *
 * Fanout is by hash without PACKET_FANOUT_FLAG_ROLLOVER: rolling over would spread a flow over
 * workers just when one of them falls behind, and make that invisible. A full ring drops frames
 * and counts them. Nor are fragments put together (PACKET_FANOUT_FLAG_DEFRAG): they are counted as
 * they came.
 *
 * A handle joins its group only after libpcap has bound it, and in between it gets every frame,
 * also those that go to the workers before it. Frames with a time before it joined are therefore
 * passed over.
 *
 * The interface's drops come from sysfs and not from libpcap's ps_ifdrop, which counts only for
 * promiscuous handles and leaves out rx_dropped, where the kernel counts frames that found the
 * queue between driver and protocols full. While a packet socket is open, frames of protocols that
 * nobody wants are not counted there: the socket wants them.
 */
#include "sensor/capture_live.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "schemas/base/log.h"
#include "sensor/capture_filter.h"

#define TIMEOUT_MS	 100 /* greatest age of a block before the worker gets it */
#define LAST_BLOCK_MS	 250 /* twice that, and the timer's own delay */
#define SETTLE_NS	 NS_PER_S
#define NS_PER_S	 UINT64_C(1000000000)
#define NS_PER_MS	 UINT64_C(1000000)
#define STATISTIC_BYTES	 128
#define INTERFACES_BYTES 400 /* of a message, for the names of those that are there */

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23 /* linux/if_packet.h since 4.20 */
#endif

struct capture_live {
	pcap_t *pcap;
	char *interface;
	uint32_t linktype;
	unsigned group;
	bool reports_interface;
	uint64_t fraction_ns; /* unit of libpcap's fraction of a second */

	bool is_stopped;
	uint64_t empty_by_ns; /* monotonic; the ring's last block is handed over by then */

	/* Until frames of after joining come, or SETTLE_NS have gone by (a clock may be set back). */
	bool is_settled;
	uint64_t joined_ns;    /* packet time */
	uint64_t settle_by_ns; /* monotonic */

	uint64_t handed_over;
	struct capture_live_counts counts;
	uint32_t last_drops; /* as libpcap counts, modulo 2^32 */
	uint64_t last_interface_drops;

	/* the call of capture_live_read that is under way */
	capture_live_handler handler;
	void *context;
	int passed_over;
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void name_interfaces(char *text, size_t size)
{
	struct if_nameindex *interfaces = if_nameindex();
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; interfaces != NULL && interfaces[i].if_index != 0; i++) {
		int added = snprintf(
			text + used, size - used, "%s%s", i > 0 ? ", " : "", interfaces[i].if_name);

		if (added < 0 || (size_t)added >= size - used)
			break;
		used += (size_t)added;
	}
	if_freenameindex(interfaces);
}

static int explain_failure(const struct capture_live *live, int status, struct message *msg)
{
	char names[INTERFACES_BYTES];

	switch (status) {
	case PCAP_ERROR_NO_SUCH_DEVICE:
		name_interfaces(names, sizeof(names));
		message_set(msg, "interface \"%s\" does not exist; there are: %s", live->interface,
			names);
		return -ENODEV;
	case PCAP_ERROR_PERM_DENIED:
	case PCAP_ERROR_PROMISC_PERM_DENIED:
		message_set(msg,
			"no permission to capture on interface \"%s\": run as root, or grant it "
			"with "
			"setcap cap_net_raw,cap_net_admin=ep to the program file",
			live->interface);
		return -EPERM;
	case PCAP_ERROR_IFACE_NOT_UP:
		message_set(msg, "interface \"%s\" is down: ip link set %s up", live->interface,
			live->interface);
		return -ENETDOWN;
	default:
		message_set(msg, "interface \"%s\": %s", live->interface,
			status == PCAP_ERROR ? pcap_geterr(live->pcap) : pcap_statustostr(status));
		return -EIO;
	}
}

static int activate(
	struct capture_live *live, const struct capture_live_options *options, struct message *msg)
{
	uint64_t ring_bytes = options->ring_bytes < INT_MAX ? options->ring_bytes : INT_MAX;
	int status;

	pcap_set_snaplen(live->pcap, (int)options->snap_bytes);
	pcap_set_promisc(live->pcap, options->promiscuous);
	pcap_set_immediate_mode(live->pcap, 0);
	pcap_set_timeout(live->pcap, TIMEOUT_MS);
	pcap_set_buffer_size(live->pcap, (int)ring_bytes);
	pcap_set_tstamp_precision(live->pcap, PCAP_TSTAMP_PRECISION_NANO);
	status = pcap_activate(live->pcap);
	if (status < 0)
		return explain_failure(live, status, msg);
	if (status > 0)
		log_warning("interface does less than asked interface=%s reason=\"%s\"",
			live->interface,
			status == PCAP_WARNING ? pcap_geterr(live->pcap)
					       : pcap_statustostr(status));
	live->linktype = capture_filter_linktype(pcap_datalink(live->pcap));
	return 0;
}

static int apply_filter(struct capture_live *live, const char *filter, struct message *msg)
{
	struct bpf_program bpf;
	int status;

	if (pcap_compile(live->pcap, &bpf, filter, 1, PCAP_NETMASK_UNKNOWN) != 0) {
		message_set(msg, "filter \"%.200s\" on interface \"%s\": %.300s", filter,
			live->interface, pcap_geterr(live->pcap));
		return FAIL_USAGE;
	}
	status = pcap_setfilter(live->pcap, &bpf);
	pcap_freecode(&bpf);
	return status == 0 ? 0 : explain_failure(live, status, msg);
}

/* Only frames that come in. The kernel need not even queue the others, where it knows how. */
static int ignore_outgoing(struct capture_live *live, struct message *msg)
{
	int on = 1;
	int status;

	(void)setsockopt(
		pcap_fileno(live->pcap), SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
	status = pcap_setdirection(live->pcap, PCAP_D_IN);
	return status == 0 ? 0 : explain_failure(live, status, msg);
}

static int join_group(
	struct capture_live *live, const struct capture_live_options *options, struct message *msg)
{
	int fd = pcap_fileno(live->pcap);
	bool is_free_choice = options->fanout_group == 0 && options->worker == 0;
	unsigned flags = is_free_choice ? PACKET_FANOUT_FLAG_UNIQUEID : 0;
	unsigned group = options->fanout_group & 0xffff; /* above it: type and flags */
	int fanout = (int)(group | (PACKET_FANOUT_HASH | flags) << 16);
	socklen_t size = sizeof(fanout);

	if (setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &fanout, sizeof(fanout)) != 0 ||
		getsockopt(fd, SOL_PACKET, PACKET_FANOUT, &fanout, &size) != 0) {
		int rc = -errno;

		message_set(msg,
			"interface \"%s\": fanout group %u for %u workers: %s; another program may "
			"use the group, or try --workers 1",
			live->interface, group, options->workers, strerror(-rc));
		return rc;
	}
	live->group = (unsigned)fanout & 0xffff;
	live->joined_ns = now_ns(CLOCK_REALTIME);
	live->settle_by_ns = now_ns(CLOCK_MONOTONIC) + SETTLE_NS;
	live->is_settled = options->worker == 0; /* before it nobody got its frames */
	return 0;
}

static bool read_statistic(const char *interface, const char *name, uint64_t *value)
{
	char path[STATISTIC_BYTES];
	FILE *file;
	bool is_read;

	snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/%s", interface, name);
	file = fopen(path, "re");
	if (file == NULL)
		return false;
	is_read = fscanf(file, "%" SCNu64, value) == 1;
	fclose(file);
	return is_read;
}

/* The pseudo interface "any", and one that went away, have no such counters: no change then. */
static uint64_t read_interface_drops(const struct capture_live *live)
{
	uint64_t dropped;
	uint64_t missed;

	if (!live->reports_interface || !read_statistic(live->interface, "rx_dropped", &dropped) ||
		!read_statistic(live->interface, "rx_missed_errors", &missed))
		return live->last_interface_drops;
	return dropped + missed;
}

/* Counting starts here: what came before was not for this handle. */
static int start_counting(struct capture_live *live, struct message *msg)
{
	struct pcap_stat stat;

	if (pcap_stats(live->pcap, &stat) != 0)
		return explain_failure(live, PCAP_ERROR, msg);
	live->last_drops = stat.ps_drop;
	live->last_interface_drops = read_interface_drops(live);
	return 0;
}

static int set_up(
	struct capture_live *live, const struct capture_live_options *options, struct message *msg)
{
	char reason[PCAP_ERRBUF_SIZE];
	int rc = activate(live, options, msg);

	if (rc == 0)
		rc = ignore_outgoing(live, msg);
	if (rc == 0 && options->filter != NULL)
		rc = apply_filter(live, options->filter, msg);
	if (rc == 0 && options->workers > 1)
		rc = join_group(live, options, msg);
	if (rc != 0)
		return rc;
	if (pcap_setnonblock(live->pcap, 1, reason) != 0) {
		message_set(msg, "interface \"%s\": %s", live->interface, reason);
		return -EIO;
	}
	live->fraction_ns =
		pcap_get_tstamp_precision(live->pcap) == PCAP_TSTAMP_PRECISION_NANO ? 1 : 1000;
	return start_counting(live, msg);
}

int capture_live_open(
	struct capture_live **out, const struct capture_live_options *options, struct message *msg)
{
	char reason[PCAP_ERRBUF_SIZE];
	struct capture_live *live;
	int rc;

	rc = options->filter != NULL ? capture_filter_check(options->filter, msg) : 0;
	if (rc != 0)
		return rc;
	live = calloc(1, sizeof(*live));
	if (live == NULL)
		return -ENOMEM;
	live->interface = strdup(options->interface);
	if (live->interface == NULL) {
		rc = -ENOMEM;
		goto fail;
	}
	live->reports_interface = options->worker == 0;
	live->is_settled = true;
	live->pcap = pcap_create(options->interface, reason);
	if (live->pcap == NULL) {
		message_set(msg, "interface \"%s\": %s", live->interface, reason);
		rc = -EIO;
		goto fail;
	}
	rc = set_up(live, options, msg);
	if (rc != 0)
		goto fail;
	*out = live;
	return 0;

fail:
	capture_live_close(live);
	return rc;
}

unsigned capture_live_group(const struct capture_live *live)
{
	return live->group;
}

int capture_live_fd(const struct capture_live *live)
{
	return pcap_get_selectable_fd(live->pcap);
}

uint32_t capture_live_linktype(const struct capture_live *live)
{
	return live->linktype;
}

/* True for a frame from before this handle joined its group: another worker has it too. */
static bool is_too_early(struct capture_live *live, uint64_t time_ns)
{
	if (time_ns < live->joined_ns && now_ns(CLOCK_MONOTONIC) < live->settle_by_ns)
		return true;
	live->is_settled = true;
	return false;
}

static void take_frame(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
	struct capture_live *live = (struct capture_live *)(void *)user;
	const struct frame frame = {
		.time_ns = (uint64_t)header->ts.tv_sec * NS_PER_S +
			   (uint64_t)header->ts.tv_usec * live->fraction_ns,
		.data = data,
		.captured_bytes = header->caplen,
		.wire_bytes = header->len,
		.linktype = live->linktype,
	};

	if (!live->is_settled && is_too_early(live, frame.time_ns))
		live->passed_over++;
	else
		live->handler(live->context, &frame);
}

/* Frames handed over; 0 when none are there now. */
static int dispatch(struct capture_live *live, int max_frames)
{
	int n;

	do {
		live->passed_over = 0;
		n = pcap_dispatch(live->pcap, max_frames, take_frame, (u_char *)(void *)live);
	} while (n > 0 && n == live->passed_over);
	if (n >= 0) {
		live->handed_over += (uint64_t)(n - live->passed_over);
		return n - live->passed_over;
	}
	log_debug("interface fails interface=%s reason=\"%s\"", live->interface,
		pcap_geterr(live->pcap));
	return if_nametoindex(live->interface) == 0 ? -ENODEV : -EIO;
}

/* After the stop, waits for the block that the kernel was filling. */
static void wait_for_last_block(const struct capture_live *live)
{
	struct pollfd ready = { .fd = capture_live_fd(live), .events = POLLIN };
	uint64_t now = now_ns(CLOCK_MONOTONIC);

	while (now < live->empty_by_ns) {
		int wait_ms = (int)((live->empty_by_ns - now) / NS_PER_MS) + 1;

		if (poll(&ready, 1, wait_ms) >= 0 || errno != EINTR)
			return;
		now = now_ns(CLOCK_MONOTONIC);
	}
}

int capture_live_read(
	struct capture_live *live, int max_frames, capture_live_handler handler, void *context)
{
	int n;

	live->handler = handler;
	live->context = context;
	n = dispatch(live, max_frames);
	if (n == 0 && live->is_stopped) {
		wait_for_last_block(live);
		n = dispatch(live, max_frames);
	}
	return n;
}

int capture_live_stop(struct capture_live *live)
{
	struct sock_filter drop_all = BPF_STMT(BPF_RET | BPF_K, 0);
	const struct sock_fprog program = { .len = 1, .filter = &drop_all };

	/* not through pcap_setfilter, which would filter what is in the ring too */
	if (setsockopt(pcap_fileno(live->pcap), SOL_SOCKET, SO_ATTACH_FILTER, &program,
		    sizeof(program)) != 0)
		return -errno;
	live->is_stopped = true;
	live->empty_by_ns = now_ns(CLOCK_MONOTONIC) + LAST_BLOCK_MS * NS_PER_MS;
	return 0;
}

int capture_live_counts(struct capture_live *live, struct capture_live_counts *out)
{
	struct pcap_stat stat;
	uint64_t interface_drops = read_interface_drops(live);

	if (pcap_stats(live->pcap, &stat) != 0)
		return -EIO;
	live->counts.kernel_drops += stat.ps_drop - live->last_drops; /* modulo 2^32 */
	live->counts.received = live->handed_over + live->counts.kernel_drops;
	if (interface_drops > live->last_interface_drops) /* a driver may start anew */
		live->counts.interface_drops += interface_drops - live->last_interface_drops;
	live->last_drops = stat.ps_drop;
	live->last_interface_drops = interface_drops;
	*out = live->counts;
	return 0;
}

void capture_live_close(struct capture_live *live)
{
	if (live == NULL)
		return;
	if (live->pcap != NULL)
		pcap_close(live->pcap);
	free(live->interface);
	free(live);
}

static unsigned count_mask_bits(const uint8_t *mask, size_t size)
{
	unsigned bits = 0;

	for (size_t i = 0; i < size; i++)
		bits += (unsigned)__builtin_popcount(mask[i]);
	return bits;
}

/* Writes ADDRESS/BITS; false, and nothing, for families other than IPv4 and IPv6. */
static bool list_address(FILE *out, const struct pcap_addr *address, const char *separator)
{
	char text[INET6_ADDRSTRLEN];
	const void *bytes;
	const void *mask;
	size_t size;

	if (address->addr == NULL || address->netmask == NULL)
		return false;
	if (address->addr->sa_family == AF_INET) {
		bytes = &((const struct sockaddr_in *)(const void *)address->addr)->sin_addr;
		mask = &((const struct sockaddr_in *)(const void *)address->netmask)->sin_addr;
		size = sizeof(struct in_addr);
	} else if (address->addr->sa_family == AF_INET6) {
		bytes = &((const struct sockaddr_in6 *)(const void *)address->addr)->sin6_addr;
		mask = &((const struct sockaddr_in6 *)(const void *)address->netmask)->sin6_addr;
		size = sizeof(struct in6_addr);
	} else {
		return false;
	}
	if (inet_ntop(address->addr->sa_family, bytes, text, sizeof(text)) == NULL)
		return false;
	fprintf(out, "%s%s/%u", separator, text, count_mask_bits(mask, size));
	return true;
}

static const char *state_of(const pcap_if_t *interface)
{
	if ((interface->flags & PCAP_IF_UP) == 0)
		return "down";
	return (interface->flags & PCAP_IF_RUNNING) != 0 ? "up, running" : "up, no carrier";
}

static void list_interface(FILE *out, const pcap_if_t *interface)
{
	const char *separator = "  ";

	fprintf(out, "%-15s  %s", interface->name, state_of(interface));
	for (const pcap_addr_t *at = interface->addresses; at != NULL; at = at->next)
		if (list_address(out, at, separator))
			separator = ", ";
	if (interface->description != NULL)
		fprintf(out, "  %s", interface->description);
	fputc('\n', out);
}

int capture_live_list(FILE *out, struct message *msg)
{
	char reason[PCAP_ERRBUF_SIZE];
	pcap_if_t *interfaces;

	if (pcap_findalldevs(&interfaces, reason) != 0) {
		message_set(msg, "interfaces cannot be listed: %s", reason);
		return -EIO;
	}
	/* libpcap also names USB buses, D-Bus and the like, which carry no packets */
	for (const pcap_if_t *at = interfaces; at != NULL; at = at->next)
		if (if_nametoindex(at->name) != 0 || strcmp(at->name, "any") == 0)
			list_interface(out, at);
	pcap_freealldevs(interfaces);
	return ferror(out) ? -EIO : 0;
}
