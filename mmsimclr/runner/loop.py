"""Training loop by epochs that can resume inside one."""

import random
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from mmengine.runner import EpochBasedTrainLoop
from torch.utils._pytree import tree_map_only


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


def copied_beside(batches: Iterable, device: torch.device) -> Iterator:
    """Yield batches whose ``inputs`` are copied to a GPU on a stream of its own, beside the step before.

    The host is ahead of the device, for no step waits for it, so that the copy has the time of a step.
    """
    stream, computing = torch.cuda.Stream(device), torch.cuda.current_stream(device)

    def copied(tensor: torch.Tensor) -> torch.Tensor:
        with torch.cuda.stream(stream):
            copy = tensor.to(device, non_blocking=True)
        copy.record_stream(computing)
        return copy

    for batch in batches:
        if isinstance(batch, dict) and 'inputs' in batch:       # a model of another kind has other batches
            batch = {**batch, 'inputs': tree_map_only(torch.Tensor, copied, batch['inputs'])}
            computing.wait_stream(stream)
        yield batch


class ResumableTrainLoop(EpochBasedTrainLoop):
    """MMEngine's loop by epochs; a resumed one begins at the batch after the last that was trained on.

    :class:`SeededSampler` passes over the images that were seen; with another sampler they are decoded and
    dropped. The generators get the ``random_state`` of the checkpoint when the first batch is due, so that no
    draw is missing or comes twice.
    """

    random_state: dict | None = None

    def run_epoch(self) -> None:
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
        return copied_beside(batches, device) if device.type == 'cuda' else batches
