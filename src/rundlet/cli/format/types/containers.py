"""What ``container inspect`` shows."""

TYPES = """
container.InspectResponse struct
 +*container.ContainerJSONBase
 Mounts []container.MountPoint
 Config *container.Config
 NetworkSettings *container.NetworkSettings
 ImageManifestDescriptor *v1.Descriptor ?
container.ContainerJSONBase struct
 ID string Id
 Created string
 Path string
 Args []string
 State *container.State
 Image string
 ResolvConfPath string
 HostnamePath string
 HostsPath string
 LogPath string
 Name string
 RestartCount int
 Driver string
 Platform string
 MountLabel string
 ProcessLabel string
 AppArmorProfile string
 ExecIDs []string
 HostConfig *container.HostConfig
 GraphDriver storage.DriverData
 SizeRw *int64 ?
 SizeRootFs *int64 ?
storage.DriverData struct
 Data map[string]string
 Name string
container.State struct
 Status string
 Running bool
 Paused bool
 Restarting bool
 OOMKilled bool
 Dead bool
 Pid int
 ExitCode int
 Error string
 StartedAt string
 FinishedAt string
 Health *container.Health ?
container.Health struct
 Status string
 FailingStreak int
 Log []*container.HealthcheckResult
container.HealthcheckResult struct
 Start time.Time
 End time.Time
 ExitCode int
 Output string
mount.Type string
mount.Propagation string
mount.Consistency string
fs.FileMode uint32
container.MountPoint struct
 Type mount.Type ?
 Name string ?
 Source string
 Destination string
 Driver string ?
 Mode string
 RW bool
 Propagation mount.Propagation
nat.Port string
nat.PortSet map[nat.Port]struct{}
nat.PortMap map[nat.Port][]nat.PortBinding
nat.PortBinding struct
 HostIP string HostIp
 HostPort string
strslice.StrSlice []string
container.Config struct
 Hostname string
 Domainname string
 User string
 AttachStdin bool
 AttachStdout bool
 AttachStderr bool
 ExposedPorts nat.PortSet ?
 Tty bool
 OpenStdin bool
 StdinOnce bool
 Env []string
 Cmd strslice.StrSlice
 Healthcheck *v1.HealthcheckConfig ?
 ArgsEscaped bool ?
 Image string
 Volumes map[string]struct{}
 WorkingDir string
 Entrypoint strslice.StrSlice
 NetworkDisabled bool ?
 MacAddress string ?
 OnBuild []string
 Labels map[string]string
 StopSignal string ?
 StopTimeout *int ?
 Shell strslice.StrSlice ?
v1.HealthcheckConfig struct
 Test []string ?
 Interval time.Duration ?
 Timeout time.Duration ?
 StartPeriod time.Duration ?
 StartInterval time.Duration ?
 Retries int ?
container.NetworkMode string
container.RestartPolicyMode string
container.CgroupnsMode string
container.IpcMode string
container.CgroupSpec string
container.PidMode string
container.UTSMode string
container.UsernsMode string
container.Isolation string
container.LogConfig struct
 Type string
 Config map[string]string
container.RestartPolicy struct
 Name container.RestartPolicyMode
 MaximumRetryCount int
container.HostConfig struct
 Binds []string
 ContainerIDFile string
 LogConfig container.LogConfig
 NetworkMode container.NetworkMode
 PortBindings nat.PortMap
 RestartPolicy container.RestartPolicy
 AutoRemove bool
 VolumeDriver string
 VolumesFrom []string
 ConsoleSize [2]uint
 Annotations map[string]string ?
 CapAdd strslice.StrSlice
 CapDrop strslice.StrSlice
 CgroupnsMode container.CgroupnsMode
 DNS []string Dns
 DNSOptions []string DnsOptions
 DNSSearch []string DnsSearch
 ExtraHosts []string
 GroupAdd []string
 IpcMode container.IpcMode
 Cgroup container.CgroupSpec
 Links []string
 OomScoreAdj int
 PidMode container.PidMode
 Privileged bool
 PublishAllPorts bool
 ReadonlyRootfs bool
 SecurityOpt []string
 StorageOpt map[string]string ?
 Tmpfs map[string]string ?
 UTSMode container.UTSMode
 UsernsMode container.UsernsMode
 ShmSize int64
 Sysctls map[string]string ?
 Runtime string ?
 Isolation container.Isolation
 +container.Resources
 Mounts []mount.Mount ?
 MaskedPaths []string
 ReadonlyPaths []string
 Init *bool ?
container.Resources struct
 CPUShares int64 CpuShares
 Memory int64
 NanoCPUs int64 NanoCpus
 CgroupParent string
 BlkioWeight uint16
 BlkioWeightDevice []*blkiodev.WeightDevice
 BlkioDeviceReadBps []*blkiodev.ThrottleDevice
 BlkioDeviceWriteBps []*blkiodev.ThrottleDevice
 BlkioDeviceReadIOps []*blkiodev.ThrottleDevice
 BlkioDeviceWriteIOps []*blkiodev.ThrottleDevice
 CPUPeriod int64 CpuPeriod
 CPUQuota int64 CpuQuota
 CPURealtimePeriod int64 CpuRealtimePeriod
 CPURealtimeRuntime int64 CpuRealtimeRuntime
 CpusetCpus string
 CpusetMems string
 Devices []container.DeviceMapping
 DeviceCgroupRules []string
 DeviceRequests []container.DeviceRequest
 KernelMemory int64 ?
 KernelMemoryTCP int64 ?
 MemoryReservation int64
 MemorySwap int64
 MemorySwappiness *int64
 OomKillDisable *bool
 PidsLimit *int64
 Ulimits []*units.Ulimit
 CPUCount int64 CpuCount
 CPUPercent int64 CpuPercent
 IOMaximumIOps uint64
 IOMaximumBandwidth uint64
blkiodev.WeightDevice struct
 Path string
 Weight uint16
blkiodev.ThrottleDevice struct
 Path string
 Rate uint64
container.DeviceMapping struct
 PathOnHost string
 PathInContainer string
 CgroupPermissions string
container.DeviceRequest struct
 Driver string
 Count int
 DeviceIDs []string
 Capabilities [][]string
 Options map[string]string
units.Ulimit struct
 Name string
 Hard int64
 Soft int64
mount.Mount struct
 Type mount.Type ?
 Source string ?
 Target string ?
 ReadOnly bool ?
 Consistency mount.Consistency ?
 BindOptions *mount.BindOptions ?
 VolumeOptions *mount.VolumeOptions ?
 ImageOptions *mount.ImageOptions ?
 TmpfsOptions *mount.TmpfsOptions ?
 ClusterOptions *mount.ClusterOptions ?
mount.BindOptions struct
 Propagation mount.Propagation ?
 NonRecursive bool ?
 CreateMountpoint bool ?
 ReadOnlyNonRecursive bool ?
 ReadOnlyForceRecursive bool ?
mount.VolumeOptions struct
 NoCopy bool ?
 Labels map[string]string ?
 Subpath string ?
 DriverConfig *mount.Driver ?
mount.ImageOptions struct
 Subpath string ?
mount.Driver struct
 Name string ?
 Options map[string]string ?
mount.TmpfsOptions struct
 SizeBytes int64 ?
 Mode fs.FileMode ?
 Options [][]string ?
mount.ClusterOptions struct
container.NetworkSettings struct
 +container.NetworkSettingsBase
 +container.DefaultNetworkSettings
 Networks map[string]*network.EndpointSettings
container.NetworkSettingsBase struct
 Bridge string
 SandboxID string
 SandboxKey string
 Ports nat.PortMap
 HairpinMode bool
 LinkLocalIPv6Address string
 LinkLocalIPv6PrefixLen int
 SecondaryIPAddresses []network.Address
 SecondaryIPv6Addresses []network.Address
container.DefaultNetworkSettings struct
 EndpointID string
 Gateway string
 GlobalIPv6Address string
 GlobalIPv6PrefixLen int
 IPAddress string
 IPPrefixLen int
 IPv6Gateway string
 MacAddress string
"""
