#include "schemas/base/signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

atomic_bool signals_stop;

static atomic_bool reload_asked, statistics_asked;

static void on_signal(int number)
{
	if (number == SIGHUP)
		atomic_store(&reload_asked, true);
	else if (number == SIGUSR1)
		atomic_store(&statistics_asked, true);
	else
		signals_stop = true;
}

void signals_install(void)
{
	struct sigaction act = { .sa_handler = on_signal }, ignore = { .sa_handler = SIG_IGN };

	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
	sigaction(SIGUSR1, &act, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
}

bool signals_take_reload(void)
{
	return atomic_exchange(&reload_asked, false);
}

bool signals_take_statistics(void)
{
	return atomic_exchange(&statistics_asked, false);
}
