# Limits, device policy, OOM, freezer and the container's view, on cgroup v2.
. jobs/common.sh
options=$(grep ' cgroup2 ' /proc/mounts)
start lim -m 64m --cpus 0.5 --pids-limit 20 --cpuset-cpus 1 -c 512 -p 8080:80 bb \
  sh -c 'mkdir /w; echo page >/w/index.html; exec httpd -f -p 80 -h /w'
files() { in_container lim "cd /sys/fs/cgroup; cat $1" | xargs; }
check 'limits' same "$(files 'memory.max memory.swap.max cpu.max pids.max cpuset.cpus.effective cpu.weight')" \
  '67108864 67108864 50000 100000 20 1 20'
check 'private view' same "$(in_container lim 'cat /proc/self/cgroup')" '0::/'
check 'published port' same "$(curl -s -m 10 127.0.0.1:8080)" page
check 'published port on an address' same "$(curl -s -m 10 10.0.2.15:8080)" page
check 'stats' grep -q '64MiB' <<<"$(rundlet stats --no-stream lim)"
rundlet update -m 128m --memory-swap 256m --cpus 1 --pids-limit 33 lim >/dev/null
check 'update' same "$(files 'memory.max memory.swap.max cpu.max pids.max')" '134217728 134217728 100000 100000 33'
systemctl daemon-reload
systemctl set-property --runtime ssh.service CPUWeight=50
check 'limits after systemd went over the tree' same "$(files 'memory.max cpuset.cpus.effective')" '134217728 1'
rundlet pause lim >/dev/null
check 'paused' fails curl -s -m 3 127.0.0.1:8080
rundlet unpause lim >/dev/null
check 'unpaused' same "$(curl -s -m 10 127.0.0.1:8080)" page
check 'mknod' in_container lim 'mknod /tmp/mem c 1 1 && mknod /tmp/disk b 254 0'
check 'a forbidden character device' fails in_container lim 'head -c1 /tmp/mem'
check 'a forbidden block device' fails in_container lim 'head -c1 /tmp/disk'
check '--device' same "$(rundlet run --rm --device /dev/vda:/dev/disk:r bb sh -c 'head -c4 /dev/disk | wc -c')" 4
check '--device read-only' fails rundlet run --rm --device /dev/vda:/dev/disk:r bb sh -c 'echo >/dev/disk'
check '--privileged' rundlet run --rm --privileged bb sh -c 'head -c4 /dev/vda >/dev/null && mkdir /sys/fs/cgroup/sub'
rundlet run --rm --cgroupns host bb true
check 'options of the hierarchy' same "$(grep ' cgroup2 ' /proc/mounts)" "$options"
rundlet run --name oom -m 32m bb dd if=/dev/zero of=/dev/null bs=200M 2>/dev/null
check 'out of memory' same "$(rundlet inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' oom)" 'true 137'
ids=$(rundlet ps -aq --no-trunc)
groups() { for id in $ids; do find /sys/fs/cgroup -type d -name "*$id*"; done; }
check 'a running container has a cgroup' test -n "$(groups)"
remove_all
check 'no cgroup of a container is left' same "$(groups)" ''
