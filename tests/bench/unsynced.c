/*
 * Preloaded, it makes fsync and fdatasync cost nothing, to measure what they cost. For benchmarks
 * alone: what is written so does not outlive a power cut.
 */
int fsync(int fd);
int fdatasync(int fd);

int fsync(int fd)
{
	(void)fd;
	return 0;
}

int fdatasync(int fd)
{
	(void)fd;
	return 0;
}
