#!/usr/bin/env python3
"""Fits the parameters that have no datasheet or microbenchmark to rows with split = calibrate.

    validation/calibrate.py build/release/windtunnel          prints what it finds
    validation/calibrate.py build/release/windtunnel --write  and writes it into systems.yaml

A parameter is the number behind `name: ` in the rules of frameworks (validation/systems.yaml). Each is
fitted by a golden-section search on the mean of |log(predicted / published)| over the calibrate rows of
the tables that name that software, two rounds over all parameters, so that one hidden behind another
has its turn. No test row is read. Deterministic: the same tables give the same numbers.
"""
import csv
import datetime
import math
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
RULES = HERE / "systems.yaml"
# Rules that share the number, parameter, bounds in us, tables. A process needs a few microseconds to issue
# a kernel from C++, and tens with Python modules around it. Collectives go through c10d everywhere.
DEEPSPEED = ["vTrain", "Megatron-LM + DeepSpeed ZeRO-3", "Megatron-DeepSpeed, DeepSpeed"]
MEGATRON = ["sail-sg", "Aleph Alpha", "SC21 Megatron-LM", "Megatron]"]
FSDP = ["torchtitan", "fms-fsdp", "llm-foundry"]
PYTORCH = ["PyTorch/LanguageModeling/BERT", "NGC PyTorch", "DeepLearningExamples", "InternEvo", "Colossal", '"*"']
PARAMETERS = [
    (DEEPSPEED, "kernel", 5, 120, ["12", "13", "17"]),
    (DEEPSPEED + MEGATRON + FSDP + PYTORCH, "collective", 5, 400, ["12", "13", "17"]),
    (MEGATRON, "kernel", 2, 80, ["02", "11", "14"]),
    (FSDP, "kernel", 2, 80, ["04", "05"]),
    (PYTORCH, "kernel", 2, 80, ["18", "25"]),
]
ROUNDS = 2
STEPS = 6  # of a golden-section search: the bracket shrinks to 0.618^6 = 6 %


def calibrate_rows(table, folder):
    """A copy of the table with its calibrate rows only; its name, and how many there are."""
    path = next((HERE / "published").glob(f"{table}_*.csv"))
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    split = rows[0].index("split")
    kept = [row for row in rows[1:] if row[split] == "calibrate"]
    copy = pathlib.Path(folder) / path.name
    with open(copy, "w", newline="") as file:
        csv.writer(file).writerows([rows[0]] + kept)
    return copy


def with_value(text, rules, name, value):
    """The rules with `name: value us` inside the framework's entry that matches each of `rules`."""
    first = text.index("\nframeworks:")
    for rule in rules:
        start = re.search(r"- \{match: \[[^\]]*" + re.escape(rule), text[first:]).start() + first
        end = text.find("- {match", start + 1)
        entry, count = re.subn(rf"\b{name}: [\d.]+ us", f"{name}: {value:.3g} us", text[start:end])
        assert count == 1, f"{rule} has no {name}"
        text = text[:start] + entry + text[end:]
    return text


def errors(program, text, tables, folder):
    rules = RULES.with_name(".calibrate.yaml")  # beside the original: paths in it are relative
    rules.write_text(text)
    try:
        subprocess.run([program, "validate", *map(str, tables), "--rules", str(rules), "--split",
                        "calibrate", "--out", folder], check=True, stdout=subprocess.DEVNULL)
    finally:
        rules.unlink()
    with open(pathlib.Path(folder) / "rows.csv", newline="") as file:
        return [math.log(float(row["predicted_s"]) / float(row["published_s"]))
                for row in csv.DictReader(file) if row["predicted_s"] and row["published_s"]]


def fitted(program, text, parameter, tables, folder):
    rules, name, low, high, _ = parameter
    ratio = (math.sqrt(5) - 1) / 2

    def loss(x):
        values = errors(program, with_value(text, rules, name, math.exp(x)), tables, folder)
        return sum(map(abs, values)) / len(values)

    a, b = math.log(low), math.log(high)
    c, d = b - ratio * (b - a), a + ratio * (b - a)
    at_c, at_d = loss(c), loss(d)
    for _ in range(STEPS):
        if at_c <= at_d:
            b, d, at_d = d, c, at_c
            c = b - ratio * (b - a)
            at_c = loss(c)
        else:
            a, c, at_c = c, d, at_d
            d = a + ratio * (b - a)
            at_d = loss(d)
    return math.exp(c if at_c <= at_d else d)


def main():
    program, write = sys.argv[1], "--write" in sys.argv[2:]
    text = RULES.read_text()
    with tempfile.TemporaryDirectory() as folder:
        copies = {table: calibrate_rows(table, folder)
                  for table in sorted({t for p in PARAMETERS for t in p[4]})}
        for turn in range(ROUNDS):
            for parameter in PARAMETERS:
                tables = [copies[table] for table in parameter[4]]
                value = fitted(program, text, parameter, tables, folder)
                text = with_value(text, parameter[0], parameter[1], value)
                left = errors(program, text, tables, folder)
                print(f"round {turn + 1}: {parameter[0][0]} {parameter[1]} {value:.3g} us, "
                      f"{len(left)} rows of {', '.join(parameter[4])}, mean |log error| "
                      f"{sum(map(abs, left)) / len(left):.3f}, mean log error "
                      f"{sum(left) / len(left):+.3f}", flush=True)
    if write:
        text = re.sub(r"# Fitted by calibrate.py on [\d-]+",
                      f"# Fitted by calibrate.py on {datetime.date.today()}", text)
        RULES.write_text(text)


if __name__ == "__main__":
    main()
