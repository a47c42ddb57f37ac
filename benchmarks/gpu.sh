#!/usr/bin/env bash
# Time all of this package's models against Swin of the same size on a GPU, in inference and in training.
#
#     benchmarks/gpu.sh [FOLDER]
#
# writes FOLDER/gpu/MODE-PRECISION-SIZE/benchmark.json, .csv and plots; FOLDER is benchmarks/results by default. What is
# there already is left alone, so that a run that was broken off goes on when it is started again.
#
# MSGFORMER is the command to run, "uv run msgformer" by default. MSGFORMER_TRY=1 times a tiny model on the CPU instead,
# to see that all of this works.
set -euo pipefail
cd "$(dirname "$0")/.."

results=${1:-benchmarks/results}/gpu
read -ra msgformer <<<"${MSGFORMER:-uv run msgformer}"

precisions=(bf16 tf32)
infer=(--backend eager compile cudagraphs --batch 1 2 4 8 16 32 64 128 256)
train=(--backend eager compile cudagraphs --batch 1 2 4 8 16 32 64 128 256)
all=(--accelerator gpu --img_size 224 --rounds 30)
declare -A models=(
  [tiny]="msg_transformer_tiny sgformer_small"
  [small]="msg_transformer_small sgformer_medium"
  [base]="msg_transformer_base sgformer_base"
)
sizes=(tiny small base)

if [[ -n ${MSGFORMER_TRY:-} ]]; then
  precisions=(bf16)
  infer=(--backend eager optimized --batch 1 2)
  train=(--backend eager --batch 2)
  all=(--accelerator cpu --img_size 32 --rounds 1)
  models=([tiny]="test_resnet")
  sizes=(tiny)
fi

for size in "${sizes[@]}"; do
  read -ra ours <<<"${models[$size]}"
  against="swin_${size}_patch4_window7_224"
  if [[ -n ${MSGFORMER_TRY:-} ]]; then against=test_convnext; fi
  for precision in "${precisions[@]}"; do
    for mode in infer train; do
      folder="$results/$mode-$precision-$size"
      [[ -e $folder/benchmark.json ]] && continue
      if [[ $mode == infer ]]; then options=("${infer[@]}"); else options=("${train[@]}"); fi
      "${msgformer[@]}" benchmark "${ours[@]}" --against "$against" --mode "$mode" --precision "$precision" \
        "${options[@]}" "${all[@]}" --output "$folder"
    done
  done
done
