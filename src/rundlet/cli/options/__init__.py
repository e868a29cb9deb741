"""What the flags of ``run``, ``create``, ``exec`` and others mean in the Engine API's terms."""
