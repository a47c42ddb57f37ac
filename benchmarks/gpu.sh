#!/usr/bin/env bash
# Compare all models of this package with the Swin of the same size on a GPU, in inference and training. Also measure the
# window kernel: MSG-Transformers without it, and the kernel alone against other implementations of attention.
#
#     benchmarks/gpu.sh [FOLDER]
#
# writes benchmark.json, benchmark.csv and plots to FOLDER/gpu/MODE-PRECISION-SIZE, and without the kernel to
# MODE-PRECISION-SIZE-plain; and FOLDER/gpu/window_attention.json. FOLDER is benchmarks/results by default. Existing
# results are skipped, so a stopped run resumes.
#
# The environment variables MSGFORMER and PYTHON are the commands to run, "uv run msgformer" and "uv run python" by
# default. MSGFORMER_TRY=1 tests the script on a CPU, with a tiny model and Triton's interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

results=${1:-benchmarks/results}/gpu
read -ra msgformer <<<"${MSGFORMER:-uv run msgformer}"
read -ra python <<<"${PYTHON:-uv run python}"

precisions=(bf16 tf32)
infer=(--backend eager compile cudagraphs --batch_size 1 2 4 8 16 32 64 128 256)
train=(--backend eager compile cudagraphs --batch_size 1 2 4 8 16 32 64 128 256)
all=(--device cuda --img_size 224 --rounds 30)
alone=(--batch 1 16 128 --seconds 0.5)
declare -A models=(
  [tiny]="msg_transformer_tiny sgformer_small"
  [small]="msg_transformer_small sgformer_medium"
  [base]="msg_transformer_base sgformer_base"
)
sizes=(tiny small base)

if [[ -n ${MSGFORMER_TRY:-} ]]; then
  precisions=(bf16)
  infer=(--backend eager optimized --batch_size 1 2)
  train=(--backend eager --batch_size 2)
  all=(--device cpu --img_size 32 --rounds 1)
  alone=(--batch 2 --seconds 0.01)
  export TRITON_INTERPRET=1
  models=([tiny]="test_resnet")
  sizes=(tiny)
fi

# time_models FOLDER MODE OPTION...
time_models() {
  local folder=$1 mode=$2
  shift 2
  [[ -e $folder/benchmark.json ]] && return
  if [[ $mode == infer ]]; then set -- "$@" "${infer[@]}"; else set -- "$@" "${train[@]}"; fi
  "${msgformer[@]}" benchmark "$@" --mode "$mode" "${all[@]}" --output "$folder"
}

if [[ ! -e $results/window_attention.json ]]; then
  "${python[@]}" benchmarks/window_attention.py "${alone[@]}" --output "$results/window_attention.json"
fi

for size in "${sizes[@]}"; do
  read -ra ours <<<"${models[$size]}"
  against="swin_${size}_patch4_window7_224"
  if [[ -n ${MSGFORMER_TRY:-} ]]; then against=test_convnext; fi
  for precision in "${precisions[@]}"; do
    for mode in infer train; do
      folder="$results/$mode-$precision-$size"
      options=(--against "$against" --precision "$precision")
      time_models "$folder" "$mode" "${ours[@]}" "${options[@]}"
      MSGFORMER_WINDOW_KERNEL=0 time_models "$folder-plain" "$mode" "${ours[0]}" "${options[@]}"
    done
  done
done
