"""Tasks of ranks whose data differ, and the same on one process."""

import copy
from types import SimpleNamespace

import torch
import torch.distributed as dist
from mmengine.config import ConfigDict
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import default_collate

from mmsimclr import distributed
from mmsimclr.engine import LARS, LARSOptimWrapperConstructor, OnlineKNNHook, RepresentationHealthHook
from mmsimclr.models import SimCLR
from mmsimclr.models.losses import MarginTripletLoss, contrastive_metrics, nt_xent_loss
from mmsimclr.registry import MODELS

NUM_IMAGES = 8                         # of the global batch
LOSS_CASES = [(temperature, normalize, gradient) for temperature in (0.1, 0.5)
              for normalize in (True, False) for gradient in ('exact', 'openmmlab', 'google')]
NUM_STEPS = 3


def own_rows(rows: Tensor) -> Tensor:
    """Return this rank's block of the global batch; all of it on one process."""
    return rows.chunk(distributed.world_size())[distributed.rank()]


def batch(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return random rows, each of another scale and offset, so that no two ranks are alike."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(NUM_IMAGES, *shape, generator=generator, dtype=dtype)
    level = torch.arange(1, NUM_IMAGES + 1, dtype=dtype).view(-1, *[1] * len(shape))
    return rows * (0.2 + 0.1 * level) + 0.05 * level


def mlp() -> nn.Module:
    """Return a small network in float64 with biases and a norm of one sample at a time."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 5)).double()


def wrap(model: nn.Module) -> nn.Module:
    """Wrap a model in DDP where there are ranks."""
    return DistributedDataParallel(model) if distributed.is_distributed() else model


def several(tasks: dict[str, tuple]) -> dict:
    """Return what each (function, *arguments) gives, by name; one group of processes computes all."""
    return {name: function(*arguments) for name, (function, *arguments) in tasks.items()}


def losses_and_gradients(cases=tuple(LOSS_CASES)) -> dict:
    """Return for each case the loss, the metrics and every parameter gradient after DDP's averaging."""
    view_1, view_2 = own_rows(batch(6, seed=1)), own_rows(batch(6, seed=2))
    results = {}
    for temperature, normalize, gradient in cases:
        model = wrap(mlp())
        projections = model(torch.cat((view_1, view_2))).chunk(2)
        loss = nt_xent_loss(*projections, temperature, normalize, gradient)
        loss.backward()
        results[temperature, normalize, gradient] = dict(
            loss=loss.detach(),
            metrics=contrastive_metrics(*projections, temperature, normalize),
            gradients={name.removeprefix('module.'): parameter.grad.clone()
                       for name, parameter in model.named_parameters()})
    return results


def pair_losses_and_gradients() -> dict:
    """Return, for each loss, mining and choice of negatives, what the head gives and every gradient."""
    view_1, view_2 = own_rows(batch(6, seed=1)), own_rows(batch(6, seed=2))
    results = {}
    for kind, temperature in (('NTLogisticLoss', 0.3), ('MarginTripletLoss', None)):
        for mining in (None, 'semi_hard'):
            for negatives in ('one_view', 'both'):
                head = MODELS.build(dict(type='mmsimclr.ContrastiveHead', temperature=temperature, loss=dict(
                    type=f'mmsimclr.{kind}', mining=mining, negatives=negatives)))
                model = wrap(mlp())
                output = head.loss(model(torch.cat((view_1, view_2))).chunk(2))
                output['loss'].backward()
                results[kind, mining, negatives] = dict(
                    output={name: value.detach() for name, value in output.items()},
                    gradients={name.removeprefix('module.'): parameter.grad.clone()
                               for name, parameter in model.named_parameters()})
    return results


def temperatures_and_second_derivatives() -> dict:
    """Return the gradient of a learnt temperature, and what a penalty on the gradient of the loss gives."""
    views = [own_rows(batch(6, seed=seed)) for seed in (1, 2)]
    results = {}
    for streamed in (True, False):
        model = mlp()
        model.temperature = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
        loss = nt_xent_loss(*model(torch.cat(views)).chunk(2), model.temperature, streamed=streamed)
        loss.backward()
        results[f'temperature, streamed={streamed}'] = distributed.mean_over_ranks(model.temperature.grad)
    rows = [view.clone().requires_grad_() for view in views]
    loss = nt_xent_loss(*rows, 0.3, streamed=False)
    # By each row's own rank, of the mean loss of all ranks.
    slopes = [slope / distributed.world_size()
              for slope in torch.autograd.grad(loss, rows, create_graph=True)]
    penalty = sum(slope.square().sum() for slope in slopes)
    found = torch.autograd.grad(penalty, rows)
    return dict(results, penalty=torch.cat([distributed.gather_rows(rows) for rows in found]))


def losses_of_many_views() -> dict:
    """Return, by number of views and way of computing, the head's output, gradients and what was gathered."""
    results, gather = {}, distributed.gather_rows
    for num_views in (3, 4):
        views = [own_rows(batch(6, seed=10 + view)) for view in range(num_views)]
        for streamed in (True, False):
            for gradient in ('exact', 'openmmlab'):
                head = MODELS.build(dict(type='mmsimclr.ContrastiveHead', temperature=0.3, loss=dict(
                    type='mmsimclr.NTXentLoss', streamed=streamed, gradient=gradient)))
                model, gathered = wrap(mlp()), []
                distributed.gather_rows = lambda rows, gathered=gathered: (
                    gathered.append(tuple(rows.shape)), gather(rows))[1]
                output = head.loss(model(torch.cat(views)).chunk(num_views))
                distributed.gather_rows = gather
                output['loss'].backward()
                results[num_views, streamed, gradient] = dict(
                    output={name: value.detach() for name, value in output.items()}, gathered=gathered,
                    gradients={name.removeprefix('module.'): parameter.grad.clone()
                               for name, parameter in model.named_parameters()})
    return results


def lars_trajectory() -> list[dict[str, Tensor]]:
    """Return the parameters after each of three LARS steps on new data."""
    model = mlp()
    constructor = LARSOptimWrapperConstructor(dict(
        optimizer=dict(type=LARS, lr=5.0, momentum=0.9, weight_decay=1e-2)))
    wrapper, wrapped = constructor(model), wrap(model)
    trajectory = []
    for step in range(NUM_STEPS):
        views = [own_rows(batch(6, seed=10 * step + view)) for view in (1, 2)]
        wrapper.update_params(nt_xent_loss(*wrapped(torch.cat(views)).chunk(2), 0.5))
        trajectory.append({name: value.clone() for name, value in model.state_dict().items()})
    return trajectory


def gathering() -> dict:
    """Return what the helpers of ranks give, and the gradient of a gather."""
    own = own_rows(batch(3, 2)).requires_grad_()
    everyone = distributed.gather_rows(own)
    # Each rank's loss weighs every row differently.
    weight = (distributed.rank() + 1.0) * torch.arange(everyone.numel(), dtype=own.dtype).view_as(everyone)
    (weight * everyone.square()).sum().backward()
    mean_input = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True) * (distributed.rank() + 1)
    mean = distributed.mean_over_ranks(mean_input)
    distributed.check_equal_batch(len(own))
    return dict(gathered=everyone.detach(), gradient=own.grad, labels=distributed.gather_rows(
        torch.tensor([distributed.rank(), 10])), mean=mean, mean_takes_a_gradient=mean.requires_grad,
        mean_input=mean_input.detach(), rank=distributed.rank(), world_size=distributed.world_size())


def unequal_batches() -> dict[str, str]:
    """Return the message each entry raises when rank r holds r + 2 images, or a note that none did."""
    size = distributed.rank() + 2
    views = torch.randn(2, size, 5)
    # Two images at a time: the first rank has one chunk, and each chunk a collective, as synchronised norms.
    model, images = tiny_simclr(chunk_size=2), batch(3, 8, 8)[:size]
    model.backbone.register_forward_hook(lambda *_: dist.all_reduce(torch.ones(3)))
    calls = dict(check=lambda: distributed.check_equal_batch(size),
                 loss=lambda: nt_xent_loss(*views), triplet=lambda: MarginTripletLoss()(*views),
                 metrics=lambda: contrastive_metrics(*views),
                 chunks=lambda: model([images, images], mode='loss'))
    messages = {}
    for name, call in calls.items():
        try:
            call()
            messages[name] = 'nothing was raised'
        except ValueError as error:
            messages[name] = str(error)
    # The process group is still usable.
    messages['afterwards'] = distributed.gather_rows(torch.tensor([distributed.rank()])).tolist()
    return messages


def replicas(hidden: Tensor, cases: list[tuple[float, bool]]) -> dict:
    """Return loss, gradient of the own projections and metrics for official replica data.

    Args:
        hidden: Projections of all replicas [R, 2n, D]; of each, first all first views.
        cases: Temperatures and whether to normalise.
    """
    results = {}
    for temperature, normalize in cases:
        own = hidden[distributed.rank()].clone().requires_grad_()
        loss = nt_xent_loss(*own.chunk(2), temperature, normalize)
        loss.backward()
        results[temperature, normalize] = dict(
            loss=loss.detach(), gradient=own.grad,
            metrics=contrastive_metrics(*own.detach().chunk(2), temperature, normalize))
    return results


def tiny_simclr(gradient: str = 'exact', chunk_size: int | None = None) -> SimCLR:
    """Return a SimCLR model in float64 whose norms do not look at the batch."""
    torch.manual_seed(5)
    model = MODELS.build(dict(
        type='mmsimclr.SimCLR', chunk_size=chunk_size,
        data_preprocessor=dict(type='mmengine.BaseDataPreprocessor'),
        backbone=dict(type='mmsimclr.ResNet', depth=18, stem='cifar', base_channels=4,
                      norm_cfg=dict(type='GN', num_groups=2), zero_init_residual=False),
        neck=dict(type='mmsimclr.NonLinearNeck', in_channels=32, hid_channels=16, out_channels=8,
                  num_layers=1, with_last_bn=False, with_last_bias=True),
        head=dict(type='mmsimclr.ContrastiveHead', temperature=0.2,
                  loss=dict(type='mmsimclr.NTXentLoss', gradient=gradient))))
    return model.double()


def train_simclr(gradient: str = 'exact', chunk_size: int | None = None) -> dict:
    """Train three steps through MMEngine's wrappers; return what was logged and the weights."""
    model = tiny_simclr(gradient, chunk_size)
    wrapper = LARSOptimWrapperConstructor(dict(
        type=OptimWrapper, optimizer=dict(type=LARS, lr=2.0, weight_decay=1e-4)))(model)
    wrapped = MMDistributedDataParallel(model, broadcast_buffers=False) \
        if distributed.is_distributed() else model
    wrapped([own_rows(batch(3, 8, 8, seed=view)) for view in (1, 2)], mode='loss')['loss'].backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    wrapper.zero_grad()
    logs = []
    for step in range(NUM_STEPS):
        views = [own_rows(batch(3, 8, 8, seed=10 * step + view)) for view in (1, 2)]
        logs.append({name: value.detach().clone() for name, value in
                     wrapped.train_step(dict(inputs=views), wrapper).items()})
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    return dict(logs=logs, gradients=gradients, weights=weights)


def mmpretrain_gradients() -> dict[str, Tensor]:
    """Return the gradients of mmpretrain's SimCLR with an encoder and data of ours."""
    from mmpretrain.models import SimCLR as Theirs
    from mmpretrain.models.heads import ContrastiveHead
    ours = tiny_simclr()
    theirs = Theirs(
        backbone=ours.backbone, neck=ours.neck,
        head=ContrastiveHead(loss=dict(type='mmpretrain.CrossEntropyLoss'), temperature=0.2),
        data_preprocessor=ours.data_preprocessor)
    wrapped = MMDistributedDataParallel(theirs, broadcast_buffers=False) \
        if distributed.is_distributed() else theirs
    views = [own_rows(batch(3, 8, 8, seed=view)) for view in (1, 2)]
    wrapped(views, data_samples=None, mode='loss')['loss'].backward()
    return {name: parameter.grad.clone() for name, parameter in theirs.named_parameters()}


def online_knn(num_bank: int, num_queries: int) -> dict:
    """Return the online k-NN accuracy, and the features and labels it was computed of."""
    images = [dict(type='mmsimclr.PackImage')]
    hook = OnlineKNNHook(
        bank=dict(type='mmsimclr.Shapes', num_images=num_bank, image_size=16, pipeline=images),
        queries=dict(type='mmsimclr.Shapes', num_images=num_queries, image_size=16, split='test',
                     pipeline=images),
        classifier=dict(type='mmsimclr.KNNClassifier', k=3), batch_size=4)
    model = tiny_simclr().float()
    model.data_preprocessor = MODELS.build(dict(type='mmsimclr.ViewPreprocessor'))
    model.train()
    accuracy = hook.evaluate(model)
    features, labels = hook._features(model.eval(), hook.datasets['queries'])
    return dict(accuracy=accuracy, features=features, labels=labels)


def representation_health(num_images: int, batch_size: int) -> dict:
    """Return the figures of held-out views, of a batch over all ranks that is as large as theirs together."""
    view = dict(type='mmsimclr.SimCLRView', size=16, blur=False)
    steps = [dict(type='mmsimclr.MultiView', transforms=[view]), dict(type='mmsimclr.PackViews')]
    images = dict(type='mmsimclr.Shapes', num_images=60, image_size=16, pipeline=steps)
    loader = SimpleNamespace(batch_size=batch_size // distributed.world_size(), num_workers=0,
                             collate_fn=default_collate)
    model = tiny_simclr().float().train()
    model.data_preprocessor = MODELS.build(dict(type='mmsimclr.ViewPreprocessor'))
    recorded = {}
    runner = SimpleNamespace(cfg=ConfigDict(train_dataloader=dict(dataset=images)), train_dataloader=loader,
                             iter=1, message_hub=SimpleNamespace(update_info=recorded.__setitem__))
    hook = RepresentationHealthHook(dict(split='test'), num_images=num_images)
    hook.before_train(runner)
    return dict(hook.evaluate(model), images=recorded['health_images'])


def train_config(config_path: str, options: dict, work_dir: str) -> dict:
    """Run a config to its end; return its first and last weights, and what was logged."""
    from mmsimclr.config import load_config
    from mmsimclr.runner import build_runner
    config = load_config(config_path, copy.deepcopy(options), work_dir)
    config.launcher = 'pytorch' if dist.is_initialized() else 'none'
    runner = build_runner(config)
    model = getattr(runner.model, 'module', runner.model)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    runner.train()
    logged = {name: torch.as_tensor(runner.message_hub.get_scalar(f'train/{name}').data[0])
              for name in ('loss', 'contrastive_accuracy', 'contrastive_entropy', 'lr')}
    return dict(start=start, weights={name: value.clone() for name, value in model.state_dict().items()},
                in_buckets=getattr(runner.model, 'gradient_as_bucket_view', None),
                knn=runner.message_hub.get_info('knn_accuracy'), logged=logged)


def batches_beside_gpus() -> dict:
    """Check batches where the default group is another backend's than gloo, as on GPUs."""
    get_backend, gather, groups = dist.get_backend, dist.all_gather_into_tensor, []

    def recorded(output, rows, group=None):
        groups.append(group)
        return gather(output, rows, group=group)
    dist.get_backend = lambda group=None: 'nccl' if group is None else get_backend(group)
    dist.all_gather_into_tensor = recorded
    try:
        distributed.check_equal_batch(3)
        distributed.check_equal_batch(distributed.rank())
    except ValueError as error:
        message = str(error)
    finally:
        dist.get_backend, dist.all_gather_into_tensor = get_backend, gather
    first, second = groups
    return dict(message=message, once=first is second, beside=first not in (None, dist.group.WORLD),
                backend=get_backend(first))
