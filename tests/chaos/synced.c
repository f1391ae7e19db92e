/*
 * What a power cut leaves of the spool: loaded into the sensor before the C library, keeps a copy of
 * each segment as it was when it was last synced. Copies lie in ../synced beside the spool.
 */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int fd);
int fsync(int fd);

static void copy(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (in >= 0 && out >= 0)
		while (sendfile(out, in, NULL, 1 << 20) > 0)
			;
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
}

static void keep(int fd)
{
	char link[64], path[PATH_MAX], folder[PATH_MAX], name[PATH_MAX], kept[2 * PATH_MAX + 16];
	ssize_t size;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	size = readlink(link, path, sizeof(path) - 1);
	if (size < 6 || memcmp(path + size - 6, ".spool", 6) != 0)
		return;
	path[size] = '\0';
	snprintf(folder, sizeof(folder), "%s", path);
	snprintf(name, sizeof(name), "%s", path);
	snprintf(kept, sizeof(kept), "%s/../synced", dirname(folder));
	mkdir(kept, 0700);
	snprintf(kept + strlen(kept), 2 + PATH_MAX, "/%s", basename(name));
	copy(path, kept);
}

int fdatasync(int fd)
{
	int rc = (int)syscall(SYS_fdatasync, fd);

	if (rc == 0)
		keep(fd);
	return rc;
}

int fsync(int fd)
{
	int rc = (int)syscall(SYS_fsync, fd);

	if (rc == 0)
		keep(fd);
	return rc;
}
