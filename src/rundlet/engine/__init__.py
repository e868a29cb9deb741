"""One service per noun: joins rooms below into what a client of the Engine API asks for. No HTTP, no printing."""
