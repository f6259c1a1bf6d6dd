"""What MMEngine and mmsimclr read at the top level of a config and in its sections without a type."""

from collections.abc import Callable
from typing import Any, Literal

from mmengine.optim import OptimWrapper
from mmengine.runner import LogProcessor, Runner

from mmsimclr.config.arguments import Argument, arguments_of_call
from mmsimclr.models import ResNet


def _section(required: str = '', **annotations: Any) -> dict[str, Argument]:
    return {name: Argument(annotation, name in required.split()) for name, annotation in annotations.items()}


_LOADER = _section(
    'dataset sampler batch_size', dataset=dict, sampler=dict, batch_size=int, num_workers=int,
    batch_sampler=dict | None, collate_fn=Callable, pin_memory=bool, drop_last=bool, timeout=float,
    worker_init_fn=dict, multiprocessing_context=str | None, prefetch_factor=int | None,
    persistent_workers=bool, pin_memory_device=str, in_order=bool, num_batch_per_epoch=int)
PARAMWISE_CFG = _section(
    custom_keys=dict, bias_lr_mult=float, bias_decay_mult=float, norm_decay_mult=float, flat_decay_mult=float,
    dwconv_decay_mult=float, dcn_offset_lr_mult=float, bypass_duplicate=bool)
_PROPOSALS = _section('nms', nms_pre=int, max_per_img=int, nms=dict, min_bbox_size=float)
SECTIONS: dict[str, dict[str, Argument]] = {
    'train_dataloader': _LOADER, 'val_dataloader': _LOADER, 'test_dataloader': _LOADER,
    'train_cfg': _section('by_epoch', by_epoch=bool, max_epochs=int, max_iters=int, val_begin=int,
                          val_interval=int, dynamic_intervals=list | None),
    'bad_images': _section('max_fraction', max_fraction=float),
    'val_cfg': _section(fp16=bool), 'test_cfg': _section(fp16=bool),
    'randomness': _section('seed', seed=int | None, diff_rank_seed=bool, deterministic=bool),
    'env_cfg': _section(cudnn_benchmark=bool, mp_cfg=dict, dist_cfg=dict, resource_limit=int),
    'env_cfg.mp_cfg': _section(mp_start_method=Literal['fork', 'spawn', 'forkserver'],
                               opencv_num_threads=int),
    'env_cfg.dist_cfg': _section(backend=str, timeout=float, init_backend=str, init_method=str, port=int),
    'auto_scale_lr': _section('base_batch_size', base_batch_size=int, enable=bool,
                              rule=Literal['linear', 'sqrt', 'none']),
    'custom_imports': _section('imports', imports=str | list, allow_failed_imports=bool),
    'log_processor.custom_cfg': _section('data_src method_name', data_src=str, method_name=str, log_name=str,
                                         window_size=int | Literal['epoch', 'global']),
    'optim_wrapper.clip_grad': _section(
        type=Literal['norm', 'value'], max_norm=float, norm_type=float | str, clip_value=float,
        error_if_nonfinite=bool, foreach=bool | None),
    # Of mmdet's two-stage detectors.
    'model.train_cfg.rpn': _section('assigner sampler', assigner=dict, sampler=dict, allowed_border=float,
                                    pos_weight=float, debug=bool),
    'model.train_cfg.rpn_proposal': _PROPOSALS, 'model.test_cfg.rpn': _PROPOSALS,
    'model.train_cfg.rcnn': _section('assigner sampler', assigner=dict, sampler=dict, mask_size=int | list,
                                     pos_weight=float, debug=bool),
    'model.test_cfg.rcnn': _section('nms', score_thr=float, nms=dict, max_per_img=int,
                                    mask_thr_binary=float),
}
# What is built from a dict without a type.
DEFAULT_TYPES = {'optim_wrapper': OptimWrapper, 'log_processor': LogProcessor, 'encoder': ResNet}
TOP_LEVEL: dict[str, Argument] = {
    **{name: Argument(argument.annotation)
       for name, argument in arguments_of_call(Runner.__init__)[0].items() if name not in ('self', 'cfg')},
    **_section(
        default_scope=str | None, default_hooks=dict | None, runner_type=type, custom_imports=dict | None,
        sync_bn=Literal['torch', 'mmcv'] | None, compile=bool | dict, find_unused_parameters=bool,
        activation_checkpointing=Any,
        efficient_conv_bn_eval=Any, model_wrapper_cfg=dict | None,
        launcher=Literal['none', 'pytorch', 'slurm', 'mpi'],
        log_level=Literal['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'],
        # Of a benchmark: how the encoder is measured, what it is if it is to be random, and on which data.
        protocol=dict | None, encoder=dict | None, dataset_name=str | None, num_workers=int,
        views=Literal['loader', 'device'], bad_images=dict),
}
