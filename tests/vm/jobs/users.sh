# Containers with users of their own, on control groups v2 and Debian's own kernel.
. jobs/common.sh
rundlet run -d --name box --userns=auto -m 48m --pids-limit 50 -p 8091:80 bb \
  sh -c 'mkdir /w; echo page >/w/index.html; chown 7 /w; exec httpd -f -p 80 -h /w' >/dev/null
main=$(rundlet inspect -f '{{.State.Pid}}' box)
check 'root inside is nobody outside' test "$(awk '/^Uid/ {print $2}' "/proc/$main/status")" -ge 1879048192
check 'limits' same "$(rundlet exec box sh -c 'cd /sys/fs/cgroup; cat memory.max pids.max' | xargs)" '50331648 50'
check 'published port' same "$(curl -s -m 20 127.0.0.1:8091)" page
check 'exec as another user' same "$(rundlet exec -u 33 box id -u)" 33
check 'cp' same "$(rundlet cp box:/w - | tar -tv --numeric-owner | awk '/ w\/$/ {print $2}')" 7/0
check 'a volume' same "$(rundlet run --rm --userns=auto -v vol:/etc bb sh -c 'chown 5 /etc/passwd; stat -c %u /etc/passwd')" 5
check 'the same volume' same "$(rundlet run --rm -v vol:/v bb stat -c %u /v/passwd)" 5
check 'a mapped bind mount' rundlet run --rm --userns=auto -v /root:/r:idmap bb touch /r/mapped
check 'written as root' same "$(stat -c %u /root/mapped)" 0
check 'pause' rundlet pause box
check 'unpause' rundlet unpause box
check 'restart' rundlet restart -t 0 box
rundlet commit box made >/dev/null
check 'commit' same "$(rundlet run --rm made stat -c %u /w)" 7
rundlet rm -f box >/dev/null
rundlet volume rm vol >/dev/null
