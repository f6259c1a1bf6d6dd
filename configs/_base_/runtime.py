"""Runtime of every run: hooks, log, environment."""

from importlib.util import find_spec

from mmengine.hooks import (
    DistSamplerSeedHook, IterTimerHook, LoggerHook, ParamSchedulerHook, RuntimeInfoHook)
from mmengine.visualization import LocalVisBackend, TensorboardVisBackend, Visualizer

from mmsimclr.engine import AtomicCheckpointHook, FiniteLossHook, PreemptionHook, RunSummaryHook
from mmsimclr.runner import PretrainLogProcessor

default_scope = 'mmsimclr'

default_hooks = dict(
    runtime_info=dict(type=RuntimeInfoHook),
    timer=dict(type=IterTimerHook),
    sampler_seed=dict(type=DistSamplerSeedHook),
    logger=dict(type=LoggerHook, interval=50),
    param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(type=AtomicCheckpointHook, interval=10, max_keep_ckpts=3),
    preemption=dict(type=PreemptionHook))
custom_hooks = [dict(type=RunSummaryHook), dict(type=FiniteLossHook)]

# Means over the last steps, as the loss is shown.
log_processor = dict(
    type=PretrainLogProcessor,
    window_size=50,
    custom_cfg=[
        dict(data_src='contrastive_accuracy', method_name='mean', window_size=50),
        dict(data_src='contrastive_entropy', method_name='mean', window_size=50),
    ])
log_level = 'INFO'
# Curves: in a file, and where it is installed in TensorBoard (tensorboard --logdir work_dirs). tracker=wandb
# on the command line adds another; docs/how_to/health.md names them.
vis_backends = [dict(type=LocalVisBackend)]
if find_spec('tensorboard'):
    vis_backends.append(dict(type=TensorboardVisBackend))
visualizer = dict(type=Visualizer, vis_backends=vis_backends)

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # Seconds without a word from another process until this one gives up. The longest silence of a healthy
    # run is the save of a checkpoint.
    dist_cfg=dict(backend='nccl', timeout=600))
# A fixed seed makes a run repeatable, and a resumed one equal to an uninterrupted one.
randomness = dict(seed=0)
# With --auto-scale-lr the learning rate follows the global batch; a leaf says which batch its own is for.
auto_scale_lr = dict(enable=False, base_batch_size=256, rule='linear')
load_from = None
resume = False
