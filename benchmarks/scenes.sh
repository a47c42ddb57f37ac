#!/usr/bin/env bash
# Train small detectors and segmenters on the embedded scenes with different backbones, all by the default recipes: the
# same scenes, as often; only ResNet-18, whose wide layers make Muon's steps slow, sees them less often, to take about as
# long. Two hours on two CPU cores.
#
#     benchmarks/scenes.sh [FOLDER]
#
# leaves a run folder and, beside it, its scores for each task and backbone in FOLDER/scenes; FOLDER is
# benchmarks/results by default. What is there already is left alone. MSGFORMER is the command to run, "uv run msgformer"
# by default.
set -euo pipefail
cd "$(dirname "$0")/.."

results=${1:-benchmarks/results}/scenes
read -ra msgformer <<<"${MSGFORMER:-uv run msgformer}"
mkdir -p "$results"

learn() { # learn TASK NAME [option...]
  local run="$results/$1-$2" task="$1"
  shift 2
  [[ -e $run.json ]] && return
  rm -rf "$run"
  "${msgformer[@]}" train --task "$task" "$@" --output "$run" --json | tee "$run.part"
  mv "$run.part" "$run.json"
}

declare -A resnet_epochs=([detect]=1 [segment]=3)
for task in detect segment; do
  learn $task msg_transformer
  learn $task sgformer --model sgformer_small --model_args.embed_dims '[32,64,128,256]' \
    --model_args.depths '[1,2,3,1]' --model_args.num_heads '[2,2,4,8]'
  learn $task swin --model swin_tiny_patch4_window7_224 --model_args.embed_dim 32 --model_args.depths '[1,2,3,1]' \
    --model_args.num_heads '[1,2,4,8]' --model_args.window_size 8 --model_args.drop_path_rate 0
  learn $task resnet18 --model resnet18 --epochs "${resnet_epochs[$task]}"
done
