#!/usr/bin/env bash
# Time the models of the published front of latency and accuracy, in one run: one thread, 224 x 224, one image, float32.
#
#     benchmarks/front.sh [FOLDER]
#
# writes FOLDER/front/benchmark.json and .csv; FOLDER is benchmarks/results by default. What is there already is left alone.
# Nothing else should run meanwhile.
# MSGFORMER is the command to run, "uv run --extra fastervit msgformer" by default: FasterViT is in a package of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:-benchmarks/results}/front
[[ -e $folder/benchmark.json ]] && exit
read -ra msgformer <<<"${MSGFORMER:-uv run --extra fastervit msgformer}"
"${msgformer[@]}" benchmark \
  msg_transformer_tiny msg_transformer_small msg_transformer_base sgformer_small sgformer_medium sgformer_base \
  efficientvit_b2 mobilenetv4_conv_large edgenext_base caformer_s18 convnext_tiny hiera_tiny_224 faster_vit_0_224 \
  --against swin_tiny_patch4_window7_224 --backend eager optimized --batch 1 --img_size 224 --threads 1 --rounds 40 \
  --accelerator cpu --output "$folder"
