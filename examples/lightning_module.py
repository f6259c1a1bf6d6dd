"""SimCLR as a Lightning module: python examples/lightning_module.py photos --epochs 100."""

import argparse

import lightning
import torch
import torchvision
from torch.utils.data import DataLoader

from mmsimclr import LARS, NonLinearNeck, SimCLR, UnlabeledImageFolder, simclr_views


class LitSimCLR(lightning.LightningModule):
    """SimCLR around any encoder whose features are [N, width]."""

    def __init__(self, encoder: torch.nn.Module, width: int, lr: float) -> None:
        super().__init__()
        self.model, self.lr = SimCLR(encoder, NonLinearNeck(width, width, 128)), lr

    def training_step(self, views: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        losses = self.model.loss(views)
        self.log_dict(losses, prog_bar=True)
        return losses['loss']

    def configure_optimizers(self) -> dict:
        weights = [each for each in self.parameters() if each.ndim > 1]
        others = [each for each in self.parameters() if each.ndim <= 1]
        optimizer = LARS([dict(params=weights, weight_decay=1e-6), dict(params=others, lars_exclude=True)],
                         lr=self.lr)
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return dict(optimizer=optimizer, lr_scheduler=dict(scheduler=schedule, interval='step'))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('images', help='Folder of images, of any depth.')
    parser.add_argument('--epochs', type=int, default=100)
    parser.add_argument('--batch-size', type=int, default=128)
    parser.add_argument('--view-size', type=int, default=96)
    args = parser.parse_args()

    dataset = UnlabeledImageFolder(args.images, pipeline=[simclr_views(args.view_size)])
    loader = DataLoader(dataset, args.batch_size, shuffle=True, drop_last=True, num_workers=2)
    encoder = torchvision.models.resnet18()
    encoder.fc = torch.nn.Identity()
    lightning.Trainer(max_epochs=args.epochs, log_every_n_steps=1).fit(
        LitSimCLR(encoder, 512, lr=0.075 * args.batch_size**0.5), loader)


if __name__ == '__main__':
    main()
