import json
import math

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_run import log_of, tiny_runner

from mmsimclr.engine import warmup_cosine_lr

BACKENDS = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
SCALARS = ('loss', 'contrastive_accuracy', 'contrastive_entropy', 'lr', 'images_per_second')


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """Return the work directory of a run of two iterations."""
    work_dir = tmp_path_factory.mktemp('run')
    tiny_runner(work_dir, visualizer=dict(type='Visualizer', vis_backends=BACKENDS)).train()
    return work_dir


def lines_of(work_dir) -> list[dict]:
    file = next(work_dir.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for line in file.read_text(encoding='utf-8').splitlines()]


def test_every_backend_receives_all_scalars_at_every_iteration(finished):
    lines = lines_of(finished)
    assert [line['step'] for line in lines] == [1, 2]
    events = EventAccumulator(str(next(finished.glob('*/vis_data'))))
    events.Reload()
    for name in SCALARS:
        recorded = events.Scalars(name)
        assert [event.step for event in recorded] == [1, 2], name
        assert [event.value for event in recorded] == pytest.approx([line[name] for line in lines])


def test_scalars_are_plausible_for_an_untrained_encoder(finished):
    for index, line in enumerate(lines_of(finished)):
        assert 0 < line['loss'] < 2 * math.log(15)
        assert line['contrastive_accuracy'] * 8 == pytest.approx(round(line['contrastive_accuracy'] * 8))
        assert 0 <= line['contrastive_entropy'] <= math.log(8) + 1e-6
        assert line['lr'] == pytest.approx(warmup_cosine_lr(index, 0.3, 2, 4))
        assert line['images_per_second'] == pytest.approx(8 / line['time'])


def test_terminal_line_names_what_is_watched_and_nothing_twice(finished):
    line = next(line for line in log_of(finished).splitlines() if 'step 2/2' in line)
    for part in ('epoch 1/1', '  loss ', '  accuracy ', '  entropy ', '  lr 0.15  ', ' images/s',
                 '  ETA 0:00:00'):
        assert line.count(part) == 1, part
    assert 'contrastive_' not in line and 'base_lr' not in line


def test_iteration_based_runs_count_iterations(tmp_path):
    tiny_runner(tmp_path, train_cfg=dict(by_epoch=False, max_iters=3), param_scheduler=[],
                default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
                log_processor=dict(type='PretrainLogProcessor', window_size=1, by_epoch=False)).train()
    text = log_of(tmp_path)
    assert all(f'step {step}/3  loss' in text for step in (1, 2, 3))
    assert 'epoch 1/1' not in text


def test_what_else_the_model_logs_is_shown_under_its_own_name(tmp_path):
    config = dict(optimizer=dict(type='LARS', lr=0.3), clip_grad=dict(max_norm=5.0))
    tiny_runner(tmp_path, optim_wrapper=config).train()
    assert '  grad_norm ' in log_of(tmp_path)
