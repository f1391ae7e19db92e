/*
 * hoshimi-example-config: prints the example configuration that stands in deploy/.
 */
#include <stdio.h>

#include "schemas/base/options.h"

int main(void)
{
	int rc = config_dump_example(stdout);

	if (rc == 0 && fflush(stdout) != 0)
		rc = -EIO;
	return error_exit_status(rc);
}
