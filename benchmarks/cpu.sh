#!/usr/bin/env bash
# Time all of this package's models against Swin of the same size on one thread of the CPU: 224 x 224, one image, float32.
#
#     benchmarks/cpu.sh [FOLDER]
#
# writes FOLDER/cpu/SIZE/benchmark.json and .csv; FOLDER is benchmarks/results by default. What is there already is left
# alone. Nothing else should run meanwhile. MSGFORMER is the command to run, "uv run msgformer" by default.
set -euo pipefail
cd "$(dirname "$0")/.."

results=${1:-benchmarks/results}/cpu
read -ra msgformer <<<"${MSGFORMER:-uv run msgformer}"

compare() { # compare SIZE MODEL...
  local folder="$results/$1" against="swin_$1_patch4_window7_224"
  shift
  [[ -e $folder/benchmark.json ]] && return
  "${msgformer[@]}" benchmark "$@" --against "$against" --backend eager optimized compile onnxruntime openvino \
    --batch 1 --img_size 224 --threads 1 --rounds 40 --accelerator cpu --output "$folder"
}

compare tiny msg_transformer_tiny sgformer_small
compare small msg_transformer_small sgformer_medium
compare base msg_transformer_base sgformer_base
