#!/usr/bin/env python3
"""Prints the cells of a suite.json as Markdown tables. Standard library only.

A row is a policy, a column a context length: the score against dense attention's and, after it, the
KV read fraction with everything counted.
"""

import argparse
import json
from pathlib import Path

QUESTIONS = {"decode": "questions decoded", "prefill": "questions prefilled"}


def shown(cell):
    read = f"{100 * cell['kv_read_fraction']:.1f}%"
    if cell["policy"] == "dense":
        return f"{cell['score']:.3f}"
    if cell["measure"] == "perplexity":
        return f"{100 * (cell['score'] / cell['dense_score'] - 1):+.2f}%, {read}"
    return f"{cell['score'] - cell['dense_score']:+.3f}, {read}"


def table(cells):
    """cells: those of one task and mode."""
    contexts = sorted({cell["context"] for cell in cells})
    policies = list(dict.fromkeys(cell["policy"] for cell in cells))
    found = {(cell["policy"], cell["context"]): shown(cell) for cell in cells}
    lines = ["| policy | " + " | ".join(str(context) for context in contexts) + " |"]
    lines.append("|---" * (len(contexts) + 1) + "|")
    for policy in policies:
        row = [found.get((policy, context), "") for context in contexts]
        lines.append(f"| `{policy}` | " + " | ".join(row) + " |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="suite.json of a results folder")
    result = json.loads(parser.parse_args().results.read_text(encoding="utf-8"))
    settings = result["settings"]
    print(f"# Policies under one harness: {settings['model']}\n")
    print(
        f"Each context: samples {settings['samples']}, documents {settings['documents']}; perplexity "
        f"of the last {settings['tokens']} tokens of each window. A cell is the difference from dense "
        "attention, whose own score is in its row, and the KV read fraction with everything counted. "
        "Made by `scripts/figures/suite`."
    )
    groups = {}
    for cell in result["cells"]:
        if cell["complete"]:
            groups.setdefault((cell["task"], cell["mode"]), []).append(cell)
    for (task, mode), cells in groups.items():
        perplexity = cells[0]["measure"] == "perplexity"
        print(f"\n## {task}" + ("" if perplexity else f", {QUESTIONS[mode]}") + "\n")
        print("\n".join(table(cells)))


if __name__ == "__main__":
    main()
