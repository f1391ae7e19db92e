/*
 * hoshimi-demo: some hours of a darknet's life as a capture, and what is in it.
 *
 * The same options give the same bytes. The packets are planned minute by minute in order of time
 * and written as they come, so memory does not grow with their number.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "deploy/demo/dice.h"
#include "deploy/demo/frame.h"
#include "deploy/demo/population.h"
#include "deploy/demo/scenes.h"
#include "deploy/demo/truth.h"

#define EXIT_USAGE 2

#define DEFAULT_SEED	1
#define DEFAULT_HOURS	6
#define DEFAULT_PACKETS 300000
#define DEFAULT_START	1767571200					  /* 2026-01-05T00:00:00Z */
#define DEFAULT_DARK	"198.51.100.0/24,203.0.113.0/24,2001:db8:77::/64" /* RFC 5737, RFC 3849 */
#define HOURS_MAX	(24 * 366)
#define PACKETS_MAX	100000000

#define PCAP_MAGIC_NS	  0xa1b23c4d
#define PCAP_SNAP_BYTES	  262144
#define LINKTYPE_ETHERNET 1
#define NS_PER_S	  UINT64_C(1000000000)
#define NS_PER_MINUTE	  (60 * NS_PER_S)
#define PATH_BYTES	  4096

struct options {
	uint64_t seed, start_s;
	uint32_t hours, packets;
	struct prefix dark[DARK_PREFIXES_MAX];
	size_t dark_count;
	const char *pcap, *truth;
};

static const char help[] =
	"Usage: hoshimi-demo --pcap FILE|- --truth FILE|- [options]\n"
	"Writes some hours of darknet life as a capture (pcap, nanoseconds) and the exact figures "
	"of\n"
	"what is in it, named and shaped as hoshimi-sensor --summary prints them.\n"
	"\n"
	"  --pcap FILE|-     capture to write; - is standard output\n"
	"  --truth FILE|-    ground truth to write, one JSON object\n"
	"  --seed N          another play of the same kind (default 1)\n"
	"  --hours H         1 to 8784 (default 6)\n"
	"  --packets N       frames in all, 1 to 100000000 (default 300000)\n"
	"  --dark PREFIX,... dark ranges, at least one of IPv4\n"
	"                    (default " DEFAULT_DARK ")\n"
	"  --start EPOCH     first second, a full minute (default 1767571200, 2026-01-05 00:00 "
	"UTC)\n"
	"  -h, --help        this text\n"
	"      --version     version\n";

/* ---- output that is complete or not there ---- */

struct output {
	FILE *stream;
	const char *path;
	char partial[PATH_BYTES]; /* empty for what is written in place */
};

/* Devices, pipes and the like cannot be replaced by a finished file. */
static bool is_written_in_place(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 && !S_ISREG(status.st_mode);
}

static bool output_open(struct output *output, const char *path)
{
	*output = (struct output){ .stream = stdout, .path = "standard output" };
	if (strcmp(path, "-") == 0)
		return true;
	output->path = path;
	if (!is_written_in_place(path))
		snprintf(output->partial, sizeof(output->partial), "%s.partial", path);
	output->stream = fopen(output->partial[0] != '\0' ? output->partial : path, "wb");
	if (output->stream == NULL)
		fprintf(stderr, "hoshimi-demo: %s: %s\n", path, strerror(errno));
	return output->stream != NULL;
}

static bool output_finish(struct output *output)
{
	bool had_error = ferror(output->stream) != 0;
	bool is_good = fclose(output->stream) == 0 && !had_error;

	if (is_good && output->partial[0] != '\0')
		is_good = rename(output->partial, output->path) == 0;
	if (!is_good)
		fprintf(stderr, "hoshimi-demo: %s: %s\n", output->path, strerror(errno));
	return is_good;
}

/* ---- pcap: in this machine's byte order, as the format allows ---- */

static void write_header(FILE *out)
{
	const struct {
		uint32_t magic;
		uint16_t major, minor;
		uint32_t zone, accuracy, snap_bytes, linktype;
	} header = { PCAP_MAGIC_NS, 2, 4, 0, 0, PCAP_SNAP_BYTES, LINKTYPE_ETHERNET };

	fwrite(&header, sizeof(header), 1, out);
}

static bool write_frame(FILE *out, const struct frame *frame, uint64_t time_ns)
{
	const uint32_t record[4] = { (uint32_t)(time_ns / NS_PER_S), (uint32_t)(time_ns % NS_PER_S),
		frame->captured_bytes, frame->wire_bytes };

	return fwrite(record, sizeof(record), 1, out) == 1 &&
	       fwrite(frame->bytes, frame->captured_bytes, 1, out) == 1;
}

/* ---- the play ---- */

struct play {
	struct dice dice;
	struct population *population;
	struct stage *stage;
	struct truth *truth;
};

/* The packets of one minute, evenly spread but for a throw of the dice each. */
static bool play_minute(struct play *play, const struct options *options, uint32_t minute,
	uint64_t packets, FILE *out)
{
	uint64_t start_ns = options->start_s * NS_PER_S + minute * NS_PER_MINUTE;
	struct plan plan;
	struct frame frame;

	stage_set_minute(play->stage, minute);
	for (uint64_t i = 0; i < packets; i++) {
		uint64_t from = i * NS_PER_MINUTE / packets, to = (i + 1) * NS_PER_MINUTE / packets;

		stage_plan(play->stage, &play->dice, &plan);
		plan.time_ns = start_ns + from + dice_u64(&play->dice) % (to - from);
		frame_build(&frame, &plan);
		if (!write_frame(out, &frame, plan.time_ns) ||
			truth_count(play->truth, &plan, frame.wire_bytes) != 0)
			return false;
	}
	return true;
}

static bool play_all(struct play *play, const struct options *options, FILE *out)
{
	uint32_t minutes = options->hours * 60;
	uint64_t all = 0, upto = 0, played = 0;

	for (uint32_t minute = 0; minute < minutes; minute++)
		all += stage_weight(play->stage, minute) / 100;
	for (uint32_t minute = 0; minute < minutes; minute++) {
		uint64_t end;

		upto += stage_weight(play->stage, minute) / 100;
		end = upto * options->packets / all;
		if (!play_minute(play, options, minute, end - played, out))
			return false;
		played = end;
	}
	return true;
}

static bool play_create(struct play *play, const struct options *options)
{
	uint32_t minutes = options->hours * 60;
	uint32_t scale =
		options->packets > DEFAULT_PACKETS ? options->packets / DEFAULT_PACKETS : 1;

	dice_init(&play->dice, options->seed);
	play->population =
		population_create(&play->dice, options->dark, options->dark_count, minutes, scale);
	if (play->population == NULL)
		return false;
	play->stage = stage_create(play->population, options->start_s, minutes);
	play->truth = truth_create(population_size(play->population), options->start_s, minutes);
	return play->stage != NULL && play->truth != NULL;
}

static void play_destroy(struct play *play)
{
	truth_destroy(play->truth);
	stage_destroy(play->stage);
	population_destroy(play->population);
}

static bool run(const struct options *options)
{
	struct output pcap = { 0 }, truth = { 0 };
	struct play play = { 0 };
	bool is_good = play_create(&play, options);

	if (!is_good)
		fprintf(stderr, "hoshimi-demo: out of memory\n");
	is_good = is_good && output_open(&pcap, options->pcap);
	if (is_good) {
		write_header(pcap.stream);
		is_good = play_all(&play, options, pcap.stream);
		is_good = output_finish(&pcap) && is_good;
	}
	is_good = is_good && output_open(&truth, options->truth);
	if (is_good) {
		truth_print(play.truth, truth.stream);
		is_good = output_finish(&truth);
	}
	play_destroy(&play);
	return is_good;
}

/* ---- options ---- */

static _Noreturn void refuse(const char *option, const char *word, const char *reason)
{
	fprintf(stderr, "hoshimi-demo: %s%s%s: %s\n", option, word[0] != '\0' ? " " : "", word,
		reason);
	exit(EXIT_USAGE);
}

static uint64_t read_number(const char *option, const char *word, uint64_t low, uint64_t high)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(word, &end, 10);
	if (word[0] < '0' || word[0] > '9' || *end != '\0' || errno != 0)
		refuse(option, word, "not a whole number");
	if (value < low || value > high)
		refuse(option, word, "out of range");
	return value;
}

static void read_dark(struct options *options, const char *word)
{
	char *copy = strdup(word), *rest = copy;
	bool has_ipv4 = false;

	if (copy == NULL)
		refuse("--dark", word, "out of memory");
	options->dark_count = 0;
	for (char *text; (text = strsep(&rest, ",")) != NULL;) {
		struct prefix *prefix = &options->dark[options->dark_count];
		const char *reason;

		if (options->dark_count == DARK_PREFIXES_MAX)
			refuse("--dark", text, "too many prefixes");
		reason = prefix_read(prefix, text);
		if (reason != NULL)
			refuse("--dark", text, reason);
		has_ipv4 = has_ipv4 || prefix->version == 4;
		options->dark_count++;
	}
	free(copy);
	if (!has_ipv4)
		refuse("--dark", word, "needs at least one prefix of IPv4");
}

enum option_key { SEED = 1, HOURS, PACKETS, DARK, START, PCAP, TRUTH, VERSION };

static void take(struct options *options, int key, const char *word)
{
	switch (key) {
	case SEED:
		options->seed = read_number("--seed", word, 0, UINT64_MAX);
		return;
	case HOURS:
		options->hours = (uint32_t)read_number("--hours", word, 1, HOURS_MAX);
		return;
	case PACKETS:
		options->packets = (uint32_t)read_number("--packets", word, 1, PACKETS_MAX);
		return;
	case DARK:
		read_dark(options, word);
		return;
	case START:
		options->start_s = read_number("--start", word, 0, UINT32_MAX - HOURS_MAX * 3600u);
		if (options->start_s % 60 != 0)
			refuse("--start", word, "not a full minute");
		return;
	case PCAP:
	case TRUTH:
		if (strlen(word) > PATH_BYTES - sizeof(".partial"))
			refuse(key == PCAP ? "--pcap" : "--truth", word, "too long for a path");
		*(key == PCAP ? &options->pcap : &options->truth) = word;
		return;
	case VERSION:
		puts("hoshimi-demo " HOSHIMI_VERSION);
		exit(EXIT_SUCCESS);
	case 'h':
		fputs(help, stdout);
		exit(EXIT_SUCCESS);
	default:
		fprintf(stderr, "hoshimi-demo: try --help\n");
		exit(EXIT_USAGE);
	}
}

int main(int argc, char **argv)
{
	static const struct option words[] = {
		{ "seed", required_argument, NULL, SEED },
		{ "hours", required_argument, NULL, HOURS },
		{ "packets", required_argument, NULL, PACKETS },
		{ "dark", required_argument, NULL, DARK },
		{ "start", required_argument, NULL, START },
		{ "pcap", required_argument, NULL, PCAP },
		{ "truth", required_argument, NULL, TRUTH },
		{ "version", no_argument, NULL, VERSION },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct options options = { .seed = DEFAULT_SEED,
		.hours = DEFAULT_HOURS,
		.packets = DEFAULT_PACKETS,
		.start_s = DEFAULT_START };

	read_dark(&options, DEFAULT_DARK);
	for (int key; (key = getopt_long(argc, argv, "h", words, NULL)) != -1;)
		take(&options, key, optarg);
	if (optind < argc)
		refuse(argv[optind], "", "no such option");
	if (options.pcap == NULL || options.truth == NULL)
		refuse(options.pcap == NULL ? "--pcap" : "--truth", "", "needed");
	if (strcmp(options.pcap, "-") == 0 && strcmp(options.truth, "-") == 0)
		refuse("--truth", "-", "standard output is taken by --pcap");
	return run(&options) ? EXIT_SUCCESS : EXIT_FAILURE;
}
