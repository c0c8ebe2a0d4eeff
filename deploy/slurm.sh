#!/bin/bash
# One run on one machine of a Slurm cluster, resumed until it is finished. The options are those of `kedro run`:
#
#   sbatch deploy/slurm.sh --env gpu --params env.game=Seaquest
#
# Type it in the project's folder, on a file system that all machines share, after `make setup TORCH_INDEX=https://pypi.org/simple`
# there: where no NVIDIA driver is, as on most login machines, `make setup` alone takes PyTorch for the CPU. Five minutes before
# the time limit Slurm sends SIGUSR1: the run writes a checkpoint and ends with status 130. Then the job goes back into the
# queue under its number, and the same command resumes. Slurm does the same by itself (--requeue) when it pre-empts the job
# or loses the machine. `scancel JOB` ends it for good. Set time, memory, partition and account to what your cluster has.
#SBATCH --job-name=meme57
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --gres=gpu:1
#SBATCH --mem=64G
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=meme57-%j.out
set -u
trap 'exit 143' TERM # of scancel; bash takes it when srun has ended, before the next line
cd "${SLURM_SUBMIT_DIR:?type: sbatch deploy/slurm.sh}" || exit 1
if [ -f .venv/bin/activate ]; then . .venv/bin/activate; fi
export OMP_NUM_THREADS=1 SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"

if [ -n "${SLURM_GPUS_ON_NODE:-}" ] && ! python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "the job has a GPU, which this PyTorch cannot use: rm -rf .venv && make setup TORCH_INDEX=https://pypi.org/simple" >&2
  exit 1
fi
srun python -m kedro run "$@"
status=$?
case "$status" in
  130 | 138) scontrol requeue "$SLURM_JOB_ID" ;; # stopped before its end; 138: by SIGUSR1 while Python was starting
esac
exit "$status"
