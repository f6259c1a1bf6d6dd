"""Views made on the device: two processes see, step by step, the images and the views of one."""

import device_view_tasks
import torch
from processes import run_ranks
from torch.testing import assert_close

OPTIONS = {
    'views': 'device',
    'model.backbone.base_channels': 4,
    'model.neck.in_channels': 32,
    'train_dataloader.dataset.num_images': 26,
}


def test_two_processes_share_the_batches_of_one(quickstart_config, tmp_path):
    config = str(quickstart_config)
    one, = run_ranks(device_view_tasks.first_epochs, 1, config, {**OPTIONS, 'train_dataloader.batch_size': 8},
                     str(tmp_path / 'one'), 2, folder=tmp_path / 'rank_of_one')
    two = run_ranks(device_view_tasks.first_epochs, 2, config, {**OPTIONS, 'train_dataloader.batch_size': 4},
                    str(tmp_path / 'two'), 2, folder=tmp_path / 'ranks_of_two')
    for epoch, batches in enumerate(one):
        assert len(batches) == len(two[0][epoch]) == len(two[1][epoch]) == 3
        for step, (indices, views) in enumerate(batches):
            parts = [of_rank[epoch][step] for of_rank in two]
            # The sampler deals the images out in turn.
            assert torch.equal(torch.stack([part[0] for part in parts], dim=1).flatten(), indices)
            together = torch.stack([part[1] for part in parts], dim=2).flatten(1, 2)
            assert_close(together, views, rtol=0, atol=1e-5)
            assert (views[0] - views[1]).abs().mean() > 0.01
    assert not torch.equal(one[0][0][1], one[1][0][1])
