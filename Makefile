# Each target makes .venv first, from requirements.txt and constraints.txt; it goes again in seconds when nothing has changed.
# Another interpreter: make PYTHON=/path/to/python3.12 ...
PY := .venv/bin/python

.PHONY: help run test e2e colab lint lab demo site slides render address reference bench lock clean

help:                       ## print this list
	@sed -n 's/^\([a-z0-9]*\):[^#]*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r a b; do printf '%-16s %s\n' "$$a" "$$b"; done

# What else stands on the command line is a parameter: make run EPOCHS=3
GIVEN = $(strip $(foreach name,$(filter-out ARGS PYTHON PY,$(.VARIABLES)),$(if $(filter command,$(origin $(name))),$(name))))

run: .venv/ready            ## execute the notebooks into outputs/latest/; make run EPOCHS=3 ARGS="03 --run mine"
	$(PY) -m helpers.series $(ARGS) $(foreach name,$(GIVEN),-p '$(name)' '$(subst ','\'',$($(name)))')

test: lint                  ## lint, unit tests, notebook contract, the series with smoke parameters, nbval
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

e2e: .venv/ready            ## try the pad of notebook 06, the demo, the site and the slides in a real browser; needs Chromium
	$(PY) -m pytest tests/e2e

colab: .venv/ready          ## run each notebook alone, as Colab does, with Colab's versions
	$(PY) -m pytest tests/colab --durations 0 $(ARGS)

lint: .venv/ready
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	.venv/bin/lint-imports --no-logo --no-cache

lab: .venv/ready            ## open the notebooks in JupyterLab
	$(PY) -m jupyterlab --LabApp.default_url=/lab/tree/notebooks/01_exploration.ipynb

demo: .venv/ready           ## make pages that read a digit in the browser and show a network's inside: outputs/site/demo/
	$(PY) -m tools.make_demo $(ARGS)

site: .venv/ready           ## make the website from the executed notebooks: outputs/site/; make site ARGS="--run latest"
	$(PY) -m tools.make_site $(ARGS)

slides: .venv/ready         ## make slides for talks, which need no network: outputs/site/slides/
	$(PY) -m tools.make_slides $(ARGS)

render: .venv/ready         ## rerun with default parameters; put outputs into notebooks/ and results into README.md
	$(PY) -m tools.render

address: .venv/ready        ## write the repository's address from pyproject.toml into badges and the notebooks' first cells
	$(PY) -m tools.address

.PHONY: handout collect
handout: .venv/ready        ## pack the notebooks without solutions, for a class: outputs/handout/; see docs/teaching.md
	$(PY) -m tools.handout $(ARGS)

collect: .venv/ready        ## make collect DIR=returned: a table of who solved what, outputs/marks/
	$(PY) -m tools.collect $(if $(DIR),"$(DIR)") $(ARGS)

reference: .venv/ready      ## train what is shipped anew, five seeds of some 15 minutes and half an hour; goes on where it was stopped
	$(PY) -m tools.train_strips
	$(PY) -m tools.train_shipped $(ARGS)

bench: .venv/ready          ## measure training, answering and starting beside peers, about 15 minutes
	$(PY) -m benchmarks.speed $(ARGS)

lock: .venv/ready           ## refresh constraints.txt
	$(PY) -m pip install --quiet uv
	$(PY) -m uv pip compile --quiet --universal --upgrade --python-version 3.11 --no-header --no-emit-index-url --no-annotate requirements.txt -o constraints.txt
	$(PY) -m uv pip compile --quiet --universal --python-version 3.11 --no-header --no-emit-index-url --no-annotate tests/colab/packages.txt -o tests/colab/constraints.txt

clean:                      ## remove the environment, the runs latest and smoke, and what make builds; other runs stay
	rm -rf .venv .colab outputs/index.html outputs/comparison.* outputs/latest outputs/smoke outputs/site outputs/reference-training outputs/strip-training outputs/accuracy outputs/peers

# The interpreter is tried, not only looked up: a name on the path may be a shim that runs nothing.
.venv/ready: requirements.txt constraints.txt pyproject.toml setup.py
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python; do \
	  version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	  seen="$$seen $$python is $$version;"; \
	  case $$version in 3.11|3.12|3.13) ;; *) continue ;; esac; \
	  "$$python" -c 'import venv, ensurepip' 2>/dev/null || { novenv=$$python; continue; }; \
	  echo "Making .venv with Python $$version (about two minutes)"; \
	  "$$python" -m venv .venv && $(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements.txt -e . && touch .venv/ready && exit 0; \
	  echo "Error: the packages could not be installed; the lines above tell why." >&2; exit 1; \
	done; \
	if [ -n "$$novenv" ]; then echo "Error: $$novenv has no venv module; install it (Debian, Ubuntu: apt install python3-venv) and try again." >&2; \
	else echo "Error: Python 3.11, 3.12 or 3.13 is needed ($${seen:-found no Python;} TensorFlow has no wheels for others); install one, or name it: make PYTHON=/path/to/python3.12" >&2; fi; exit 1
