# make demo: build the sample project, gate the hardened build (green) and a broken one (red).
# make test: linters, types, import contracts and all tests, against the built and installed wheel.

SHELL := /bin/sh
VENV ?= .venv

.PHONY: demo test clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# make/make/p' Makefile

demo:
	@./scripts/need python3-venv gcc make cmake
	@./scripts/install $(VENV)
	@./scripts/demo $(VENV)

test:
	@./scripts/need python3-venv gcc make cmake
	@./scripts/install $(VENV) test
	@./scripts/test $(VENV)

clean:
	rm -rf $(VENV) dist demo-build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
