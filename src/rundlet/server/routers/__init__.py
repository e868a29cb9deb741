"""One package a noun: ``backend`` says what the router needs, ``router`` binds it to paths."""
