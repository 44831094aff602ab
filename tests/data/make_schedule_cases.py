#!/usr/bin/env python3
"""Writes schedule_cases.json: what pipeline schedules must give on uniform and non-uniform stages.

    python3 make_schedule_cases.py PATH/strategies_check.py > schedule_cases.json

The expectations come from the generators and the executor of strategies_check.py, which share no
code with windtunnel. Keys of a case:

  schedule, p, m, v   row of the schedule table, pipeline ranks, micro-batches, chunks per rank
  forward, backward_input, backward_weight
                      time of one action of each virtual stage. A rank with v chunks takes v times
                      as long for a micro-batch. A full backward takes both halves.
  forward_per_stage, backward_input_per_stage, backward_weight_per_stage
                      only if stages differ: by virtual stage; the three numbers above are then the
                      largest of each list
  fused               the schedule has full backwards (B); false: I and W
  message_latency     delay of a message between ranks; it occupies neither rank
  makespan            end of the last action, from 0
  bubble_fraction     1 - (mean busy time of a rank) / makespan
  largest_span        largest time from first start to last end of a rank
  peak_activations    by rank, stored activations of one virtual stage, freed at B or W
  peak_activations_freed_at_input   the same, freed at B or I
  messages            by rank, messages [activation, gradient] sent to other ranks
"""
import importlib.util
import json
import sys
from fractions import Fraction

SHAPES = ((4, 8), (8, 8))
CHUNKS = {"interleaved": 2, "looped-bfs": 2, "zb-v": 2}
SPLIT = ("zb-h1", "zb-h2", "zb-v")


def load(path):
    spec = importlib.util.spec_from_file_location("strategies_check", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def schedule_of(check, name, p, m):
    chunks = CHUNKS.get(name, 1)
    make = {"naive": check.gen_naive, "gpipe": check.gen_gpipe, "1f1b": check.gen_1f1b,
            "interleaved": lambda p, m: check.gen_interleaved(p, m, chunks),
            "looped-bfs": lambda p, m: check.gen_looped_bfs(p, m, chunks),
            "zb-h1": check.gen_zbh1, "zb-h2": check.gen_zbh2, "zb-v": check.gen_zbv}
    return make[name](p, m)


def number(value):
    value = Fraction(value)
    return int(value) if value.denominator == 1 else float(value)


def case(check, name, p, m, times=(1, 1, 1), latency=0, forward_per_stage=None):
    """times: (F, I, W) of all chunks of a rank. forward_per_stage: F by stage; then I = W = F."""
    schedule = schedule_of(check, name, p, m)
    check.validate(schedule)
    v = CHUNKS.get(name, 1)
    if forward_per_stage:
        halves = [{"F": Fraction(f), "I": Fraction(f), "W": Fraction(f)} for f in forward_per_stage]
    else:
        f, i, w = (Fraction(time) / v for time in times)
        halves = [{"F": f, "I": i, "W": w}] * (p * v)
    for stage in halves:
        stage["B"] = stage["I"] + stage["W"]
    run = check.execute(schedule, lambda op: halves[op[1]][op[0]], Fraction(latency))
    result = {"schedule": name, "p": p, "m": m, "v": v}
    for key, letter in (("forward", "F"), ("backward_input", "I"), ("backward_weight", "W")):
        result[key] = number(max(stage[letter] for stage in halves))
        if forward_per_stage:
            result[key + "_per_stage"] = [number(stage[letter]) for stage in halves]
    result.update({
        "fused": name not in SPLIT,
        "message_latency": number(latency),
        "makespan": number(run["makespan"]),
        "bubble_fraction": number(1 - sum(run["busy"]) / p / run["makespan"]),
        "largest_span": number(max(run["span"])),
        "peak_activations": check.peak_inflight(schedule),
        "peak_activations_freed_at_input": check.peak_inflight(schedule, "I"),
        "messages": check.messages(schedule)})
    return result


def cases(check):
    for p, m in SHAPES:
        for name in ("naive", "gpipe", "1f1b", "interleaved", "looped-bfs") + SPLIT:
            yield case(check, name, p, m)
    for times in ((10, 12, 8), (10, 14, 9), (10, 8, 12), (10, 20, 3)):
        for name in ("zb-h1", "zb-h2"):
            yield case(check, name, 4, 8, times)
    for latency in (Fraction(1, 8), Fraction(1, 2)):
        for p, m in SHAPES:
            for name in ("1f1b", "gpipe", "interleaved"):
                yield case(check, name, p, m, latency=latency)
    for forward in ((1, 1, 2, 1), (2, 1, 1, 1), (1, 1, 1, 2), (1, 2, 3, 4)):
        for name in ("1f1b", "gpipe"):
            yield case(check, name, 4, 8, forward_per_stage=forward)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    lines = [json.dumps(one) for one in cases(load(sys.argv[1]))]
    print("[\n" + ",\n".join(lines) + "\n]")


if __name__ == "__main__":
    main()
