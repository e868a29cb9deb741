"""A fixed, listed set: fs, ids, clock, tasks, database, layout; template (Go templates). No grab-bag."""
