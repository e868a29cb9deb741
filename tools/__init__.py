"""What the demo, the benchmark and the tests share: images made on this machine, and a real registry on loopback."""
