"""Tell how many training images were replaced because they cannot be read."""

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook

from mmsimclr.registry import HOOKS


@HOOKS.register_module()
class UnreadableImagesHook(Hook):
    """Bring together, after each epoch, which images the ranks found unreadable; log and keep their number.

    The training set is a :class:`~mmsimclr.datasets.ReplaceUnreadable`. What was found is kept in the
    checkpoint, so that a resumed run counts on.

    Raises:
        RuntimeError: During training, if all ranks together found more than the dataset allows.
    """

    # Before CheckpointHook, which keeps what is found.
    priority = 'BELOW_NORMAL'

    def before_train(self, runner) -> None:
        """Take over what an interrupted run found."""
        known = runner.message_hub.runtime_info.get('unreadable_images', [])
        runner.train_dataloader.dataset.unreadable[torch.tensor(known, dtype=torch.long)] = True
        self._logged = len(known)

    def after_train_epoch(self, runner) -> None:
        """Bring together what this epoch found."""
        self._gather(runner)

    def after_train(self, runner) -> None:
        """Bring together what was found since the last epoch."""
        self._gather(runner)

    def _gather(self, runner) -> None:
        dataset = runner.train_dataloader.dataset
        found = dataset.unreadable.to(torch.uint8)
        all_reduce(found, 'max')
        dataset.unreadable |= found.bool()
        places = dataset.unreadable.nonzero().flatten().tolist()
        runner.message_hub.update_info('unreadable_images', places)
        if len(places) > self._logged:
            runner.logger.warning(f'{len(places)} of {len(dataset)} training images cannot be read; others '
                                  'are taken in their place')
            self._logged = len(places)
        dataset.check()
