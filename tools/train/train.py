"""Trains the model for some minutes, resuming from and leaving a checkpoint."""

import argparse
import json
import math
import os
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer

import schedule
from attention import choose_attention
from checkpoint import load_full, save_full, save_parts, saved_step
from config import load_config
from export import from_hugging_face
from loader import Loader
from model import Llama, TrainingGraph
from needles import Wordings
from optim import build_optimizers
from perplexity import held_out_windows, mean_loss
from prepare_data import load_held_out, load_tokens
from sinks import WeightController

LOGGED = ("text", "answer", "sunk", "sunk_99", "sunk_999", "penalty", "lambda", "v_0", "v_0_worst")
LOGGED += ("breadth", "breadth_weight", "blocks", "blocks_worst", "rows", "hidden")


class Trainer:
    def __init__(self, args):
        self.args = args
        tokenizer = Tokenizer.from_file(str(Path(args.model) / "tokenizer.json"))
        workers = {n // args.shrink: w for n, w in schedule.WORKERS.items()}
        # Before the GPU is touched: the loader forks.
        self.loader = Loader(
            load_tokens(args.data),
            tokenizer,
            Wordings(args.wordings),
            workers,
            args.batch_tokens,
            args.seed + saved_step(args.work),
        )
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(args.seed)
        config = load_config(args.model)
        self.model = Llama(config).to(self.device)
        self.optimizers = build_optimizers(self.model, not args.adam, args.rate, args.decay)
        self.sinks = WeightController(args.sink_target, self.device, rising=True)
        self.breadth = WeightController(
            args.read_target, self.device, rising=False, start=0.08, low=0.004, high=0.3
        )
        self.progress = {
            "step": 0,
            "seconds": 0.0,
            "tokens": 0,
            "sinks": self.sinks.state(),
            "breadth": self.breadth.state(),
            "log": [],
        }
        self.steps_here = 0
        self.resume()
        held_out = load_held_out(args.data)
        self.windows = held_out_windows(tokenizer, held_out, 2048 // args.shrink, args.held_out_windows)
        attend = choose_attention(config, self.device, args.batch_tokens, list(workers))
        most_rows = args.batch_tokens // min(workers)
        self.graph = TrainingGraph(config, attend, self.device.type == "cuda", most_rows)
        self.costs = dict.fromkeys(workers, 0.1)

    def resume(self):
        found = load_full(self.args.work, self.model, self.optimizers, self.device)
        if found:
            self.steps_here = schedule.WARM_UP_STEPS
            print(f"full checkpoint, from step {found['step']}")
        elif self.args.start:
            self.model.load_state_dict(from_hugging_face(self.args.start, self.model.config))
            print(f"weights of {self.args.start}")
        if found:
            self.progress = found
            self.sinks.load(found["sinks"])
            self.breadth.load(found["breadth"])

    def batch(self, length):
        tokens, weights = self.loader.next(length)
        tokens = torch.from_numpy(tokens.astype("int32"))
        weights = torch.from_numpy(weights)
        if self.device.type == "cuda":
            tokens, weights = tokens.pin_memory(), weights.pin_memory()
        return tokens.to(self.device, non_blocking=True).long(), weights.to(self.device, non_blocking=True)

    def backward(self, length, sink_weight, breadth_weight):
        tokens, weights = self.batch(length)
        out = self.graph(self.model.half(torch.bfloat16), tokens, weights)
        penalties = sink_weight * out["penalty"] + breadth_weight * out["breadth"]
        penalties = penalties + self.args.sink_value_weight * out["v_0"]
        (out["loss"] if self.args.plain else out["loss"] + penalties).backward()
        return {name: value.detach() for name, value in out.items()}

    def apply(self, scale):
        momentum = 0.85 + 0.10 * min(1.0, self.progress["step"] / 300)
        for optimizer in self.optimizers:
            optimizer.step(scale, momentum)
        for parameter in self.model.parameters():
            parameter.grad = None

    def one_step(self):
        done = self.done()
        step = self.progress["step"]
        length = schedule.draw_length(step, self.args.shrink)
        scale = schedule.rate_scale(done, self.steps_here)
        self.graph.dropout = schedule.dropout(done)
        self.graph.gated = 0.0 if self.args.plain else schedule.gated(done)
        sink_weight, breadth_weight = self.sinks.weight(), self.breadth.weight()
        out = self.backward(length, sink_weight, breadth_weight)
        self.apply(scale)
        self.sinks.update(out["sunk"], self.costs[length])
        self.breadth.update(out["blocks"], self.costs[length])
        self.progress["step"] += 1
        self.progress["tokens"] += self.args.batch_tokens
        self.steps_here += 1
        return {
            **out,
            "lambda": sink_weight,
            "breadth_weight": breadth_weight,
            "length": length,
            "rate": scale,
        }

    def done(self):
        return min(1.0, self.progress["seconds"] / (60 * self.args.planned_minutes))

    def warm_up(self):
        """Compiles and, the first time, times each context length; changes no weight."""
        start = time.perf_counter()
        known = self.progress.get("costs")
        if known:
            self.costs = {int(n): cost for n, cost in known.items()}
            self.backward(min(self.costs), 0.1, 0.1)
            self.wait()
        for length in [] if known else self.costs:
            for repeat in range(3):
                if repeat == 1:
                    self.wait()
                    begin = time.perf_counter()
                out = self.backward(length, 0.1, 0.1)
            self.wait()
            self.costs[length] = (time.perf_counter() - begin) / 2
            rate = self.args.batch_tokens / self.costs[length]
            loss = float(out["loss"])
            print(
                f"length {length}: {rate / 1e6:.3f}M tokens/s, loss {loss:.3f}",
                flush=True,
            )
        self.progress["costs"] = dict(self.costs)
        for parameter in self.model.parameters():
            parameter.grad = None
        print(f"warm-up took {time.perf_counter() - start:.0f} s", flush=True)

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def note_held_out(self):
        loss = mean_loss(self.graph, self.model, self.windows, self.args.batch_tokens, self.device)
        self.progress.setdefault("held_out", []).append([self.progress["step"], round(loss, 4)])
        print("held-out loss at 2K:", self.progress["held_out"], flush=True)

    def run(self, deadline):
        """Trains until the deadline (time.perf_counter) or the end of the plan."""
        if not self.progress["step"]:
            self.note_held_out()
        logged = time.perf_counter()
        saved_at = logged
        pending = []
        while time.perf_counter() < deadline and self.done() < 1.0:
            pending.append(self.one_step())
            if self.progress["step"] % 10 == 0 or self.progress["step"] == 1:
                self.wait()
                now = time.perf_counter()
                self.progress["seconds"] += now - logged
                logged = now
                self.log(pending)
                pending = []
                if now - saved_at > 120:
                    self.save(False)
                    saved_at = now
        self.save(True)

    def log(self, pending):
        entry = {
            "step": self.progress["step"],
            "seconds": round(self.progress["seconds"], 1),
            "mtokens": round(self.progress["tokens"] / 1e6, 1),
        }
        for name in LOGGED:
            entry[name] = round(sum(float(p[name]) for p in pending) / len(pending), 4)
        if not math.isfinite(entry["text"]):
            raise SystemExit(f"the loss is {entry['text']} at step {entry['step']}")
        entry["rate"] = round(pending[-1]["rate"], 4)
        entry["lengths"] = sorted({p["length"] for p in pending})
        # Per length, since loss and sinks depend on it.
        entry["answer_by_length"] = {
            n: round(min(float(p["answer"]) for p in pending if p["length"] == n), 4)
            for n in entry["lengths"]
        }
        if self.progress["step"] % 20 == 0 or self.progress["step"] == 1:
            self.progress["log"].append(entry)
        if self.progress["step"] % 50 == 0 or self.progress["step"] < 30:
            print(json.dumps(entry), flush=True)

    def save(self, final):
        self.progress["sinks"] = self.sinks.state()
        self.progress["breadth"] = self.breadth.state()
        start = time.perf_counter()
        if final:
            self.note_held_out()
        save_full(self.args.work, self.model, self.optimizers, self.progress)
        save_parts(self.args.out, self.model, self.progress)
        print(
            f"saved at step {self.progress['step']} in {time.perf_counter() - start:.1f} s",
            flush=True,
        )


def main():
    begin = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="folder with config.json and tokenizer.json")
    parser.add_argument("--data", required=True, help="what prepare_data.py wrote")
    parser.add_argument("--wordings", required=True, help="eval/needle_wordings.json")
    parser.add_argument("--work", required=True, help="folder of the full checkpoint")
    parser.add_argument("--out", required=True, help="folder for bf16 weights and the log")
    parser.add_argument("--start", help="Hugging Face folder to start from if --work is empty")
    parser.add_argument(
        "--minutes",
        type=float,
        default=600.0,
        help="stop after this long, start included",
    )
    parser.add_argument(
        "--planned-minutes",
        type=float,
        default=19.0,
        help="the whole run, over all calls",
    )
    parser.add_argument("--batch-tokens", type=int, default=131072)
    parser.add_argument("--sink-target", type=float, default=0.72)
    parser.add_argument("--read-target", type=float, default=0.06, help="share of blocks a group needs")
    parser.add_argument("--sink-value-weight", type=float, default=1.0, help="of the penalty on |v_0|")
    parser.add_argument(
        "--plain",
        action="store_true",
        help="the language model's loss alone: no penalty, no gate (what do sinks cost?)",
    )
    parser.add_argument("--decay", type=float, default=2.5e-3, help="of the matrices, at full rate")
    parser.add_argument("--held-out-windows", type=int, default=192)
    parser.add_argument("--adam", action="store_true", help="AdamW for everything")
    parser.add_argument("--rate", type=float, help="learning rate of the matrices")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--shrink",
        type=int,
        default=1,
        help="divide every context length (smoke tests)",
    )
    args = parser.parse_args()

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_float32_matmul_precision("high")
    trainer = Trainer(args)
    print(f"ready to warm up after {time.perf_counter() - begin:.0f} s", flush=True)
    trainer.warm_up()
    trainer.run(begin + 60 * args.minutes)
    trainer.loader.close()
    print(f"end: {trainer.progress['seconds']:.0f} s trained, {trainer.progress['tokens'] / 1e6:.0f}M tokens")


if __name__ == "__main__":
    main()
