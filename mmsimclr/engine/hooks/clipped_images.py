"""A count of the training images with values outside of their value range."""

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook

from mmsimclr.registry import HOOKS


@HOOKS.register_module()
class ClippedImagesHook(Hook):
    """Count, over each epoch, the images of which LoadChannels clipped values; log and keep the numbers.

    The pipeline ends in ``PackViews(keys=('clipped',))``, or in ``PackForDevice``.
    """

    priority = 'BELOW_NORMAL'                          # before CheckpointHook, which keeps what is found

    def before_train_epoch(self, runner) -> None:
        self._seen = torch.zeros(3, dtype=torch.float64)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        shares = (data_batch or {}).get('data_samples', {}).get('clipped')
        if shares is not None:
            shares = shares.double().cpu()
            self._seen += torch.stack([torch.tensor(len(shares)), (shares > 0).sum(), shares.sum()])

    def after_train_epoch(self, runner) -> None:
        all_reduce(self._seen)
        images, clipped, values = self._seen.tolist()
        if not images:
            return
        known = runner.message_hub.runtime_info.get('clipped_images')
        runner.message_hub.update_info('clipped_images', int(clipped))
        if clipped and known is None:
            runner.logger.info(f'{int(clipped)} of {int(images)} training images have values outside of the '
                               f'value range, {100 * values / images:.2g} % of all, which are clipped')
