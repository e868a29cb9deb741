# The ordinary user's containers after the reboot: nobody has logged in.
. jobs/common.sh
alice() { runuser -u alice -- env -C / HOME=/home/alice USER=alice XDG_RUNTIME_DIR=/run/user/1000 "$@"; }
for _ in $(seq 30); do [ "$(curl -s -m 10 127.0.0.1:8090)" = page ] && break || sleep 2; done
check 'the unit is active' same "$(alice systemctl --user is-active rundlet.service)" active
check 'the restart policy held' same "$(alice rundlet ps --format '{{.Names}}')" web
check 'the port is published' same "$(curl -s -m 20 127.0.0.1:8090)" page
check 'the limit holds' same "$(alice rundlet exec web cat /sys/fs/cgroup/memory.max)" 50331648
alice rundlet rm -f web plain >/dev/null
alice rundlet engine disable --user >/dev/null 2>&1
loginctl disable-linger alice
