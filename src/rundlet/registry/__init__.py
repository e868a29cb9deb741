"""Registries: names to endpoints, manifests and blobs in and out. See: OCI distribution-spec v1.1.

Used by ``image`` and the engine. Writes nothing to disk and knows no image store: descriptors, bytes and typed errors.
"""

from rundlet.registry.client import Registry
from rundlet.registry.errors import RegistryError, RegistryUnreachableError
from rundlet.registry.fetcher import Fetcher
from rundlet.registry.hosts import HostsConfig
from rundlet.registry.pusher import RepositoryPusher
from rundlet.transport import Credentials

__all__ = [
    "Credentials",
    "Fetcher",
    "HostsConfig",
    "Registry",
    "RegistryError",
    "RegistryUnreachableError",
    "RepositoryPusher",
]
