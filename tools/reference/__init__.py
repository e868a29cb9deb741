"""Reference pages made from the code's own tables: ``python -m tools.reference`` writes them, ``--check`` compares."""
