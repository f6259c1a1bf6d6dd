"""Ranks, and a gather across them whose gradient is exact. The identity where nothing is distributed."""

import functools
import multiprocessing
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from mmengine.dist import all_gather_object, all_reduce, broadcast, init_dist, is_distributed
from mmengine.dist import get_rank as rank
from mmengine.dist import get_world_size as world_size
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather

from mmsimclr.errors import InputError, MachineError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
# Settings of the process group that the host group shares.
_shared_settings: dict[str, Any] = {}


def start_as(config: Mapping[str, Any]) -> None:
    """Join the process group that a config asks for; see :func:`start`."""
    start(config.get('launcher') or 'none', (config.get('env_cfg') or {}).get('dist_cfg') or {})


def start(launcher: str, settings: dict | None = None) -> None:
    """Start the process group that a launcher prepared: NCCL where there are GPUs, else gloo.

    ``settings`` are arguments of ``torch.distributed.init_process_group`` (``backend``, ``timeout`` in
    seconds); without GPUs the backend is gloo. Raise MachineError if torchrun's environment variables are
    missing, there are more processes than GPUs on this machine, a launcher other than torchrun finds no GPU,
    or the others are not reached.
    """
    if launcher not in LAUNCHERS:
        raise InputError(f'launcher must be one of {", ".join(LAUNCHERS)}, got {launcher!r}')
    if launcher == 'none' or is_distributed():
        return
    missing = [name for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK') if name not in os.environ]
    if launcher == 'pytorch' and missing:
        raise MachineError(f'launcher pytorch needs {", ".join(missing)} in the environment: start with '
                           'tools/dist_train.sh or torchrun')
    settings = dict(settings or {})
    if settings.get('timeout') is not None:
        _shared_settings['timeout'] = timedelta(seconds=settings['timeout'])
    if torch.cuda.is_available():
        _start_on_gpus(launcher, settings)
    elif launcher == 'pytorch':
        try:
            dist.init_process_group('gloo', **_shared_settings, **_place_of_this_start())
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise MachineError(
                f'process {os.environ["RANK"]} of {os.environ["WORLD_SIZE"]} did not reach the others '
                f'({reason}): see what ended them, and that the machines reach each other; '
                'GLOO_SOCKET_IFNAME names the network to use') from error
    else:
        raise MachineError(f'launcher {launcher} needs GPUs and torch sees none; on CPUs start with torchrun '
                           '(tools/dist_train.sh)')


def _start_on_gpus(launcher: str, settings: dict) -> None:
    local_rank, gpus = int(os.environ.get('LOCAL_RANK', 0)), torch.cuda.device_count()
    if launcher == 'pytorch' and local_rank >= gpus:
        raise MachineError(f'process {local_rank + 1} of this machine has no GPU: there are {gpus}. '
                           f'Start {gpus} processes, or set CUDA_VISIBLE_DEVICES= to train on the CPU')
    if launcher == 'mpi' and 'OMPI_COMM_WORLD_LOCAL_RANK' in os.environ:
        # MMEngine reads it to wrap the model.
        os.environ.setdefault('LOCAL_RANK', os.environ['OMPI_COMM_WORLD_LOCAL_RANK'])
    if not multiprocessing.get_start_method(allow_none=True):
        # MMEngine would choose 'spawn': every loader process would import torch and unpickle the dataset.
        multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0])
    place = _place_of_this_start() if launcher == 'pytorch' and 'init_method' not in settings else {}
    init_dist(launcher, **{'backend': 'nccl', **place, **settings})


def _place_of_this_start() -> dict:
    """Return where the ranks of a run that torchrun has restarted meet; nothing at its first start."""
    # Torchrun's store outlives the processes and keeps the addresses of those that died. A rank that comes
    # early would connect to one of them, so each start has its own keys.
    restarts = int(os.environ.get('TORCHELASTIC_RESTART_COUNT') or 0)
    if not restarts or elastic_ranks():                 # whose every start has a store of its own
        return {}
    rank, ranks = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])
    is_master = rank == 0 and os.environ.get('TORCHELASTIC_USE_AGENT_STORE') != 'True'
    address, port = os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT'])
    store = dist.TCPStore(address, port, ranks, is_master=is_master)
    return dict(store=dist.PrefixStore(f'start {restarts}', store), rank=rank, world_size=ranks)


def elastic_ranks() -> int:
    """Return the largest number of ranks that this run may have where machines come and go; else 0."""
    return int(os.environ.get('MMSIMCLR_ELASTIC_RANKS') or 0)


def stop() -> None:
    """End the process group, if there is one."""
    if is_distributed():
        dist.destroy_process_group()


def unwrap_model(model: nn.Module) -> nn.Module:
    """Return the model inside a wrapper such as DistributedDataParallel; the model itself if it has none."""
    return model.module if is_model_wrapper(model) else model


def gather_rows(rows: Tensor) -> Tensor:
    """Concatenate a tensor's rows [N, ...] over all ranks, in rank order: [world_size * N, ...].

    N must be equal on all ranks (see :func:`check_equal_batch`). A rank's rows enter the losses of all ranks,
    so their gradient is that of the sum of these losses. The OpenMMLab implementations keep only the rank's
    own summand: a 1/world_size gradient.
    """
    return torch.cat(all_gather(rows)) if world_size() > 1 else rows


def mean_over_ranks(value: Tensor) -> Tensor:
    """Return the mean of a tensor over the ranks, without a gradient."""
    value = value.detach().clone()
    all_reduce(value, 'mean')
    return value


def copy_buffers_from_first_rank(model: nn.Module) -> None:
    """Give every rank the buffers of rank 0, such as batch-norm statistics; a checkpoint has those."""
    for buffer in model.buffers():
        broadcast(buffer, src=0)


def from_first_rank(function: Callable, *args: Any) -> Any:
    """Call ``function(*args)`` on rank 0; return its result, or raise its error, on every rank."""
    outcome: list[Any] = [None, None]
    if rank() == 0:
        try:
            outcome[0] = function(*args)
        except Exception as error:
            outcome[1] = error
    if world_size() > 1:
        dist.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def from_every_rank(value: Any) -> list[Any]:
    """Return the values that the ranks pass, in rank order."""
    return all_gather_object(value)


def host_group() -> dist.ProcessGroup | None:
    """Return the group of all ranks for tensors on the CPU; None, the default group, where that is gloo.

    The hosts talk through it without waiting for their GPUs. All ranks must make the first call.
    """
    return None if dist.get_backend() == 'gloo' else _gloo_beside(dist.group.WORLD)


@functools.lru_cache(maxsize=1)
def _gloo_beside(_: dist.ProcessGroup) -> dist.ProcessGroup:
    return dist.new_group(backend='gloo', **_shared_settings)


def check_equal_batch(num_rows: int) -> None:
    """Raise an :class:`InputError` on every rank if the ranks hold batches of different sizes.

    A gather of unequal parts hangs or reads beyond its buffer, so the sizes travel first, from host to host.
    """
    if world_size() == 1:
        return
    sizes = torch.empty(world_size(), dtype=torch.int64)
    dist.all_gather_into_tensor(sizes, torch.tensor([num_rows]), group=host_group())
    if len(set(sizes.tolist())) > 1:
        raise InputError(
            f'every rank must hold the same number of images, got {sizes.tolist()} in rank order; use a '
            'sampler that pads or drops (DefaultSampler with round_up=True and drop_last=True)')
