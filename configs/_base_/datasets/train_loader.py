"""Training loader for pre-training and classifiers: shuffled by a seed, the last partial batch dropped."""

from torch.utils.data import default_collate

from mmsimclr.engine import SeededSampler

train_dataloader = dict(
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type=SeededSampler, shuffle=True),
    collate_fn=dict(type=default_collate))
