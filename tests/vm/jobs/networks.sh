# Networks on a kernel of long ago: SCTP, interfaces on one of the machine's, IPv6 alone, the old iptables' neighbours.
. jobs/common.sh
lan() { ip netns exec lan "$@"; }
ip link add eth0 type veth peer name lan0 # the machine has an eth0, as its containers will
ip netns add lan
ip link set lan0 netns lan
ip addr add 198.51.100.2/24 dev eth0
ip addr add fd51::2/64 dev eth0 nodad
ip link set eth0 up
lan ip addr add 198.51.100.3/24 dev lan0
lan ip addr add fd51::3/64 dev lan0 nodad
lan ip link set lan0 up
lan ip link set lo up
ip route add 203.0.113.0/24 via 198.51.100.3

cat >server.py <<'END'
import socket
server = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
server.bind(("", 9000))
server.listen()
print("listens", flush=True)
while True:
    server.accept()[0].sendall(b"hello")
END
cat >client.py <<'END'
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
client = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
client.settimeout(30)
client.connect((sys.argv[1], 9000))
sys.exit(client.recv(5) != b"hello")
END
rundlet run --rm bb cat /bin/busybox >busybox && chmod +x busybox # the machine itself need not have a ping
until_logged() { for _ in $(seq 60); do rundlet logs "$1" | grep -q "$2" && return; sleep 1; done; return 1; }
machine=(-v /usr:/usr:ro -v /lib:/lib:ro -v /lib64:/lib64:ro -v "$PWD:/job:ro")
modprobe sctp
rundlet network create --ipv6 six >/dev/null
start server --network six -p 9000:9000/sctp "${machine[@]}" bb /usr/bin/python3 /job/server.py
check 'a server of SCTP' until_logged server listens
for address in 127.0.0.1 198.51.100.2; do check "SCTP here: $address" python3 client.py $address; done
for address in 198.51.100.2 fd51::2; do check "SCTP from the lan: $address" lan python3 client.py $address; done
check 'the port is taken' fails rundlet run --rm -p 9000:9000/sctp bb true
remove_all

rundlet network create -d macvlan --subnet 198.51.100.0/24 --gateway 198.51.100.3 --ip-range 198.51.100.64/27 -o parent=eth0 \
  mac >/dev/null
check 'macvlan reaches the lan' rundlet run --rm --network mac bb ping -c1 -W9 198.51.100.3
start box --network mac --ip 198.51.100.77 bb sleep 100000
check 'its interface is an eth0, too' in_container box 'ip addr show eth0 | grep -q 198.51.100.77'
check 'the lan reaches it' lan ./busybox ping -c1 -W9 198.51.100.77
check 'others do, by name' rundlet run --rm --network mac bb ping -c1 -W9 box
check 'the machine does not' fails ./busybox ping -c1 -W1 198.51.100.77
remove_all
check 'the network goes' rundlet network rm mac
lan ip addr add 198.51.101.200/24 dev lan0 # on the link in the second layer, by the machine in the third
for mode in l2 l3 l3s; do
  [ $mode != l3 ] || lan ip addr del 198.51.101.200/24 dev lan0
  [ $mode = l2 ] || lan ip route replace 198.51.101.0/24 via 198.51.100.2
  rundlet network create -d ipvlan --subnet 198.51.101.0/24 -o parent=eth0 -o ipvlan_mode=$mode ip >/dev/null
  start box --network ip --ip 198.51.101.77 bb sleep 100000
  check "ipvlan $mode: others, by name" rundlet run --rm --network ip bb ping -c1 -W9 box
  check "ipvlan $mode: from the lan" lan ./busybox ping -c1 -W9 198.51.101.77
  remove_all
  rundlet network rm ip >/dev/null
done

lan ip link add link lan0 name lan0.40 type vlan id 40
lan ip addr add 198.51.102.100/24 dev lan0.40
lan ip link set lan0.40 up
for name in one:0 two:128; do
  rundlet network create -d macvlan --subnet "198.51.102.${name#*:}/25" -o parent=eth0.40 "${name%:*}" >/dev/null
done
check 'a VLAN that it makes' rundlet run --rm --network one bb ping -c1 -W9 198.51.102.100
rundlet network rm one >/dev/null
check 'another network is still on it' ip link show eth0.40
rundlet network rm two >/dev/null
check 'the last one takes it away' fails ip link show eth0.40

rundlet network create --ipv4=false --ipv6 --subnet fd52::/64 only6 >/dev/null
start web --network only6 -p 8080:80 bb httpd -f
check 'IPv6 alone: from the lan' lan curl -s -m 20 -o /dev/null 'http://[fd51::2]:8080/'
check 'IPv6 alone: by ::1' curl -s -m 20 -o /dev/null 'http://[::1]:8080/'
check 'IPv6 alone: nothing by IPv4' fails curl -s -m 20 -o /dev/null http://127.0.0.1:8080/
check 'IPv6 alone: out' rundlet run --rm --network only6 bb ping -c1 -W9 fd51::3
remove_all
rundlet network rm only6 six >/dev/null

nft add table ip filter
nft add chain ip filter FORWARD '{ type filter hook forward priority 0; policy drop; }'
start web -p 8080:80 bb httpd -f
check 'beside a chain that drops: in' lan curl -s -m 20 -o /dev/null http://198.51.100.2:8080/
check 'beside a chain that drops: out' rundlet run --rm bb ping -c1 -W9 198.51.100.3
remove_all
nft delete table ip filter
ip link del eth0
ip netns del lan
