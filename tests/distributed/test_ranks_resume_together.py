"""Ranks that see different folders, as on a network file system that lags, resume from one checkpoint."""

import pytest
import resuming_tasks
import torch
from processes import run_ranks


@pytest.mark.parametrize('seen', ['nothing', 'an older one'])
def test_the_first_rank_decides_which_checkpoint_is_the_newest(seen, tmp_path):
    ranks = run_ranks(resuming_tasks.resume_where_the_last_rank_sees, 2, seen, str(tmp_path / 'run'),
                      folder=tmp_path / 'ranks')
    for first, second in ranks:
        assert (first['began'], first['ended']) == (0, 2)
        assert (second['began'], second['ended']) == (2, 4)
    left, right = (second for _, second in ranks)
    assert left['run_id'] == right['run_id'] == ranks[0][0]['run_id']
    assert torch.equal(left['weight'], right['weight'])
