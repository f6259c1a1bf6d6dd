"""A count of the training images that were replaced because they cannot be read."""

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook

from mmsimclr.registry import HOOKS


@HOOKS.register_module()
class UnreadableImagesHook(Hook):
    """Collect, after each epoch, which images the ranks found unreadable; log their number.

    The training set is a :class:`~mmsimclr.datasets.ReplaceUnreadable`, which refuses more than it allows.
    The checkpoint keeps what was found, so that a resumed run counts on.
    """

    priority = 'BELOW_NORMAL'                          # before CheckpointHook, which keeps what is found

    def before_train(self, runner) -> None:
        known = runner.message_hub.runtime_info.get('unreadable_images', [])
        runner.train_dataloader.dataset.unreadable[torch.tensor(known, dtype=torch.long)] = True
        self._logged = len(known)

    def after_train_epoch(self, runner) -> None:
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

    after_train = after_train_epoch
