# Every target sets up .venv by itself. PYTHON=python3.12 chooses the interpreter; TORCH_INDEX=URL another index for
# torch, such as one of CPU-only builds (see docs/install.md).
PYTHON ?= python3
TORCH_INDEX ?=
BIN := .venv/bin
STAMP := .venv/.installed
DEMO := runs/resnet-digits
# What "make compat" runs: every minor's newest patch, or VERSIONS=minimum, or some by number.
VERSIONS ?= all
# The demos that it publishes; each is trained first.
DEMOS := resnet-digits sentiment-demo
# The checkpoints that scripts/compat_bert.py makes: between them every head of bert_model, with its weights.
BERTS := bert-words bert-classes bert-answers
# The same of scripts/compat_decoder.py and decoder_model.
DECODERS := decoder-words decoder-classes decoder-tokens decoder-answers
DECODER_DEMO := runs/decoder-demo
SENTIMENT_DEMO := runs/sentiment-demo
BERT_DEMO := runs/bert-demo
# Tests of text and files, which start no model: "make quick".
QUICK := tests/test_structure.py tests/audit/security/test_acts.py tests/audit/test_audit.py tests/audit/security/test_kinds.py tests/audit/security/test_security.py \
  tests/card/test_card.py tests/card/test_card_check.py \
  tests/card/test_card_facts.py tests/cli/test_arguments.py tests/cli/test_mistakes.py tests/common tests/docs/test_pages.py tests/folder \
  tests/hub/test_hub_pages.py tests/staging
# What the type checker reads.
TYPED := $(addprefix pinfold/,common folder audit staging push card remote)

.DEFAULT_GOAL := help
.PHONY: help install push demo-decoder demo-sentiment demo-bert quick test test-all sweep durations lint compat bench serve

# A virtual environment whose interpreter is gone is as good as none.
ifneq ($(wildcard $(STAMP)),)
ifneq ($(shell $(BIN)/python -c "import sys; print('ok')" 2>/dev/null),ok)
$(shell rm -f $(STAMP))
endif
endif

help:
	@echo "make install   virtual environment in .venv with everything"
	@echo "make push      train the demo, publish it to the embedded Hub, print the snippet"
	@echo "make demo-decoder   train a small language model on Python's documentation, ready for push.py"
	@echo "make demo-bert      train a small BERT on Python's documentation, ready for push.py"
	@echo "make demo-sentiment train a sentiment analyzer on texts that people have rated, ready for push.py"
	@echo "make serve     train and publish the four demos (once, some minutes), and browse them on http://127.0.0.1:7870"
	@echo "make quick     the tests that start no model"
	@echo "make test      the tests but for the slow ones"
	@echo "make test-all  all of them, as CI does"
	@echo "make sweep     the same in more versions and for more classes"
	@echo "make durations the slowest fifty tests; writes the order in which files run"
	@echo "make lint      ruff, codespell and mypy"
	@echo "make compat    load the published models in every transformers minor from 4.48 (VERSIONS=minimum: in four)"
	@echo "make bench     print the speeds that the pages quote"

install: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))" 2>/dev/null || { \
	  echo "pinfold needs Python >= 3.10; $(PYTHON) is $$($(PYTHON) -V 2>&1). Use: make PYTHON=python3.12 ..." >&2; exit 2; }
	@$(PYTHON) -c "import venv, ensurepip" 2>/dev/null || { \
	  echo "$(PYTHON) lacks the venv module. On Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	@test -d .venv/lib || test "$$(df -Pk . | awk 'NR == 2 {print $$4}')" -gt 8000000 || { \
	  echo "The installation needs 8 GB of disk, $$(df -Ph . | awk 'NR == 2 {print $$4}') are free here." \
	       "Free some, or set TORCH_INDEX to an index of CPU-only builds" >&2; exit 2; }
	@$(BIN)/python -c "" 2>/dev/null || $(PYTHON) -m venv --clear .venv
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --index-url $(TORCH_INDEX) torch torchvision)
	$(BIN)/python -m pip install -e ".[dev]"
	@touch $@

$(DEMO)/model.safetensors: | $(STAMP)
	$(BIN)/pinfold train resnet_model --data digits --output $(DEMO)

push: $(STAMP) $(DEMO)/model.safetensors
	$(BIN)/python push.py

$(DECODER_DEMO)/model.safetensors: | $(STAMP)
	$(BIN)/pinfold train decoder_model --data python-docs --output $(DECODER_DEMO)

demo-decoder: $(DECODER_DEMO)/model.safetensors

$(SENTIMENT_DEMO)/model.safetensors: | $(STAMP)
	$(BIN)/pinfold train sentiment_model --data vader --output $(SENTIMENT_DEMO)

demo-sentiment: $(SENTIMENT_DEMO)/model.safetensors

$(BERT_DEMO)/model.safetensors: | $(STAMP)
	$(BIN)/pinfold train bert_model --task masked-lm --data python-docs --output $(BERT_DEMO)

demo-bert: $(BERT_DEMO)/model.safetensors

# A demo that is on the embedded Hub is not published again; the mark goes with its repository. The Hub's directory may
# have spaces in its name, which make cannot have in a target.
SHOWN := resnet_model:$(DEMO) sentiment_model:$(SENTIMENT_DEMO) decoder_model:$(DECODER_DEMO) bert_model:$(BERT_DEMO)
serve: $(STAMP) $(foreach pair,$(SHOWN),$(lastword $(subst :, ,$(pair)))/model.safetensors)
	@hub=$$($(BIN)/python -c "from pinfold.common.hub_data import hub_data; print(hub_data())") || exit; \
	for pair in $(SHOWN); do \
	  mark="$$hub/repos/models/local/$${pair##*/}.git/published"; \
	  test -e "$$mark" && continue; \
	  $(BIN)/pinfold push "$${pair%%:*}" --checkpoint "$${pair#*:}" --endpoint embedded && (umask 077 && touch "$$mark") || exit; \
	done
	$(BIN)/pinfold hub --port 7870

# Older transformers beside .venv, which many tests load models in; made once.
OVERLAYS := runs/overlays/.minimum
$(OVERLAYS): $(STAMP)
	@mkdir -p $(@D)
	$(BIN)/pinfold compat make minimum
	@touch $@

# A file's tests stay on one worker, as they share models; the longest files come first (tests/durations.json).
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

quick: $(STAMP)
	$(PYTEST) $(QUICK)

test: $(OVERLAYS)
	$(PYTEST)

# A test that hangs ends the run after a quarter of an hour, with a traceback and its name; none takes a tenth of it.
HANGS := -o faulthandler_timeout=900 -o faulthandler_exit_on_timeout=true --max-worker-restart 0
test-all: $(OVERLAYS)
	$(PYTEST) -m "not sweep" $(HANGS)

sweep: $(OVERLAYS)
	ALL_VERSIONS=1 $(PYTEST) -m "sweep or versions"

durations: $(OVERLAYS)
	$(PYTEST) -m "not sweep" --durations=50 --durations-min=1 --save-durations

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy $(TYPED)

compat: $(STAMP) $(foreach name,$(DEMOS),runs/$(name)/model.safetensors)
	$(BIN)/pinfold compat make $(VERSIONS)
	for name in $(DEMOS); do \
	  $(BIN)/pinfold push $${name%%-*}_model --checkpoint runs/$$name --versions newest || exit 1; \
	  $(BIN)/pinfold compat run local/$$name@main --versions $(VERSIONS) || exit 1; \
	done
	$(if $(strip $(BERTS)),$(BIN)/python scripts/compat_bert.py)
	$(if $(strip $(DECODERS)),$(BIN)/python scripts/compat_decoder.py)
	for name in $(BERTS) $(DECODERS); do \
	  kind=$${name%%-*}; \
	  $(BIN)/pinfold push $${kind}_model --checkpoint runs/compat-$$kind/$$name --versions newest || exit 1; \
	  $(BIN)/pinfold compat run local/$$name@main --versions $(VERSIONS) || exit 1; \
	done

bench: $(STAMP)
	for script in push trust bert compare training sentiment tokenizer golden eject hub; do $(BIN)/python benchmarks/$$script.py || exit 1; done
	$(BIN)/python benchmarks/eject.py --named
