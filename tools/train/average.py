"""Averages bf16 weights that train.py wrote: average.py --out DIR A:0.6 B:0.4

The result is a folder for train.py's --init-weights; its progress is the last folder's.
"""

import argparse

from checkpoint import read_parts, save_parts


class Weights:
    def __init__(self, tensors):
        self.tensors = tensors

    def state_dict(self):
        return self.tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", help="FOLDER:WEIGHT")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seconds", type=float, help="trained seconds to go on from (sets the schedule)")
    args = parser.parse_args()

    total, progress = {}, None
    for part in args.parts:
        folder, share = part.rsplit(":", 1)
        weights, progress = read_parts(folder)
        for name, tensor in weights.items():
            total[name] = total.get(name, 0) + float(share) * tensor.float()
    if args.seconds is not None:
        progress["seconds"] = args.seconds
    save_parts(args.out, Weights(total), progress)


if __name__ == "__main__":
    main()
