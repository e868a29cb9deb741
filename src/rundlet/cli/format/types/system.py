"""What ``info``, ``version``, ``events`` and ``context inspect`` show."""

TYPES = """
system.dockerInfo struct
 +*system.Info
 ServerErrors []string ?
 UserName string -
 ClientInfo *system.clientInfo ?
 ClientErrors []string ?
system.Info struct
 ID string
 Containers int
 ContainersRunning int
 ContainersPaused int
 ContainersStopped int
 Images int
 Driver string
 DriverStatus [][2]string
 SystemStatus [][2]string ?
 Plugins system.PluginsInfo
 MemoryLimit bool
 SwapLimit bool
 KernelMemory bool ?
 KernelMemoryTCP bool ?
 CPUCfsPeriod bool CpuCfsPeriod
 CPUCfsQuota bool CpuCfsQuota
 CPUShares bool
 CPUSet bool
 PidsLimit bool
 IPv4Forwarding bool
 Debug bool
 NFd int
 OomKillDisable bool
 NGoroutines int
 SystemTime string
 LoggingDriver string
 CgroupDriver string
 CgroupVersion string ?
 NEventsListener int
 KernelVersion string
 OperatingSystem string
 OSVersion string
 OSType string
 Architecture string
 IndexServerAddress string
 RegistryConfig *registry.ServiceConfig
 NCPU int
 MemTotal int64
 GenericResources []swarm.GenericResource
 DockerRootDir string
 HTTPProxy string HttpProxy
 HTTPSProxy string HttpsProxy
 NoProxy string
 Name string
 Labels []string
 ExperimentalBuild bool
 ServerVersion string
 Runtimes map[string]system.RuntimeWithStatus
 DefaultRuntime string
 Swarm swarm.Info
 LiveRestoreEnabled bool
 Isolation container.Isolation
 InitBinary string
 ContainerdCommit system.Commit
 RuncCommit system.Commit
 InitCommit system.Commit
 SecurityOptions []string
 ProductLicense string ?
 DefaultAddressPools []system.NetworkAddressPool ?
 FirewallBackend *system.FirewallInfo ?
 CDISpecDirs []string
 DiscoveredDevices []system.DeviceInfo ?
 Containerd *system.ContainerdInfo ?
 Warnings []string
 Rootless [][2]string ?
system.PluginsInfo struct
 Volume []string
 Network []string
 Authorization []string
 Log []string
system.RuntimeWithStatus struct
 +system.Runtime
 Status map[string]string status?
system.Runtime struct
 Path string path?
 Args []string runtimeArgs?
 Type string runtimeType?
 Options map[string]any options?
system.Commit struct
 ID string
 Expected string ?
system.NetworkAddressPool struct
 Base string
 Size int
system.FirewallInfo struct
 Driver string
 Info [][2]string ?
system.DeviceInfo struct
 Source string
 ID string
system.ContainerdInfo struct
 Address string ?
 Namespaces system.ContainerdNamespaces
system.ContainerdNamespaces struct
 Containers string
 Plugins string
registry.NetIPNet string
registry.ServiceConfig struct sorted
 AllowNondistributableArtifactsCIDRs []*registry.NetIPNet ?
 AllowNondistributableArtifactsHostnames []string ?
 InsecureRegistryCIDRs []*registry.NetIPNet
 IndexConfigs map[string]*registry.IndexInfo
 Mirrors []string
 ExtraFields map[string]any -
registry.IndexInfo struct sorted
 Name string
 Mirrors []string
 Secure bool
 Official bool
swarm.GenericResource struct
 NamedResourceSpec *swarm.NamedGenericResource ?
 DiscreteResourceSpec *swarm.DiscreteGenericResource ?
swarm.NamedGenericResource struct
 Kind string ?
 Value string ?
swarm.DiscreteGenericResource struct
 Kind string ?
 Value int64 ?
swarm.LocalNodeState string
swarm.Info struct
 NodeID string
 NodeAddr string
 LocalNodeState swarm.LocalNodeState
 ControlAvailable bool
 Error string
 RemoteManagers []swarm.Peer
 Nodes int ?
 Managers int ?
 Cluster *swarm.ClusterInfo ?
 Warnings []string ?
swarm.Peer struct
 NodeID string
 Addr string
swarm.ClusterInfo struct
 ID string
system.clientInfo struct
 Debug bool
 +system.clientVersion
 Plugins []manager.Plugin
 Warnings []string
system.platformInfo struct
 Name string ?
system.clientVersion struct
 Platform *system.platformInfo ?
 Version string ?
 APIVersion string ApiVersion?
 DefaultAPIVersion string ?
 PythonVersion string ?
 GitCommit string ?
 GoVersion string ?
 Os string ?
 Arch string ?
 BuildTime string ?
 Context string
manager.Plugin struct
 SchemaVersion string ?
 Vendor string ?
 Version string ?
 ShortDescription string ?
 URL string ?
 Hidden bool hidden?
 Name string ?
 Path string ?
 Err any ?
 ShadowedPaths []string ?
system.versionInfo struct
 Client system.clientVersion
 Server *types.Version
types.Version struct
 Platform types.Platform
 Components []types.ComponentVersion ?
 Version string
 APIVersion string ApiVersion
 MinAPIVersion string ?
 GitCommit string
 GoVersion string
 Os string
 Arch string
 KernelVersion string ?
 Experimental bool ?
 BuildTime string ?
types.Platform struct { Name string }
 Name string
types.ComponentVersion struct
 Name string
 Version string
 Details map[string]string ?
events.Type string
events.Action string
events.Actor struct
 ID string
 Attributes map[string]string
events.Message struct
 Status string status?
 ID string id?
 From string from?
 Type events.Type
 Action events.Action
 Actor events.Actor
 Scope string scope?
 Time int64 time?
 TimeNano int64 timeNano?
context.contextWithTLSListing struct
 +store.Metadata
 TLSMaterial map[string]store.EndpointFiles
 Storage store.StorageInfo
store.EndpointFiles []string
store.StorageInfo struct
 MetadataPath string
 TLSPath string
store.Metadata struct
 Name string
 Metadata any(command.DockerContext) ?
 Endpoints map[string]any(context.EndpointMetaBase) ?
command.DockerContext struct
 Description string ?
 AdditionalFields map[string]any -
context.EndpointMetaBase struct
 Host string ?
 SkipTLSVerify bool
"""
