#!/usr/bin/env python3
"""Whether a sweep keeps two cores busy: sweep.py [PROGRAM [JOBS]].

Runs one sweep of 24 cases with JOBS workers (2) and prints two ratios of that run:
- CPU seconds of all its processes over its wall seconds: the cores that it got;
- workers that were running or ready to run, the mean of samples every 5 ms: the cores that it asked
  for. Only this one does not depend on what else the machine does.
"""

import pathlib
import resource
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / 'build/release/windtunnel')
JOBS = sys.argv[2] if len(sys.argv) > 2 else '2'


def ready_workers(process):
    """Children in state R, by /proc/PID/stat."""
    count = 0
    try:
        children = pathlib.Path(f'/proc/{process}/task/{process}/children').read_text().split()
    except OSError:
        return 0
    for child in children:
        try:
            stat = pathlib.Path(f'/proc/{child}/stat').read_text()
        except OSError:
            continue
        count += stat.rpartition(')')[2].split()[0] == 'R'
    return count


def main():
    with tempfile.TemporaryDirectory() as folder:
        command = [PROGRAM, 'sweep', str(ROOT / 'workloads/gpt3-175b-selene.yaml'),
                   '--set', 'gpus=128', '--set', 'parallel.data=2', '--set', 'batch.global=192',
                   '--set', 'fidelity=stage', '--vary', 'parallel.zero_stage=0,1',
                   '--vary', 'recompute=none,selective,full', '--vary', 'batch.micro=1,2',
                   '--vary', 'schedule=gpipe,1f1b', '--allow-oom', '--jobs', JOBS,
                   '--out', folder]
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        samples = []
        while process.poll() is None:
            samples.append(ready_workers(process.pid))
            time.sleep(0.005)
        wall = time.monotonic() - start
        cases = len((pathlib.Path(folder) / 'sweep.csv').read_text().splitlines()) - 1
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = use.ru_utime + use.ru_stime
    print(f'sweep of {cases} cases, {JOBS} workers: {wall:.1f} s wall, {cpu:.1f} CPU-s, '
          f'{cpu / wall:.2f} cores got, {sum(samples) / len(samples):.2f} cores asked for')
    return process.returncode


sys.exit(main())
