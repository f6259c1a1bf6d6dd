"""MMEngine's Runner with safe checkpoints and exact resuming."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import InfiniteSampler
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

from mmsimclr import distributed
from mmsimclr.checkpoints import check_scale, fill_model, find_checkpoint, read_checkpoint
from mmsimclr.config import ConfigError, canonical
from mmsimclr.config.short_names import views_in
from mmsimclr.cpu_memory import kept_memory
from mmsimclr.datasets import data_identity
from mmsimclr.distributed import unwrap_model
from mmsimclr.encoders import feature_dim
from mmsimclr.engine import OnlineKNNHook, PreemptionHook
from mmsimclr.errors import InputError, InputTypeError
from mmsimclr.files import Lease, leased
from mmsimclr.models import SimCLR
from mmsimclr.registry import LOOPS, is_of_type
from mmsimclr.runner import checkpointing, resume
from mmsimclr.runner.failures import explained_failures
from mmsimclr.runner.graph import graph_steps
from mmsimclr.runner.log import ConsoleHook, DeferredMessageHub, show_little
from mmsimclr.runner.loop import ResumableTrainLoop, random_state
from mmsimclr.runner.profile import ProfileHook, peak_flops, step_flops
from mmsimclr.transforms import LoadChannels


def compile_encoder(model: nn.Module, options: Mapping[str, object] | None = None) -> None:
    """Compile a model's encoder in place, with arguments of ``torch.compile``; its keys stay what they are.

    The encoder is nearly all of a step's computing; views, head and optimizer have fused operations already.
    Raise InputError if there is no backbone, an option is not torch's, or torch cannot compile here.
    """
    if not isinstance(options, Mapping | None):
        raise InputError('compile must be True, False, or a dict of arguments of torch.compile, such as '
                         f"dict(mode='max-autotune'); got {options!r}")
    inner, options = unwrap_model(model), dict(options or {})
    if not isinstance(getattr(inner, 'backbone', None), nn.Module):
        raise InputError(f'compile: {type(inner).__name__} has no backbone to compile; compile=False trains '
                         'without it')
    device = next(inner.backbone.parameters()).device
    try:
        # A machine that cannot compile would otherwise fail in the first step.
        probe = torch.zeros(2, device=device, requires_grad=True)
        torch.compile(nn.ReLU(), **options)(probe).sum().backward()
        inner.backbone.compile(**options)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        given = ', '.join(f'{name}={value!r}' for name, value in options.items()) or 'its defaults'
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f'compile: torch.compile with {given} does not work on this machine ({reason}); on a CPU it '
            'needs a C++ compiler (Debian: apt install g++), on a GPU the package triton; compile=False '
            'trains without it') from error


def check_widths(model: nn.Module) -> None:
    """Raise ConfigError if a projection head takes other channels than the encoder's last map has.

    Checked are heads with a first layer ``fc0`` on pooled features, if the encoder takes a usual image.
    """
    encoder, neck = getattr(model, 'backbone', None), getattr(model, 'neck', None)
    first = getattr(neck, 'fc0', None)
    if not isinstance(first, nn.Linear) or not getattr(neck, 'with_avg_pool', True):
        return
    try:
        width = feature_dim(encoder, model.data_preprocessor.mean.numel())
    except (InputError, InputTypeError, AttributeError):
        return
    if first.in_features != width:
        raise ConfigError(
            f"model.neck.in_channels is {first.in_features}, and the encoder's last map has {width} "
            f'channels: set model.neck.in_channels={width}, or another depth, width or out_indices of '
            'model.backbone')


@contextmanager
def working_in(folder: str | Path, label: str) -> Iterator[Lease | None]:
    """Hold a folder's lease for all ranks; yield it on the first. All raise HeldError if it is not free."""
    with ExitStack() as held:
        leases = []
        distributed.from_first_rank(lambda: leases.append(held.enter_context(leased(folder, label))))
        yield leases[0] if leases else None


def _printable(text: str) -> str:
    """Return a text whose names of files, which need not be UTF-8, can be written to a log."""
    return text.encode('utf-8', 'backslashreplace').decode()


class PretrainRunner(Runner):
    """MMEngine's Runner for runs that may end at any moment.

    Loading runs no code of the file, and fills the whole model or stops. A checkpoint is whole, says how its
    encoder is built and fed and which run it is of, and is enough to go on bit by bit.

    Attributes:
        provenance: What the run stands on besides its config and training images, such as an encoder and test
            images: plain values by dotted key, set before ``train()``.
        go_on: The command that goes on with the run, for messages.
        longer: What becomes of the schedule of a resumed run that is made longer; see :func:`lengthen`.
        allowed_changes: Keys that may differ from those of a checkpoint that is resumed.
    """

    provenance: Mapping[str, Any] = {}
    allowed_changes: Sequence[str] = ()
    go_on: str | None = None
    longer: str = 'stretch'
    _run_id: str | None = None
    _loaded: dict | None = None
    _lease: Lease | None = None                         # of rank 0, while it trains
    _check: Callable[[dict], None] | None = None

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What tells this run from others, by dotted key; every checkpoint of it has the same."""
        parts = {'train': self.train_dataloader.dataset}
        for hook in self.hooks:
            if isinstance(hook, OnlineKNNHook):
                parts |= {f'knn_{name}': dataset for name, dataset in hook.datasets.items()}
        return {**canonical(self.cfg), **data_identity(parts), **self.provenance}

    def train(self) -> torch.nn.Module:
        """Train, as the only run in its work directory.

        Raise HeldError if another run works there, LostLeaseError if another has taken over, because this one
        stood still for long, and RunError if a process died, memory ran out or a disk failed.
        """
        with working_in(self.work_dir, 'training') as self._lease, ExitStack() as ending:
            ending.callback(setattr, self, '_lease', None)
            for hook in self.hooks:
                if isinstance(hook, PreemptionHook):
                    ending.callback(hook.release)
                    hook.listen()
            device = next(self.model.parameters()).device
            with kept_memory(device, large_blocks=False), explained_failures(self):
                return super().train()

    def build_model(self, model):
        """Build the model; raise ConfigError if its parts do not fit each other."""
        model = super().build_model(model)
        check_widths(model)
        return model

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap a model for many processes; gradients lie in the buckets they are sent in.

        With ``gradients='bf16'`` in the config they are sent in bfloat16, and added up in it.
        """
        gradients = self.cfg.get('gradients') or 'float32'
        if gradients not in ('float32', 'bf16'):
            raise InputError(f"gradients must be 'float32' or 'bf16', got {gradients!r}")
        if self.distributed and (model_wrapper_cfg or {}).get('type', 'MMDistributedDataParallel') in (
                'MMDistributedDataParallel', MMDistributedDataParallel):
            model_wrapper_cfg = {
                'broadcast_buffers': False, 'gradient_as_bucket_view': True,
                'find_unused_parameters': self.cfg.get('find_unused_parameters', False),
                **(model_wrapper_cfg or {})}
        model = super().wrap_model(model_wrapper_cfg, model)
        if gradients == 'bf16' and isinstance(model, MMDistributedDataParallel):
            model.register_comm_hook(None, default_hooks.bf16_compress_hook)
        return model

    def build_logger(self, log_level='INFO', log_file=None, **kwargs) -> MMLogger:
        """Return the run's logger: everything to the file, little to the console."""
        logger = super().build_logger(log_level, log_file, **{'logger_name': 'mmsimclr', **kwargs})
        self._console = show_little(logger)
        return logger

    def register_hooks(self, default_hooks=None, custom_hooks=None) -> None:
        """Register the hooks of the config, and on the first process the one that shows progress."""
        super().register_hooks(default_hooks, custom_hooks)
        if self._console and self.rank == 0:
            self.register_hook(ConsoleHook(self._console))

    @cached_property
    def seconds_at_peak(self) -> float | None:
        """Seconds that a step would take at the device's peak; None where one of them is not known."""
        peak = peak_flops(next(self.model.parameters()).device)
        flops = step_flops(self) if peak else None
        return flops / peak if flops else None

    def build_message_hub(self, message_hub: dict | None = None) -> MessageHub:
        """Return the run's message hub, which does not wait for the device at each step."""
        hub = DeferredMessageHub.get_instance(**{'name': self.experiment_name, **(message_hub or {})})
        hub.keep_for(self.log_processor)
        return hub

    def _maybe_compile(self, target: str) -> None:
        # MMEngine compiles the whole train_step, which breaks at the log, the optimizer and the loss.
        if options := self.cfg.get('compile'):
            compile_encoder(self.model, {} if options is True else options)
            self.logger.info('the encoder is compiled: the first steps take a minute or so longer')
        if self.cfg.get('graph'):
            if any(isinstance(hook, ProfileHook) for hook in self.hooks):
                raise InputError('--profile looks into a step, and a captured one is a whole: graph=False')
            graph_steps(self.model, self.optim_wrapper)

    def load_or_resume(self) -> None:
        """Load or resume what the config says; a run that torchrun or Slurm restarted resumes by itself."""
        if self._has_loaded:
            return
        self.message_hub.update_info_dict(dict(started_at_iteration=0, last_ckpt_iteration=0))
        distributed.from_first_rank(self._tidy)
        restarts, newest = resume.num_restarts(), None
        if restarts or (self._resume and self.weights == self._load_from):
            search = distributed.from_first_rank(checkpointing.newest_checkpoint, Path(self.work_dir))
            for note in search.notes:
                self.logger.warning(_printable(note))
            checkpointing.require_any(search, may_start_anew=restarts > 0)
            found = _printable(f'resuming from the newest intact checkpoint, {search.path}')
            if not (newest := search.path):
                anew = ': starting from the beginning' if self._load_from is None else ''
                found = f'no checkpoint in {self.work_dir}{anew}'
            self.logger.info(f'restart {restarts}: {found}' if restarts else found)
        if newest:
            self.resume(str(newest))
            if self._lease:                           # older ones are deleted next, also that which it names
                checkpointing.write_text(Path(self.work_dir) / 'last_checkpoint', str(newest))
        elif self.weights != self._load_from:
            self.resume(self._load_from)
        elif self._load_from is not None:
            self.load_checkpoint(self._load_from)
            self.message_hub.update_info('started_from', self._source)
        self._has_loaded = True
        if self._run_id is None:
            is_new = not newest and self.weights == self._load_from
            self._run_id = distributed.from_first_rank(self._name_run, is_new)

    @property
    def weights(self) -> str | None:
        """The weights that the config begins with: ``load_from``, unless that is the checkpoint to resume."""
        return self._load_from if self._resume in (False, 'auto') else None

    def _tidy(self) -> None:
        if self._lease and (leftovers := checkpointing.remove_leftovers(Path(self.work_dir))):
            self.logger.info(f'removed what a killed run left in {self.work_dir}: {", ".join(leftovers)}')

    def _name_run(self, is_new: bool) -> str:
        run_id = uuid.uuid4().hex
        if is_new and self._lease:                          # an older run's would seem to be of this one
            (Path(self.work_dir) / 'result.json').unlink(missing_ok=True)
        # A restart before the first save must not go on with an older run that left its checkpoints here.
        if is_new and resume.may_be_restarted():
            checkpointing.write_text(Path(self.work_dir) / 'run_id', run_id + '\n')
        return run_id

    def resume(self, filename, resume_optimizer=True, resume_param_scheduler=True,
               map_location='default') -> None:
        """Go on from a checkpoint, inside an epoch too; errors are also those of :meth:`load_checkpoint`.

        Raise ConfigError if it is of another run, in a key that ``allowed_changes`` does not have, or of one
        that has made more steps than this one is to make.
        """
        schedules = resume.schedules(self)
        configured = resume.schedule_settings([schedule.state_dict() for schedule in schedules])
        ends = [(schedule.end, getattr(schedule, 'total_steps', None)) for schedule in schedules]
        sampler = self.train_dataloader.sampler
        has_seed_of_run = getattr(sampler, 'seed', None) == self.seed
        changes: list[dict] = []
        # Before anything is loaded: a model of another encoder would not fit, and say less.
        self._check = lambda tree: changes.extend(
            distributed.from_first_rank(resume.compare_runs, self, tree, filename, configured))
        super().resume(filename, resume_optimizer, resume_param_scheduler, map_location)
        tree, self._loaded, self._check = self._loaded, None, None
        resume.check_place(self, tree['meta'], filename)
        if changes:
            self.message_hub.update_info('changed_on_resume', [
                *self.message_hub.runtime_info.get('changed_on_resume', []),
                dict(step=self.iter, changes=changes)])
        for schedule, (end, total) in zip(schedules, ends, strict=True):
            resume.extend(schedule, end)
            resume.lengthen(schedule, total, self.longer, self.iter)
        if has_seed_of_run:
            sampler.seed = self.seed                         # drawn by the first run, if the config has none
        self._run_id = tree['meta'].get('run_id')
        self.message_hub.update_info_dict(dict(
            last_ckpt=str(filename), last_ckpt_iteration=self.iter, started_at_iteration=self.iter))
        states = tree.get('random_states')
        if states and len(states) == self.world_size and isinstance(self.train_loop, ResumableTrainLoop):
            self.train_loop.random_state = states[self.rank]

    def load_checkpoint(self, filename, map_location='cpu', strict=True, revise_keys=()):
        """Load a checkpoint of this model, all of it, and return its content.

        ``filename`` may be a file, folder, address or model-zoo name. The other arguments do nothing: the
        file is read on the CPU and loaded strictly, and a prefix ``module.`` is taken off. Raise
        CheckpointError if the file is damaged, would run code, or does not fill the model.
        """
        checkpoint = read_checkpoint(find_checkpoint(filename))
        # MMEngine would run a config under this key. Ours are dicts, or not ours.
        meta = {key: value for key, value in checkpoint.meta.items() if key != 'config' and (
            key not in ('identity', 'run') or isinstance(value, Mapping))}
        tree = {**checkpoint.tree, 'meta': meta}
        if self._check is not None:
            self._check(tree)
        self.call_hook('after_load_checkpoint', checkpoint=tree)
        matched = fill_model(self.model, tree, checkpoint.path)
        self._has_loaded, self._loaded = True, tree
        self._source = dict(checkpoint=str(checkpoint.path), sha256=checkpoint.sha256)
        self.logger.info(f'{matched} of {matched} tensors loaded from {checkpoint.path}; '
                         f'sha256: {checkpoint.sha256[:16]}')
        return tree

    def _init_model_weights(self) -> None:
        """Initialise the model; an encoder that was loaded must get images scaled as it knows them."""
        super()._init_model_weights()
        model = unwrap_model(self.model)
        sources = [each.loaded_from for each in model.modules() if hasattr(each, 'loaded_from')]
        if sources:
            self.message_hub.update_info('started_from', sources[0] if len(sources) == 1 else {
                key: ', '.join(each[key] for each in sources) for key in sources[0]})
        if scale := getattr(getattr(model, 'backbone', None), 'expected_input', None):
            check_scale(model, scale, 'init_cfg')

    @cached_property
    def _config_text(self) -> str:
        return self.cfg.pretty_text            # takes longer than the rest of a small checkpoint

    def save_checkpoint(self, out_dir, filename, file_client_args=None, save_optimizer=True,
                        save_param_scheduler=True, meta=None, by_epoch=True, backend_args=None,
                        is_last=False) -> None:
        """Save a checkpoint, whole or not at all; every rank must call this, and all fail if one does.

        With ``is_last``, ``last_checkpoint`` names the file. Of MMEngine's other arguments those of backends
        do nothing. Raise SaveError if it cannot be written, LostLeaseError if another run has taken over the
        folder, and FloatingPointError if a FiniteLossHook finds damage; what was there is untouched.
        """
        states = distributed.from_every_rank(random_state())
        path = os.path.join(out_dir, filename)
        meta = {'epoch': self.epoch + by_epoch, 'iter': self.iter + (not by_epoch), **(meta or {})}

        def save() -> None:
            if self._lease:
                self._lease.check()
            facts = dict(cfg=self._config_text, identity=self.identity, run_id=self._run_id)
            tree = checkpointing.checkpoint_content(
                self, {**meta, **facts}, states, save_optimizer, save_param_scheduler)
            self.call_hook('before_save_checkpoint', checkpoint=tree)
            # Before its first checkpoint, or --resume would take an older run's after a kill between the two.
            named = Path(self.work_dir) / 'run_id'
            if named.parent.is_dir() and checkpointing.read_text(named) != self._run_id:
                checkpointing.write_text(named, self._run_id + '\n')
            checkpointing.save_whole(tree, Path(path), self._run_id)
            if is_last:
                checkpointing.write_text(Path(self.work_dir) / 'last_checkpoint', path)
        distributed.from_first_rank(save)
        if is_last:
            self.message_hub.update_info_dict(dict(last_ckpt=path, last_ckpt_iteration=meta['iter']))

    def _require_company(self, loader) -> None:
        """Raise InputError if a batch would be one image, where the loss or a batch norm needs others."""
        batches, model = loader.batch_sampler, unwrap_model(self.model)
        batch, sampler = getattr(batches, 'batch_size', None), getattr(batches, 'sampler', loader.sampler)
        if isinstance(model, SimCLR):
            images_in, why = self.world_size, 'there are no negatives, and the loss is 0'
        else:
            images_in, why = 1, 'a batch norm has no statistics'
        if batch is None or not any(isinstance(part, SimCLR | nn.BatchNorm1d) for part in model.modules()):
            return
        has_last = not getattr(batches, 'drop_last', False) and not isinstance(sampler, InfiniteSampler)
        rest = len(sampler) % batch if has_last else 0
        if (rest or batch) * images_in < 2:
            which, mend = ('the last', 'train_dataloader.drop_last=True leaves it out') if rest else (
                'each', 'raise train_dataloader.batch_size')
            raise InputError(
                f'a batch must have at least 2 images, and {which} would have 1 '
                f'(train_dataloader.batch_size={batch}, {len(loader.dataset)} images, {self.world_size} '
                f'process(es)): without another image {why}; {mend}')

    def build_train_loop(self, loop):
        """Build the train loop; raise InputError if a run, an epoch or a batch had nothing to learn from."""
        if isinstance(loop, dict) and (is_of_type(loop, EpochBasedTrainLoop, LOOPS) if 'type' in loop
                                       else loop.get('by_epoch')):
            settings = {key: value for key, value in loop.items() if key not in ('by_epoch', 'type')}
            loop = ResumableTrainLoop(self, self._train_dataloader, **settings)
        loop = super().build_train_loop(loop)
        loader = loop.dataloader
        model = self.cfg.get('model')
        device_views = isinstance(model, dict) and (model.get('data_preprocessor') or {}).get('views')
        sizes = {view.get('size', 224) for view in [*views_in(self.cfg.get('train_dataloader')),
                                                    *([device_views] if device_views else [])]}
        if len(sizes) == 1 and isinstance(size := sizes.pop(), int):
            unwrap_model(self.model).view_px = size               # for the record of checkpoints
        dataset = loader.dataset
        while hasattr(dataset, 'dataset'):
            dataset = dataset.dataset
        for step in getattr(getattr(dataset, 'pipeline', None), 'transforms', ()):
            if isinstance(step, LoadChannels):
                step.fix_dtype(map(dataset.get_data_info, range(len(dataset))))
                unwrap_model(self.model).reading = step.reading   # for the same
        if len(loader) == 0:
            raise InputError(
                f'an epoch would have no steps: {len(loader.dataset)} images on {self.world_size} '
                f'process(es) do not fill one batch of {loader.batch_size}; '
                'lower train_dataloader.batch_size')
        self._require_company(loader)
        if loop.max_iters < 1:
            raise InputError('the run would have no steps: train_cfg.max_epochs (or max_iters) must be >= 1')
        return loop
