"""The record's opaque documents, decoded: the configuration as Docker's API writes it."""

from functools import lru_cache

import msgspec

from rundlet.api.container_config import ContainerConfig, HostConfig, NetworkingConfig
from rundlet.container.record import Record

_encoder = msgspec.json.Encoder()
_config = msgspec.json.Decoder(ContainerConfig)
_host = msgspec.json.Decoder(HostConfig)
_networking = msgspec.json.Decoder(NetworkingConfig)


def encode(value: ContainerConfig | HostConfig | NetworkingConfig) -> msgspec.Raw:
    return msgspec.Raw(_encoder.encode(value))


@lru_cache(maxsize=1024)
def _decode_config(data: bytes) -> ContainerConfig:
    return _config.decode(data)


@lru_cache(maxsize=1024)
def _decode_host(data: bytes) -> HostConfig:
    return _host.decode(data)


def config(record: Record) -> ContainerConfig:
    return _decode_config(bytes(record.config))


def host(record: Record) -> HostConfig:
    return _decode_host(bytes(record.host_config))


@lru_cache(maxsize=1024)
def _decode_networking(data: bytes) -> NetworkingConfig:
    return _networking.decode(data)


def networking(record: Record) -> NetworkingConfig:
    return _decode_networking(bytes(record.networking))
