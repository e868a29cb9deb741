# An ordinary user: limits in a control group of the user's own, a published port, units of the user's own; then a reboot.
. jobs/common.sh
loginctl enable-linger alice
systemctl start user@1000 # which lingering does in its own time
cp busybox.tar /tmp/
alice() { runuser -u alice -- env -C / HOME=/home/alice USER=alice XDG_RUNTIME_DIR=/run/user/1000 "$@"; }
check 'import' alice rundlet import /tmp/busybox.tar bb
check 'run' same "$(alice rundlet run --rm bb id -u)" 0
alice rundlet run -d --name web --restart always -m 48m --pids-limit 50 --cpus 0.5 -p 8090:80 bb \
  sh -c 'mkdir /w; echo page >/w/index.html; exec httpd -f -p 80 -h /w' >/dev/null
mkdir -p /tmp/context && printf 'FROM bb\nRUN echo built >/made\nCOPY Dockerfile /\n' >/tmp/context/Dockerfile
check 'build' alice rundlet build -q -t built /tmp/context
check 'what was built' same "$(alice rundlet run --rm built cat /made)" built
alice rundlet run -d --name plain bb sleep 100000 >/dev/null
check 'limits' same "$(alice rundlet exec web sh -c 'cd /sys/fs/cgroup; cat memory.max pids.max cpu.max' | xargs)" \
  '50331648 50 50000 100000'
check "systemd's driver" same "$(alice rundlet info -f '{{.CgroupDriver}}')" systemd
scope=rundlet-$(alice rundlet inspect -f '{{.Id}}' web).scope
check 'its scope' same "$(alice systemctl --user show -P Slice -P MemoryMax "$scope" | xargs)" 'user.slice 50331648'
alice rundlet update -m 64m --memory-swap 64m web >/dev/null
check 'systemd is told of an update' same "$(alice systemctl --user show -P MemoryMax "$scope")" 67108864
alice rundlet update -m 48m --memory-swap 96m web >/dev/null
check 'a slice of its own' same "$(alice rundlet run --rm --cgroupns host --cgroup-parent small.slice bb cat /proc/self/cgroup |
  sed 's/[0-9a-f]\{64\}/ID/')" '0::/user.slice/user-1000.slice/user@1000.service/small.slice/rundlet-ID.scope'
check 'published port' same "$(curl -s -m 20 127.0.0.1:8090)" page
check 'stats' grep -q '48MiB' <<<"$(alice rundlet stats --no-stream web)"
check 'pause' alice rundlet pause web
check 'unpause' alice rundlet unpause web
check 'the range of users' same "$(alice rundlet run --rm bb wc -l /proc/self/uid_map)" '2 /proc/self/uid_map'
check 'nothing of it is root on the machine' fails pgrep -u root -f 'httpd -f -p 80'
check 'enable --user' alice rundlet engine enable --user --now
check 'the unit is active' same "$(alice systemctl --user is-active rundlet.service)" active
check 'the container ran on' same "$(alice rundlet exec web echo alive)" alive
check 'doctor' same "$(alice rundlet system doctor --json | grep -c '"missing"')" 0
sync
