"""Pre-training as a run that leaves a result, and a checkpoint."""

import pytest
from tiny_run import tiny_config

from mmsimclr.errors import InputError
from mmsimclr.protocols import pretrain


@pytest.mark.parametrize('interval, save_last, by_epoch, leaves_one', [
    (-1, False, True, False), (2, False, True, False), (3, False, False, False),
    (1, False, True, True), (2, False, False, True), (-1, True, True, True)])
def test_a_run_that_would_leave_no_checkpoint_is_refused(tmp_path, interval, save_last, by_epoch, leaves_one):
    """It has one epoch of two steps."""
    config = tiny_config(tmp_path)
    config.default_hooks.checkpoint.update(interval=interval, save_last=save_last, by_epoch=by_epoch)
    if leaves_one:
        assert pretrain(config, 'x.py', '').checkpoint
    else:
        with pytest.raises(InputError, match='save_last=True'):
            pretrain(config, 'x.py', '')
    assert bool(list(tmp_path.glob('*.pth'))) == leaves_one
