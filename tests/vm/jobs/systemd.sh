# systemd's driver of control groups: a container is a scope, in the slice that it asks for; systemd knows its limits.
. jobs/common.sh
unit() { echo "rundlet-$(rundlet inspect -f '{{.Id}}' "$1").scope"; }
property() { systemctl show -P "$2" "$(unit "$1")"; }
files() { in_container "$1" "cd /sys/fs/cgroup; cat $2" | xargs; }
scopes() { systemctl list-units --all --no-legend 'rundlet-*.scope' | wc -l; }
gone() { for _ in $(seq 40); do [ "$(scopes)" = 0 ] && return || sleep 0.5; done; systemctl list-units --all 'rundlet-*.scope'; return 1; }
remove_all
check 'the driver' same "$(rundlet info -f '{{.CgroupDriver}} {{.CgroupVersion}}')" 'systemd 2'
start one -m 64m --cpus 0.5 --pids-limit 20 --cpuset-cpus 1 -c 512 bb sleep 100000
check 'its scope is active' same "$(property one ActiveState) $(property one Slice) $(property one Delegate)" \
  'active system.slice yes'
check 'limits that systemd knows' same \
  "$(property one MemoryMax) $(property one TasksMax) $(property one CPUQuotaPerSecUSec) $(property one AllowedCPUs)" \
  '67108864 20 500ms 1'
check 'limits that the kernel has' same "$(files one 'memory.max memory.swap.max cpu.max pids.max cpuset.cpus.effective cpu.weight')" \
  '67108864 67108864 50000 100000 20 1 20'
rundlet update -m 128m --memory-swap 256m --cpus 1 --pids-limit 33 one >/dev/null
check 'update' same "$(files one 'memory.max memory.swap.max cpu.max pids.max')" '134217728 134217728 100000 100000 33'
systemctl daemon-reload
systemctl set-property --runtime "$(unit one)" CPUWeight=50
check 'limits after systemd wrote them' same "$(files one 'memory.max memory.swap.max pids.max cpuset.cpus.effective cpu.weight')" \
  '134217728 134217728 33 1 50'
check 'a forbidden device' fails in_container one 'mknod /tmp/disk b 254 0; head -c1 /tmp/disk'
check 'exec is in the scope' same "$(in_container one 'cat /proc/self/cgroup')" '0::/'
check 'stats' grep -q '128MiB' <<<"$(rundlet stats --no-stream one)"
check 'top' grep -q 'sleep 100000' <<<"$(rundlet top one)"
check 'pause' rundlet pause one
check 'frozen' same "$(cat "/sys/fs/cgroup/system.slice/$(unit one)/cgroup.freeze")" 1
check 'unpause' rundlet unpause one
check 'restart' rundlet restart -t 0 one
check 'and its scope again' same "$(property one ActiveState) $(property one MemoryMax)" 'active 134217728'
check 'a slice of its own' same "$(rundlet run --rm --cgroupns host --cgroup-parent a-b.slice bb cat /proc/self/cgroup |
  sed 's/[0-9a-f]\{64\}/ID/')" '0::/a.slice/a-b.slice/rundlet-ID.scope'
check 'a parent that is no slice' grep -q 'valid slice named as "xxx.slice"' \
  <<<"$(rundlet run --rm --cgroup-parent /a/b bb true 2>&1)"
check 'limits of a slice' same "$(systemctl set-property --runtime small.slice TasksMax=9
  rundlet run --rm --cgroup-parent small.slice bb true && cat /sys/fs/cgroup/small.slice/pids.max)" 9
for runtime in runc crun; do
  command -v $runtime >/dev/null || continue
  start "$runtime" --runtime $runtime -m 64m bb sleep 100000
  check "$runtime: the same scope" same "$(property $runtime ActiveState) $(property $runtime Slice)" 'active system.slice'
  check "$runtime: exec" same "$(in_container $runtime 'cat /sys/fs/cgroup/memory.max')" 67108864
  check "$runtime: removed" rundlet rm -f $runtime
done
mkdir -p /tmp/context && printf 'FROM bb\nRUN cat /proc/self/cgroup >/made\n' >/tmp/context/Dockerfile
check 'build' rundlet build -q -t built /tmp/context
rundlet run --name oom -m 32m bb dd if=/dev/zero of=/dev/null bs=200M 2>/dev/null
rundlet run -d --name late --restart on-failure:1 -m 32m bb sh -c '[ ! -e /l ] && >/l && exit 1; dd if=/dev/zero of=/dev/null bs=200M' >/dev/null
rundlet wait late >/dev/null
check 'out of memory in a second life' same "$(rundlet inspect -f '{{.State.OOMKilled}} {{.RestartCount}}' late)" 'true 1'
check 'out of memory' same "$(rundlet inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' oom)" 'true 137'
start again --restart always bb sleep 100000
engine=$(pgrep -f 'rundlet.daemon --data-root' | head -1)
launcher=$(pgrep -f 'from rundlet.daemon.launcher' | head -1)
kill -9 "$launcher" "$engine"
kill -9 "$(pgrep -f '^sleep 100000' | tail -1)"
sleep 10
answers() { for _ in $(seq 5); do rundlet version >/dev/null 2>&1 && return || sleep 5; done; rundlet version; }
check 'restarted without an engine, in a new scope' same \
  "$(systemctl list-units --no-legend --state=active 'rundlet-*.scope' | wc -l)" 2
check 'the next engine starts' answers
check 'and finds it' in_container again true
check 'its scope' same "$(property again ActiveState)" active
# The end of everything: engine, launcher, shims, and a process of the container that outlives its init.
start orphans bb sh -c 'sleep 100000 & sleep 100000'
rundlet update --restart no again >/dev/null
shims=$(pgrep -f rundlet-shim || ps -eo pid,comm | awk '$2 == "rundlet-shim" { print $1 }')
# shellcheck disable=SC2086 # the numbers are words
kill -9 $(pgrep -f 'from rundlet.daemon.launcher') $(pgrep -f 'rundlet.daemon --data-root') $shims
check 'an engine starts' answers
check 'and knows what has ended' same "$(rundlet ps -q | wc -l)" 0
remove_all
check 'no scope is left' gone
check 'no group is left' fails ls -d /sys/fs/cgroup/*.slice/rundlet-*.scope
# The other driver, and containers that run on over the change.
start kept bb sleep 100000
rundlet engine stop >/dev/null
mkdir -p /etc/rundlet && echo '{"exec-opts": ["native.cgroupdriver=cgroupfs"]}' >/etc/rundlet/daemon.json
answers >/dev/null
check 'cgroupfs' same "$(rundlet info -f '{{.CgroupDriver}}')" cgroupfs
check 'its processes are found' grep -q 'sleep 100000' <<<"$(rundlet top kept)"
check 'a path' same "$(rundlet run --rm --cgroupns host --cgroup-parent /a/b bb cat /proc/self/cgroup | sed 's/[0-9a-f]\{64\}/ID/')" \
  0::/a/b/ID
rm /etc/rundlet/daemon.json
rundlet engine stop >/dev/null
answers >/dev/null
check 'systemd again' same "$(rundlet info -f '{{.CgroupDriver}}')" systemd
remove_all
check 'no scope is left at the end' gone
# The OCI command line.
mkdir -p /tmp/bundle/rootfs && tar -xf busybox.tar -C /tmp/bundle/rootfs && rm -f /tmp/bundle/config.json
program=/opt/rundlet/bin/rundlet-runtime
(cd /tmp/bundle && $program spec)
python3 - <<'END'
import json
with open("/tmp/bundle/config.json") as file:
    config = json.load(file)
config["process"] |= {"terminal": False, "args": ["sleep", "100000"]}
config["linux"] |= {"cgroupsPath": "machine.slice:libpod:one", "resources": {"memory": {"limit": 67108864}}}
with open("/tmp/bundle/config.json", "w") as file:
    json.dump(config, file)
END
$program delete --force one
created() { $program --systemd-cgroup run -d --bundle /tmp/bundle one </dev/null >/tmp/created 2>&1; }
check 'rundlet-runtime run' created
check 'its scope' same "$(systemctl show -P ActiveState libpod-one.scope) $(systemctl show -P MemoryMax libpod-one.scope) \
$(cat /sys/fs/cgroup/machine.slice/libpod-one.scope/memory.max)" 'active 67108864 67108864'
check 'rundlet-runtime update' $program --systemd-cgroup update --pids-limit 7 one
check 'systemd was told' same "$(systemctl show -P TasksMax libpod-one.scope)" 7
check 'rundlet-runtime pause' $program pause one
check 'rundlet-runtime delete' $program delete --force one
check 'its scope is gone' same "$(systemctl show -P ActiveState libpod-one.scope)" inactive
check 'a path that names no slice' fails $program --systemd-cgroup create --bundle /tmp one
if command -v podman >/dev/null; then
  check 'podman import' podman import -q busybox.tar localhost/bb
  check 'podman run' same "$(podman --runtime $program --cgroup-manager systemd run --rm --network none -m 64m --cgroupns host \
    localhost/bb cat /proc/self/cgroup | sed 's/[0-9a-f]\{64\}/ID/')" 0::/machine.slice/libpod-ID.scope
fi
rm -rf /tmp/bundle
