"""What ``volume inspect`` shows."""

TYPES = """
volume.Volume struct
 ClusterVolume *volume.ClusterVolume ?
 CreatedAt string ?
 Driver string
 Labels map[string]string
 Mountpoint string
 Name string
 Options map[string]string
 Scope string
 Status map[string]any ?
 UsageData *volume.UsageData ?
volume.UsageData struct
 RefCount int64
 Size int64
volume.ClusterVolume struct
 ID string
"""
