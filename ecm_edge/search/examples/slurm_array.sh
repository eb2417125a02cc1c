#!/bin/bash
# Workers of one study as a Slurm array: sbatch slurm_array.sh /shared/data/af af-july
#SBATCH --job-name=ecm-edge
#SBATCH --array=1-32
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --output=ecm-edge-%A_%a.log
set -euo pipefail

data=${1:?the data set, where all nodes can read it}
study=${2:?the name of the study}
: "${ECM_EDGE_STORAGE:?the URL of the storage; the environment of sbatch is handed on}"

export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Two minutes before the time is up Slurm sends SIGTERM to the step: the worker gives its trial back, and ends with 143.
srun ecm-edge worker --data "$data" --name "$study" --out "$scratch"
