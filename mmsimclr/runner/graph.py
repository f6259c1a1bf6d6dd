"""A training step captured as a CUDA graph: one launch in the place of hundreds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn

from mmsimclr.distributed import world_size
from mmsimclr.engine import LARS
from mmsimclr.errors import InputError
from mmsimclr.models import SimCLR

WARM_UP = 3                         # steps that set up cuDNN, the momentum and the compiled encoder


def graph_steps(model: nn.Module, wrapper: OptimWrapper) -> None:
    """Have a model's ``train_step`` replay a graph of forward pass, loss, backward pass and LARS.

    Views are made and normalised before it, since their parameters come from the host at each step. Raise
    InputError where a step cannot be captured.
    """
    optimizer, device = wrapper.optimizer, next(model.parameters()).device
    for wrong, mend in (
            (device.type != 'cuda', 'a GPU'), (world_size() > 1, 'one process'),
            (not isinstance(model, SimCLR) or model.chunk_size, 'SimCLR without chunk_size'),
            (not isinstance(optimizer, LARS), 'LARS'),
            (isinstance(wrapper, AmpOptimWrapper), 'bfloat16 or float32, not float16'),
            (wrapper.clip_grad_kwargs or wrapper._accumulative_counts > 1,
             'neither clip_grad nor accumulative_counts')):
        if wrong:
            raise InputError(f'graph=True needs {mend}; graph=False trains without it')
    model.train_step = GraphedStep(model, wrapper)


class GraphedStep:
    """A train_step that computes the first steps as usual, captures one, and replays it from then on.

    Batches of another shape are computed as usual.
    """

    def __init__(self, model: nn.Module, wrapper: OptimWrapper) -> None:
        self.model, self.wrapper = model, wrapper
        self._plain, self._replay, self._num_plain = model.train_step, None, 0

    def __call__(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, torch.Tensor]:
        """Train on a batch; return what is logged, in tensors that the next step overwrites."""
        if self._num_plain < WARM_UP:
            self._num_plain += 1
            with beside():
                return self._plain(data, optim_wrapper)
        groups = self.wrapper.optimizer.param_groups
        with self.wrapper.optim_context(self.model):
            views = self.model.data_preprocessor(data, True)['inputs']
        if self._replay is None:
            self._views = [view.clone() for view in views]              # channels-last where they are
            self._rates = [torch.tensor(group['lr'], device=views[0].device) for group in groups]
            rates = [group['lr'] for group in groups]
            for group, rate in zip(groups, self._rates, strict=True):
                group['lr'] = rate
            self._replay = captured(self._step)
            for group, rate in zip(groups, rates, strict=True):         # schedules go on with numbers
                group['lr'] = rate
        if [view.shape for view in views] != [view.shape for view in self._views]:
            return self._plain(data, optim_wrapper)
        for own, view in zip(self._views, views, strict=True):
            own.copy_(view)
        for group, rate in zip(groups, self._rates, strict=True):
            rate.fill_(group['lr'])
        self._replay()
        return self._logged

    def _step(self) -> None:
        with self.wrapper.optim_context(self.model):
            losses = self.model.loss(self._views)
        loss, self._logged = self.model.parse_losses(losses)
        loss.backward()
        self.wrapper.optimizer.step()
        self.wrapper.optimizer.zero_grad()


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """Return a function that repeats a step on the same tensors."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


@contextmanager
def beside() -> Iterator[None]:
    """Compute on another stream: https://docs.pytorch.org/docs/stable/notes/cuda.html#whole-network-capture."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream().wait_stream(stream)
