# An engine that a command has started outlives the login session that the command ran in.
. jobs/common.sh
rundlet engine stop >/dev/null
systemd-run --scope --quiet --unit=login bash -c 'cd /root; rundlet run -d --name kept bb sleep 100000 >/dev/null; sleep 1000' &
for _ in $(seq 60); do
  sleep 2
  grep -q running <<<"$(rundlet engine status)" && [ -n "$(rundlet ps -q)" ] && break
done
engine=$(pgrep -f 'rundlet.daemon --data-root' | head -1)
check 'the engine left the scope' fails grep -q login "/proc/$engine/cgroup"
check 'its directory is /' same "$(readlink "/proc/$engine/cwd")" /
check 'its session is its own' same "$(ps -o sid= -p "$engine" | xargs)" "$engine"
systemctl stop login.scope
systemctl kill -s KILL login.scope 2>/dev/null
check 'the engine runs on' kill -0 "$engine"
check 'the container runs on' rundlet exec kept true
check 'an ordinary user has an engine of one'"'"'s own' same "$(su -l alice -c 'rundlet ps -q' 2>&1)" ''
check 'which is another' same "$(su -l alice -c 'rundlet engine status' 2>&1 | grep -c /home/alice)" 1
su -l alice -c 'rundlet engine stop' >/dev/null
remove_all
rundlet engine stop >/dev/null
