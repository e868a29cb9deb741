"""A fixed, listed set of small modules: fs, ids, clock, tasks, database, layout. No grab-bag."""
