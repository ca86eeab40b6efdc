#!/usr/bin/env python3
"""Puts what scripts/gpu measured into the documentation: tables and a plot.

    bench/gpu/report.py DECODE.json [PEERS.json] [--command TEXT] [--note TEXT] [--docs DIR]

Replaces what stands between the two marks in docs/cuda.md and writes docs/cuda-speedup.svg.
"""

import argparse
import json
import math
import pathlib
import textwrap

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b",
          "#e377c2", "#7f7f7f")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 430, 60, 190, 46, 50


def name_of_context(context):
    return f"{context // 1024}K" if context < 1 << 20 else f"{context >> 20}M"


def main_cases(report):
    """Llama-3.1-8B's shape, bf16, batch 1, in graphs."""
    return [case for case in report["cases"]
            if case["model"] == "Llama-3.1-8B" and case["kv_dtype"] == "bf16"
            and case["batch"] == 1 and case["in_graph"]]


def dense_table(report, peers):
    """A row for each context; columns for the orders of pages and the peers that were timed."""
    ceiling = report["read_ceiling_gb_per_s"]
    dense = [case for case in main_cases(report) if case["case"] == "dense"]
    columns = {}  # {name: {context: text}}
    for in_order in (True, False):
        name = "pages in order" if in_order else "pages in random order"
        for case in dense:
            if case["pages_in_order"] == in_order:
                share = case["bytes"] / case["median_us"] / 1e3 / ceiling
                columns.setdefault(name, {})[case["context"]] = f"{case['median_us']:.1f}"
                columns.setdefault("of the ceiling", {}).setdefault(
                    case["context"], f"{100 * share:.0f}%")
    for result in peers.get("results", []):
        if "routed" not in result["peer"]:
            columns.setdefault(result["peer"], {})[result["context"]] = f"{result['median_us']:.1f}"
    lines = ["| " + " | ".join(["context", *columns]) + " |", "| --: " * (len(columns) + 1) + "|"]
    for context in sorted({case["context"] for case in dense}):
        cells = [column.get(context, "") for column in columns.values()]
        lines.append("| " + " | ".join([name_of_context(context), *cells]) + " |")
    return lines


def selection_table(report, peers):
    """Speedups over dense; of the peers, what the one that skips routed heads gains over itself."""
    others = {(result["peer"], result["context"]): result["median_us"]
              for result in peers.get("results", [])}
    lines = ["| context | read | us | speedup over dense | by bytes | fixed split |",
             "| --: | --- | --: | --: | --: | --: |"]
    for case in main_cases(report):
        if case["case"] == "dense":
            continue
        context = case["context"]
        name = f"fixed split, {case['routed_kv_heads']} of {case['kv_heads']} routed"
        fixed = ""
        if case["case"] == "routed" and (name, context) in others:
            fixed = f"{others['fixed split', context] / others[name, context]:.2f}"
        lines.append(f"| {name_of_context(context)} | {label(case)} "
                     f"| {case['median_us']:.1f} | {case['dense_median_us'] / case['median_us']:.2f} "
                     f"| {case['dense_bytes'] / case['bytes']:.2f} | {fixed} |")
    return lines


def label(case):
    if case["case"] == "routed":
        return f"{case['routed_kv_heads']} of {case['kv_heads']} KV heads routed"
    return f"1/{round(1 / case['share'])} of the {case['case']}"


def plot(report):
    """Speedup over context, one line per read fraction; what the bytes alone would give dashed."""
    lines = {}
    for case in main_cases(report):
        if case["case"] != "dense":
            lines.setdefault(label(case), []).append(case)
    lines = {name: cases for name, cases in lines.items()
             if cases[0]["case"] != "pages" or cases[0]["share"] < 0.3}
    cases = [case for group in lines.values() for case in group]
    contexts = sorted({case["context"] for case in cases})
    most = max(case["dense_bytes"] / case["bytes"] for case in cases)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x(context):
        span = max(1e-9, math.log2(contexts[-1] / contexts[0]))
        return LEFT + (right - LEFT) * math.log2(context / contexts[0]) / span

    def y(speedup):
        return bottom - (bottom - TOP) * math.log2(max(1.0, speedup)) / math.log2(most)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           'font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="18" font-size="14">Decode attention: speedup over dense, '
           f'{report["device"]}</text>',
           f'<text x="{LEFT}" y="35" fill="#555">Llama-3.1-8B shape, bf16, batch 1; dashed: '
           'what the bytes read alone would give</text>']
    for power in range(int(math.log2(most)) + 1):
        at = y(2 ** power)
        out.append(f'<path d="M{LEFT} {at:.1f}H{right}" stroke="#ddd"/><text x="{LEFT - 8}" '
                   f'y="{at + 4:.1f}" text-anchor="end">{2 ** power}x</text>')
    for context in contexts:
        out.append(f'<text x="{x(context):.1f}" y="{bottom + 18}" text-anchor="middle">'
                   f'{name_of_context(context)}</text>')
    out.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 12}" text-anchor="middle">context</text>')
    ends = sorted(lines, key=lambda name: lines[name][-1]["median_us"])
    last = -math.inf
    for i, name in enumerate(ends):
        group = sorted(lines[name], key=lambda case: case["context"])
        color = COLORS[i % len(COLORS)]
        for dash, speedup in (("4 4", lambda c: c["dense_bytes"] / c["bytes"]),
                              ("none", lambda c: c["dense_median_us"] / c["median_us"])):
            points = " ".join(f"{x(c['context']):.1f},{y(speedup(c)):.1f}" for c in group)
            out.append(f'<polyline points="{points}" fill="none" stroke="{color}" '
                       f'stroke-width="{1 if dash != "none" else 2}" stroke-dasharray="{dash}"/>')
        end = y(group[-1]["dense_median_us"] / group[-1]["median_us"])
        last = max(end, last + 14)
        out.append(f'<text x="{right + 8}" y="{last + 4:.1f}" fill="{color}">{name}</text>')
    out.append("</svg>\n")
    return "\n".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("decode")
    parser.add_argument("peers", nargs="?")
    parser.add_argument("--command", default="scripts/gpu")
    parser.add_argument("--note", default="", help="what else to say of this run")
    parser.add_argument("--docs", default=pathlib.Path(__file__).parents[2] / "docs",
                        type=pathlib.Path)
    options = parser.parse_args()
    report = json.loads(pathlib.Path(options.decode).read_text(encoding="utf-8"))
    peers = json.loads(pathlib.Path(options.peers).read_text(encoding="utf-8")) \
        if options.peers else {}
    versions = f"; PyTorch {peers['torch']}, Triton {peers['triton']}" if peers else ""
    intro = (f"{report['device']}, which reads {report['read_ceiling_gb_per_s']:.0f} GB/s in the "
             f"same run (2 GiB); `{options.command}`{versions}. Llama-3.1-8B's shape (32 q heads, "
             "8 KV heads, head dim 128), bf16, batch 1, in CUDA graphs, medians in microseconds. "
             + options.note)
    text = [BEGIN, "", textwrap.fill(intro, 100), "", *dense_table(report, peers), "",
            "![speedup over context](cuda-speedup.svg)", "", *selection_table(report, peers), "", END]
    page = options.docs / "cuda.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{page}: the marks '{BEGIN}' and '{END}' are not there")
    page.write_text(before + "\n".join(text) + after, encoding="utf-8")
    (options.docs / "cuda-speedup.svg").write_text(plot(report), encoding="utf-8")


if __name__ == "__main__":
    main()
