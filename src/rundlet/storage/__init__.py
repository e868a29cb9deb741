"""Everything kept on disk about images: content (blobs), layers (tar change sets), snapshots (what mounts are made of).

``layer.apply``, ``layer.confine`` and ``layer.tar`` run in a worker process and import only the standard library and
``linux``; this package's ``__init__`` modules therefore import nothing.
"""
