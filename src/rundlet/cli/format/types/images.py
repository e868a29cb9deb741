"""What ``image inspect`` shows."""

TYPES = """
image.InspectResponse struct
 ID string Id
 RepoTags []string
 RepoDigests []string
 Parent string
 Comment string
 Created string ?
 Container string ?
 ContainerConfig *container.Config ?
 DockerVersion string
 Author string
 Config *v1.DockerOCIImageConfig
 Architecture string
 Variant string ?
 Os string
 OsVersion string ?
 Size int64
 VirtualSize int64 ?
 GraphDriver storage.DriverData
 RootFS image.RootFS
 Metadata image.Metadata
 Descriptor *v1.Descriptor ?
 Manifests []image.ManifestSummary ?
image.RootFS struct
 Type string ?
 Layers []string ?
image.Metadata struct
 LastTagTime time.Time ?
v1.DockerOCIImageConfig struct
 +v1.ImageConfig
 +v1.DockerOCIImageConfigExt
v1.ImageConfig struct
 User string ?
 ExposedPorts map[string]struct{} ?
 Env []string ?
 Entrypoint []string ?
 Cmd []string ?
 Volumes map[string]struct{} ?
 WorkingDir string ?
 Labels map[string]string ?
 StopSignal string ?
 ArgsEscaped bool ?
v1.DockerOCIImageConfigExt struct
 Healthcheck *v1.HealthcheckConfig ?
 OnBuild []string ?
 Shell []string ?
v1.Descriptor struct
 MediaType string mediaType
 Digest digest.Digest digest
 Size int64 size
 URLs []string urls?
 Annotations map[string]string annotations?
 Data []uint8 data?
 Platform *v1.Platform platform?
 ArtifactType string artifactType?
v1.Platform struct
 Architecture string architecture
 OS string os
 OSVersion string os.version?
 OSFeatures []string os.features?
 Variant string variant?
image.ManifestKind string
image.ManifestSummary struct
 ID string
 Descriptor v1.Descriptor
 Available bool
 Size image.ManifestSize
 Kind image.ManifestKind
 ImageData *image.ImageProperties ?
 AttestationData *image.AttestationProperties ?
image.ManifestSize struct { Content int64 "json:\\"Content\\""; Total int64 "json:\\"Total\\"" }
 Content int64
 Total int64
image.ImageProperties struct
 Platform v1.Platform
 Size image.UnpackedSize
 Containers []string
image.UnpackedSize struct { Unpacked int64 "json:\\"Unpacked\\"" }
 Unpacked int64
image.AttestationProperties struct
 For digest.Digest
"""
