#!/bin/bash
# Install what the images need into $VIRTUAL_ENV, at the locked versions; the Dockerfile and its test run this.
set -euo pipefail
uv venv --quiet --python 3.11 "$VIRTUAL_ENV"
# The lock has the hashes of PyPI's files. PyTorch's own index, which a backend is taken from, has others of the same names.
uv pip install --quiet --requirements pyproject.toml ${TORCH_BACKEND:+--no-verify-hashes} \
  $(printf -- '--extra %s ' ${EXTRAS//,/ }) \
  --constraints requirements-orchestration.lock \
  ${TORCH_BACKEND:+--torch-backend "$TORCH_BACKEND"}
