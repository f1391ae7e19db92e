# shellcheck shell=bash
# Counting shell checks, for tests/run and the scripts it calls.
#
# A script that sources this prints one line per check (`ok NAME`, `not ok NAME: why`,
# `skip NAME: why`) and ends with `tally`: "N passed, N failed[, N skipped]", exit status 1 when any
# failed. tests/run takes a part's figures from that last line.

passed=0
failed=0
skipped=0

ok() {
	passed=$((passed + 1))
	echo "ok $1"
}

not_ok() {
	failed=$((failed + 1))
	echo "not ok $1${2:+: $2}"
}

skip() {
	skipped=$((skipped + 1))
	echo "skip $1${2:+: $2}"
}

# check NAME COMMAND…: what the command prints stands in the log above its line.
check() {
	local name=$1

	shift
	if "$@"; then
		ok "$name"
	else
		not_ok "$name" "exit status $? of ${*:1:4}"
	fi
}

# check_equal NAME EXPECTED ACTUAL
check_equal() {
	if [[ $2 == "$3" ]]; then
		ok "$1"
	else
		not_ok "$1" "expected $2, got $3"
	fi
}

tally() {
	local text="$passed passed, $failed failed"

	((skipped == 0)) || text+=", $skipped skipped"
	echo "$text"
	((failed == 0))
}
