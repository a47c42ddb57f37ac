#!/usr/bin/env bash
# Train small detectors and segmenters on the bundled scenes with different backbones, all with the default recipes and the
# same number of epochs. ResNet-18 has fewer epochs to take about as long, because its wide layers make Muon's steps slow.
# This takes two hours on two CPU cores.
#
#     benchmarks/scenes.sh [FOLDER]
#
# writes one run folder per task and backbone to FOLDER/scenes, and its scores beside it. FOLDER is benchmarks/results by
# default. Existing results are skipped. The environment variable MSGFORMER is the command to run, "uv run msgformer" by
# default.
set -euo pipefail
cd "$(dirname "$0")/.."

results=${1:-benchmarks/results}/scenes
read -ra msgformer <<<"${MSGFORMER:-uv run msgformer}"
mkdir -p "$results"

train() { # train TASK NAME [OPTION...]
  local run="$results/$1-$2" task="$1"
  shift 2
  [[ -e $run.json ]] && return
  rm -rf "$run"
  "${msgformer[@]}" train --task "$task" "$@" --output "$run" --json | tee "$run.part"
  mv "$run.part" "$run.json"
}

declare -A resnet_epochs=([detect]=1 [segment]=3)
for task in detect segment; do
  train $task msg_transformer
  train $task sgformer --model sgformer_small --model_args.embed_dims '[32,64,128,256]' \
    --model_args.depths '[1,2,3,1]' --model_args.num_heads '[2,2,4,8]'
  train $task swin --model swin_tiny_patch4_window7_224 --model_args.embed_dim 32 --model_args.depths '[1,2,3,1]' \
    --model_args.num_heads '[1,2,4,8]' --model_args.window_size 8 --model_args.drop_path_rate 0
  train $task resnet18 --model resnet18 --epochs "${resnet_epochs[$task]}"
done
