#!/bin/sh
# Installs what `pytest -m integration` needs: run it as root on a Debian or a relative, in the project's environment.
set -eu
apt-get update -q
apt-get install -qy slurm-wlm munge xrootd-server chromium g++
apt-get install -qy libonnxruntime-dev || echo 'no headers of ONNX Runtime here: the test of the C++ snippet will be skipped'
pip install --quiet --editable . --group integration
