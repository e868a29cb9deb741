"""Images: what is stored under which name, and pull, push, import, removal of it.

Joins ``storage`` (blobs, layers) and ``registry``; used by ``engine``. Wire formats are made there, not here.
"""
