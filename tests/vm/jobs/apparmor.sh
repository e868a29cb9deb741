# AppArmor as a kernel with it enforces it: the default profile, one's own, none; what `info` says.
. jobs/common.sh
profiles=/sys/kernel/security/apparmor/profiles
current=/proc/self/attr/current
check 'the kernel has it' same "$(cat /sys/module/apparmor/parameters/enabled)" Y
start box bb sleep 1000
check 'the default profile is loaded and enforced' grep -qx 'rundlet-default (enforce)' $profiles
check 'a container runs under it' same "$(rundlet run --rm bb cat $current)" 'rundlet-default (enforce)'
check 'its first process too' same "$(cat "/proc/$(rundlet inspect -f '{{.State.Pid}}' box)/attr/current")" \
  'rundlet-default (enforce)'
check 'exec' same "$(rundlet exec box cat $current)" 'rundlet-default (enforce)'
check 'exec --privileged keeps it' same "$(rundlet exec --privileged box cat $current)" 'rundlet-default (enforce)'
check 'inspect' same "$(rundlet inspect -f '{{.AppArmorProfile}}' box)" rundlet-default
check 'info' grep -q name=apparmor <<<"$(rundlet info -f '{{.SecurityOptions}}')"
check 'info does not warn' fails grep -qi apparmor <<<"$(rundlet info 2>&1 | grep WARNING)"
check 'mount is denied' fails rundlet run --rm --cap-add SYS_ADMIN --security-opt seccomp=unconfined bb \
  mount -t tmpfs none /mnt
check 'mount without the profile' rundlet run --rm --cap-add SYS_ADMIN --security-opt apparmor=unconfined bb \
  sh -c 'mkdir -p /mnt; mount -t tmpfs none /mnt'
check 'a switch of the kernel is denied' fails rundlet run --rm --security-opt systempaths=unconfined bb \
  sh -c 'echo 1 >/proc/sys/vm/overcommit_memory'
check 'a file of the firmware is denied' fails rundlet run --rm --security-opt systempaths=unconfined bb \
  sh -c 'cat /sys/firmware/acpi/tables/FACP'
check '--sysctl is set all the same' same "$(rundlet run --rm --sysctl kernel.msgmax=9000 bb cat /proc/sys/kernel/msgmax)" 9000
check 'a process signals its own' rundlet run --rm bb sh -c 'sleep 1000 & kill $! && ! wait $!'
check '--init' same "$(rundlet run --rm --init bb cat $current)" 'rundlet-default (enforce)'
check 'privileged' same "$(rundlet run --rm --privileged bb cat $current)" unconfined
check 'unconfined' same "$(rundlet run --rm --security-opt apparmor=unconfined bb cat $current)" unconfined
check 'unconfined is shown' same \
  "$(rundlet inspect -f '{{.AppArmorProfile}}' "$(rundlet create --security-opt apparmor=unconfined bb true)")" unconfined
apparmor_parser -Kr <<'PROFILE'
profile of-ones-own flags=(attach_disconnected) { file, capability, deny /etc/passwd r, }
PROFILE
own=(--security-opt apparmor=of-ones-own)
check 'a profile of one’s own' same "$(rundlet run --rm "${own[@]}" bb cat $current)" 'of-ones-own (enforce)'
check 'denies' fails rundlet run --rm "${own[@]}" bb cat /etc/passwd
check 'and allows' rundlet run --rm "${own[@]}" bb cat /etc/group
check 'also with privileges' same "$(rundlet run --rm --privileged "${own[@]}" bb cat $current)" 'of-ones-own (enforce)'
said=$(rundlet run --rm --security-opt apparmor=not-there bb true 2>&1)
check 'a profile that is not there' same "$?" 127
check 'is named' grep -q not-there <<<"$said"
check 'label= is refused by name' grep -q 'SELinux' <<<"$(rundlet run --rm --security-opt label=type:t bb true 2>&1)"
check 'a stop reaches the process' rundlet stop -t 5 box
remove_all
rundlet engine stop >/dev/null
apparmor_parser -R <<<'profile rundlet-default { }'
mv /usr/sbin/apparmor_parser /root/
check 'without the parser: containers run' same "$(rundlet run --rm bb cat $current)" unconfined
check 'without the parser: info warns' grep -q 'WARNING: AppArmor is active but' <<<"$(rundlet info 2>&1)"
mv /root/apparmor_parser /usr/sbin/
