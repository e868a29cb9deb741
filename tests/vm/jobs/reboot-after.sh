# What runs after the reboot without anybody asking for it.
. jobs/common.sh
active() { for _ in $(seq 60); do systemctl is-active -q rundlet.service && return || sleep 1; done; systemctl status rundlet; return 1; }
check 'the engine runs' active
for _ in $(seq 30); do [ "$(rundlet ps -q | wc -l)" -ge 2 ] && break || sleep 2; done
check 'always and unless-stopped run' same "$(rundlet ps --format '{{.Names}}' | sort | xargs)" 'always unless-stopped'
check 'the others are there, but --rm' same "$(rundlet ps -a --format '{{.Names}}' | sort | xargs)" \
  'always on-failure plain stopped unless-stopped'
check 'ports work' same "$(curl -s -m 10 127.0.0.1:8081)" page
remove_all
