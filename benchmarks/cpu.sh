#!/usr/bin/env bash
# Compare all models of this package with the Swin of the same size, on the CPU in float32.
#
#     benchmarks/cpu.sh [FOLDER]
#
# writes benchmark.json, benchmark.csv and plots to folders below FOLDER/cpu (FOLDER: benchmarks/results by default):
#   tiny, small, base                   one image of 224 x 224, one thread; tiny in all backends
#   int8                                the same for 8-bit files, calibrated on scenes
#   batches-1, batches-2                batches, with one and two threads
#   training-eager, training-recompute  training steps, without and with activation checkpointing
#   sizes                               images of 224 to 2,048 pixels
# Existing results are skipped, so a stopped run resumes. Run nothing else on the machine.
# The environment variable MSGFORMER is the command to run, "uv run msgformer" by default.
set -euo pipefail
cd "$(dirname "$0")/.."

results=${1:-benchmarks/results}/cpu
read -ra msgformer <<<"${MSGFORMER:-uv run msgformer}"

measure() { # measure NAME SIZE MODEL... [OPTION...]: compare with the Swin of SIZE
  local folder="$results/$1" against="swin_$2_patch4_window7_224"
  shift 2
  [[ -e $folder/benchmark.json ]] && return
  "${msgformer[@]}" benchmark "$@" --against "$against" --device cpu --output "$folder"
}

latency=(--backend eager optimized compile onnxruntime openvino --batch_size 1 --img_size 224 --threads 1 --rounds 40)
measure tiny tiny msg_transformer_tiny sgformer_small "${latency[@]}"
int8=()
for model in msg_transformer_tiny sgformer_small; do int8+=("$results/int8-files/$model.xml"); done
if [[ ! -e $results/int8/benchmark.json ]]; then
  scenes="$results/int8-files/scenes"
  "${msgformer[@]}" sample-data segment "$scenes" --num_train 64 --num_val 1 --overwrite
  for file in "${int8[@]}"; do
    "${msgformer[@]}" export "$(basename "$file" .xml)" --format openvino --int8 --calibration "$scenes/images/training" \
      --output "$file" --overwrite
  done
fi
measure int8 tiny "${int8[@]}" --backend eager --batch_size 1 --img_size 224 --threads 1 --rounds 40
rm -rf "$results/int8-files"
# In separate processes: steps without checkpointing fragment memory, and steps with it would then need more.
for backend in eager recompute; do
  measure "training-$backend" tiny msg_transformer_tiny sgformer_small --mode train --backend "$backend" --batch_size 8 \
    --threads 2 --rounds 12
done
measure sizes tiny msg_transformer_tiny sgformer_small --backend eager optimized --batch_size 1 --threads 2 --rounds 3 \
  --img_size '[[224,224],[448,448],[896,896],[1344,1344],[2048,2048]]'
larger=(--backend eager optimized compile --batch_size 1 --img_size 224 --threads 1 --rounds 20)
measure small small msg_transformer_small sgformer_medium "${larger[@]}"
measure base base msg_transformer_base sgformer_base "${larger[@]}"
for threads in 1 2; do
  measure "batches-$threads" tiny msg_transformer_tiny sgformer_small --backend eager optimized --batch_size 8 64 \
    --threads "$threads" --rounds 3
done
