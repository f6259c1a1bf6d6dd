"""Training loop by epochs that can resume inside one."""

import queue
import random
import threading
from collections.abc import Iterator
from contextlib import nullcontext, suppress

import numpy as np
import torch
from mmengine.runner import EpochBasedTrainLoop
from torch.utils._pytree import tree_map_only

from mmsimclr.datasets import InMemoryImages
from mmsimclr.engine import SeededSampler


def random_state() -> dict:
    """Return the states of all generators, in types that ``torch.load(weights_only=True)`` reads."""
    name, keys, *rest = np.random.get_state()
    return dict(
        python=random.getstate(), numpy=(name, torch.from_numpy(keys.astype(np.int64)), *map(float, rest)),
        torch=torch.get_rng_state(), cuda=torch.cuda.get_rng_state() if torch.cuda.is_available() else None)


def set_random_state(state: dict) -> None:
    """Put all generators into a state that :func:`random_state` returned."""
    version, internal, gauss = state['python']
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state['numpy']
    np.random.set_state((name, keys.numpy().astype(np.uint32), int(position), int(has_gauss), cached))
    torch.set_rng_state(state['torch'])
    if state['cuda'] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'])


def is_fetched_ahead(loader, device: torch.device) -> bool:
    """Whether a thread is to fetch batches: for a GPU, where that draws from no generator of the process."""
    return device.type == 'cuda' and (loader.num_workers > 0 or (
        isinstance(loader.dataset, InMemoryImages) and isinstance(loader.sampler, SeededSampler)))


def fetched_ahead(batches: Iterator, device: torch.device) -> Iterator:
    """Yield batches whose ``inputs`` a thread has copied to a device, on a stream of its own, one ahead."""
    waiting: queue.Queue = queue.Queue(1)
    stopped = threading.Event()
    stream = torch.cuda.Stream(device) if device.type == 'cuda' else None

    def moved(batch):
        if not isinstance(batch, dict) or 'inputs' not in batch:            # of a model of another kind
            return batch
        return {**batch, 'inputs': tree_map_only(
            torch.Tensor, lambda each: each.to(device, non_blocking=True), batch['inputs'])}

    def put(item) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                return waiting.put(item, timeout=0.1)

    def fetch() -> None:
        try:
            with torch.cuda.stream(stream) if stream else nullcontext():
                for batch in batches:
                    put((moved(batch), stream.record_event() if stream else None))
                    if stopped.is_set():
                        return
            put((None, None))
        except BaseException as error:                         # raised where the batch is asked for
            put((error, None))

    thread = threading.Thread(target=fetch, name='batches', daemon=True)
    thread.start()
    try:
        while (item := waiting.get())[0] is not None:
            batch, is_there = item
            if isinstance(batch, BaseException):
                raise batch
            if is_there:
                torch.cuda.current_stream(device).wait_event(is_there)
                tree_map_only(torch.Tensor, lambda each: each.is_cuda and each.record_stream(
                    torch.cuda.current_stream(device)), batch)
            yield batch
    finally:
        stopped.set()
        thread.join(timeout=5)


class ResumableTrainLoop(EpochBasedTrainLoop):
    """MMEngine's loop by epochs; a resumed one begins at the batch after the last that was trained on.

    :class:`SeededSampler` passes over the images that were seen; with another sampler they are decoded and
    dropped. The generators get the ``random_state`` of the checkpoint when the first batch is due, so that no
    draw is missing or comes twice.
    """

    random_state: dict | None = None

    def run_epoch(self) -> None:
        """Train on what is left of an epoch."""
        done = self._iter - self._epoch * len(self.dataloader)
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for idx, data_batch in enumerate(self.batches_after(done), start=done):
            self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def batches_after(self, done: int) -> Iterator:
        """Return the batches of an epoch after so many."""
        state, self.random_state = self.random_state, None
        if state and not done:
            set_random_state(state)
        sampler, num_dropped = getattr(self.dataloader, 'sampler', None), done
        place = f'epoch {self._epoch + 1}: {done} of {len(self.dataloader)} steps'
        if done and hasattr(sampler, 'pass_over'):
            self.runner.logger.info(f'{place} are done and passed over')
            sampler.pass_over(done * self.dataloader.batch_size)
            num_dropped = 0
        elif done:
            self.runner.logger.warning(f'{place} are done; their images are loaded again and dropped: '
                                       f'{type(sampler).__name__} cannot pass over them')
        batches = iter(self.dataloader)
        for _ in range(num_dropped):
            next(batches)
        if state and done:                        # an iterator draws a seed, as the interrupted one did
            set_random_state(state)
        device = next(self.runner.model.parameters()).device
        return fetched_ahead(batches, device) if is_fetched_ahead(self.dataloader, device) else batches
