/*
 * Memory of an open minute that outlives the process: a file, mapped and shared.
 *
 * A killed process leaves the file as it was at its last instruction; the next one reads it
 * (recover.h). It needs no write-back for that, so nothing waits for the disk. When the file cannot
 * grow, the minute goes on in plain memory, and that part of it would die with the process.
 *
 * Threads: a file belongs to its window's owner; a store may be used by all.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/errors.h"

#define OPEN_FILE_SUFFIX   ".minute"
#define OPEN_STATUS_SUFFIX ".status"

/** How far a boot has got, in a file of its own; shared with whoever comes after. */
struct open_status {
	uint64_t magic;
	int64_t boot;
	uint64_t covered_ns; /* end of the last capture interval that was closed */
	uint64_t alive_ns;   /* the process captured until then */
	uint32_t parts;	     /* number that no part of any minute has had yet */
};

#define OPEN_STATUS_MAGIC UINT64_C(0x3154415453534f48) /* "HOSSTAT1" */

struct open_store;

/** A directory for the open minutes of one boot. @return 0 or -errno with `msg` */
int open_store_create(struct open_store **out, const char *directory, int64_t boot,
	struct message *msg) MUST_CHECK;

/** Everything was closed: the status goes too. Accepts NULL. */
void open_store_destroy(struct open_store *store);

/** Files from here on are of another boot. The former one's status stays for its open files. */
int open_store_set_boot(struct open_store *store, int64_t boot) MUST_CHECK;

/** All files of the former boot are closed: its status goes. Accepts NULL. */
void open_store_end_former(struct open_store *store);

int64_t open_store_boot(const struct open_store *store);

/** Notes how far capture has got, all but magic and boot. Accepts NULL. */
void open_store_note(struct open_store *store, const struct open_status *status);

struct open_file;

/** A new file with `head_bytes` (rounded up to pages) mapped at `head`, zero. @return 0 or -errno */
int open_file_create(struct open_file **out, struct open_store *store, size_t head_bytes,
	void **head) MUST_CHECK;

/** Where what open_file_extend adds begins. */
size_t open_file_head_bytes(size_t head_bytes);

/** Adds a mapped piece, zero, to the file's end; a multiple of the page size. NULL: no room. */
void *open_file_extend(struct open_file *file, size_t bytes);

/** Takes over a file of an earlier boot, mapped at `bytes`. @return 0 or -errno */
int open_file_read(struct open_file **out, int directory_fd, const char *name, void **bytes,
	size_t *size) MUST_CHECK;

/** The minute is closed: the file goes. Accepts NULL. */
void open_file_destroy(struct open_file *file);
