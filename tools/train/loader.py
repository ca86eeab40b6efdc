"""Background processes that keep batches of every context length ready."""

import multiprocessing
import queue

from rows import RowMaker


def _produce(out, streams, tokenizer, wordings, seed, length, rows):
    maker = RowMaker(streams, tokenizer, wordings, seed)
    while True:
        out.put(maker.batch(length, rows))


class Loader:
    """workers: {context length: number of processes}; tokens: tokens in a batch."""

    def __init__(self, streams, tokenizer, wordings, workers, tokens, seed):
        context = multiprocessing.get_context("fork")
        self.queues = {}
        self.processes = []
        for length, count in workers.items():
            rows = max(1, tokens // length)
            self.queues[length] = context.Queue(maxsize=max(4, 2 * count))
            for i in range(count):
                worker_seed = seed * 1_000_003 + length * 101 + i
                process = context.Process(
                    target=_produce,
                    args=(
                        self.queues[length],
                        streams,
                        tokenizer,
                        wordings,
                        worker_seed,
                        length,
                        rows,
                    ),
                    daemon=True,
                )
                process.start()
                self.processes.append(process)

    def next(self, length):
        """(tokens [rows, length + 1] uint16, weights [rows, length] uint8)"""
        while True:
            try:
                return self.queues[length].get(timeout=20)
            except queue.Empty:
                if not all(p.is_alive() for p in self.processes):
                    raise RuntimeError("a loader process ended") from None

    def close(self):
        for process in self.processes:
            process.terminate()
