#!/bin/sh
# Trains on from START, exports and evaluates on one GPU: run_on_gpu.sh CORPUS WORK START [MINUTES]
# CORPUS holds NAME.txt or NAME.txt.xz files (README.md says of what form); WORK is for scratch;
# START is a Hugging Face folder with the weights to start from (README.md says which).
# Run again after an interruption: training goes on from WORK/checkpoint.
set -eu

corpus=$1
work=$2
start=$3
minutes=${4:-21}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
model=$root/models/sinkling-15m
wordings=$root/eval/needle_wordings.json
python=${PYTHON:-python3}
export TORCHINDUCTOR_CACHE_DIR="$work/compiled"

mkdir -p "$work/data" "$work/weights"
if [ ! -e "$work/data/heldout.json.xz" ]; then
    "$python" "$here/prepare_data.py" --corpus "$corpus" --tokenizer "$model" --out "$work/data"
fi
"$python" "$here/train.py" --model "$model" --start "$start" --data "$work/data" --wordings "$wordings" \
    --work "$work/checkpoint" --out "$work/weights" --planned-minutes "$minutes" --seed 5
"$python" "$here/export.py" --weights "$work/weights" --model "$model" \
    --earlier "$start/training_log.json"
"$python" "$here/check_transformers.py" --model "$model"
"$python" "$here/evaluate.py" --model "$model" --data "$work/data" --wordings "$wordings" \
    --out "$model/evaluation.json"
