#!/usr/bin/env bash
# Compare models from published comparisons of latency and accuracy in one run: one image of 224 x 224, one thread, float32.
#
#     benchmarks/front.sh [FOLDER]
#
# writes FOLDER/front/benchmark.json and .csv; FOLDER is benchmarks/results by default. Existing results are skipped.
# Run nothing else on the machine.
# The environment variable MSGFORMER is the command to run, "uv run --extra fastervit msgformer" by default.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:-benchmarks/results}/front
[[ -e $folder/benchmark.json ]] && exit
read -ra msgformer <<<"${MSGFORMER:-uv run --extra fastervit msgformer}"
"${msgformer[@]}" benchmark \
  msg_transformer_tiny msg_transformer_small msg_transformer_base sgformer_small sgformer_medium sgformer_base \
  efficientvit_b2 mobilenetv4_conv_large edgenext_base caformer_s18 convnext_tiny hiera_tiny_224 faster_vit_0_224 \
  --against swin_tiny_patch4_window7_224 --backend eager optimized --batch_size 1 --img_size 224 --threads 1 --rounds 40 \
  --device cpu --output "$folder"
