# Every target does its own set-up. `make lock` is the only one that resolves versions anew.
PY := .venv/bin/python
STAMP := .venv/.installed

.PHONY: run test check fmt bench prove lock audit fuzz

run: $(STAMP)
	@exec .venv/bin/email-service up

test: check
	$(PY) -m pytest

check: $(STAMP)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/basedpyright

fmt: $(STAMP)
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .

prove: $(STAMP)
	$(PY) -m tests.prove $(ARGS)

bench: $(STAMP)
	$(PY) -m tests.bench $(ARGS)

lock: $(STAMP)
	$(PY) -m uv --version >/dev/null 2>&1 || $(PY) -m pip install --quiet uv
	$(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-header --no-annotate --upgrade pyproject.toml -o requirements.txt
	$(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-header --no-annotate --extra dev -c requirements.txt pyproject.toml -o requirements-dev.txt

audit:
	@sh .ci/audit

fuzz: $(STAMP)
	@$(PY) -m tests.fuzz --minutes $(or $(MINUTES),1)

$(STAMP): requirements-dev.txt pyproject.toml .ci/venv
	@sh .ci/venv requirements-dev.txt
	@touch $@
