# shellcheck shell=bash
#
# What Hoshimi needs around it on one machine: packages, one Kafka node, one Redis.
# Sourced by bash scripts (deploy/quickstart, tests/run); works under `set -euo pipefail`.
#
#   source deploy/lib/services.sh
#   services_use DIR               all state of the services lies under DIR
#   packages_install curl cmd:pkg  installs what is missing
#   kafka_fetch                    Apache's jars, into DIR/cache/kafka or $HOSHIMI_CACHE/kafka
#   kafka_start                    sets KAFKA_BROKERS
#   redis_start                    sets REDIS_URL, REDIS_PORT and REDIS_SOCKET
#   kafka_stop; redis_stop; kafka_kill; redis_kill
#
# Starting what runs and stopping what does not is no error. Every wait is bounded, and what fails
# shows the last lines of its log. A process is ended by its id only, and only when that id still
# belongs to the process that was started: start time and boot are compared, not the name.

# shellcheck disable=SC2034 # addresses are for the script that sources this

SERVICES_SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
KAFKA_PREFERRED_PORT=${KAFKA_PREFERRED_PORT:-9092}
REDIS_PREFERRED_PORT=${REDIS_PREFERRED_PORT:-6379}
PORTS_TO_TRY=200
UNIX_SOCKET_PATH_MAX=100 # sockaddr_un holds 108

# ---- words ----

say() {
	printf '%s\n' "$*"
}

warn() {
	printf '%s\n' "$*" >&2
}

# Ends the script (or the subshell) with a message.
die() {
	warn "${SERVICES_PROGRAM:-$(basename "$0")}: $*"
	exit 1
}

show_log() {
	local file=$1 lines=${2:-15}

	[[ -s $file ]] || return 0
	warn "last lines of $file:"
	tail -n "$lines" "$file" | sed 's/^/    /' >&2
}

# ---- state ----

# All functions below work on the directory given here; a script may go to and fro between several.
services_use() {
	local wanted=$1

	mkdir -p "$wanted"/{run,log} || die "cannot write to $wanted"
	SERVICES_DIR=$(cd "$wanted" && pwd)
	SERVICES_CACHE=${HOSHIMI_CACHE:-$SERVICES_DIR/cache}
	KAFKA_BROKERS=
	REDIS_URL=
	REDIS_PORT=
	REDIS_SOCKET=
	if process_is_running kafka; then
		KAFKA_BROKERS=127.0.0.1:$(<"$SERVICES_DIR/kafka/port")
	fi
	if process_is_running redis; then
		redis_set_address "$(<"$SERVICES_DIR/redis/port")"
	fi
}

# ---- waiting ----

# wait_until SECONDS COMMAND...: polls until the command succeeds; 1 when the time is over.
wait_until() {
	local seconds=$1 deadline
	shift

	deadline=$((SECONDS + seconds + 1))
	until "$@"; do
		((SECONDS < deadline)) || return 1
		sleep 0.1
	done
}

# ---- packages ----

package_is_installed() {
	[[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Runs a command as root.
as_root() {
	if ((EUID == 0)); then
		"$@"
	else
		sudo -- "$@"
	fi
}

apt_install() {
	local log=$SERVICES_DIR/log/apt.log

	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1
}

apt_update() {
	as_root apt-get update >>"$SERVICES_DIR/log/apt.log" 2>&1
}

# packages_install NAME|COMMAND:NAME...: Debian packages, those with a command only when it is missing.
packages_install() {
	local word missing=()

	for word in "$@"; do
		if [[ $word == *:* ]] && command -v "${word%%:*}" >/dev/null; then
			continue
		fi
		package_is_installed "${word##*:}" || missing+=("${word##*:}")
	done
	((${#missing[@]} > 0)) || return 0

	command -v apt-get >/dev/null || die "needs these Debian packages, and there is no apt-get here: ${missing[*]}"
	if ((EUID != 0)) && ! command -v sudo >/dev/null; then
		die "needs root for once, and there is no sudo here; as root: apt-get install ${missing[*]}"
	fi
	say "    installing ${#missing[@]} packages: ${missing[*]}" | fold -s -w 100
	if apt_install "${missing[@]}"; then
		return 0
	fi
	if apt_update && apt_install "${missing[@]}"; then # the lists of packages were missing or old
		return 0
	fi
	show_log "$SERVICES_DIR/log/apt.log"
	die "apt-get could not install the packages: no network, or another installation is running?"
}

# ---- processes ----

# What tells a process from a later one with the same id: its start time within this boot.
process_identity() {
	local pid=$1 stat fields

	{ stat=$(<"/proc/$pid/stat"); } 2>/dev/null || return 1
	read -ra fields <<<"${stat##*) }"
	[[ ${fields[0]} != Z ]] || return 1
	printf '%s %s %s' "$pid" "${fields[19]}" "$(</proc/sys/kernel/random/boot_id)"
}

# Prints the id of a process that we started and that still runs; 1 when there is none.
process_id() {
	local file=$SERVICES_DIR/run/$1.pid recorded

	[[ -s $file ]] || return 1
	recorded=$(<"$file")
	[[ $(process_identity "${recorded%% *}") == "$recorded" ]] || return 1
	printf '%s' "${recorded%% *}"
}

process_is_running() {
	process_id "$1" >/dev/null
}

# process_start NAME COMMAND...: in the background, in a session of its own, output to log/NAME.log;
# without the caller's other files, so that no lock or pipe of it stays open.
process_start() {
	local name=$1 file=$SERVICES_DIR/run/$1.pid log=$SERVICES_DIR/log/$1.log identity
	shift

	rm -f "$file" "$file.new"
	# shellcheck disable=SC2016 # the inner shell expands
	setsid bash -c 'echo $$ >"$0.new" && exec "$@"' "$file" "$@" >>"$log" 2>&1 </dev/null \
		3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
	disown # not a job of the script: its end is nobody's news
	wait_until 10 test -s "$file.new" || die "$name did not start"
	if identity=$(process_identity "$(<"$file.new")"); then
		printf '%s\n' "$identity" >"$file"
	fi
	rm -f "$file.new"
}

process_is_gone() {
	! process_is_running "$1"
}

# process_stop NAME [SECONDS]: SIGTERM, and SIGKILL when that much time was not enough.
process_stop() {
	local name=$1 seconds=${2:-20} pid

	if pid=$(process_id "$name"); then
		if ! kill -TERM "$pid" 2>/dev/null && process_is_running "$name"; then
			die "may not end $name (process $pid): it was started by another user"
		fi
		if ! wait_until "$seconds" process_is_gone "$name"; then
			warn "$name did not end within $seconds s, killing it"
			process_kill "$name"
		fi
	fi
	rm -f "$SERVICES_DIR/run/$name.pid"
}

# Whether the port that NAME had is free. A killed program's threads may hold it for a moment longer
# than its leader lives; whoever starts it again then would get another port.
port_is_free_again() {
	local file=$SERVICES_DIR/$1/port

	[[ ! -s $file ]] || ! port_is_taken "$(<"$file")"
}

# process_kill NAME: SIGKILL, as in a power cut.
process_kill() {
	local pid

	if pid=$(process_id "$1"); then
		kill -KILL "$pid" 2>/dev/null || true
		wait_until 10 process_is_gone "$1" || die "$1 (process $pid) cannot be killed"
		wait_until 10 port_is_free_again "$1" || warn "the port of $1 is still taken"
	fi
	rm -f "$SERVICES_DIR/run/$1.pid"
}

# process_wait NAME SECONDS COMMAND...: until the command succeeds; 1 when the process ended or time is over.
process_wait() {
	local name=$1 deadline=$((SECONDS + $2 + 1))
	shift 2

	until "$@"; do
		process_is_running "$name" || return 1
		((SECONDS < deadline)) || return 1
		sleep 0.1
	done
}

# ---- ports ----

# Whether anything on this machine listens on a TCP port.
port_is_taken() {
	local hex
	hex=$(printf ':%04X' "$1")

	awk -v port="$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }' \
		/proc/net/tcp /proc/net/tcp6 2>/dev/null
}

# port_choose PREFERRED: prints that port, or the next free one.
port_choose() {
	local port

	for ((port = $1; port < $1 + PORTS_TO_TRY; port++)); do
		if ! port_is_taken "$port"; then
			printf '%s' "$port"
			return 0
		fi
	done
	die "no free port from $1 to $((port - 1))"
}

# port_for NAME PREFERRED: as port_choose, but the port of the last start when it is free.
port_for() {
	local file=$SERVICES_DIR/$1/port

	if [[ -s $file ]] && ! port_is_taken "$(<"$file")"; then
		cat "$file"
	else
		port_choose "$2"
	fi
}

# fill_in TEMPLATE FILE KEY VALUE...: copies a configuration file with its @KEY@s filled in.
fill_in() {
	local text
	text=$(<"$1")
	local file=$2
	shift 2

	while (($# > 0)); do
		text=${text//"@$1@"/$2}
		shift 2
	done
	printf '%s\n' "$text" >"$file"
}

# ---- Kafka ----

KAFKA_HEAP=(-Xms128m -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError)

# Prints a Java of version 17 or later.
java_command() {
	local java version

	for java in "${JAVA_HOME:+$JAVA_HOME/bin/java}" "$(command -v java)" /usr/lib/jvm/java-{17,21}-*/bin/java; do
		[[ -n $java && -x $java ]] || continue
		version=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
		if [[ -n $version ]] && ((version >= 17)); then
			printf '%s' "$java"
			return 0
		fi
	done
	die "needs Java 17 or later (Debian: openjdk-17-jre-headless)"
}

# What a complete set of jars looks like: the pom that named them, then names and sizes.
kafka_inventory() {
	cksum <"$SERVICES_SOURCE/kafka/pom.xml"
	(cd "$1/libs" && stat -c '%n %s' -- *.jar)
}

kafka_is_fetched() {
	local dir=$SERVICES_CACHE/kafka

	[[ -s $dir/inventory && -d $dir/libs ]] && kafka_inventory "$dir" 2>/dev/null | cmp -s - "$dir/inventory"
}

kafka_fetch() {
	local dir=$SERVICES_CACHE/kafka log=$SERVICES_DIR/log/maven.log

	if kafka_is_fetched; then
		return 0
	fi
	say "    fetching Apache Kafka with Maven (56 MB)"
	rm -rf "$dir"
	mkdir -p "$dir"
	if ! mvn -B -q -Dstyle.color=never -f "$SERVICES_SOURCE/kafka/pom.xml" dependency:copy-dependencies \
		-DoutputDirectory="$dir/libs" >"$log" 2>&1; then
		show_log "$log"
		die "Maven could not fetch Kafka: no network? It is needed only once"
	fi
	kafka_inventory "$dir" >"$dir/inventory.new"
	mv "$dir/inventory.new" "$dir/inventory"
}

# kafka_java ARGUMENTS...: runs a class of Kafka's.
kafka_java() {
	local java
	java=$(java_command) || exit 1

	"$java" -Dlog4j2.configurationFile="$SERVICES_SOURCE/kafka/log4j2.properties" \
		-cp "$SERVICES_CACHE/kafka/libs/*" "$@"
}

# A cluster id as Kafka makes them: 16 random bytes in URL-safe base64, no dash in front.
kafka_random_id() {
	head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n' | sed 's/^-/A/'
}

kafka_answers() {
	kcat -L -m 2 -b "127.0.0.1:$1" >/dev/null 2>&1
}

kafka_configure() {
	local dir=$SERVICES_DIR/kafka port=$1 controller_port

	controller_port=$(port_choose $((port + 1))) || exit 1
	fill_in "$SERVICES_SOURCE/kafka/server.properties" "$dir/server.properties" \
		PORT "$port" CONTROLLER_PORT "$controller_port" DATA "$dir/data"
	if [[ ! -s $dir/data/meta.properties ]]; then
		rm -rf "$dir/data"
		if ! kafka_java kafka.tools.StorageTool format --ignore-formatted -t "$(kafka_random_id)" \
			-c "$dir/server.properties" >"$SERVICES_DIR/log/kafka-format.log" 2>&1; then
			show_log "$SERVICES_DIR/log/kafka-format.log"
			die "Kafka's data directory $dir/data could not be prepared"
		fi
	fi
}

# kafka_try PORT: 0 when it serves, 1 when another program was faster at one of the ports.
kafka_try() {
	local port=$1 log=$SERVICES_DIR/log/kafka.log java
	java=$(java_command) || exit 1

	kafka_configure "$port"
	: >"$log"
	process_start kafka "$java" "${KAFKA_HEAP[@]}" \
		-Dlog4j2.configurationFile="$SERVICES_SOURCE/kafka/log4j2.properties" \
		-cp "$SERVICES_CACHE/kafka/libs/*" kafka.Kafka "$SERVICES_DIR/kafka/server.properties"
	if process_wait kafka 60 kafka_answers "$port"; then
		printf '%s\n' "$port" >"$SERVICES_DIR/kafka/port"
		return 0
	fi
	process_stop kafka 10
	if grep -q 'Address already in use' "$log"; then
		return 1
	fi
	show_log "$log"
	die "Kafka does not answer on 127.0.0.1:$port"
}

# Starts the node and waits until it answers; sets KAFKA_BROKERS.
kafka_start() {
	local port attempt

	mkdir -p "$SERVICES_DIR/kafka"
	if process_is_running kafka; then
		port=$(<"$SERVICES_DIR/kafka/port")
		KAFKA_BROKERS=127.0.0.1:$port
		wait_until 30 kafka_answers "$port" || die "Kafka runs but does not answer on $KAFKA_BROKERS"
		say "    Kafka runs already on $KAFKA_BROKERS"
		return 0
	fi
	kafka_is_fetched || kafka_fetch
	for attempt in 1 2 3; do
		port=$(port_for kafka "$KAFKA_PREFERRED_PORT") || exit 1
		if kafka_try "$port"; then
			KAFKA_BROKERS=127.0.0.1:$port
			port_report Kafka "$port" "$KAFKA_PREFERRED_PORT"
			return 0
		fi
		warn "    another program took port $port meanwhile (attempt $attempt)"
	done
	die "no port for Kafka"
}

# port_report NAME PORT PREFERRED
port_report() {
	local why=

	if [[ $2 != "$3" ]] && port_is_taken "$3"; then
		why=" (port $3 is taken)"
	fi
	say "    $1 runs on 127.0.0.1:$2$why"
}

kafka_stop() {
	process_stop kafka 30
	KAFKA_BROKERS=
}

kafka_kill() {
	process_kill kafka
	KAFKA_BROKERS=
}

# ---- Redis ----

redis_set_address() {
	REDIS_PORT=$1
	REDIS_URL=redis://127.0.0.1:$REDIS_PORT
	REDIS_SOCKET=$(redis_socket_path)
}

# Empty when the path would be too long for a socket.
redis_socket_path() {
	local path=$SERVICES_DIR/redis/redis.sock

	((${#path} > UNIX_SOCKET_PATH_MAX)) || printf '%s' "$path"
}

# It must be ours: the same port may belong to another Redis by now.
redis_answers() {
	local pid
	pid=$(redis-cli -h 127.0.0.1 -p "$1" info server 2>/dev/null | tr -d '\r' | sed -n 's/^process_id://p')

	[[ -n $pid && $pid == "$(process_id redis)" ]] &&
		[[ $(redis-cli -h 127.0.0.1 -p "$1" ping 2>/dev/null) == PONG ]]
}

redis_configure() {
	local dir=$SERVICES_DIR/redis socket
	socket=$(redis_socket_path)

	mkdir -p "$dir/data"
	fill_in "$SERVICES_SOURCE/redis/redis.conf" "$dir/redis.conf" PORT "$1" SOCKET "${socket:-none}" \
		DATA "$dir/data"
	if [[ -z $socket ]]; then
		sed -i '/^unixsocket/d' "$dir/redis.conf"
	fi
}

# redis_try PORT: as kafka_try.
redis_try() {
	local port=$1 log=$SERVICES_DIR/log/redis.log

	redis_configure "$port"
	: >"$log"
	process_start redis redis-server "$SERVICES_DIR/redis/redis.conf"
	if process_wait redis 60 redis_answers "$port"; then
		printf '%s\n' "$port" >"$SERVICES_DIR/redis/port"
		return 0
	fi
	process_stop redis 10
	if grep -q 'Address already in use' "$log"; then
		return 1
	fi
	show_log "$log"
	die "Redis does not answer on 127.0.0.1:$port"
}

# Starts a Redis of our own, never the machine's; sets REDIS_URL, REDIS_PORT, REDIS_SOCKET.
redis_start() {
	local port attempt

	mkdir -p "$SERVICES_DIR/redis"
	if process_is_running redis; then
		port=$(<"$SERVICES_DIR/redis/port")
		wait_until 30 redis_answers "$port" || die "Redis runs but does not answer on 127.0.0.1:$port"
		redis_set_address "$port"
		say "    Redis runs already on 127.0.0.1:$port"
		return 0
	fi
	for attempt in 1 2 3; do
		port=$(port_for redis "$REDIS_PREFERRED_PORT") || exit 1
		if redis_try "$port"; then
			redis_set_address "$port"
			port_report Redis "$port" "$REDIS_PREFERRED_PORT"
			return 0
		fi
		warn "    another program took port $port meanwhile (attempt $attempt)"
	done
	die "no port for Redis"
}

redis_stop() {
	process_stop redis 30
	REDIS_URL=
}

redis_kill() {
	process_kill redis
	REDIS_URL=
}
