"""How layers stack: diff IDs (digest of one uncompressed layer) and chain IDs (digest of the stack up to it).

See: OCI image-spec, config.md#layer-chainid.
"""

from collections.abc import Sequence

from rundlet.oci.digest import Digest


def extend_chain(parent: Digest | None, diff_id: Digest) -> Digest:
    """The chain ID of ``diff_id`` on top of ``parent`` (None: it is the bottom layer)."""
    return diff_id if parent is None else Digest.of(f"{parent} {diff_id}".encode())


def chain_ids(diff_ids: Sequence[Digest]) -> tuple[Digest, ...]:
    """The chain ID of every prefix, bottom first."""
    chain: Digest | None = None
    result: list[Digest] = []
    for diff_id in diff_ids:
        chain = extend_chain(chain, diff_id)
        result.append(chain)
    return tuple(result)


def chain_id(diff_ids: Sequence[Digest]) -> Digest | None:
    """The chain ID of the whole stack; None for an image without layers."""
    return chain_ids(diff_ids)[-1] if diff_ids else None
