"""CUDA graphs for training: an iteration is recorded once and replayed from then on, with new random numbers."""

import functools
import threading
from collections import Counter
from collections.abc import Callable

import torch


def can_record(device: torch.device) -> bool:
    """Whether iterations can be recorded: on CUDA, and in the main thread.

    A recording fails when another thread uses the GPU meanwhile, and a program that trains in a thread has others.
    """
    return device.type == "cuda" and threading.current_thread() is threading.main_thread()


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """One stream for all levels: cuBLAS keeps some 32 MB for each stream that it has been used on."""
    return torch.cuda.Stream(device)


class GraphedIterations:
    """Iterations on CUDA as graphs: the first of a kind run as usual, one is recorded, and the others are replayed.

    At SinGAN's sizes a GPU computes faster than Python can ask it to; a replay asks once for the whole iteration.
    """

    ORDINARY = 3  # libraries choose their kernels and Adam makes its state in the first iterations

    def __init__(self, rng: torch.Generator):
        self.rng = rng
        self.recorded: dict[tuple[bool, ...], torch.cuda.CUDAGraph] = {}
        self.seen: Counter[tuple[bool, ...]] = Counter()
        self.stream = _stream(rng.device)
        self.pool = torch.cuda.graph_pool_handle()  # one memory for all kinds: only one of them runs at a time

    def run(self, iterate: Callable[[tuple[bool, ...]], None], penalty_due: tuple[bool, ...]) -> None:
        """Do what iterate(penalty_due) does."""
        self.seen[penalty_due] += 1
        if self.seen[penalty_due] <= self.ORDINARY:
            self._run_ordinary(iterate, penalty_due)
            return
        if penalty_due not in self.recorded:
            self.recorded[penalty_due] = self._record(iterate, penalty_due)
        self.recorded[penalty_due].replay()

    def _run_ordinary(self, iterate: Callable[[tuple[bool, ...]], None], penalty_due: tuple[bool, ...]) -> None:
        """On the stream of the recording, as recording wants it."""
        current = torch.cuda.current_stream(self.rng.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            iterate(penalty_due)
        current.wait_stream(self.stream)

    def _record(
        self, iterate: Callable[[tuple[bool, ...]], None], penalty_due: tuple[bool, ...]
    ) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.rng)
        # thread_local: the explorer's threads may use the GPU meanwhile
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
            iterate(penalty_due)
        return graph
