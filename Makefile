# Every target is a verb of ./dev.
.PHONY: setup check test demo bench
setup check test demo bench:
	@./dev $@
