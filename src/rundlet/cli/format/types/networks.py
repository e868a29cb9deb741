"""What ``network inspect`` shows, and the endpoints of a container."""

TYPES = """
network.Inspect struct
 Name string
 ID string Id
 Created time.Time
 Scope string
 Driver string
 EnableIPv4 bool
 EnableIPv6 bool
 IPAM network.IPAM
 Internal bool
 Attachable bool
 Ingress bool
 ConfigFrom network.ConfigReference
 ConfigOnly bool
 Containers map[string]network.EndpointResource
 Options map[string]string
 Labels map[string]string
 Peers []network.PeerInfo ?
 Services map[string]network.ServiceInfo ?
network.IPAM struct
 Driver string
 Options map[string]string
 Config []network.IPAMConfig
network.IPAMConfig struct
 Subnet string ?
 IPRange string ?
 Gateway string ?
 AuxAddress map[string]string AuxiliaryAddresses?
network.ConfigReference struct
 Network string
network.EndpointResource struct
 Name string
 EndpointID string
 MacAddress string
 IPv4Address string
 IPv6Address string
network.PeerInfo struct
 Name string
 IP string
network.ServiceInfo struct
 VIP string
 Ports []string
 LocalLBIndex int
 Tasks []network.Task
network.Task struct
 Name string
 EndpointID string
 EndpointIP string
 Info map[string]string
network.Address struct
 Addr string
 PrefixLen int
network.EndpointSettings struct
 IPAMConfig *network.EndpointIPAMConfig
 Links []string
 Aliases []string
 MacAddress string
 DriverOpts map[string]string
 GwPriority int
 NetworkID string
 EndpointID string
 Gateway string
 IPAddress string
 IPPrefixLen int
 IPv6Gateway string
 GlobalIPv6Address string
 GlobalIPv6PrefixLen int
 DNSNames []string
network.EndpointIPAMConfig struct
 IPv4Address string ?
 IPv6Address string ?
 LinkLocalIPs []string ?
"""
