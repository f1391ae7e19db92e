#include "sensor/open_file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schemas/base/log.h"

#define PAGE_BYTES 4096
#define NAME_BYTES 64
#define MAPS_MAX   4096 /* pieces double up to 8 MiB: 32 GiB */

struct open_store {
	int directory_fd;
	_Atomic int64_t boot;
	atomic_uint next; /* number of the next file */
	struct open_status *status;
	char status_name[NAME_BYTES];
	char former_name[NAME_BYTES]; /* status of the former boot; "" none */
};

struct map {
	void *bytes;
	size_t size;
};

struct open_file {
	int directory_fd; /* its own */
	int fd;
	char name[NAME_BYTES];
	uint64_t size;
	struct map *maps;
	size_t map_count;
};

size_t open_file_head_bytes(size_t head_bytes)
{
	return (head_bytes + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
}

/* A directory and its parent, which is the sensor's own. */
static int make_directory(const char *path)
{
	return mkdir(path, 0750) != 0 && errno != EEXIST ? -errno : 0;
}

/* A file of its own for each boot. */
static int map_status(struct open_store *store)
{
	void *status = MAP_FAILED;
	int fd, rc;

	snprintf(store->status_name, sizeof(store->status_name), "%" PRId64 OPEN_STATUS_SUFFIX,
		(int64_t)store->boot);
	fd = openat(store->directory_fd, store->status_name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	rc = fd < 0 ? -errno : -posix_fallocate(fd, 0, PAGE_BYTES);
	if (rc == 0)
		status = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (rc == 0 && status == MAP_FAILED)
		rc = -errno;
	if (fd >= 0)
		close(fd);
	if (rc != 0)
		return rc;
	store->status = status;
	*store->status = (struct open_status){ .magic = OPEN_STATUS_MAGIC, .boot = store->boot };
	return 0;
}

int open_store_create(
	struct open_store **out, const char *directory, int64_t boot, struct message *msg)
{
	struct open_store *store = calloc(1, sizeof(*store));
	int rc;

	if (store == NULL)
		return -ENOMEM;
	store->boot = boot;
	store->directory_fd = -1;
	rc = make_directory(directory);
	if (rc == 0) {
		store->directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		rc = store->directory_fd < 0 ? -errno : map_status(store);
	}
	if (rc != 0) {
		message_set(msg, "%s: %s", directory, error_text(rc));
		open_store_destroy(store);
		return rc;
	}
	*out = store;
	return 0;
}

static void unmap_status(struct open_store *store)
{
	if (store->status != NULL)
		(void)munmap(store->status, PAGE_BYTES);
	store->status = NULL;
}

int open_store_set_boot(struct open_store *store, int64_t boot)
{
	unmap_status(store);
	snprintf(store->former_name, sizeof(store->former_name), "%s", store->status_name);
	store->boot = boot;
	return map_status(store);
}

void open_store_end_former(struct open_store *store)
{
	if (store == NULL || store->former_name[0] == '\0')
		return;
	(void)unlinkat(store->directory_fd, store->former_name, 0);
	store->former_name[0] = '\0';
}

void open_store_destroy(struct open_store *store)
{
	if (store == NULL)
		return;
	open_store_end_former(store);
	if (store->status != NULL)
		(void)unlinkat(store->directory_fd, store->status_name, 0);
	unmap_status(store);
	if (store->directory_fd >= 0)
		close(store->directory_fd);
	free(store);
}

int64_t open_store_boot(const struct open_store *store)
{
	return store->boot;
}

void open_store_note(struct open_store *store, const struct open_status *status)
{
	if (store == NULL || store->status == NULL)
		return;
	store->status->covered_ns = status->covered_ns;
	store->status->alive_ns = status->alive_ns;
	store->status->parts = status->parts;
}

/* ---- files ---- */

static int add_map(struct open_file *file, void *bytes, size_t size)
{
	struct map *maps;

	if (file->map_count == MAPS_MAX)
		return -ENOMEM;
	maps = realloc(file->maps, (file->map_count + 1) * sizeof(*maps));
	if (maps == NULL)
		return -ENOMEM;
	file->maps = maps;
	maps[file->map_count++] = (struct map){ bytes, size };
	return 0;
}

/* Room is reserved before it is mapped: a full disk is an error here, not a signal later. */
void *open_file_extend(struct open_file *file, size_t bytes)
{
	void *piece;

	if (posix_fallocate(file->fd, (off_t)file->size, (off_t)bytes) != 0)
		return NULL;
	piece = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, (off_t)file->size);
	if (piece == MAP_FAILED)
		return NULL;
	if (add_map(file, piece, bytes) != 0) {
		(void)munmap(piece, bytes);
		return NULL;
	}
	file->size += bytes;
	return piece;
}

int open_file_create(
	struct open_file **out, struct open_store *store, size_t head_bytes, void **head)
{
	struct open_file *file = calloc(1, sizeof(*file));
	int rc = 0;

	if (file == NULL)
		return -ENOMEM;
	file->fd = -1;
	snprintf(file->name, sizeof(file->name), "%" PRId64 "-%06u" OPEN_FILE_SUFFIX,
		(int64_t)store->boot, atomic_fetch_add(&store->next, 1));
	file->directory_fd = fcntl(store->directory_fd, F_DUPFD_CLOEXEC, 0);
	if (file->directory_fd >= 0)
		file->fd = openat(file->directory_fd, file->name,
			O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (file->fd < 0)
		rc = -errno;
	if (rc == 0) {
		*head = open_file_extend(file, open_file_head_bytes(head_bytes));
		rc = *head == NULL ? -ENOSPC : 0;
	}
	if (rc != 0) {
		open_file_destroy(file);
		return rc;
	}
	*out = file;
	return 0;
}

int open_file_read(
	struct open_file **out, int directory_fd, const char *name, void **bytes, size_t *size)
{
	struct open_file *file = calloc(1, sizeof(*file));
	struct stat status;
	int rc = 0;

	if (file == NULL)
		return -ENOMEM;
	snprintf(file->name, sizeof(file->name), "%s", name);
	file->fd = -1;
	file->directory_fd = fcntl(directory_fd, F_DUPFD_CLOEXEC, 0);
	if (file->directory_fd >= 0)
		file->fd = openat(file->directory_fd, name, O_RDWR | O_CLOEXEC);
	if (file->fd < 0 || fstat(file->fd, &status) != 0)
		rc = -errno;
	if (rc == 0 && status.st_size == 0)
		rc = FAIL_TRUNCATED;
	if (rc == 0) {
		*size = (size_t)status.st_size;
		*bytes = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
		rc = *bytes == MAP_FAILED ? -errno : add_map(file, *bytes, *size);
	}
	if (rc != 0) {
		free(file->maps);
		if (file->fd >= 0)
			close(file->fd);
		if (file->directory_fd >= 0)
			close(file->directory_fd);
		free(file);
		return rc;
	}
	*out = file;
	return 0;
}

void open_file_destroy(struct open_file *file)
{
	if (file == NULL)
		return;
	for (size_t i = 0; i < file->map_count; i++)
		(void)munmap(file->maps[i].bytes, file->maps[i].size);
	if (file->fd >= 0) {
		if (unlinkat(file->directory_fd, file->name, 0) != 0)
			log_warning(
				"file of a closed minute cannot be removed file=%s error=\"%s\"",
				file->name, error_text(-errno));
		close(file->fd);
	}
	if (file->directory_fd >= 0)
		close(file->directory_fd);
	free(file->maps);
	free(file);
}
