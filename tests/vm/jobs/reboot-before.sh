# What runs, with which restart policy, before the machine is rebooted.
. jobs/common.sh
rundlet engine enable --now >/dev/null 2>&1
start always --restart always bb sleep 100000
start unless-stopped --restart unless-stopped -p 8081:80 bb \
  sh -c 'mkdir -p /w; echo page >/w/index.html; exec httpd -f -p 80 -h /w'
start stopped --restart unless-stopped bb sleep 100000
start on-failure --restart on-failure bb sleep 100000
start plain bb sleep 100000
start selfremove --rm bb sleep 100000
check 'stop' rundlet stop -t 0 stopped
sync
