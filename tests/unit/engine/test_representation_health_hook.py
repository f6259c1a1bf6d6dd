"""Health while training: figures against numpy, a run that does not notice, alarms, and what is refused."""

import copy
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from tiny_folder import write_folder
from tiny_run import log_of, tiny_config, tiny_runner

from mmsimclr.config import check_config
from mmsimclr.config.canonical import canonical, config_sha256
from mmsimclr.datasets import Shapes
from mmsimclr.engine import RepresentationHealthHook, SampleIndex
from mmsimclr.engine.hooks.held_out import evenly_spaced, recorded
from mmsimclr.engine.hooks.representation_health import signs
from mmsimclr.evaluation.health import health
from mmsimclr.registry import HOOKS
from mmsimclr.runner import build_runner

HELD_OUT = dict(split='test', num_images=40)
HEALTH = dict(type='RepresentationHealthHook', held_out=HELD_OUT, interval=1, num_images=20)


def settings(epochs: int = 2, *hooks: dict, **changes) -> dict:
    return dict(train_cfg=dict(by_epoch=True, max_epochs=epochs), custom_hooks=[dict(HEALTH), *hooks],
                **changes)


def hook_of(runner) -> RepresentationHealthHook:
    return next(each for each in runner.hooks if isinstance(each, RepresentationHealthHook))


@HOOKS.register_module()
class ConstantBranchForHealthTest(Hook):
    """Make the head's output the same for all images, or let the encoder's run away."""

    def __init__(self, factor: float = 0.0) -> None:
        self.factor = factor

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        with torch.no_grad():
            for layer in (runner.model.neck.fc1, runner.model.neck.bn1):
                layer.weight.mul_(self.factor)


def projections_of_views(runner) -> np.ndarray:
    """Return g(h) of the held-out views, [N, V, D], image by image."""
    pipeline = tiny_config(Path('unused')).train_dataloader.dataset.pipeline
    dataset, model = Shapes(image_size=16, pipeline=pipeline, **HELD_OUT), copy.deepcopy(runner.model).eval()
    rows = []
    for place in np.linspace(0, 39, 20).round().astype(int):
        views = dataset[SampleIndex(int(place), 0, 0)]['inputs']
        with torch.no_grad():
            rows.append([model.project(view[None].float() / 255)[0].numpy() for view in views])
    return np.array(rows, np.float64)


def test_figures_are_those_of_held_out_views_by_plain_formulas(tmp_path):
    runner = tiny_runner(tmp_path, **settings())
    hook = hook_of(runner)
    hook.before_train(runner)
    figures, rows = hook.evaluate(runner.model), projections_of_views(runner)
    values = np.linalg.svd(rows[:, 0], compute_uv=False)
    shares = values / values.sum()
    assert figures['health/projection_rankme'] == pytest.approx(
        math.exp(-(shares * np.log(shares)).sum()), rel=1e-3)
    unit = rows / np.linalg.norm(rows, axis=2, keepdims=True)
    distances = np.square(unit[:, 0] - unit[:, 1]).sum(axis=1)
    assert figures['health/projection_alignment'] == pytest.approx(distances.mean(), rel=1e-3)
    losses, hits = [], []
    for part in (unit[:8], unit[8:16]):                      # whole batches of training's size
        both = np.concatenate([part[:, 0], part[:, 1]])
        for anchor in range(16):
            others = [both[anchor] @ both[other] / 0.5 for other in range(16) if other != anchor]
            positive = both[anchor] @ both[(anchor + 8) % 16] / 0.5
            losses.append(math.log(sum(map(math.exp, others))) - positive)
        hits += [np.argmax(part[:, 1] @ row) == place for place, row in enumerate(part[:, 0])]
    assert figures['health/contrastive_loss'] == pytest.approx(np.mean(losses), rel=1e-4)
    assert figures['health/contrastive_accuracy'] == pytest.approx(np.mean(hits))
    assert set(figures) <= set(hook.measures)
    assert {'health/pooled_lidar', 'health/pooled_dead_share', 'health/pooled_uniformity'} <= set(figures)


def test_evaluation_leaves_weights_statistics_modes_and_random_state_alone(tmp_path):
    runner = tiny_runner(tmp_path, **settings())
    hook, model = hook_of(runner), runner.model
    model.train()
    model.backbone.layer1.eval()                                 # a part that is frozen stays so
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    hook.before_train(runner)
    hook.evaluate(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[:2]
    assert torch.equal(torch.get_rng_state(), states[2])


@pytest.mark.parametrize('views', ['loader', 'device'])
def test_weights_optimizer_and_random_state_are_bit_equal_with_and_without(tmp_path, views):
    saved = []
    for name in ('with', 'without'):
        changes = settings(views=views)
        changes['custom_hooks'] = changes['custom_hooks'] if name == 'with' else []
        tiny_runner(tmp_path / name, **changes).train()
        saved.append(torch.load(tmp_path / name / 'epoch_2.pth', weights_only=False))
    flat = [torch.utils._pytree.tree_leaves([each['state_dict'], each['optimizer']['state'],
                                             each['random_states']]) for each in saved]
    assert len(flat[0]) == len(flat[1]) > 20
    assert all(torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
               for one, other in zip(*flat, strict=True))


def test_runs_at_the_start_every_interval_and_at_the_end_and_is_logged_and_kept(tmp_path):
    hook = dict(HEALTH, interval=2)
    runner = tiny_runner(tmp_path, **dict(settings(3), custom_hooks=[hook]))
    runner.train()
    evaluations = recorded(runner)
    assert [each['epoch'] for each in evaluations] == [0, 2, 3]
    assert [each['iteration'] for each in evaluations] == [0, 4, 6]
    lines = next(tmp_path.glob('*/vis_data/scalars.json')).read_text(encoding='utf-8').splitlines()
    shown = [entry for entry in map(json.loads, lines) if 'health/pooled_rankme' in entry]
    assert [entry['step'] for entry in shown] == [0, 4, 6]
    assert [entry['health/pooled_rankme'] for entry in shown] == [
        each['health/pooled_rankme'] for each in evaluations]
    text = log_of(tmp_path)
    assert all(f'{when}: RankMe of h' in text for when in ('at the start', 'epoch 2', 'epoch 3'))
    assert 'epoch 1: RankMe' not in text


def test_a_resumed_run_records_what_an_uninterrupted_one_does(tmp_path):
    whole, part = (tiny_runner(tmp_path / name, **settings(
        epochs, param_scheduler=[dict(type='WarmupCosineLR', warmup=1, total=3, convert_to_iter_based=True)]))
        for name, epochs in (('whole', 3), ('part', 2)))
    whole.train()
    part.train()
    resumed = tiny_runner(tmp_path / 'part', resume=True, **settings(
        3, param_scheduler=[dict(type='WarmupCosineLR', warmup=1, total=3, convert_to_iter_based=True)]))
    resumed.train()
    assert recorded(resumed) == recorded(whole)
    assert len(recorded(whole)) == 4


def test_the_hook_makes_no_other_run_of_a_config(tmp_path):
    changes = dict(tiny_config(tmp_path, custom_hooks=[])), dict(tiny_config(tmp_path, **settings(1)))
    assert canonical(changes[0]) != canonical(changes[1])
    assert config_sha256(changes[0]) == config_sha256(changes[1])


def folder_run(tmp_path, bad: bool, **changes):
    for name in ('train', 'val'):
        write_folder(tmp_path / name, 24)
    if bad:
        (tmp_path / 'val' / 'cat' / '4.JPG').write_bytes(b'no image')
    loader = tiny_config(tmp_path).train_dataloader
    view, pack = loader.dataset.pipeline
    loader.dataset = dict(type='UnlabeledImageFolder', data_root=str(tmp_path / 'train'),
                          pipeline=[dict(type='LoadImage'), view, pack])
    hook = dict(HEALTH, held_out=dict(data_root=str(tmp_path / 'val')), num_images=24)
    return tiny_runner(tmp_path / 'run', train_dataloader=loader, custom_hooks=[hook], **changes)


def test_a_held_out_image_that_cannot_be_read_is_treated_as_one_of_training(tmp_path):
    with pytest.raises(OSError, match=r'4\.JPG'):
        folder_run(tmp_path, bad=True).train()
    runner = folder_run(tmp_path, bad=True, bad_images=dict(max_fraction=0.1))
    runner.train()
    assert len(recorded(runner)) == 2
    assert '4.JPG' in next(Path(runner.log_dir).glob('*.log')).read_text(encoding='utf-8')


def test_too_few_held_out_images_are_said_and_the_run_goes_on(tmp_path):
    runner = tiny_runner(tmp_path, **dict(settings(1), custom_hooks=[
        dict(HEALTH, held_out=dict(split='test', num_images=9))]))
    runner.train()
    assert recorded(runner) == []
    assert 'health is not measured: 9 held-out images' in log_of(tmp_path)


def test_a_change_that_does_not_fit_the_training_images_is_named(tmp_path):
    hook = dict(HEALTH, held_out=dict(part='val'))
    runner = tiny_runner(tmp_path, **dict(settings(1), custom_hooks=[hook]))
    with pytest.raises(ValueError, match=r"held_out={'part': 'val'} does not fit"):
        runner.train()


def test_a_type_takes_the_place_of_the_training_images_with_their_pipeline(tmp_path):
    own = dict(type='Shapes', image_size=16, **HELD_OUT)
    one, other = (tiny_runner(tmp_path / str(number), **dict(settings(1), custom_hooks=[
        dict(HEALTH, held_out=held_out)])) for number, held_out in enumerate((own, HELD_OUT)))
    one.train()
    other.train()
    assert recorded(one) == recorded(other) != []


@pytest.mark.parametrize(('name', 'value'), [('interval', 0), ('num_images', 15)])
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f'{name} must be >= .*{value}|got .*{value}'):
        RepresentationHealthHook(HELD_OUT, **{name: value})


def test_evenly_spaced_places_begin_and_end_with_the_images():
    assert evenly_spaced(30, 4) == [0, 10, 19, 29]
    assert evenly_spaced(3, 10) == [0, 1, 2]


def alarms_of(runner) -> list[dict]:
    runner.train()
    return runner.message_hub.runtime_info.get('alarms', [])


@pytest.mark.parametrize(('factor', 'kind'), [(0.0, 'collapse'), (100.0, 'divergence')])
def test_a_run_that_goes_wrong_is_named_within_two_evaluations_and_once(tmp_path, factor, kind):
    runner = tiny_runner(tmp_path, **settings(4, dict(type='ConstantBranchForHealthTest', factor=factor)))
    alarms = alarms_of(runner)
    assert [alarm['kind'] for alarm in alarms] == [kind]
    assert alarms[0]['epoch'] <= 2
    assert 'g(h)' in alarms[0]['seen']
    assert log_of(tmp_path).count(f'{kind}: ') == 1
    assert 'learning rate too high' in log_of(tmp_path)


def test_an_absurd_learning_rate_is_named_within_two_evaluations(tmp_path):
    optimizer = dict(optimizer=dict(type='LARS', lr=1e5), constructor='LARSOptimWrapperConstructor')
    loader = tiny_config(tmp_path).train_dataloader
    loader.dataset.num_images = 64
    alarms = alarms_of(tiny_runner(tmp_path, **settings(3, optim_wrapper=optimizer, train_dataloader=loader)))
    assert alarms
    assert alarms[0]['epoch'] <= 2


def test_an_ordinary_run_raises_no_alarm(tmp_path):
    assert alarms_of(tiny_runner(tmp_path, **settings(4))) == []


def evaluation(iteration: int, features: np.ndarray, accuracy: float = 0.5) -> dict:
    """Return the figures of features, the same for h and for g(h)."""
    contrastive = {'health/contrastive_accuracy': accuracy, 'health/contrastive_chance': 0.02}
    return {'iteration': iteration, **contrastive,
            **{f'health/{stage}_{name}': value for stage in ('pooled', 'projection')
               for name, value in health(features).items()}}


NOISE = np.random.default_rng(0).normal(size=(64, 32))
FLAT = np.zeros((64, 32))
FLAT[:, :2] = NOISE[:, :2]                                       # rank 2


@pytest.mark.parametrize(('features', 'kinds'), [
    (NOISE, []), (NOISE + 5, []), (np.ones((64, 32)), ['collapse']), (np.zeros((64, 32)), ['collapse']),
    (FLAT, ['collapse']), (NOISE * 9999, []), (NOISE * 10_001, ['divergence'])])
def test_signs_in_features_whose_rank_and_spread_are_known(features, kinds):
    assert list(signs([evaluation(0, NOISE), evaluation(9, features)])) == kinds


def test_a_rank_that_random_weights_have_too_is_no_sign():
    assert signs([evaluation(0, FLAT), evaluation(9, FLAT)]) == {}
    assert list(signs([evaluation(9, FLAT)])) == ['collapse']            # a run whose start nobody saw
    constant = np.ones((64, 32))
    assert list(signs([evaluation(0, constant), evaluation(9, constant)])) == ['collapse']


@pytest.mark.parametrize(('accuracies', 'kinds'), [
    ([0.4, 0.11], []), ([0.4, 0.09], ['divergence']), ([0.08, 0.01], []), ([0.02, 0.4, 0.3], [])])
def test_what_was_learnt_and_is_lost_is_a_sign(accuracies, kinds):
    evaluations = [evaluation(0, NOISE, 0.9)]
    evaluations += [evaluation(number + 1, NOISE, value) for number, value in enumerate(accuracies)]
    assert list(signs(evaluations)) == kinds
    assert signs([]) == {}


def test_healthy_cells_of_the_studies_show_no_sign(root):
    cells = [cell['metrics'] for path in (root / 'results' / 'studies').glob('*.json')
             for cell in json.loads(path.read_text(encoding='utf-8'))['cells'] if not cell['failure']]
    figures = [{name.replace('health.', 'health/'): value for name, value in metrics.items()}
               for metrics in cells if 'health.pooled_rankme' in metrics]
    assert len(figures) >= 20
    for each in figures:                                         # studies may measure h alone
        every = {name.replace('pooled', 'projection'): value for name, value in each.items()} | each
        assert signs([{'iteration': 1, **every}] * 2) == {}


def test_features_that_are_not_finite_are_a_sign_and_do_not_end_the_run(tmp_path):
    runner = tiny_runner(tmp_path, **settings())
    hook = hook_of(runner)
    hook.before_train(runner)
    with torch.no_grad():
        runner.model.neck.fc1.weight[0, 0] = math.inf
    figures = hook.evaluate(runner.model)
    assert 'health/projection_rankme' not in figures
    assert signs([{'iteration': 4, **figures}])['divergence'] == 'g(h) is not finite'


def test_views_of_loader_processes_are_those_of_none_and_stay_in_ordinary_memory(tmp_path):
    figures = []
    for processes in (0, 1):
        loader = tiny_config(tmp_path).train_dataloader
        loader.num_workers = processes
        runner = tiny_runner(tmp_path / str(processes), **settings(train_dataloader=loader))
        hook = hook_of(runner)
        hook.before_train(runner)
        views = torch.utils._pytree.tree_leaves([batch['inputs'] for batch in hook._batches])
        assert len(views) == 40
        assert not any(view.is_shared() for view in views)
        figures.append(hook.evaluate(runner.model))
    assert figures[0] == figures[1]


def test_config_with_the_hook_passes_the_check(tmp_path):
    config = tiny_config(tmp_path, **settings(1))
    check_config(config)
    assert hook_of(build_runner(config)).interval == 1
