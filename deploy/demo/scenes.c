/*
 * Every scene is a row: how often, when, who, what it shall be, and the function that draws the
 * header fields. A function fills in the plan; afterwards a loop draws the fields that carry tools'
 * marks until the packet bears the mark that its row names and no other: a plain SYN has the id of
 * masscan once in 65,536 times by chance, and a ground truth must not leave that to chance.
 *
 * The port mix follows NICTER's reports of 2023 to 2025 (23/TCP first, then 22, 80, 443, 8080, 445,
 * 3389, 5555, 6379), the roles of bots without Mirai's mark and of survey scanners too.
 */
#include "deploy/demo/scenes.h"

#include <stdlib.h>
#include <string.h>

#include "deploy/demo/frame.h"

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP  0x0806
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_LLDP 0x88cc
#define STP_LENGTH     0x0026 /* an 802.3 length, not a type */

#define ZMAP_IP_ID     54321 /* Durumeric et al., USENIX Security 2014 */
#define HPING_WINDOW   512
#define NMAP_WINDOW    1024 /* and its double, three- and fourfold */
#define MASSCAN_WINDOW 1024 /* 1025 since November 2023 */

#define TAGGED_PER_10000	100
#define DOUBLE_TAGGED_PER_10000 10

enum rhythm { STEADY, DAILY, FLOOD, SURGE };

struct share {
	uint16_t port;
	uint16_t weight;
};

struct scene;
struct stage {
	const struct population *population;
	uint64_t start_s;
	uint32_t minutes, minute;
	const struct scene **running; /* scenes that can play at all */
	uint64_t *upto;		      /* of the minute set: sums of their weights */
	size_t count;
};

struct scene {
	uint16_t weight;
	enum rhythm rhythm;
	enum group group;
	enum fate fate;
	enum demo_class class;
	enum demo_tool tool;
	uint8_t protocol;
	void (*play)(const struct stage *stage, const struct scene *scene, struct dice *dice,
		struct plan *plan);
	uint16_t
		detail; /* TCP flags, ICMP type << 8 | code, port of a service, damage: as `play` takes it */
	const struct share *ports;
};

static const struct share iot_ports[] = { { 23, 400 }, { 2323, 60 }, { 8080, 70 }, { 80, 60 },
	{ 81, 25 }, { 5555, 50 }, { 60023, 25 }, { 8443, 20 }, { 37215, 20 }, { 52869, 15 },
	{ 5038, 10 }, { 7547, 10 }, { 8728, 15 }, { 26, 10 }, { 9530, 8 }, { 22, 30 },
	{ 34567, 10 }, { 0, 0 } };
static const struct share mirai_ports[] = { { 23, 780 }, { 2323, 120 }, { 5555, 20 }, { 80, 20 },
	{ 8080, 20 }, { 37215, 20 }, { 26, 10 }, { 60001, 10 }, { 0, 0 } };
static const struct share surge_ports[] = { { 5555, 1 }, { 0, 0 } };
static const struct share worm_ports[] = { { 445, 700 }, { 3389, 120 }, { 1433, 120 }, { 135, 30 },
	{ 139, 30 }, { 0, 0 } };
static const struct share guess_ports[] = { { 22, 550 }, { 3389, 200 }, { 5900, 60 }, { 2222, 40 },
	{ 3306, 50 }, { 5432, 30 }, { 21, 40 }, { 25, 30 }, { 0, 0 } };
static const struct share tool_ports[] = { { 80, 90 }, { 443, 90 }, { 22, 70 }, { 8080, 60 },
	{ 6379, 60 }, { 3389, 50 }, { 445, 30 }, { 8443, 40 }, { 2375, 35 }, { 9200, 25 },
	{ 27017, 20 }, { 5432, 20 }, { 3306, 20 }, { 21, 15 }, { 25, 15 }, { 5060, 15 },
	{ 7001, 15 }, { 8888, 15 }, { 10250, 15 }, { 11211, 10 }, { 1080, 15 }, { 3128, 15 },
	{ 502, 10 }, { 102, 8 }, { 47808, 5 }, { 0, 300 } }; /* 0 with a weight: any port */
static const struct share any_port[] = { { 0, 1 } };

/* The surge and the flood have their places in the play, whatever its length, in hundredths of it. */
#define FLOOD_FROM 40
#define FLOOD_TO   55
#define SURGE_FROM 70
#define SURGE_TO   76

/* Percent of the mean by hour of the day, UTC: bots sleep when their owners switch them off. */
static const uint8_t hour_percent[24] = { 88, 84, 82, 80, 82, 86, 92, 100, 106, 110, 112, 114, 116,
	118, 120, 121, 120, 116, 112, 108, 104, 100, 96, 92 };

static void play_tcp(const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_udp(const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_icmp(const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_answer(const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_udp_answer(
	const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_icmp_error(
	const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_odd_tcp(const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_sctp(const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_body(const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_later_fragment(
	const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_tiny_fragment(
	const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_first_fragment(
	const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_snapped(const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_short_length(
	const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_cut_chain(
	const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_extension(
	const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_offload(const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_malformed(
	const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_non_ip(const struct stage *, const struct scene *, struct dice *, struct plan *);
static void play_neighbour(
	const struct stage *, const struct scene *, struct dice *, struct plan *);

#define TYPE_CODE(type, code) ((type) << 8 | (code))

/* clang-format off */
static const struct scene scenes[] = {
	/* weight rhythm group          fate       class                     tool     protocol  play                 detail                 ports */
	/* connection attempts */
	{ 2600, DAILY,  IOT_BOTS,      COUNTED,   SCAN_TCP_SYN,             NO_TOOL, TCP,      play_tcp,            SYN,                   iot_ports },
	{ 1300, DAILY,  MIRAI_BOTS,    COUNTED,   SCAN_TCP_SYN,             MIRAI,   TCP,      play_tcp,            SYN,                   mirai_ports },
	{  120, SURGE,  MIRAI_BOTS,    COUNTED,   SCAN_TCP_SYN,             MIRAI,   TCP,      play_tcp,            SYN,                   surge_ports },
	{  500, DAILY,  WORMS,         COUNTED,   SCAN_TCP_SYN,             NO_TOOL, TCP,      play_tcp,            SYN,                   worm_ports },
	{  500, DAILY,  GUESSERS,      COUNTED,   SCAN_TCP_SYN,             NO_TOOL, TCP,      play_tcp,            SYN,                   guess_ports },
	{  250, STEADY, NOISE,         COUNTED,   SCAN_TCP_SYN,             NO_TOOL, TCP,      play_tcp,            SYN,                   any_port },
	{ 1300, STEADY, SURVEYORS,     COUNTED,   SCAN_TCP_SYN,             NO_TOOL, TCP,      play_tcp,            SYN,                   tool_ports },
	{  800, STEADY, ZMAP_USERS,    COUNTED,   SCAN_TCP_SYN,             ZMAP,    TCP,      play_tcp,            SYN,                   tool_ports },
	{ 1200, STEADY, MASSCAN_USERS, COUNTED,   SCAN_TCP_SYN,             MASSCAN, TCP,      play_tcp,            SYN,                   tool_ports },
	{  180, STEADY, NMAP_USERS,    COUNTED,   SCAN_TCP_SYN,             NMAP,    TCP,      play_tcp,            SYN,                   tool_ports },
	{   80, STEADY, HPING_USERS,   COUNTED,   SCAN_TCP_SYN,             HPING,   TCP,      play_tcp,            SYN,                   tool_ports },
	{    4, STEADY, NMAP_USERS,    COUNTED,   SCAN_TCP_SYN,             HPING,   TCP,      play_tcp,            SYN,                   tool_ports },
	/* stealth scans */
	{   12, STEADY, NMAP_USERS,    COUNTED,   SCAN_TCP_FIN,             NMAP,    TCP,      play_tcp,            FIN,                   tool_ports },
	{   12, STEADY, NMAP_USERS,    COUNTED,   SCAN_TCP_NULL,            NMAP,    TCP,      play_tcp,            0,                     tool_ports },
	{   12, STEADY, NMAP_USERS,    COUNTED,   SCAN_TCP_XMAS,            NMAP,    TCP,      play_tcp,            FIN | PSH | URG,       tool_ports },
	{   12, STEADY, NMAP_USERS,    COUNTED,   SCAN_TCP_ACK,             NMAP,    TCP,      play_tcp,            ACK,                   tool_ports },
	{    8, STEADY, NMAP_USERS,    COUNTED,   SCAN_TCP_MAIMON,          NMAP,    TCP,      play_tcp,            FIN | ACK,             tool_ports },
	{    6, STEADY, HPING_USERS,   COUNTED,   SCAN_TCP_FIN,             HPING,   TCP,      play_tcp,            FIN,                   tool_ports },
	{    6, STEADY, HPING_USERS,   COUNTED,   SCAN_TCP_XMAS,            HPING,   TCP,      play_tcp,            FIN | PSH | URG,       tool_ports },
	{    6, STEADY, HPING_USERS,   COUNTED,   SCAN_TCP_ACK,             HPING,   TCP,      play_tcp,            ACK,                   tool_ports },
	{    6, STEADY, NOISE,         COUNTED,   SCAN_TCP_FIN,             NO_TOOL, TCP,      play_tcp,            FIN,                   tool_ports },
	{    4, STEADY, NOISE,         COUNTED,   SCAN_TCP_NULL,            NO_TOOL, TCP,      play_tcp,            0,                     any_port },
	{    4, STEADY, NOISE,         COUNTED,   SCAN_TCP_XMAS,            NO_TOOL, TCP,      play_tcp,            FIN | PSH | URG,       tool_ports },
	{   30, STEADY, NOISE,         COUNTED,   SCAN_TCP_ACK,             NO_TOOL, TCP,      play_tcp,            ACK,                   any_port },
	{    4, STEADY, NOISE,         COUNTED,   SCAN_TCP_MAIMON,          NO_TOOL, TCP,      play_tcp,            FIN | ACK,             tool_ports },
	/* datagrams; the detail is the service */
	{   70, STEADY, UDP_SCANNERS,  COUNTED,   SCAN_UDP,                 NO_TOOL, UDP,      play_udp,            53,                    NULL },
	{   60, STEADY, UDP_SCANNERS,  COUNTED,   SCAN_UDP,                 NO_TOOL, UDP,      play_udp,            123,                   NULL },
	{   50, STEADY, UDP_SCANNERS,  COUNTED,   SCAN_UDP,                 NO_TOOL, UDP,      play_udp,            161,                   NULL },
	{   70, STEADY, UDP_SCANNERS,  COUNTED,   SCAN_UDP,                 NO_TOOL, UDP,      play_udp,            1900,                  NULL },
	{   90, STEADY, UDP_SCANNERS,  COUNTED,   SCAN_UDP,                 NO_TOOL, UDP,      play_udp,            5060,                  NULL },
	{   30, STEADY, UDP_SCANNERS,  COUNTED,   SCAN_UDP,                 NO_TOOL, UDP,      play_udp,            11211,                 NULL },
	{   20, STEADY, UDP_SCANNERS,  COUNTED,   SCAN_UDP,                 NO_TOOL, UDP,      play_udp,            389,                   NULL },
	{   20, STEADY, UDP_SCANNERS,  COUNTED,   SCAN_UDP,                 NO_TOOL, UDP,      play_udp,            5683,                  NULL },
	{   60, DAILY,  NOISE,         COUNTED,   SCAN_UDP,                 NO_TOOL, UDP,      play_udp,            6881,                  NULL },
	{   60, STEADY, ZMAP_USERS,    COUNTED,   SCAN_UDP,                 ZMAP,    UDP,      play_udp,            53,                    NULL },
	/* ICMP */
	{  120, DAILY,  PINGERS,       COUNTED,   SCAN_ICMP_ECHO,           NO_TOOL, ICMP,     play_icmp,           TYPE_CODE(8, 0),       NULL },
	{   60, STEADY, ZMAP_USERS,    COUNTED,   SCAN_ICMP_ECHO,           ZMAP,    ICMP,     play_icmp,           TYPE_CODE(8, 0),       NULL },
	{   12, STEADY, PINGERS,       COUNTED,   SCAN_ICMP_QUERY,          NO_TOOL, ICMP,     play_icmp,           TYPE_CODE(13, 0),      NULL },
	{    4, STEADY, PINGERS,       COUNTED,   SCAN_ICMP_QUERY,          NO_TOOL, ICMP,     play_icmp,           TYPE_CODE(17, 0),      NULL },
	{    2, STEADY, ZMAP_USERS,    COUNTED,   SCAN_ICMP_QUERY,          ZMAP,    ICMP,     play_icmp,           TYPE_CODE(13, 0),      NULL },
	/* one victim under a flood of everything; the detail of an answer is its TCP flags */
	{ 2200, FLOOD,  VICTIM,        COUNTED,   BACKSCATTER_TCP_SYNACK,   NO_TOOL, TCP,      play_answer,         SYN | ACK,             NULL },
	{  200, FLOOD,  VICTIM,        COUNTED,   BACKSCATTER_TCP_RST,      NO_TOOL, TCP,      play_answer,         RST,                   NULL },
	{  400, FLOOD,  VICTIM,        COUNTED,   BACKSCATTER_TCP_RSTACK,   NO_TOOL, TCP,      play_answer,         RST | ACK,             NULL },
	{  150, FLOOD,  VICTIM,        COUNTED,   BACKSCATTER_ICMP_ERROR,   NO_TOOL, ICMP,     play_icmp_error,     TYPE_CODE(3, 3),       NULL },
	{   60, FLOOD,  VICTIM,        COUNTED,   BACKSCATTER_ICMP_REPLY,   NO_TOOL, ICMP,     play_icmp,           TYPE_CODE(0, 0),       NULL },
	{   50, FLOOD,  ROUTERS,       COUNTED,   BACKSCATTER_ICMP_ERROR,   NO_TOOL, ICMP,     play_icmp_error,     TYPE_CODE(11, 0),      NULL },
	{   20, FLOOD,  ROUTERS,       COUNTED,   BACKSCATTER_ICMP_ERROR,   NO_TOOL, ICMP,     play_icmp_error,     TYPE_CODE(3, 1),       NULL },
	/* the background of smaller ones */
	{  120, DAILY,  SERVERS,       COUNTED,   BACKSCATTER_TCP_SYNACK,   NO_TOOL, TCP,      play_answer,         SYN | ACK,             NULL },
	{   60, DAILY,  SERVERS,       COUNTED,   BACKSCATTER_TCP_RSTACK,   NO_TOOL, TCP,      play_answer,         RST | ACK,             NULL },
	{   20, DAILY,  SERVERS,       COUNTED,   BACKSCATTER_TCP_RST,      NO_TOOL, TCP,      play_answer,         RST,                   NULL },
	{   20, DAILY,  ROUTERS,       COUNTED,   BACKSCATTER_ICMP_ERROR,   NO_TOOL, ICMP,     play_icmp_error,     TYPE_CODE(3, 13),      NULL },
	{   50, DAILY,  RESOLVERS,     COUNTED,   BACKSCATTER_UDP_RESPONSE, NO_TOOL, UDP,      play_udp_answer,     53,                    NULL },
	{   15, DAILY,  RESOLVERS,     COUNTED,   BACKSCATTER_UDP_RESPONSE, NO_TOOL, UDP,      play_udp_answer,     123,                   NULL },
	{   10, DAILY,  RESOLVERS,     COUNTED,   BACKSCATTER_UDP_RESPONSE, NO_TOOL, UDP,      play_udp_answer,     1900,                  NULL },
	/* IPv6 */
	{   80, STEADY, IPV6_SCANNERS, COUNTED,   SCAN_TCP_SYN,             NO_TOOL, TCP,      play_tcp,            SYN,                   tool_ports },
	{   10, STEADY, IPV6_SCANNERS, COUNTED,   SCAN_TCP_SYN,             NMAP,    TCP,      play_tcp,            SYN,                   tool_ports },
	{    6, STEADY, IPV6_SCANNERS, COUNTED,   SCAN_TCP_ACK,             HPING,   TCP,      play_tcp,            ACK,                   tool_ports },
	{    5, STEADY, IPV6_SCANNERS, COUNTED,   SCAN_TCP_SYN,             NO_TOOL, TCP,      play_extension,      SYN,                   tool_ports },
	{   40, STEADY, IPV6_SCANNERS, COUNTED,   SCAN_ICMP_ECHO,           NO_TOOL, ICMP6,    play_icmp,           TYPE_CODE(128, 0),     NULL },
	{   10, STEADY, IPV6_SCANNERS, COUNTED,   SCAN_UDP,                 NO_TOOL, UDP,      play_udp,            53,                    NULL },
	{    4, STEADY, IPV6_SERVERS,  COUNTED,   OTHER_ICMP,               NO_TOOL, ICMP6,    play_icmp,           TYPE_CODE(135, 0),     NULL },
	{    6, STEADY, IPV6_SERVERS,  COUNTED,   BACKSCATTER_ICMP_REPLY,   NO_TOOL, ICMP6,    play_icmp,           TYPE_CODE(129, 0),     NULL },
	{   10, STEADY, IPV6_SERVERS,  COUNTED,   BACKSCATTER_ICMP_ERROR,   NO_TOOL, ICMP6,    play_icmp_error,     TYPE_CODE(1, 4),       NULL },
	{    5, STEADY, IPV6_SERVERS,  COUNTED,   BACKSCATTER_TCP_SYNACK,   NO_TOOL, TCP,      play_answer,         SYN | ACK,             NULL },
	{    3, STEADY, IPV6_SCANNERS, COUNTED,   OTHER_FRAGMENT,           NO_TOOL, UDP,      play_later_fragment, 0,                     NULL },
	{    2, STEADY, IPV6_SCANNERS, COUNTED,   OTHER_TRUNCATED,          NO_TOOL, DESTINATION_OPTIONS, play_cut_chain, 0,               NULL },
	/* odd but well formed */
	{   20, STEADY, BROKEN,        COUNTED,   OTHER_TCP_FLAGS,          NO_TOOL, TCP,      play_odd_tcp,        SYN | FIN,             tool_ports },
	{   20, STEADY, BROKEN,        COUNTED,   OTHER_TCP_FLAGS,          NO_TOOL, TCP,      play_odd_tcp,        PSH | ACK,             tool_ports },
	{    5, STEADY, BROKEN,        COUNTED,   OTHER_TCP_FLAGS,          NO_TOOL, TCP,      play_odd_tcp,        FIN | ACK,             tool_ports },
	{    4, STEADY, BROKEN,        COUNTED,   OTHER_ICMP,               NO_TOOL, ICMP,     play_icmp,           TYPE_CODE(40, 0),      NULL },
	{    8, STEADY, BROKEN,        COUNTED,   OTHER_SCTP,               NO_TOOL, SCTP,     play_sctp,           0,                     tool_ports },
	{    5, STEADY, BROKEN,        COUNTED,   OTHER_IGMP,               NO_TOOL, IGMP,     play_body,           8,                     NULL },
	{    8, STEADY, BROKEN,        COUNTED,   OTHER_IP_PROTO,           NO_TOOL, GRE,      play_body,           28,                    NULL },
	{    4, STEADY, BROKEN,        COUNTED,   OTHER_IP_PROTO,           NO_TOOL, IPIP,     play_body,           40,                    NULL },
	{    4, STEADY, BROKEN,        COUNTED,   OTHER_IP_PROTO,           NO_TOOL, IPV6,     play_body,           60,                    NULL },
	{    4, STEADY, BROKEN,        COUNTED,   OTHER_IP_PROTO,           NO_TOOL, ESP,      play_body,           40,                    NULL },
	{    2, STEADY, BROKEN,        COUNTED,   OTHER_IP_PROTO,           NO_TOOL, AH,       play_body,           24,                    NULL },
	{    2, STEADY, BROKEN,        COUNTED,   OTHER_IP_PROTO,           NO_TOOL, 253,      play_body,           4,                     NULL },
	{    2, STEADY, NOISE,         COUNTED,   SCAN_TCP_SYN,             NO_TOOL, TCP,      play_offload,        SYN,                   tool_ports },
	{    8, STEADY, BROKEN,        COUNTED,   OTHER_FRAGMENT,           NO_TOOL, UDP,      play_later_fragment, 0,                     NULL },
	{    4, STEADY, BROKEN,        COUNTED,   OTHER_FRAGMENT,           NO_TOOL, ICMP,     play_later_fragment, 0,                     NULL },
	{    4, STEADY, BROKEN,        COUNTED,   OTHER_FRAGMENT,           NO_TOOL, TCP,      play_tiny_fragment,  SYN,                   tool_ports },
	{    4, STEADY, UDP_SCANNERS,  COUNTED,   SCAN_UDP,                 NO_TOOL, UDP,      play_first_fragment, 5060,                  NULL },
	{    4, STEADY, NOISE,         COUNTED,   OTHER_TRUNCATED,          NO_TOOL, TCP,      play_snapped,        10,                    tool_ports },
	{    3, STEADY, NOISE,         COUNTED,   OTHER_TRUNCATED,          NO_TOOL, UDP,      play_snapped,        2,                     tool_ports },
	{    3, STEADY, NOISE,         COUNTED,   OTHER_TRUNCATED,          NO_TOOL, TCP,      play_short_length,   8,                     tool_ports },
	/* not counted; the detail of a malformed one is its damage, of a frame without IP its EtherType */
	{    5, STEADY, BROKEN,        MALFORMED, SCAN_TCP_SYN,             NO_TOOL, TCP,      play_malformed,      WRONG_VERSION,         tool_ports },
	{    3, STEADY, BROKEN,        MALFORMED, SCAN_TCP_SYN,             NO_TOOL, TCP,      play_malformed,      OTHER_VERSION,         tool_ports },
	{    5, STEADY, BROKEN,        MALFORMED, SCAN_TCP_SYN,             NO_TOOL, TCP,      play_malformed,      SHORT_IHL,             tool_ports },
	{    4, STEADY, BROKEN,        MALFORMED, SCAN_TCP_SYN,             NO_TOOL, TCP,      play_malformed,      LONG_IHL,              tool_ports },
	{    5, STEADY, BROKEN,        MALFORMED, SCAN_TCP_SYN,             NO_TOOL, TCP,      play_malformed,      CUT_HEADER,            tool_ports },
	{    5, STEADY, BROKEN,        MALFORMED, SCAN_TCP_SYN,             NO_TOOL, TCP,      play_malformed,      SHORT_TOTAL,           tool_ports },
	{    2, STEADY, IPV6_SCANNERS, MALFORMED, SCAN_TCP_SYN,             NO_TOOL, TCP,      play_malformed,      WRONG_VERSION,         tool_ports },
	{    2, STEADY, IPV6_SCANNERS, MALFORMED, SCAN_TCP_SYN,             NO_TOOL, TCP,      play_malformed,      CUT_HEADER,            tool_ports },
	{   40, STEADY, NEIGHBOURS,    NON_IP,    SCAN_TCP_SYN,             NO_TOOL, 0,        play_non_ip,         ETHERTYPE_ARP,         NULL },
	{    2, STEADY, NEIGHBOURS,    NON_IP,    SCAN_TCP_SYN,             NO_TOOL, 0,        play_non_ip,         ETHERTYPE_LLDP,        NULL },
	{    3, STEADY, NEIGHBOURS,    NON_IP,    SCAN_TCP_SYN,             NO_TOOL, 0,        play_non_ip,         STP_LENGTH,            NULL },
	{   60, DAILY,  NEIGHBOURS,    NOT_DARK,  SCAN_TCP_SYN,             NO_TOOL, TCP,      play_neighbour,      ACK,                   tool_ports },
	{   20, DAILY,  IOT_BOTS,      NOT_DARK,  SCAN_TCP_SYN,             NO_TOOL, TCP,      play_neighbour,      SYN,                   mirai_ports },
	{    6, DAILY,  IPV6_SERVERS,  NOT_DARK,  SCAN_TCP_SYN,             NO_TOOL, TCP,      play_neighbour,      ACK,                   tool_ports },
};
/* clang-format on */

#define SCENES (sizeof(scenes) / sizeof(scenes[0]))

static const struct actor *actor_of(const struct stage *stage, const struct plan *plan)
{
	return population_actor(stage->population, plan->source);
}

static uint16_t draw_port(const struct share *ports, struct dice *dice)
{
	uint32_t sum = 0, draw;
	const struct share *share;

	for (share = ports; share->weight != 0; share++) {
		sum += share->weight;
		if (share->port == 0) {
			share++;
			break;
		}
	}
	draw = dice_below(dice, sum);
	for (share = ports; draw >= share->weight; share++)
		draw -= share->weight;
	return share->port != 0 ? share->port : (uint16_t)dice_between(dice, 1, 65535);
}

/* A port of clients, and never one of a service that answers for being asked (rules of UDP). */
static uint16_t draw_client_port(struct dice *dice)
{
	uint16_t port;

	do
		port = (uint16_t)dice_between(dice, 32768, 60999); /* as Linux does */
	while (port == 37810);
	return port;
}

static void add_body(struct plan *plan, const void *bytes, size_t size)
{
	memcpy(plan->body + plan->body_bytes, bytes, size);
	plan->body_bytes += size;
}

static void add_random_body(struct plan *plan, struct dice *dice, size_t size)
{
	for (size_t i = 0; i < size; i++)
		plan->body[plan->body_bytes++] = (uint8_t)dice_below(dice, 256);
}

/* ---- tools and their marks ---- */

static bool is_stealth(enum demo_class class)
{
	return class >= SCAN_TCP_ACK && class <= SCAN_TCP_MAIMON;
}

static bool is_nmap_window(uint16_t window)
{
	return window != 0 && window % NMAP_WINDOW == 0 && window <= 4 * NMAP_WINDOW;
}

/* The mark that the fields carry, meant or by chance; of several the one that has precedence. */
static enum demo_tool mark_of(const struct plan *plan)
{
	bool is_syn = plan->class == SCAN_TCP_SYN, is_ipv4 = plan->version == 4;
	uint32_t dst = plan_ipv4(plan->dst);

	if (plan->fate != COUNTED || role_of(plan->class) != PROBE)
		return NO_TOOL;
	if (is_ipv4 && is_syn && plan->sequence == dst)
		return MIRAI;
	if (is_ipv4 && !is_stealth(plan->class) && plan->ip_id == ZMAP_IP_ID)
		return ZMAP;
	if (is_ipv4 && is_syn && plan->ip_id == ((dst ^ plan->dst_port ^ plan->sequence) & 0xffff))
		return MASSCAN;
	if (plan->protocol != TCP)
		return NO_TOOL;
	if (is_syn && plan->options == MSS_ONLY && is_nmap_window(plan->window))
		return NMAP;
	if (is_stealth(plan->class) && plan->options == NO_OPTIONS && is_nmap_window(plan->window))
		return NMAP;
	return plan->options == NO_OPTIONS && plan->window == HPING_WINDOW ? HPING : NO_TOOL;
}

static void mark_masscan(struct plan *plan, const struct actor *actor)
{
	bool is_new = actor->habit % 3 == 0;

	plan->ip_id = (uint16_t)(plan_ipv4(plan->dst) ^ plan->dst_port ^ plan->sequence);
	plan->fragment = 0;
	plan->options = is_new ? MSS_ONLY : NO_OPTIONS;
	plan->window = is_new ? MASSCAN_WINDOW + 1 : MASSCAN_WINDOW;
}

static void mark_nmap(struct plan *plan, struct dice *dice)
{
	plan->fragment = 0;
	plan->ttl = (uint8_t)dice_between(dice, 37, 59);
	plan->options = plan->class == SCAN_TCP_SYN ? MSS_ONLY : NO_OPTIONS;
	plan->window = (uint16_t)(dice_between(dice, 1, 4) * NMAP_WINDOW);
}

/* Stacks of ordinary hosts, bots and survey scanners. */
static void mark_nothing(struct plan *plan, const struct actor *actor, struct dice *dice)
{
	static const uint16_t windows[] = { 29200, 64240, 65535, 8192, 14600, 5840 };

	if (plan->protocol != TCP)
		return;
	switch (actor->habit % 4) {
	case 0:
		plan->window = dice_u16(dice);
		break;
	case 1:
		plan->options = is_stealth(plan->class) ? NO_OPTIONS : MSS_ONLY;
		plan->window = dice_u16(dice);
		break;
	case 2:
		plan->options = is_stealth(plan->class) ? NO_OPTIONS : WINDOWS_OPTIONS;
		plan->window = windows[actor->habit % 6];
		break;
	default:
		plan->options = is_stealth(plan->class) ? NO_OPTIONS : LINUX_OPTIONS;
		plan->window = windows[actor->habit % 6];
		break;
	}
}

static void mark(struct plan *plan, const struct actor *actor, struct dice *dice)
{
	plan->ip_id = dice_u16(dice);
	plan->sequence = dice_u32(dice);
	switch (plan->tool) {
	case NO_TOOL:
		mark_nothing(plan, actor, dice);
		break;
	case MIRAI:
		plan->sequence = plan_ipv4(plan->dst);
		plan->window = actor->window;
		break;
	case ZMAP:
		plan->ip_id = ZMAP_IP_ID;
		plan->options = actor->habit % 2 == 0 ? MSS_ONLY : NO_OPTIONS;
		plan->window = 65535;
		plan->fragment = 0;
		break;
	case MASSCAN:
		mark_masscan(plan, actor);
		break;
	case NMAP:
		mark_nmap(plan, dice);
		break;
	case HPING:
		plan->window = HPING_WINDOW;
		plan->fragment = 0;
		break;
	case DEMO_TOOLS:
		break;
	}
}

/* ---- the plays ---- */

static void play_tcp(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	const struct actor *actor = actor_of(stage, plan);
	bool keeps_port = plan->tool == MIRAI || plan->tool == MASSCAN;

	plan->flags = (uint8_t)scene->detail;
	plan->src_port = keeps_port ? actor->port : draw_client_port(dice);
	plan->dst_port = draw_port(scene->ports, dice);
	if (plan->flags & ACK)
		plan->acknowledgement = dice_u32(dice);
}

static void add_dns_question(struct plan *plan, struct dice *dice, uint16_t flags, bool is_any)
{
	static const uint8_t any[] = "\7example\3com\0\0\xff\0\1";
	static const uint8_t version[] = "\7version\4bind\0\0\x10\0\3";
	uint8_t header[12] = { 0, 0, (uint8_t)(flags >> 8), (uint8_t)flags, 0, 1 };

	header[0] = (uint8_t)dice_below(dice, 256);
	header[1] = (uint8_t)dice_below(dice, 256);
	add_body(plan, header, sizeof(header));
	if (is_any)
		add_body(plan, any, sizeof(any) - 1);
	else
		add_body(plan, version, sizeof(version) - 1);
}

/* Requests as the services' protocols have them; a port that is not here gets a few random bytes. */
static const struct {
	uint16_t port;
	uint16_t bytes;
	const char *request;
} requests[] = {
	{ 123, 8, "\x17\0\3\x2a\0\0\0\0" }, /* NTP mode 7, monlist */
	{ 161, 43,
		"0)\2\1\1\4\6public\xa5\x1c\2\4\x12\x34\x56\x78\2\1\0\2\1\x0a"
		"0\x0e"
		"0\x0c\6\x08+\6\1\2\1\1\1\0\5\0" }, /* SNMPv2c getBulk */
	{ 389, 40,
		"0&\2\1\1\x63!"
		"\4\0\x0a\1\0\x0a\1\0\2\1\0\2\1\0\1\1\0\x87\x0bobjectclass0\0" }, /* CLDAP */
	{ 1900, 94,
		"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "
		"\"ssdp:discover\"\r\nMX: 1\r\nST: ssdp:all"
		"\r\n\r\n" },
	{ 5060, 97,
		"OPTIONS sip:100@198.51.100.1 SIP/2.0\r\nFrom: \"s\" "
		"<sip:100@192.0.2.1>\r\nCSeq: 1 OPTIONS\r\nMax-Forwar"
		"ds: 70\r\n\r\n" },
	{ 5683, 21, "@\1\x7d\x70\xbb.well-known\4core" }, /* CoAP */
	{ 11211, 15, "\0\1\0\0\0\1\0\0stats\r\n" },
};

static void add_request(
	struct plan *plan, struct dice *dice, uint16_t port, const struct actor *actor)
{
	if (port == 53) {
		add_dns_question(plan, dice, 0x0100, actor->habit % 3 != 0);
		return;
	}
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		if (requests[i].port == port) {
			add_body(plan, requests[i].request, requests[i].bytes);
			return;
		}
	add_random_body(plan, dice, dice_between(dice, 1, 24));
}

static void play_udp(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	const struct actor *actor = actor_of(stage, plan);

	plan->dst_port = scene->detail;
	plan->src_port = draw_client_port(dice);
	if (plan->dst_port == 123 && actor->habit % 4 == 0)
		plan->src_port = 123; /* an NTP client of the old kind: still a question */
	if (plan->dst_port == 6881)
		plan->dst_port =
			(uint16_t)dice_between(dice, 1025, 65535); /* peers of file sharing, gone */
	add_request(plan, dice, scene->detail, actor);
}

static void play_icmp(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	(void)stage;
	plan->icmp_type = (uint8_t)(scene->detail >> 8);
	plan->icmp_code = (uint8_t)scene->detail;
	add_random_body(plan, dice, plan->icmp_type == 13 ? 12 : plan->icmp_type == 135 ? 16 : 32);
}

/* What a flooded server sends back to the addresses that the flood was forged with. */
static void play_answer(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	const struct actor *actor = actor_of(stage, plan);
	static const uint16_t services[] = { 80, 443, 443, 22, 25565, 53, 8080, 3389 };
	bool is_open = (scene->detail & SYN) != 0;

	plan->flags = (uint8_t)scene->detail;
	plan->src_port =
		is_open ? services[actor->habit % 8] : (uint16_t)dice_between(dice, 1, 9999);
	plan->dst_port = (uint16_t)dice_between(dice, 1024, 65535);
	plan->acknowledgement = scene->detail == RST ? 0 : dice_u32(dice);
	plan->window = is_open ? 65160 : 0;
	plan->options = is_open ? MSS_ONLY : NO_OPTIONS;
}

static void play_udp_answer(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	static const char found[] = "HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\n\r\n";
	uint8_t ntp[48] = { 0x24, 2, 3, 0xe9 }; /* version 4, mode 4, stratum 2 */

	(void)stage;
	plan->src_port = scene->detail;
	plan->dst_port = draw_client_port(dice);
	switch (scene->detail) {
	case 53:
		add_dns_question(plan, dice, 0x8180, true);
		break;
	case 123:
		add_body(plan, ntp, sizeof(ntp));
		break;
	default:
		add_body(plan, found, sizeof(found) - 1);
		break;
	}
}

/* An error quotes a packet that a dark address is said to have sent to the victim. */
static void play_icmp_error(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	bool by_victim = scene->group == VICTIM || scene->group == IPV6_SERVERS;
	enum group flooded = scene->rhythm == FLOOD ? VICTIM : SERVERS;
	uint32_t victim = plan->source;
	uint16_t src_port = (uint16_t)dice_between(dice, 1024, 65535);
	uint16_t dst_port = 443;

	if (by_victim)
		dst_port = (uint16_t)dice_between(dice, 1, 65535);
	else
		victim = population_draw(stage->population, dice, flooded, stage->minute);
	plan->icmp_type = (uint8_t)(scene->detail >> 8);
	plan->icmp_code = (uint8_t)scene->detail;
	plan->acknowledgement = dice_u32(dice);
	frame_quote(plan, population_actor(stage->population, victim)->address,
		by_victim ? UDP : TCP, src_port, dst_port);
}

static void play_odd_tcp(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	static const char request[] = "GET / HTTP/1.0\r\n\r\n";

	play_tcp(stage, scene, dice, plan);
	plan->window = dice_u16(dice);
	if ((scene->detail & SYN) == 0)
		add_body(plan, request, sizeof(request) - 1);
}

static void play_sctp(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	static const uint8_t init[] = { 1, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 0, 0, 10, 0, 10, 0, 0, 0,
		1 };

	(void)stage;
	plan->src_port = draw_client_port(dice);
	plan->dst_port = draw_port(scene->ports, dice);
	add_body(plan, init, sizeof(init));
}

static void play_body(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	(void)stage;
	add_random_body(plan, dice, scene->detail);
}

static void play_later_fragment(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	(void)stage;
	(void)scene;
	plan->is_raw = true;
	plan->fragment = (uint16_t)(dice_between(dice, 1, 180) |
				    (dice_below(dice, 2) == 0 ? MORE_FRAGMENTS : 0));
	plan->extension = FRAGMENT_HEADER;
	add_random_body(plan, dice, 40);
}

/* RFC 1858: a first fragment so small that the flags lie in the next one. */
static void play_tiny_fragment(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	play_tcp(stage, scene, dice, plan);
	plan->fragment = MORE_FRAGMENTS;
	plan->transport_limit = 8;
}

static void play_first_fragment(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	play_udp(stage, scene, dice, plan);
	plan->fragment = MORE_FRAGMENTS;
	plan->transport_limit = 64;
}

/* The capture kept only so many bytes of the transport; the detail says how many. */
static void play_snapped(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	(void)stage;
	plan->flags = SYN;
	plan->src_port = draw_client_port(dice);
	plan->dst_port = draw_port(scene->ports, dice);
	plan->snap_bytes = scene->detail;
}

/* The packet ends before its flags; what the frame holds beyond is padding. */
static void play_short_length(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	play_tcp(stage, scene, dice, plan);
	plan->flags = SYN;
	plan->transport_limit = scene->detail;
}

/* IPv6: an extension header that was not captured whole. */
static void play_cut_chain(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	(void)stage;
	(void)scene;
	plan->is_raw = true;
	plan->snap_bytes = 4;
	add_random_body(plan, dice, 24);
}

static void play_extension(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	play_tcp(stage, scene, dice, plan);
	plan->extension = DESTINATION_OPTIONS;
}

static void play_offload(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	play_tcp(stage, scene, dice, plan);
	plan->damage = TOTAL_IS_ZERO;
}

static void play_malformed(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	plan->src_port = draw_client_port(dice);
	plan->dst_port = draw_port(scene->ports, dice);
	plan->flags = SYN;
	plan->damage = (enum damage)scene->detail;
	(void)stage;
}

static void play_non_ip(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	uint8_t question[28] = { 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0,
		1 }; /* RFC 826: who has … ? */

	plan->ethertype = scene->detail;
	if (scene->detail != ETHERTYPE_ARP) {
		add_random_body(plan, dice, 38);
		return;
	}
	memcpy(question + 14, actor_of(stage, plan)->address, 4);
	memcpy(question + 24, plan->dst, 4);
	add_body(plan, question, sizeof(question));
}

/* What the router lets through to the wrong side: traffic of others, and a dark address that sends. */
static void play_neighbour(
	const struct stage *stage, const struct scene *scene, struct dice *dice, struct plan *plan)
{
	static const uint8_t groups[][4] = { { 224, 0, 0, 251 }, { 239, 255, 255, 250 },
		{ 255, 255, 255, 255 } };

	play_tcp(stage, scene, dice, plan);
	if (plan->version == 4 && scene->group == NEIGHBOURS && dice_below(dice, 20) == 0)
		population_draw_dark(stage->population, dice, 4, plan->src);
	population_draw_public(stage->population, dice, plan->version, plan->dst);
	if (plan->version == 4 && dice_below(dice, 10) == 0)
		memcpy(plan->dst, groups[dice_below(dice, 3)], 4);
}

/* ---- the stage ---- */

static uint32_t percent_of_day(uint64_t time_s)
{
	uint32_t minute = (uint32_t)(time_s / 60 % 1440), hour = minute / 60, rest = minute % 60;
	uint32_t from = hour_percent[hour], to = hour_percent[(hour + 1) % 24];

	return (from * (60 - rest) + to * rest) / 60;
}

/* Rises fast, stays with waves, falls: percent of the scene's weight. */
static uint32_t percent_of_burst(
	const struct stage *stage, uint32_t minute, uint32_t from, uint32_t to, uint32_t calm)
{
	uint32_t begin = stage->minutes * from / 100, end = stage->minutes * to / 100;

	if (minute < begin || minute >= end)
		return calm;
	return 800 + (minute * 7919 % 5) * 60;
}

static uint32_t percent_of(const struct stage *stage, enum rhythm rhythm, uint32_t minute)
{
	switch (rhythm) {
	case STEADY:
		return 100;
	case DAILY:
		return percent_of_day(stage->start_s + (uint64_t)minute * 60);
	case FLOOD:
		return percent_of_burst(stage, minute, FLOOD_FROM, FLOOD_TO, 0) / 8;
	case SURGE:
		return percent_of_burst(stage, minute, SURGE_FROM, SURGE_TO, 5);
	}
	return 0;
}

static bool is_ipv6_group(enum group group)
{
	return group == IPV6_SCANNERS || group == IPV6_SERVERS;
}

struct stage *stage_create(const struct population *population, uint64_t start_s, uint32_t minutes)
{
	struct stage *stage = calloc(1, sizeof(*stage));

	if (stage == NULL)
		return NULL;
	stage->population = population;
	stage->start_s = start_s;
	stage->minutes = minutes;
	stage->running = calloc(SCENES, sizeof(*stage->running));
	stage->upto = calloc(SCENES, sizeof(*stage->upto));
	if (stage->running == NULL || stage->upto == NULL) {
		stage_destroy(stage);
		return NULL;
	}
	for (size_t i = 0; i < SCENES; i++)
		if (!is_ipv6_group(scenes[i].group) || population_has_dark_ipv6(population))
			stage->running[stage->count++] = &scenes[i];
	return stage;
}

void stage_destroy(struct stage *stage)
{
	if (stage == NULL)
		return;
	free(stage->running);
	free(stage->upto);
	free(stage);
}

uint64_t stage_weight(const struct stage *stage, uint32_t minute)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < stage->count; i++)
		sum += stage->running[i]->weight *
		       percent_of(stage, stage->running[i]->rhythm, minute);
	return sum;
}

void stage_set_minute(struct stage *stage, uint32_t minute)
{
	uint64_t sum = 0;

	stage->minute = minute;
	for (size_t i = 0; i < stage->count; i++) {
		sum += stage->running[i]->weight *
		       percent_of(stage, stage->running[i]->rhythm, minute);
		stage->upto[i] = sum;
	}
}

static const struct scene *draw_scene(const struct stage *stage, struct dice *dice)
{
	uint64_t draw = dice_u64(dice) % stage->upto[stage->count - 1];
	size_t low = 0, high = stage->count - 1;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (draw < stage->upto[middle])
			high = middle;
		else
			low = middle + 1;
	}
	return stage->running[low];
}

/* What the truth says beside the class follows from role, protocol and what is captured. */
static void set_service(struct plan *plan)
{
	bool is_whole = plan->class != OTHER_FRAGMENT && plan->class != OTHER_TRUNCATED;
	bool knows_ports = plan->protocol == TCP || plan->protocol == UDP || plan->protocol == SCTP;
	bool lost_ports = plan->is_raw || (plan->snap_bytes != 0 && plan->snap_bytes < 4);

	plan->has_ports = knows_ports && !lost_ports;
	plan->service = NO_SERVICE;
	if (plan->protocol == ICMP || plan->protocol == ICMP6) {
		if (is_whole)
			plan->service = plan->icmp_type << 8 | plan->icmp_code;
		return;
	}
	if (plan->has_ports && role_of(plan->class) == PROBE)
		plan->service = plan->dst_port;
	if (plan->has_ports && role_of(plan->class) == BACKSCATTER)
		plan->service = plan->src_port;
}

static uint8_t draw_tags(struct dice *dice)
{
	uint32_t draw = dice_below(dice, 10000);

	return draw < DOUBLE_TAGGED_PER_10000 ? 2 : draw < TAGGED_PER_10000 ? 1 : 0;
}

void stage_plan(const struct stage *stage, struct dice *dice, struct plan *plan)
{
	const struct scene *scene = draw_scene(stage, dice);
	const struct actor *actor;

	memset(plan, 0, offsetof(struct plan, body));
	plan->source = population_draw(stage->population, dice, scene->group, stage->minute);
	actor = actor_of(stage, plan);
	plan->fate = scene->fate;
	plan->class = scene->class;
	plan->tool = scene->tool;
	plan->protocol = scene->protocol;
	plan->version = actor->version;
	plan->ethertype = plan->version == 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;
	plan->tags = draw_tags(dice);
	plan->ttl = actor->ttl;
	plan->fragment = actor->habit % 2 == 0 ? DONT_FRAGMENT : 0;
	memcpy(plan->src, actor->address, sizeof(plan->src));
	population_draw_dark(stage->population, dice, plan->version, plan->dst);
	scene->play(stage, scene, dice, plan);
	if (plan->fate == COUNTED && role_of(plan->class) == PROBE) {
		do
			mark(plan, actor, dice);
		while (mark_of(plan) != plan->tool);
	} else {
		plan->ip_id = dice_u16(dice);
		plan->sequence = dice_u32(dice);
	}
	set_service(plan);
}
