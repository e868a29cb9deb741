"""Content trust: who signed which image, and whether that can be believed.

``canonical``, ``keys`` and ``metadata`` are the Notary v1 dialect of TUF; ``trusted_set`` decides, without I/O, what of
it is trusted; ``updater`` says what has to be fetched and in which order; ``signing`` makes new metadata; ``keyfile``
and ``keystore`` hold private keys as Docker does; ``server`` is the other side: what a trust server accepts and makes.
``policy``, ``cosign``, ``notation`` and ``sigstore`` are what an engine enforces; Notation's signatures are taken apart
by ``envelopes``, their certificates judged by ``chains``, ``revocation`` and ``timestamps``. Standard library and
``cryptography`` only: the command line imports this room too, and only when trust is asked for.
"""
