"""Batch norm whose statistics follow within ten steps or an epoch."""

from mmengine.hooks import Hook
from torch.nn.modules.batchnorm import _BatchNorm

from mmsimclr.registry import HOOKS


@HOOKS.register_module()
class BatchNormMomentumHook(Hook):
    """Set the momentum of every batch norm from the number of steps in an epoch, s.

    The statistics keep max(1 - 10 / s, 0.9) of themselves in each step; torch's ``momentum`` is the rest,
    min(10 / s, 0.1).

    Source:
        Kornblith et al. 2019, appendix A.5; Chen et al. 2020, appendix B.8.
    """

    def before_train(self, runner) -> None:
        loader = runner.train_dataloader
        steps_per_epoch = len(loader.dataset) / (loader.batch_size * runner.world_size)
        for module in runner.model.modules():
            if isinstance(module, _BatchNorm):
                module.momentum = 1 - max(1 - 10 / steps_per_epoch, 0.9)
