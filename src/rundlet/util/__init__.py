"""A fixed, listed set: fs, ids, clock, tasks, database, layout, bypass; template (Go templates). No grab-bag."""
