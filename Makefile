# Everything a newcomer types. `make demo` and `make test` set up a fresh machine by themselves.
PYTHON ?= python3
VENV   ?= .venv
EXTRAS ?= dev,vizdoom
WHEELS_FOR ?= 3.12
BIN    := $(VENV)/bin

# A folder of local wheels, when pip is configured with one (pip separates by spaces, uv by commas).
space  := $(subst ,, )
WHEELS := $(or $(UV_FIND_LINKS),$(subst $(space),$(strip ,),$(strip $(or $(PIP_FIND_LINKS),$(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)))))
export UV_FIND_LINKS := $(WHEELS)
# No NVIDIA driver and no wheel folder: ask for torch's CPU build, so that a laptop does not fetch CUDA.
ifeq ($(WHEELS)$(shell command -v nvidia-smi 2>/dev/null),)
export UV_TORCH_BACKEND ?= cpu
endif

.PHONY: setup demo test test-slow test-gpu test-lerobot test-mujoco test-procgen lint bench verdict wheels constraints clean
setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

demo: setup           ## record, train, align and report, in minutes on two CPU cores
	$(BIN)/flexlam demo --out demo --overwrite

test: setup           ## the whole fast suite, a process for each core (four at most)
	$(BIN)/python -m pytest -m 'not slow and not gpu' --numprocesses auto --maxprocesses 4 --dist loadfile

test-slow: setup      ## what takes minutes: kills, whole studies, Ray
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[$(EXTRAS),ray]'
	$(BIN)/python -m pytest -m slow

test-gpu: setup
	$(BIN)/python -m pytest -m gpu

test-lerobot: setup   ## with LeRobot 0.4.4 in an environment of its own: does it open what we write, and we what it writes?
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-lerobot
	$(BIN)/uv pip install --quiet --python .venv-lerobot/bin/python --constraint constraints.txt torch numpy pyarrow av \
	  pillow datasets pandas jsonlines packaging huggingface_hub draccus einops imageio termcolor deepdiff torchcodec accelerate
	$(BIN)/uv pip install --quiet --python .venv-lerobot/bin/python --no-deps lerobot==0.4.4
	FLEXLAM_LEROBOT=.venv-lerobot/bin/python $(BIN)/python -m pytest -m slow tests/interop

test-mujoco: setup    ## the bodies of dm_control and Meta-World; Python 3.11 or 3.12 and, on a machine without a screen, EGL
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[$(EXTRAS),mujoco,metaworld]'
	$(BIN)/python -m pytest tests/envs/test_dm_control_suite.py tests/envs/test_dm_control_experts.py tests/envs/test_metaworld_suite.py

test-procgen: setup   ## Procgen's games; Linux on x86-64, Python 3.11 or 3.12, and libGL.so.1
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps procgen-mirror==0.10.7
	$(BIN)/python -m pytest tests/envs/test_procgen_suite.py tests/envs/test_procgen_library.py tests/envs/test_procgen_maze.py

lint: setup           ## style, types and the floors of the package
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup          ## speed, against ceilings measured in the same run
	$(BIN)/python benchmarks/bench.py
	$(BIN)/python benchmarks/latency.py

verdict: demo         ## does the verdict on the codes foretell alignment? (results/verdict)
	$(BIN)/python -m flexlam.study.verdict demo/store --out results/verdict

wheels: setup         ## what studies need on a GPU machine without a network that has torch, numpy, pyarrow, matplotlib
	$(BIN)/python -m pip download --quiet --no-deps --only-binary :all: --python-version $(WHEELS_FOR) \
	  --constraint constraints.txt --dest wheels vizdoom gymnasium pydantic pydantic-core tyro annotated-types \
	  typing-inspection typing-extensions docstring-parser typeguard cloudpickle farama-notifications jaxtyping \
	  wadler-lindig einops
	du -sm wheels

constraints: setup    ## pin the newest versions that pyproject.toml allows (torch stays as pinned)
	echo 'torch==2.13.0' > $(VENV)/torch.pin
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 -c $(VENV)/torch.pin \
	  --no-annotate --no-header --no-emit-find-links -q | grep -vE '^(nvidia|cuda|triton|torch==)' > $(VENV)/constraints.new
	(echo '# Exact versions for development, tests and the demo (Python 3.11 to 3.13). Regenerate with `make constraints`.'; \
	  (cat $(VENV)/constraints.new $(VENV)/torch.pin) | sort) > constraints.txt

clean:
	rm -rf $(VENV) demo
