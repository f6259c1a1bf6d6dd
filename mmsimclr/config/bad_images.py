"""The policy ``bad_images``: what becomes of training images that cannot be read."""

from mmengine.config import Config

# By name: the config is dumped as text.
REPLACING = 'mmsimclr.ReplaceUnreadable'


def allow_bad_images(config: Config) -> None:
    """Put :class:`~mmsimclr.datasets.ReplaceUnreadable` around the training set as ``bad_images`` says.

    Args:
        config: A config to train with. ``bad_images=dict(max_fraction=f)`` allows that part of the training
            images to be unreadable; with 0, or without it, the first one ends the run. The key is taken out.
    """
    allowed = (config.pop('bad_images', None) or {}).get('max_fraction', 0)
    if not allowed:
        return
    loader = config.train_dataloader
    loader.dataset = dict(type=REPLACING, dataset=loader.dataset, max_fraction=allowed)
    config.custom_hooks = [*(config.get('custom_hooks') or ()), dict(type='mmsimclr.UnreadableImagesHook')]
