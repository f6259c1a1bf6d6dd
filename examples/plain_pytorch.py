"""SimCLR in a training loop of your own: python examples/plain_pytorch.py photos --epochs 100."""

import argparse

import torch
import torchvision
from torch.utils.data import DataLoader

from mmsimclr import LARS, NonLinearNeck, NTXentLoss, UnlabeledImageFolder, simclr_views


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('images', help='Folder of images, of any depth.')
    parser.add_argument('--epochs', type=int, default=100)
    parser.add_argument('--batch-size', type=int, default=128)
    parser.add_argument('--view-size', type=int, default=96)
    parser.add_argument('--out', default='encoder.pth', help='File for the weights of the encoder.')
    args = parser.parse_args()

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    dataset = UnlabeledImageFolder(args.images, pipeline=[simclr_views(args.view_size)])
    loader = DataLoader(dataset, args.batch_size, shuffle=True, drop_last=True, num_workers=2)
    encoder = torchvision.models.resnet18()
    encoder.fc = torch.nn.Identity()
    model = torch.nn.ModuleDict(dict(encoder=encoder, neck=NonLinearNeck(512, 512, 128))).to(device).train()
    # Norms and biases take neither weight decay nor the scaling of LARS.
    weights = [each for each in model.parameters() if each.ndim > 1]
    others = [each for each in model.parameters() if each.ndim <= 1]
    optimizer = LARS([dict(params=weights, weight_decay=1e-6), dict(params=others, lars_exclude=True)],
                     lr=0.075 * args.batch_size**0.5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, args.epochs * len(loader)))
    loss_of = NTXentLoss()
    for epoch in range(args.epochs):
        for views in loader:
            features = model.encoder(torch.cat(views).to(device))             # both views in one pass
            first, second = model.neck((features,))[0].chunk(2)
            loss = loss_of(first, second, temperature=0.2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f'epoch {epoch + 1}/{args.epochs}  loss {loss.item():.4f}')
    torch.save(encoder.state_dict(), args.out)


if __name__ == '__main__':
    main()
