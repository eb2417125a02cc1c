#!/usr/bin/env bash
# Install exactly the lower bounds of pyproject.toml, in a virtual environment of their own, and run a small part of the
# tests: what a bound that is too low breaks first. It takes minutes, so CI does not do it.
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${1:-.venv-lower}"
uv="${UV:-$PWD/.venv/bin/uv}"

"$uv" venv --quiet --clear "$venv"
"$uv" pip install --quiet --python "$venv/bin/python" --resolution lowest-direct --editable '.[sign]' \
    'pytest>=9.0' 'pytest-timeout>=2.4' 'hypothesis>=6.130' 'jsonschema>=4.24' 'cyclonedx-python-lib>=11.6'
OMP_NUM_THREADS=1 "$venv/bin/python" -m pytest -q tests/test_onnx_model.py tests/test_export.py tests/test_quantize.py \
    tests/test_metrics.py tests/test_dataset.py tests/test_signatures.py tests/test_papers.py
