"""Batch norm whose statistics follow within ten steps or an epoch."""

from mmengine.hooks import Hook
from torch.nn.modules.batchnorm import _BatchNorm

from mmsimclr.registry import HOOKS


@HOOKS.register_module()
class BatchNormMomentumHook(Hook):
    """Set torch's ``momentum`` of every batch norm to min(10 / s, 0.1), with s steps in an epoch.

    Source:
        Kornblith et al. 2019, appendix A.5; Chen et al. 2020, appendix B.8.
    """

    def before_train(self, runner) -> None:
        loader = runner.train_dataloader
        steps_per_epoch = len(loader.dataset) / (loader.batch_size * runner.world_size)
        for module in runner.model.modules():
            if isinstance(module, _BatchNorm):
                module.momentum = 1 - max(1 - 10 / steps_per_epoch, 0.9)
