/*
 * BPF filter expressions over frames of any link type.
 *
 * The same expression means another program for each link type, so programs are made when a link
 * type is first met.
 *
 * Threads: one user at a time.
 */
#pragma once

#include <stdbool.h>

#include "schemas/base/errors.h"
#include "sensor/capture.h"

struct capture_filter;
struct capture_filter_program; /* of one link type; belongs to the filter */

/**
 * Refuses an expression that means nothing: it must compile for Ethernet or for raw IP.
 *
 * @return 0, or FAIL_USAGE with the expression and libpcap's reason in `msg`
 */
int capture_filter_check(const char *expression, struct message *msg) MUST_CHECK;

/** @return 0, -ENOMEM, or FAIL_USAGE as capture_filter_check */
int capture_filter_create(
	struct capture_filter **out, const char *expression, struct message *msg) MUST_CHECK;

/**
 * The program for a link type (LINKTYPE_ value).
 *
 * @param reason  filled with libpcap's reason where there is none, may be NULL
 * @return NULL when the expression does not compile for it, or memory is out
 */
const struct capture_filter_program *capture_filter_find(
	struct capture_filter *filter, uint32_t linktype, struct message *reason);

bool capture_filter_matches(
	const struct capture_filter_program *program, const struct frame *frame);

/** True when programs were asked for and the expression compiles for none; `msg` says why. */
bool capture_filter_is_useless(const struct capture_filter *filter, struct message *msg);

/** The expression as given. */
const char *capture_filter_text(const struct capture_filter *filter);

/** libpcap's DLT_ number for a LINKTYPE_ value of a file, and the way back. */
int capture_filter_dlt(uint32_t linktype);
uint32_t capture_filter_linktype(int dlt);

void capture_filter_destroy(struct capture_filter *filter);

/** The version of libpcap, for --version. */
const char *capture_filter_version(void);
