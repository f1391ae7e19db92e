/*
 * A wall clock that a test can set: preloaded, it adds the seconds that stand in the file named by
 * TEST_CLOCK. Uptime stays as it is, as when a real clock is set.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
	static int fd = -1;
	char text[32];
	ssize_t size;
	long rc = syscall(SYS_clock_gettime, clock, now);
	int before = errno;

	if (rc != 0 || clock != CLOCK_REALTIME)
		return (int)rc;
	if (fd < 0)
		fd = open(getenv("TEST_CLOCK"), O_RDONLY | O_CLOEXEC);
	size = pread(fd, text, sizeof(text) - 1, 0);
	if (size > 0) {
		text[size] = '\0';
		now->tv_sec += strtol(text, NULL, 10);
	}
	errno = before;
	return 0;
}
