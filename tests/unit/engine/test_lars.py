"""LARS against torch.optim.SGD where it must agree, and against its formula, tensor by tensor."""

import copy
import io
import math

import pytest
import torch
from torch.testing import assert_close

from mmsimclr.engine import LARS
from mmsimclr.engine.optimizers.lars import _cached_together
from mmsimclr.registry import OPTIMIZERS

SHAPES = dict(weight=(4, 3), kernel=(2, 3, 2, 2), bias=(4,), zero=(3,))
SETTINGS = dict(lr=0.3, momentum=0.9, weight_decay=1e-2, eta=0.02)
TRAITS = [dict(nesterov=nesterov, trust_ratio=ratio, momentum_style=style)
          for nesterov in (False, True)
          for ratio, style in (('official', 'classic'), ('openmmlab', 'classic'), ('official', 'popular'))]


def draw(seed: int, scale: float = 1.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.zeros(shape) if name == 'zero' and not seed else
            scale * (1 + i) * torch.randn(shape, generator=generator)
            for i, (name, shape) in enumerate(SHAPES.items())]


def parameters() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(value) for value in draw(0)]


def gradients(step: int) -> list[torch.Tensor]:
    found = draw(step + 1, 0.1)
    if step == 1:
        found[0].zero_()
    return found


def run(optimizer: LARS, params: list, steps: range) -> None:
    for step in steps:
        for param, grad in zip(params, gradients(step), strict=True):
            param.grad = grad
        optimizer.step()


def by_formula(param, grads, lr, momentum, weight_decay, eta, nesterov, trust_ratio, momentum_style,
               lars_exclude=False):
    """Follow one parameter in Python floats, one rule after the other."""
    w, v = param.detach().double(), torch.zeros_like(param).double()
    for g in grads:
        g = g.double()
        d = g + weight_decay * w

        def trust(update, extra=0.0, w=w):
            w_norm, norm = math.sqrt((w * w).sum()), math.sqrt((update * update).sum())
            if lars_exclude or w_norm == 0 or norm == 0:
                return 1.0
            return eta * w_norm / (norm + extra * w_norm + (1e-8 if extra else 0))
        if momentum_style == 'popular':
            v = momentum * v + d
            update = d + momentum * v if nesterov else v
            w = w - lr * trust(update) * update
        else:
            step = lr * (trust(d) if trust_ratio == 'official' else trust(g, weight_decay)) * d
            v = momentum * v + step
            w = w - (momentum * v + step if nesterov else v)
    return w


@pytest.mark.parametrize('exclude', [False, True])
@pytest.mark.parametrize('traits', TRAITS, ids=lambda t: '-'.join(map(str, t.values())))
def test_five_steps_equal_the_formula_tensor_by_tensor(traits, exclude):
    params = parameters()
    want = [by_formula(param, [gradients(step)[i] for step in range(5)], **SETTINGS, **traits,
                       lars_exclude=exclude) for i, param in enumerate(params)]
    run(LARS(params, **SETTINGS, **traits, lars_exclude=exclude), params, range(5))
    for name, got, expected in zip(SHAPES, params, want, strict=True):
        assert_close(got.double(), expected, rtol=1e-5, atol=1e-6, msg=lambda m, name=name: f'{name}: {m}')


@pytest.mark.parametrize('ratio, step', [('official', 0.005), ('openmmlab', 0.0025)])
def test_openmmlabs_trust_ratio_is_dampened_at_vanishing_gradients(ratio, step):
    # |w| = 5 and |g| = 1e-8, so trust is 0.001 * 5 / 1e-8, or half of it with 1e-8 added below.
    param = torch.nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    param.grad = torch.tensor([1e-8, 0.0], dtype=torch.float64)
    LARS([param], lr=1.0, momentum=0.0, trust_ratio=ratio).step()
    assert param.tolist() == pytest.approx([3.0 - step, 4.0], rel=1e-9)


@pytest.mark.parametrize('nesterov', [False, True])
@pytest.mark.parametrize('style', ['classic', 'popular'])
def test_excluded_parameters_follow_torchs_sgd(style, nesterov):
    params, reference = parameters(), parameters()
    run(LARS(params, lr=0.3, weight_decay=1e-2, nesterov=nesterov, momentum_style=style,
             lars_exclude=True), params, range(5))
    run(torch.optim.SGD(reference, lr=0.3, momentum=0.9, weight_decay=1e-2, nesterov=nesterov),
        reference, range(5))
    assert_close(params, reference)


def test_groups_have_their_own_settings_and_are_independent_of_their_order():
    params, single = parameters(), parameters()
    grouped = LARS([dict(params=params[2:], lars_exclude=True, weight_decay=0.0), dict(params=params[:2])],
                   **SETTINGS)
    run(grouped, params, range(3))
    first = LARS(single[:2], **SETTINGS)
    second = LARS(single[2:], **{**SETTINGS, 'weight_decay': 0.0}, lars_exclude=True)
    for step in range(3):
        for param, grad in zip(single, gradients(step), strict=True):
            param.grad = grad
        first.step()
        second.step()
    assert_close(params, single, rtol=0, atol=0)


def test_a_scheduler_may_change_the_rate_between_steps():
    params = parameters()
    optimizer = LARS(params, **SETTINGS)
    before = copy.deepcopy(params)
    optimizer.param_groups[0]['lr'] = 0.0
    run(optimizer, params, range(1))
    assert_close(params, before, rtol=0, atol=0)


def test_parameters_without_gradient_stay_and_have_no_state():
    params = parameters()
    optimizer = LARS(params, **SETTINGS)
    before = params[1].detach().clone()
    params[0].grad = torch.ones_like(params[0])
    optimizer.step()
    assert torch.equal(params[1], before)
    assert list(optimizer.state) == [params[0]]


def test_a_step_in_pieces_for_the_cache_equals_one_of_all(monkeypatch):
    whole, pieces = parameters(), parameters()
    run(LARS(whole, **SETTINGS), whole, range(3))
    monkeypatch.setattr('mmsimclr.engine.optimizers.lars.CACHED_VALUES', 13)
    run(LARS(pieces, **SETTINGS), pieces, range(3))
    assert_close(pieces, whole, rtol=0, atol=0)
    # 12, 24, 4 and 3 values: the second has no room with the first, the last two fit together.
    sizes = [[param.numel() for param in piece] for piece in _cached_together(pieces)]
    assert sizes == [[12], [24], [4, 3]]


def test_parameters_of_several_precisions_are_updated_as_if_alone():
    def mixed() -> list[torch.nn.Parameter]:
        kinds = (torch.float64, torch.bfloat16, torch.float32, torch.float64)
        return [torch.nn.Parameter(value.to(kind)) for value, kind in zip(draw(0), kinds, strict=True)]

    together, alone = mixed(), mixed()
    single = [LARS([param], **SETTINGS) for param in alone]
    optimizer = LARS(together, **SETTINGS)
    for step in range(3):
        for params in (together, alone):
            for param, grad in zip(params, gradients(step), strict=True):
                param.grad = grad.to(param.dtype)
        optimizer.step()
        for one in single:
            one.step()
    assert_close(together, alone, rtol=0, atol=0)
    assert [optimizer.state[param]['momentum_buffer'].dtype for param in together] == [
        param.dtype for param in together]


@pytest.mark.parametrize('scale', [200.0, 0.5], ids=['norm beyond 65504', 'trust ratio beyond 65504'])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize('traits', TRAITS, ids=lambda t: '-'.join(map(str, t.values())))
def test_a_step_in_half_precision_is_float32s_rounded(traits, dtype, scale):
    generator = torch.Generator().manual_seed(0)
    weight = (scale * (1 + torch.rand(400, 400, generator=generator))).to(dtype)
    grads = [((1e-2 if scale > 1 else 1e-6) * torch.randn(400, 400, generator=generator)).to(dtype)
             for _ in range(2)]
    settings = dict(lr=1.0, momentum=0.9, weight_decay=0.0, eta=0.5)
    param = torch.nn.Parameter(weight.clone())
    optimizer = LARS([param], **settings, **traits)
    for grad in grads:
        param.grad = grad
        optimizer.step()
    want = by_formula(weight, grads, **settings, **traits)
    assert (want - weight.double()).abs().mean() > 0.1 * scale
    # Weights and buffer are rounded after each step.
    tolerance = 8 * torch.finfo(dtype).eps
    assert_close(param.double(), want, rtol=tolerance, atol=tolerance * scale * 10)


@pytest.mark.parametrize('traits', TRAITS, ids=lambda t: '-'.join(map(str, t.values())))
def test_a_step_reads_nothing_on_the_host(traits):
    # Meta tensors have no values: whatever would wait for the device raises.
    params = [torch.nn.Parameter(torch.empty(shape, device='meta')) for shape in SHAPES.values()]
    with pytest.raises(RuntimeError, match='meta'):
        bool(params[0].sum() > 0)
    optimizer = LARS([dict(params=params[:3]), dict(params=params[3:], lars_exclude=True)], **SETTINGS,
                     **traits)
    for _ in range(2):
        for param in params:
            param.grad = torch.empty_like(param)
        optimizer.step()
    assert all(optimizer.state[param]['momentum_buffer'].device.type == 'meta' for param in params)


def test_gradients_are_left_as_they_were():
    params = parameters()
    for weight_decay in (0.0, 1e-2):
        run(LARS(params, lr=0.3, weight_decay=weight_decay, nesterov=True), params, range(1))
        assert_close([p.grad for p in params], gradients(0), rtol=0, atol=0)


@pytest.mark.parametrize('traits', TRAITS[:3], ids=lambda t: '-'.join(map(str, t.values())))
@pytest.mark.parametrize('through_a_file', [False, True])
def test_a_restored_run_continues_bit_for_bit(traits, through_a_file):
    params = parameters()
    optimizer = LARS(params, **SETTINGS, **traits)
    run(optimizer, params, range(3))
    state = copy.deepcopy(optimizer.state_dict())
    if through_a_file:
        file = io.BytesIO()
        torch.save(dict(optimizer=state, state_dict=params), file)
        file.seek(0)
        state = torch.load(file, map_location='cpu', weights_only=True)['optimizer']
    restored = copy.deepcopy(params)
    other = LARS(restored, lr=0.1)                          # everything else comes with the state
    other.load_state_dict(state)
    run(optimizer, params, range(3, 6))
    run(other, restored, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(params, restored, strict=True))


def test_a_state_of_an_older_version_gets_the_defaults():
    params = parameters()
    state = LARS(params, **SETTINGS).state_dict()
    del state['param_groups'][0]['momentum_style']
    optimizer = LARS(params, lr=0.1)
    optimizer.load_state_dict(state)
    run(optimizer, params, range(1))
    assert optimizer.param_groups[0]['momentum_style'] == 'classic'


def test_a_closure_is_called_with_gradients_and_its_value_returned():
    param = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = LARS([param], lr=0.1, momentum=0.0, lars_exclude=True)

    def closure():
        optimizer.zero_grad()
        loss = (3 * param).sum()
        loss.backward()
        return loss
    assert optimizer.step(closure).item() == 6
    assert param.item() == pytest.approx(2 - 0.1 * 3)


@pytest.mark.parametrize('value', [-1e-3, math.nan, math.inf])
@pytest.mark.parametrize('name', ['lr', 'momentum', 'weight_decay', 'eta'])
def test_hyper_parameters_out_of_range_are_refused_wherever_they_are_given(name, value):
    settings = {**SETTINGS, name: value}
    with pytest.raises(ValueError, match=f'^{name} must be'):
        LARS(parameters(), **settings)
    with pytest.raises(ValueError, match=f'^{name} must be'):
        LARS([dict(params=parameters(), **{name: value})], **SETTINGS)
    optimizer = LARS(parameters(), **SETTINGS)
    with pytest.raises(ValueError, match=f'^{name} must be'):
        optimizer.add_param_group(dict(params=parameters(), **{name: value}))
    assert len(optimizer.param_groups) == 1
    state = optimizer.state_dict()
    state['param_groups'][0][name] = value
    with pytest.raises(ValueError, match=f'^{name} must be'):
        optimizer.load_state_dict(state)


@pytest.mark.parametrize('wrong, message', [
    (dict(momentum=1.0), r'momentum must be in \[0, 1\), got 1.0'),
    (dict(eta=0), 'eta must be > 0'),
    (dict(trust_ratio='google'), "trust_ratio must be one of official, openmmlab, got 'google'"),
    (dict(momentum_style='torch'), 'momentum_style must be one of classic, popular'),
    (dict(trust_ratio='openmmlab', momentum_style='popular'), "trust_ratio='official' only"),
])
def test_unknown_and_contradictory_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        LARS(parameters(), **{**SETTINGS, **wrong})


def test_sparse_gradients_are_refused():
    table = torch.nn.Embedding(4, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match='no sparse gradients'):
        LARS(table.parameters(), lr=0.1).step()


def test_is_found_by_name():
    assert isinstance(OPTIMIZERS.build(dict(type='LARS', params=parameters(), lr=0.1)), LARS)


@pytest.mark.parametrize('options', [{}, dict(nesterov=True), dict(trust_ratio='openmmlab'),
                                     dict(momentum_style='popular'), dict(lars_exclude=True)])
def test_a_rate_in_a_tensor_makes_the_steps_of_the_number_and_may_be_changed_in_place(options):
    def steps(rates):
        torch.manual_seed(0)
        params = [torch.randn(4, 3, requires_grad=True), torch.randn(5, requires_grad=True)]
        optimizer = LARS(params, lr=rates[0], weight_decay=1e-2, **options)
        for number in (0.3, 0.7):
            if isinstance(optimizer.param_groups[0]['lr'], torch.Tensor):
                optimizer.param_groups[0]['lr'].fill_(number)
            else:
                optimizer.param_groups[0]['lr'] = number
            for param in params:
                param.grad = torch.sin(3 * param.detach())
            optimizer.step()
        return params
    for left, right in zip(steps([torch.tensor(9.0)]), steps([9.0]), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-7)
