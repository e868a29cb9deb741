# The engine as a systemd service: containers outlive stop, restart, SIGKILL of it and of its whole unit.
. jobs/common.sh
start early bb sleep 100000
check 'enable' rundlet engine enable --now
check 'both units are active' same "$(systemctl is-active rundlet.service rundlet.socket | xargs)" 'active active'
start web --restart always -p 8081:80 bb sh -c 'mkdir /w; echo page >/w/index.html; exec httpd -f -p 80 -h /w'
before=$(rundlet inspect -f '{{.State.Pid}}' early web | xargs)
unchanged() { same "$(rundlet inspect -f '{{.State.Pid}}' early web | xargs)" "$before" && rundlet exec web true; }
check 'only the engine is in the control group of the unit' \
  same "$(wc -l <"/sys/fs/cgroup$(systemctl show -P ControlGroup rundlet)/cgroup.procs")" 1
systemctl restart rundlet.service
check 'restart' unchanged
systemctl stop rundlet.service 2>/dev/null
check 'engine status wakes nobody' same "$(rundlet engine status; systemctl is-active rundlet.service)" \
  "not running (data in /var/lib/rundlet; systemd starts it at the next command)
inactive"
check 'containers answer without an engine' same "$(curl -s -m 10 127.0.0.1:8081)" page
check 'activation' unchanged
check 'activated by systemd' systemctl is-active rundlet.service
kill -9 "$(systemctl show -P MainPID rundlet)"
sleep 5
check 'killed' unchanged
systemctl kill -s KILL rundlet.service
sleep 5
check 'whole unit killed' unchanged
check 'engine stop' rundlet engine stop
check 'and started again' unchanged
check 'disable' rundlet engine disable
check 'no unit is left' same "$(systemctl list-unit-files 'rundlet.*' --no-legend)" ''
check 'an engine without systemd takes over' unchanged
remove_all
rundlet engine stop >/dev/null
